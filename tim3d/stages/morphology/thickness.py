"""Local thickness: the largest ball within a phase that covers a voxel, in any number of blocks.

A ball that covers a voxel has its centre within its own radius of it, so that a block is read as
far around as the largest distance, which the field of distances keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tim3d.engine import Outline, Plan
from tim3d.grid import Block, Triple
from tim3d.kernels.morphology.distance import Metric, metric_of
from tim3d.kernels.morphology.painting import Radii, largest_ball, painting_bytes
from tim3d.lazy import xarray as xr
from tim3d.stages.morphology.stored_distances import halo_within, name_instead, stored_distances
from tim3d.stages.shared.field import (
    BLOCK_VOXELS,
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
)
from tim3d.stages.shared.planes import warn_of_plane, warn_of_slender_voxels
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field


@Verb
def thickness(
    sample: str,
    *,
    distance: str = "phase_distance",
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Find the local thickness: diameter of the largest ball in a phase that covers a voxel.

    Radii are exact, and do not depend on the blocks. All phases that have distances get a
    thickness. Measure it with `tim3d measure SAMPLE --descriptors thickness`. See docs/morphology.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    distance : str
        The field of distances that `tim3d distance` made.
    out : str
        Name of the field (default: that of the distances, with thickness in place of distance).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        The field, float32 in nm; 0 where there is no distance.

    Raises
    ------
    MissingFieldError
        If there are no distances.
    ArgumentError
        If the field is not one of distances.
    MemoryPlanError
        If a block with a halo of the largest distance does not fit into a worker.
    MixedRunError
        If `out` exists with different parameters.
    """
    source = stored_distances(sample, distance)
    warn_of_plane(source.field, "discs are fitted into the phases, not balls")
    warn_of_slender_voxels(source.field)
    name = out or name_instead(distance, "thickness")
    job = Thickness(sample, source.field, source.largest, name, options)
    return Task(job.plans, job.result)


@dataclass(frozen=True)
class Thickness:
    """A field of thickness, the distances that it is made from, and the largest of them by phase."""

    sample: str
    source: Field
    largest: Mapping[str, float] | None
    out: str
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; without distances nothing is known of the halo."""
        left: list[Plan | Outline] = [*plan_field(self.sample, self.making, self.options)]
        note = Outline(self.out, "its halo follows from the distances: as far as the largest")
        return [*left, note] if left and self.largest is None else left

    def result(self) -> xr.DataArray:
        """Make the field, or what is left of it."""
        return produce(self.sample, self.making, self.options)

    @property
    def making(self) -> Making:
        """The field, whose blocks are read as far as the largest distance."""
        source, reach = self.source, max((self.largest or {}).values(), default=0.0)
        out = replace(
            source,
            name=self.out,
            long_name="diameter of the largest ball in the phase that covers the voxel",
            attributes={
                "units": schema.UNIT,
                "convention": "twice the distance from the centre of the ball to the nearest voxel centre outside",
            },
        )
        work = PaintWork(
            self.sample,
            source.name,
            self.out,
            metric_of(source.spacing_nm),
            reach,
            self.options.durable,
        )
        return Making(
            verb="thickness",
            field=out,
            work=work,
            block=many_shards(out, BLOCK_VOXELS // 2),
            halo=halo_within(reach, source.shape, source.spacing_nm),
            read_bytes=source.voxel_bytes,
            inputs={source.name: store.fingerprint_of(self.sample, source.name)},
        )


@dataclass(frozen=True)
class PaintWork:
    """Block work: read distances as far as balls reach, paint the balls, write their diameters."""

    sample: str
    source: str
    out: str
    metric: Metric
    reach: float
    durable: bool

    def read(self, block: Block) -> Radii:
        """Read the distances around the block."""
        return np.asarray(
            store.read_box(store.field_array(self.sample, self.source), block.read), np.float32
        )

    def compute(self, block: Block, inputs: Radii) -> Radii:
        """Diameters of the largest balls that cover the voxels of the core."""
        found = largest_ball(inputs, self.metric, block.core.within(block.read))
        found *= 2  # in place: another array would be the peak
        return found

    def write(self, block: Block, outputs: Radii) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of distances, of the balls that are kept, of diameters, and of these while encoded.

        Decoding leaves its pieces in the heap of a worker, a copy of what is read.
        """
        return painting_bytes(core, read, self.metric, self.reach) + 4 * math.prod(read)
