"""Segmentation by any segmenter in blocks of whole shards, into fields of labels and of maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from tim3d.engine import Outline, Plan
from tim3d.engine.passes.run import BASE_BYTES, TORCH_BASE_BYTES
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple, triple
from tim3d.models.segmentation.segmenter import LABELS, Maps, Segmenter, checked
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import Chosen
from tim3d.stages.shared.awaited import plan_awaiting
from tim3d.stages.shared.field import (
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    slab,
    whole_shards,
)
from tim3d.stages.shared.phase_shares import telling_shares
from tim3d.storage import store
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class Segmentation:
    """Plan and computation of the labels and maps of a grey field.

    `phases` name the labels (default: the classes of the segmenter); `merge` maps classes to the
    class that they count as.
    """

    sample: str
    grey: Field
    out: str
    chosen: Chosen
    phases: Phases | None
    merge: Mapping[str, str]
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The passes; none if the labels exist."""
        first, making = self.chosen.first(), self._making(self.chosen.planned())
        if self.chosen.awaited:
            return plan_awaiting(self.sample, making, self.options, self.chosen.awaited)
        return [*first, *plan_field(self.sample, making, self.options)]

    def run(self) -> xr.DataArray:
        """Write and return the labels."""
        if self.chosen.first():
            self.plans()  # refuses bad arguments before anything is counted
        making = self._making(self.chosen.ready())
        return produce(self.sample, making, self.options, telling_shares(making, self.options))

    @cached_property
    def coded(self) -> tuple[Phases, tuple[int, ...]]:
        """Phases of the labels, and the code of each class.

        Raises
        ------
        ArgumentError, CheckpointError
            If phases or merged classes are not classes of the segmenter.
        """
        classes, merge = self.chosen.classes, self.merge
        if unknown := sorted(set(merge) - set(classes)):
            raise ArgumentError(
                f"--merge names {unknown[0]!r}; {self.chosen.name} has the classes {', '.join(classes)}"
            )
        names = [merge.get(name, name) for name in classes]
        kept = list(dict.fromkeys(names))
        phases = self.phases or Phases(**{name: code for code, name in enumerate(kept)})
        if set(phases) != set(kept):
            raise self.chosen.error(
                f"{self.chosen.name} has {len(kept)} classes ({', '.join(kept)}), and {len(phases)} phases are named "
                f"({', '.join(phases)}). {_naming(kept, phases)}"
            )
        return phases, tuple(phases[name] for name in names)

    def _making(self, segmenter: Segmenter) -> Making:
        grey, (phases, codes) = self.grey, self.coded
        labels = _like(grey, self.out, "uint8", "phase", phases=phases, labels=True)
        maps = tuple(
            _like(
                grey,
                name,
                one.dtype,
                long_name,
                attributes={"units": one.units} if one.units else {},
            )
            for one in segmenter.maps
            for name, long_name in one.fields(self.out, segmenter.classes)
        )
        names = (labels.name, *(one.name for one in maps))
        work = SegmentWork(
            self.sample,
            grey.name,
            names,
            segmenter,
            codes,
            grey.shape,
            grey.voxel_bytes,
            self.options.durable,
        )
        block = slab(labels, labels.shard[0]) if segmenter.whole_slices else many_shards(labels)
        digest = {"model": segmenter.sha256} if segmenter.sha256 else {}
        return Making(
            verb="segment",
            field=labels,
            siblings=maps,
            work=work,
            block=block,
            inputs={grey.name: store.fingerprint_of(self.sample, grey.name), **digest},
            parameters=segmenter.record(codes),
            halo=_halo(segmenter, labels, self.options.block or block),
            read_bytes=grey.voxel_bytes,
            base_bytes=TORCH_BASE_BYTES if segmenter.needs_torch else BASE_BYTES,
        )


def _like(grey: Field, name: str, dtype: str, long_name: str, **more: Any) -> Field:
    return Field(
        name,
        grey.shape,
        dtype,
        grey.spacing_nm,
        grey.chunk,
        grey.shard,
        long_name=long_name,
        **more,
    )


def _naming(classes: list[str], phases: Phases) -> str:
    """Advice on what to type if the phases are not named as the classes of the segmenter."""
    strange = [name for name in classes if name not in phases]
    named = ",".join(f"{name}={code}" for code, name in enumerate(classes))
    if strange and (shared := [name for name in phases if name in classes]):
        merged = ",".join(f"{name}={shared[0]}" for name in strange)
        return f"Name the network's own, --phases {named}, or count classes as another, for example --merge {merged}"
    return f"Name the network's own: --phases {named}"


def _halo(segmenter: Segmenter, labels: Field, block: Triple) -> Triple:
    """Voxels read beyond the core, for the plan; 0 along axes where a block holds all windows."""
    reach = segmenter.farthest_read(labels.shape)
    if segmenter.lattice(labels.shape) is None:
        return reach
    edges = zip(whole_shards(block, labels), labels.shape, reach, strict=True)
    return triple(0 if b >= n else r for b, n, r in edges)


@dataclass(frozen=True)
class SegmentWork:
    """Block work that reads grey values and writes codes of phases and maps.

    `fields` are the names of the labels and of the maps, `codes` the code of each class, `shape`
    the voxels of the volume.
    """

    sample: str
    source: str
    fields: tuple[str, ...]
    segmenter: Segmenter
    codes: tuple[int, ...]
    shape: Triple
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read all voxels that the maps of the core depend on."""
        array = store.field_array(self.sample, self.source)
        return store.read_box(array, self.segmenter.read_box(self.shape, block.core))

    def compute(self, block: Block, inputs: np.ndarray) -> list[np.ndarray]:
        """Codes of the core, and each map, in the order of the fields."""
        box = self.segmenter.read_box(self.shape, block.core)
        found = checked(
            self.segmenter,
            self.segmenter.region(self.shape, block.core, inputs, box),
            block.core.shape,
        )
        return [self._codes(found[LABELS]), *self._planes(found)]

    def _codes(self, labels: np.ndarray) -> np.ndarray:
        if self.codes == tuple(range(len(self.codes))):
            return labels
        return np.take(np.asarray(self.codes, np.uint8), labels, out=labels, mode="clip")

    def _planes(self, found: Maps) -> list[np.ndarray]:
        maps = self.segmenter.maps
        return [
            plane
            for one in maps
            for plane in (found[one.name] if one.per_class else [found[one.name]])
        ]

    def write(self, block: Block, outputs: list[np.ndarray]) -> dict[str, Any]:
        """Write whole shards, the labels last, and return the number of voxels of each phase."""
        for name, values in reversed(list(zip(self.fields, outputs, strict=True))):
            store.write_block(self.sample, name, block.core, values, durable=self.durable)
        return {
            "voxels": {
                str(code): int((outputs[0] == code).sum()) for code in sorted(set(self.codes))
            }
        }

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block, as the segmenter states them."""
        return self.segmenter.block_bytes(self.shape, core, read, self.voxel_bytes)
