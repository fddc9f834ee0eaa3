"""Exact distance of every voxel to the nearest voxel of another phase, in any number of blocks.

A first pass looks at small cells of voxels: a bound on the distances in a block follows from the
labels of all cells, however far the nearest other phase is. The second pass reads each block with
just this halo, so that every distance is that of the whole volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.descriptors.base import check_labels
from tim3d.engine import Ledger, Outline, Pass, Plan, lock_sample
from tim3d.errors import InputError
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.kernels.morphology import distance as kernel
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.morphology.stored_distances import LARGEST, halo_within
from tim3d.stages.shared.chosen_phases import chosen_phases, phases_of_labels
from tim3d.stages.shared.field import DEFAULTS, Making, Options, plan_field, produce, whole_shards
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.planes import warn_of_plane, warn_of_slender_voxels
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import result_name, run_passes
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Names

# Cells are about this many of the shortest voxel edge wide, and wider where there would be more of
# them than the client can hold.
CELL_EDGES, MOST_CELLS = 4, 2**24


@Verb
def distance(
    sample: str,
    *,
    field: str = "phase",
    phases: Names | None = None,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Find the distance of every voxel to the nearest voxel of another phase.

    Distances are Euclidean, exact, from voxel centre to voxel centre, and do not depend on the
    blocks. What lies beyond the border of the volume is not known and bounds no phase. See
    docs/morphology.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field.
    phases : sequence of str, optional
        Names of the phases whose voxels get a distance; all others count as one and have 0 (default:
        all). A phase of which little is there makes the blocks of others read far.
    out : str
        Name of the field (default: FIELD_distance and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        The field, float32 in nm. The largest distance in each phase is kept with it.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase is not known, or the field has no phases.
    InputError
        If a phase that was asked for is not there or fills the volume, or a voxel has a code that
        no phase names.
    MixedRunError
        If `out` exists with different parameters, or blocks of another edge are done.
    """
    labels = store.complete_field(sample, field, "segment")
    chosen = chosen_phases(labels, phases)
    warn_of_plane(labels, "distances are those in it, and at most as large in the material")
    warn_of_slender_voxels(labels)
    job = Distances(sample, labels, chosen, phases is not None, out, options)
    return Task(job.plans, job.result)


@dataclass(frozen=True)
class Distances:
    """A field of distances, and the pass that finds how far its blocks must look."""

    sample: str
    labels: Field
    chosen: Phases
    asked: bool
    out: str
    options: Options

    @property
    def name(self) -> str:
        """Name of the field."""
        phases = (list(self.chosen), list(phases_of_labels(self.labels)))
        return self.out or result_name(f"{self.labels.name}_distance", phases=phases)

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprint of the label field."""
        return {self.labels.name: store.fingerprint_of(self.sample, self.labels.name)}

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        return {"phases": dict(self.chosen)}

    @property
    def ranks(self) -> np.ndarray:
        """Number by code: 1, 2, ... of the chosen phases, 0 of all others."""
        table = np.zeros(256, np.uint8)
        table[list(self.chosen.codes)] = np.arange(1, len(self.chosen) + 1)
        return table

    @cached_property
    def cells(self) -> Triple:
        """Edges of a cell in voxels: about equal in nm, and few enough cells for the client."""
        shortest, edge = min(self.labels.spacing_nm), CELL_EDGES
        while True:
            cell = triple(max(1, round(edge * shortest / s)) for s in self.labels.spacing_nm)
            count = math.prod(-(-n // c) for n, c in zip(self.labels.shape, cell, strict=True))
            if count <= MOST_CELLS:
                return cell
            edge *= 2

    @cached_property
    def looking(self) -> Pass:
        """Pass that records the labels of the cells of each block."""
        mark = schema.fingerprint(
            verb="distance", inputs=self.inputs, parameters=self.parameters, cells=self.cells
        )
        return reduction_pass(
            self.sample,
            (self.labels,),
            CellKernel(self.ranks, phases_of_labels(self.labels), self.cells),
            name=f"{self.name}/cells",
            fingerprint=mark,
            options=self.options,
            kernel_bytes=2,
            block=whole_shards(self.options.block, self.labels) if self.options.block else None,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; of the second with the least halo, until it is known."""
        known = not self.options.overwrite and not self.looking.left()
        making = self.making(self.reach() if known else self._least_reach())
        left = plan_field(self.sample, making, self.options)
        if not left or known:
            return [*left]
        note = "its halo follows from the pass before: as far as the largest distance"
        looking = self.looking.plan(afresh=self.options.overwrite)
        return [looking, *left, Outline(self.name, note)]

    def result(self) -> xr.DataArray:
        """Make the field, or what is left of it."""
        left = plan_field(self.sample, self.making(self._least_reach()), self.options)
        if left:
            self.looking.plan().check()
            with lock_sample(self.sample):
                run_passes([self.looking], self.options)
        reach = self.reach() if left else self._least_reach()
        return produce(self.sample, self.making(reach), self.options, self._finish)

    def _least_reach(self) -> np.ndarray:
        diagonal = math.hypot(
            *(c * s for c, s in zip(self.cells, self.labels.spacing_nm, strict=True))
        )
        return np.full(self.looking.grid.counts, diagonal)

    def reach(self) -> np.ndarray:
        """Bound in nm on the distances of each block, from the cells of all.

        Raises
        ------
        InputError
            If a phase that was asked for is not there, or one fills the volume.
        """
        grid, edges = self.looking.grid, self.cells
        step = triple(-(-b // e) for b, e in zip(grid.block, edges, strict=True))
        coarse = np.zeros(self._all_cells(grid, edges), np.uint8)
        there: set[int] = set()
        for block, record in self.looking.records():
            coarse[_cells_of(block, step, edges).slices] = unpack(record["cells"])
            there.update(record["ranks"])
        self._refuse_absent(there)
        bound = kernel.reaches(coarse, edges, self.labels.spacing_nm)
        bound[coarse == 0] = 0.0
        found = np.zeros(grid.counts)
        for block in grid:
            found[block.index] = bound[_cells_of(block, step, edges).slices].max()
        return found

    @staticmethod
    def _all_cells(grid: Grid, edges: Triple) -> Triple:
        step = triple(-(-b // e) for b, e in zip(grid.block, edges, strict=True))
        last = grid.block_at(triple(n - 1 for n in grid.counts))
        return _cells_of(last, step, edges).stop

    def _refuse_absent(self, there: set[int]) -> None:
        absent = [name for rank, name in enumerate(self.chosen, 1) if rank not in there]
        if absent and self.asked:
            raise InputError(
                f"no voxel of {self.labels.name!r} in {self.sample} is of the phase {', '.join(absent)}: "
                "leave it out of --phases"
            )
        if len(there) == 1:
            (rank,) = there
            filled = self.chosen.names[rank - 1] if rank else "what was left out"
            raise InputError(
                f"{filled} fills all of {self.labels.name!r} in {self.sample}: there is no voxel of "
                "another phase to measure the distance to"
            )

    def making(self, reach: np.ndarray) -> Making:
        """The field, whose blocks are read as far as `reach` says."""
        labels = self.labels
        field = replace(
            labels,
            name=self.name,
            dtype="float32",
            labels=False,
            phases=None,
            long_name="distance to the nearest voxel of another phase",
            attributes={
                "units": schema.UNIT,
                "convention": "from voxel centre to voxel centre; the border of the volume bounds no phase",
            },
        )
        work = DistanceWork(
            self.sample,
            labels.name,
            self.name,
            self.ranks,
            kernel.metric_of(labels.spacing_nm),
            labels.spacing_nm,
            labels.shape,
            reach,
            self.options.durable,
        )
        return Making(
            verb="distance",
            field=field,
            work=work,
            block=self.looking.grid.block,
            halo=halo_within(float(reach.max()), labels.shape, labels.spacing_nm),
            inputs=self.inputs,
            parameters=self.parameters,
        )

    def _finish(self, ledger: Ledger) -> None:
        """Keep the largest distance of each phase with the field."""
        grid = self.looking.grid
        found = np.max([one[LARGEST] for one in ledger.records(grid.indices())], axis=0)
        metric = kernel.metric_of(self.labels.spacing_nm)
        lengths = kernel.lengths(np.asarray(found, np.int64), metric)
        largest = dict(zip(self.chosen.names, map(float, lengths), strict=True))
        store.update_node(self.sample, self.name, **{LARGEST: largest})


def _cells_of(block: Block, step: Triple, edges: Triple) -> Box:
    """Cells of a block in the array of all cells."""
    start = triple(i * n for i, n in zip(block.index, step, strict=True))
    own = triple(-(-n // e) for n, e in zip(block.core.shape, edges, strict=True))
    return Box(start, triple(a + n for a, n in zip(start, own, strict=True)))


@dataclass(frozen=True)
class CellKernel:
    """Labels of the cells of a block, and the phases that are there."""

    ranks: np.ndarray
    phases: Phases
    cells: Triple

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Compute the record of a block."""
        (labels,) = fields
        check_labels(labels, Box.whole(block.core.shape), self.phases)
        # Not numpy.take, which copies the labels to eight bytes each.
        ranks = self.ranks[labels]
        counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in ranks)
        there = np.flatnonzero(counts).tolist()
        return {"cells": pack(kernel.cells(ranks, self.cells)), "ranks": there}


@dataclass(frozen=True)
class DistanceWork:
    """Block work: read labels as far as the distances reach, find them, write those of the core."""

    sample: str
    source: str
    out: str
    ranks: np.ndarray
    metric: kernel.Metric
    spacing: tuple[float, float, float]
    shape: Triple
    reach: np.ndarray
    durable: bool

    def box(self, block: Block) -> Box:
        """Box that is read for a block."""
        halo = halo_within(float(self.reach[block.index]), self.shape, self.spacing)
        return block.core.grow(halo).clip(Box.whole(self.shape))

    def read(self, block: Block) -> np.ndarray:
        """Read the labels of the block and of all that its distances may reach."""
        labels = store.read_box(store.field_array(self.sample, self.source), self.box(block))
        return np.asarray(self.ranks[labels])

    def compute(self, block: Block, inputs: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Distances in the core, and the largest square in each phase."""
        core = block.core.within(self.box(block)).slices
        squares, ranks = kernel.squared_distances(inputs, self.metric)[core], inputs[core]
        squares[ranks == 0] = 0
        largest = [
            int(np.max(squares, where=ranks == rank, initial=0))
            for rank in range(1, int(self.ranks.max()) + 1)
        ]
        return kernel.lengths(squares, self.metric), largest

    def write(self, block: Block, outputs: tuple[np.ndarray, list[int]]) -> dict[str, Any]:
        """Write whole shards."""
        lengths, largest = outputs
        store.write_block(self.sample, self.out, block.core, lengths, durable=self.durable)
        return {LARGEST: largest}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of labels while decoded, of squares, and of distances while encoded."""
        whole = self.metric.dtype(read).itemsize
        return int(np.prod(read) * (2 + whole) + np.prod(core) * 10)
