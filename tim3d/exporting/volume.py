"""Voxels of a region as files, read and written slab by slab."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tim3d.engine import Plan
from tim3d.engine.passes.plan import size_text
from tim3d.exporting.asked import Asked, cuts, region_of
from tim3d.exporting.job import Export, limit_bytes, resident_base
from tim3d.exporting.vectors import vector_layers
from tim3d.formats.base import Volume, VolumeFormat
from tim3d.grid import Grid, triple
from tim3d.storage import store
from tim3d.storage.schema import Field

# Bytes for each byte of a slab: one slab is written while the next is read and decoded.
COPIES = 4


@dataclass(frozen=True)
class VolumeExport(Export):
    """Fields as voxels of a file."""

    @cached_property
    def fields(self) -> list[Field]:
        """The fields."""
        return self.asked.fields()

    def inputs(self) -> dict[str, str]:
        """Fingerprints of the fields."""
        return {one.name: store.fingerprint_of(self.asked.sample, one.name) for one in self.fields}

    def steps(self) -> list[Plan]:
        """One plan: its blocks are slabs."""
        region = self._region(1)
        self._format.check(region)
        widest = max(one.voxel_bytes for one in region.layers)
        return [slab_plan(self.asked, self.fields, region.data_bytes, COPIES, widest)]

    def size_bytes(self) -> int:
        """Bytes of all values."""
        return self._region(1).data_bytes

    def write(self, path: Path) -> None:
        """Write the region."""
        (plan,) = self.steps()
        volume = self._region(plan.block[0])
        with self.bar(volume.shape[0] * len(volume.layers), "slice") as bar:
            self._format.write(replace(volume, mark=self.mark, step=bar.update), path)

    @property
    def _format(self) -> VolumeFormat:
        assert isinstance(self.asked.format, VolumeFormat)
        return self.asked.format

    def _region(self, thick: int) -> Volume:
        """The fields, and the vectors that are wanted."""
        region = region_of(self.asked, self.fields, thick)
        if not self.asked.given["vectors"]:
            return region
        box = self.asked.box(self.fields[0])
        added = vector_layers(self.asked.sample, self.fields, box)
        return replace(region, layers=(*region.layers, *added))


def slab_plan(
    asked: Asked, fields: list[Field], written: int, copies: int, voxel_bytes: int = 1
) -> Plan:
    """Plan of reading a region slab by slab; slabs are as thick as chunks, or thinner if they must be."""
    box = asked.box(fields[0])
    plane = math.prod(box.shape[1:]) * voxel_bytes
    base, limit = resident_base(), limit_bytes()
    wanted = Grid(box.shape, asked.options.block or fields[0].chunk).block
    thick = min(wanted[0], box.shape[0])
    while thick > 1 and base + copies * thick * plane > limit:
        thick //= 2
    slabs = (len(cuts(box.start[0], box.stop[0], thick)) - 1) * len(fields)
    return Plan(
        name=f"export {asked.format.name}",
        blocks=slabs,
        left=slabs,
        block=triple((thick, *box.shape[1:])),
        halo=(0, 0, 0),
        read_bytes=math.prod(box.shape) * sum(one.voxel_bytes for one in fields),
        write_bytes=written,
        peak_bytes=base + copies * thick * plane,
        limit_bytes=limit,
        workers=1,
        threads=1,
        cure=f"A slice has {size_text(plane)}: give a smaller region with --y and --x",
    )
