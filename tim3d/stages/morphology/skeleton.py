"""Skeleton: curves in the middle of phases, by thinning, in any number of blocks.

Thinning goes in steps that look at the neighbours of a voxel only. A pass does as many steps as a
block can do with a narrow halo (`tim3d.kernels.morphology.thinning.halo`), and writes what is left
for the next one, until a step takes nothing away. Two arrays take turns: no block reads what
another one of the same pass writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Outline, Pass, Plan, lock_sample, run
from tim3d.grid import Block, Grid, Triple
from tim3d.kernels.morphology import thinning
from tim3d.kernels.morphology.thinning import Radii, Ranks
from tim3d.lazy import xarray as xr
from tim3d.stages.morphology.stored_distances import StoredDistances, name_instead, stored_distances
from tim3d.stages.morphology.stored_skeleton import VOXELS
from tim3d.stages.shared.field import (
    BLOCK_VOXELS,
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    whole_shards,
)
from tim3d.stages.shared.planes import warn_of_plane, warn_of_slender_voxels
from tim3d.stages.shared.unfinished import Unfinished
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, scratch, store

# Most steps of a pass; fewer where a block is small, so that its halo is at most a quarter of it.
MOST_STEPS = 16
# Steps after the last voxel was looked at for the first time, as a rule: for the plan only.
USUAL_STEPS = 6
# The array that an even, or odd, number of passes leaves.
PARITIES = ("even", "odd")


@Verb
def skeleton(
    sample: str,
    *,
    distance: str = "phase_distance",
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Thin phases to curves in their middle, which keep all connections and tunnels.

    All phases that have distances get a skeleton, which does not depend on the blocks. Its graph and
    the diameters of its struts: `tim3d struts SAMPLE`. See docs/morphology.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    distance : str
        The field of distances that `tim3d distance` made.
    out : str
        Name of the field (default: that of the distances, with skeleton in place of distance).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        The field, float32 in nm: twice the distance to another phase on the curves, 0 elsewhere.

    Raises
    ------
    MissingFieldError
        If there are no distances.
    ArgumentError
        If the field is not one of distances.
    MixedRunError
        If `out` exists with different parameters, or a run of other blocks is not finished.
    """
    far = stored_distances(sample, distance)
    warn_of_plane(far.field, "its skeleton is that of a section")
    warn_of_slender_voxels(far.field)
    job = Thinning(sample, far, out or name_instead(distance, "skeleton"), options)
    return Task(job.plans, job.result)


@dataclass(frozen=True)
class Thinning:
    """A skeleton, the distances that it is made from, and its passes."""

    sample: str
    far: StoredDistances
    out: str
    options: Options

    @property
    def labels(self) -> str:
        """Name of the label field that the distances are of."""
        return next(iter(self.far.inputs))

    @property
    def scratch(self) -> str:
        """Name of the temporary node."""
        return scratch.node_of(self.out)

    @property
    def edge(self) -> float:
        """Shortest edge of a voxel, in nm: the thickness that a step takes away."""
        return min(self.far.field.spacing_nm)

    @property
    def ranks(self) -> Ranks:
        """Number by code: 1, 2, ... of the phases that have distances, 0 of all others."""
        table = np.zeros(256, np.uint8)
        table[list(self.far.phases.values())] = np.arange(1, len(self.far.phases) + 1)
        return table

    @cached_property
    def block(self) -> Triple:
        """Edges of a block in voxels."""
        field = self.far.field
        asked = self.options.block
        return whole_shards(asked, field) if asked else many_shards(field, BLOCK_VOXELS // 4)

    @property
    def steps(self) -> int:
        """Steps of a pass."""
        widths = zip(self.block, thinning.halo(1), self.far.field.shape, strict=True)
        fit = [MOST_STEPS if b >= n else b // (4 * h) for b, h, n in widths]
        return max(1, min(MOST_STEPS, *fit))

    @property
    def last_level(self) -> int:
        """Step at which all voxels have been looked at; 0 where the distances are planned only."""
        largest = max((self.far.largest or {}).values(), default=0.0)
        return thinning.last_level(largest, self.edge)

    def thin(self, number: int) -> Pass:
        """Pass of some steps, by its number from 1."""
        field, halo = self.far.field, thinning.halo(self.steps)
        cut = "x".join(map(str, self.block))
        work = ThinWork(self.sources, self.edge, number, self.steps, self.options.durable)
        return Pass(
            work=work,
            grid=Grid(field.shape, self.block, halo),
            ledger=Ledger(
                self.sample, f"{self.scratch}/{cut}/{number:04d}", self.making(0).fingerprint
            ),
            shard=field.shard,
            read_bytes=5.0,
            write_bytes=1.0,
            durable=self.options.durable,
            time_limit=self.options.time_limit,
        )

    @property
    def sources(self) -> Sources:
        """Arrays that the passes read."""
        return Sources(self.sample, self.labels, self.far.field.name, self.ranks, self.scratch)

    def making(self, passes: int) -> Making:
        """The field, made from what is left after some passes."""
        name = self.far.field.name
        out = replace(
            self.far.field,
            name=self.out,
            long_name="diameter of the ball in the phase around a voxel of the skeleton; 0 elsewhere",
            attributes={
                "units": schema.UNIT,
                "convention": "twice the distance to the nearest voxel centre outside",
            },
        )
        inputs = {one: store.fingerprint_of(self.sample, one) for one in (self.labels, name)}
        return Making(
            verb="skeleton",
            field=out,
            work=CurveWork(self.sources, self.out, passes, self.options.durable),
            block=self.block,
            read_bytes=5.0,
            inputs=inputs,
            parameters={"phases": dict(self.far.phases)},
            pyramid=False,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plan of a pass of thinning, how often it comes, and the plan of the field."""
        left = plan_field(self.sample, self.making(0), self.options)
        if not left:
            return []
        first = self.thin(1).plan(afresh=self.options.overwrite or not self.unfinished.goes_on())
        return [first, Outline(self.thin(2).ledger.name, self._times()), *left]

    def _times(self) -> str:
        if self.far.largest is None:
            return "as many such passes as the largest distance has steps"
        count = math.ceil((self.last_level + USUAL_STEPS) / self.steps)
        return f"about {count} such passes of {self.steps} steps, until a step takes nothing away"

    def result(self) -> xr.DataArray:
        """Make the field, or what is left of it."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        number = 0
        if plans:
            with lock_sample(self.sample):
                self._prepare()
                number = self._thinned()
        return produce(self.sample, self.making(number), self.options, self._finish)

    def _thinned(self) -> int:
        """Run passes until a step takes nothing away; return how many they were."""
        number = 0
        while True:
            number += 1
            one = self.thin(number)
            run(one, progress=self.options.progress)
            taken = np.sum([record["taken"] for _, record in one.records()], axis=0)
            done = (number - 1) * self.steps + 1 + np.arange(self.steps) >= self.last_level
            if (done & (taken == 0)).any():
                return number

    @cached_property
    def unfinished(self) -> Unfinished:
        """Arrays of an interrupted run."""
        state = {"fingerprint": self.making(0).fingerprint, "block": list(self.block)}
        return Unfinished(self.sample, self.scratch, self.out, state)

    def _prepare(self) -> None:
        """Create the two arrays, unless an interrupted run left them."""
        if not self.options.overwrite:
            if self.unfinished.goes_on():
                return
            self.unfinished.refuse_other_blocks()
        self._drop()
        field = self.far.field
        for name in PARITIES:
            path = f"{self.scratch}/{name}"
            scratch.create(self.sample, path, field.shape, field.chunk, 0, "uint8")
        self.unfinished.begin(self._record)

    @property
    def _record(self) -> dict[str, Any]:
        making = self.making(0)
        made = store.provenance(making.fingerprint, making.parameters, making.inputs)
        return {k: v for k, v in made.items() if k != "fingerprint"} | {"verb": "skeleton"}

    def _finish(self, ledger: Ledger) -> None:
        """Keep how many voxels each phase has on its skeleton, with the field."""
        field = self.far.field
        places = Grid(field.shape, self.block, (0, 0, 0)).indices()
        counts = np.sum([one[VOXELS] for one in ledger.records(places)], axis=0)
        voxels = dict(zip(self.far.phases, counts.tolist(), strict=True))
        store.update_node(self.sample, self.out, **{VOXELS: voxels})
        self._drop()

    def _drop(self) -> None:
        self.unfinished.drop()
        Ledger(self.sample, self.scratch, "").forget()


@dataclass(frozen=True, eq=False)
class Sources:
    """Arrays that a pass reads: voxels left by the pass before, and distances."""

    sample: str
    labels: str
    distance: str
    ranks: Ranks
    node: str

    def left(self, passes: int, block: Block) -> Ranks:
        """Number of the phase of each voxel that is left in the box that is read, 0 elsewhere."""
        if passes == 0:
            labels = store.field_array(self.sample, self.labels)
            return np.asarray(self.ranks[store.read_box(labels, block.read)])
        array = scratch.array(self.sample, self._path(passes), "r")
        return np.asarray(store.read_box(array, block.read), np.uint8)

    def radii(self, block: Block) -> Radii:
        """Distances in the box that is read."""
        array = store.field_array(self.sample, self.distance)
        return np.asarray(store.read_box(array, block.read), np.float32)

    def write(self, passes: int, block: Block, ranks: Ranks, *, durable: bool) -> None:
        """Write what is left of a core after some passes."""
        array = scratch.array(self.sample, self._path(passes))
        scratch.write(array, block.core, ranks, durable=durable)

    def _path(self, passes: int) -> str:
        return f"{self.node}/{PARITIES[passes % 2]}"


@dataclass(frozen=True)
class ThinWork:
    """Block work: read what is left with a halo, do some steps, write what is left of the core."""

    sources: Sources
    edge: float
    number: int
    steps: int
    durable: bool

    def read(self, block: Block) -> tuple[Ranks, Radii]:
        """Read what the pass before left, and distances."""
        return self.sources.left(self.number - 1, block), self.sources.radii(block)

    def compute(self, block: Block, inputs: tuple[Ranks, Radii]) -> tuple[Ranks, list[int]]:
        """Voxels left in the core, and the number that each step took away."""
        ranks, radii = inputs
        core, first = block.core.within(block.read), (self.number - 1) * self.steps + 1
        taken = thinning.thin(ranks, radii, self.edge, first, self.steps, core, block.read.start)
        return ranks[core.slices], taken.tolist()

    def write(self, block: Block, outputs: tuple[Ranks, list[int]]) -> dict[str, Any]:
        """Write whole chunks."""
        ranks, taken = outputs
        self.sources.write(self.number, block, ranks, durable=self.durable)
        return {"taken": taken}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of thinning."""
        return thinning.thinning_bytes(core, read)


@dataclass(frozen=True)
class CurveWork:
    """Block work: diameters of the balls around the voxels that are left."""

    sources: Sources
    out: str
    passes: int
    durable: bool

    def read(self, block: Block) -> tuple[Ranks, Radii]:
        """Read what the last pass left, and distances."""
        return self.sources.left(self.passes, block), self.sources.radii(block)

    def compute(self, block: Block, inputs: tuple[Ranks, Radii]) -> tuple[Radii, list[int]]:
        """Twice the distance on the skeleton, 0 elsewhere; voxels on that of each phase."""
        ranks, radii = inputs
        phases = int(self.sources.ranks.max())
        counts = np.bincount(ranks[ranks > 0], minlength=phases + 1)[1:]
        return np.where(ranks > 0, 2 * radii, np.float32(0)), counts.tolist()

    def write(self, block: Block, outputs: tuple[Radii, list[int]]) -> dict[str, Any]:
        """Write whole shards."""
        diameters, counts = outputs
        sample = self.sources.sample
        store.write_block(sample, self.out, block.core, diameters, durable=self.durable)
        return {VOXELS: counts}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of what is left, of distances, both while decoded, and of diameters while encoded."""
        return int(np.prod(core)) * 22
