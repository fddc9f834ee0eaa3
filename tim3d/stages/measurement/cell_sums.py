"""Partials of cells: stored sums of whole blocks, and pieces of cut blocks that are counted again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.descriptors.base import (
    Counts,
    Descriptor,
    Material,
    Partial,
    Values,
    evaluate,
    partials_of,
)
from tim3d.engine import Outline, Pass, Plan, current_cluster, lock_sample, run
from tim3d.engine.passes.plan import size_text
from tim3d.errors import MemoryPlanError
from tim3d.grid import AXES, Block, Box, Grid, Triple, triple
from tim3d.kernels.statistics.exact_sums import add_exactly, exact_sum
from tim3d.lazy import xarray as xr
from tim3d.stages.measurement.windows import Cells, CutBlocks, Lattice, whole_blocks
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.partials import (
    PartialsKernel,
    counting_pass,
    grid_of,
    inputs_of_all,
    kernel_of,
    sources_of,
    total_of,
    with_region,
)
from tim3d.stages.shared.reduction import ReduceWork
from tim3d.storage import schema
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class CellSums:
    """Sums of some partials over every cell; those by plane run over all planes of the volume."""

    partials: tuple[Partial, ...]
    cells: Cells
    arrays: Mapping[str, Counts]

    @classmethod
    def zeros(
        cls, partials: tuple[Partial, ...], cells: Cells, shape: Triple, material: Material
    ) -> CellSums:
        """Sums to which nothing was added yet."""
        shapes = {p.name: sums_shape(p, cells, shape, material) for p in partials}
        return cls(partials, cells, {name: np.zeros(one, np.int64) for name, one in shapes.items()})

    def add(self, place: Triple, box: Box, found: Mapping[str, Any]) -> None:
        """Add the partials of a box within a cell."""
        for p in self.partials:
            where = tuple(
                box.slices[n] if axis == p.plane else place[n] for n, axis in enumerate(AXES)
            )
            # The dots keep a sum without dimensions an array, which is added to in place.
            add_exactly(self.arrays[p.name][(*where, ...)], np.asarray(found[p.name], np.int64))

    def total(self, box: Box) -> dict[str, Counts]:
        """Sum of every partial over a window."""
        cells = self.cells.within(box)
        return {p.name: self._total(p, cells, box) for p in self.partials}

    def _total(self, p: Partial, cells: Sequence[slice], box: Box) -> Counts:
        where = tuple(box.slices[n] if axis == p.plane else cells[n] for n, axis in enumerate(AXES))
        over = tuple(n for n, axis in enumerate(AXES) if axis != p.plane)
        return exact_sum(self.arrays[p.name][where], over)


def sums_shape(
    partial: Partial, cells: Cells, shape: Triple, material: Material
) -> tuple[int, ...]:
    """Shape of the sums of a partial over cells."""
    lengths = zip(AXES, shape, cells.counts, strict=True)
    return (
        *(n if axis == partial.plane else count for axis, n, count in lengths),
        *partial.own_sizes(material),
    )


@dataclass(frozen=True)
class CountPieces:
    """Function that computes the partials of every piece of a cut block."""

    kernel: PartialsKernel
    blocks: CutBlocks

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Return a list of the partials of each piece, in the order of `CutBlocks.pieces`."""
        voxels, record = self.kernel.voxels(fields), []
        for _, core in self.blocks.pieces(block.index):
            read = core.grow(self.blocks.halo).clip(self.blocks.volume)
            inside = {i: v[read.within(block.read).slices] for i, v in voxels.items()}
            found = evaluate(self.kernel.partials, inside, core.within(read), self.kernel.material)
            record.append({name: values.tolist() for name, values in found.items()})
        return {"pieces": record}


@dataclass(frozen=True)
class Counting:
    """Partials of cells of a measured field: what is stored, and what has to be counted again.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    measured : Field
        The measured field.
    chosen : tuple of Descriptor
        Descriptors whose partials are stored.
    material : Material
        Phases and spacing.
    stored : Dataset
        The stored partials.
    cells : Cells
        The cells.
    options : Options
        How it runs.
    """

    sample: str
    measured: Field
    chosen: tuple[Descriptor, ...]
    material: Material
    stored: xr.Dataset
    cells: Cells
    options: Options

    @property
    def partials(self) -> tuple[Partial, ...]:
        """Partials of the chosen descriptors."""
        return partials_of(self.chosen)

    @property
    def grid(self) -> Grid:
        """Blocks of the stored partials."""
        return grid_of(self.stored)

    @cached_property
    def again(self) -> Pass | None:
        """Pass that counts the pieces of cut blocks; None if no block is cut."""
        cut = CutBlocks.of(self.grid, self.cells)
        if not len(cut):
            return None
        inputs = inputs_of_all(self.sample, self.measured, self.chosen)
        sources = sources_of(self.sample, self.measured, inputs)
        mark = schema.fingerprint(
            verb="describe", inputs=sources, partials=sorted(p.name for p in self.partials),
            phases=dict(self.material.phases), cells=self.cells.along,
        )  # fmt: skip
        counting = counting_pass(
            self.sample, self.measured, inputs, self.partials, self.material,
            name=f"{self.measured.name}_regions", fingerprint=mark, options=self.options, block=self.grid.block,
        )  # fmt: skip
        assert isinstance(counting.work, ReduceWork)
        blocks = CutBlocks.of(counting.grid, self.cells)
        kernel = CountPieces(kernel_of(counting), blocks)
        return replace(counting, grid=blocks, work=replace(counting.work, kernel=kernel))

    def plans(self) -> list[Plan | Outline]:
        """Plan of the blocks that are read again, and one line on the sums in this process."""
        again = self.again
        plans: list[Plan | Outline] = [] if again is None else [self._plan(again)]
        cut = 0 if again is None else len(again.grid)
        return [*plans, Outline("describe", self._text(cut))]

    def _plan(self, again: Pass) -> Plan:
        blocks = ",".join(map(str, self.measured.shard))
        cure = (
            "Use fewer --threads, describe smaller windows, or measure in smaller blocks: "
            f"tim3d measure {self.sample} --overwrite --block {blocks}"
        )
        return replace(again.plan(afresh=self.options.overwrite), cure=cure)

    def _text(self, cut: int) -> str:
        count = math.prod(self.cells.counts)
        cells = "one cell" if count == 1 else f"{count} cells"
        added = f"adds stored sums to {cells}, {size_text(self._bytes)} in this process"
        if not cut:
            return f"{added}, reads no voxel"
        return f"{added}; {cut} of {len(self.grid)} blocks are cut and read again with their halo"

    @property
    def _bytes(self) -> int:
        shapes = [sums_shape(p, self.cells, self.grid.shape, self.material) for p in self.partials]
        return sum(8 * math.prod(one) for one in shapes)

    def sums(self) -> CellSums:
        """Sums over all cells.

        Raises
        ------
        MemoryPlanError
            If they do not fit into the memory of a worker, or a cut block does not.
        """
        self._refuse_large()
        found = CellSums.zeros(self.partials, self.cells, self.grid.shape, self.material)
        self._add_stored(found)
        if self.again is not None:
            self._count(self.again)
            self._add_pieces(found, self.again)
        return found

    def _refuse_large(self) -> None:
        limit = current_cluster().memory_bytes
        if self._bytes > limit:
            raise MemoryPlanError(
                f"sums of {math.prod(self.cells.counts)} cells need {size_text(self._bytes)}, and a process has "
                f"{size_text(limit)}: ask for larger or fewer windows, or for fewer descriptors"
            )

    def _add_stored(self, found: CellSums) -> None:
        arrays = {p.name: self.stored[p.name].load() for p in self.partials}
        for place in map(triple, np.ndindex(self.cells.counts)):
            blocks = whole_blocks(self.cells.box(place), self.grid)
            if all(blocks):
                totals = {
                    p.name: total_of(arrays[p.name], p, blocks, self.grid) for p in self.partials
                }
                found.add(place, self._box(blocks), totals)

    def _box(self, blocks: Sequence[range]) -> Box:
        faces = [(r.start * e, r.stop * e) for r, e in zip(blocks, self.grid.block, strict=True)]
        box = Box(triple(low for low, _ in faces), triple(high for _, high in faces))
        return box.clip(self.grid.volume)

    def _count(self, again: Pass) -> None:
        self._plan(again).check()
        if not self.options.overwrite and not again.left():
            return
        with lock_sample(self.sample):
            # Only the pieces of the last question are kept: there may be any number of questions.
            if self.options.overwrite or again.ledger.layout() is None:
                again.ledger.forget()
            run(again, progress=self.options.progress)

    def _add_pieces(self, found: CellSums, again: Pass) -> None:
        assert isinstance(again.grid, CutBlocks)
        for block, record in again.records():
            pieces = zip(again.grid.pieces(block.index), record["pieces"], strict=True)
            for (place, box), partials in pieces:
                found.add(place, box, partials)


def values_of(
    sums: CellSums, box: Box, chosen: Sequence[Descriptor], material: Material
) -> dict[str, Values]:
    """Value of every variable of a window, by name."""
    totals = sums.total(box)
    return {name: v for one in chosen for name, v in one.formula(totals, material).items()}


def results_of(
    sums: CellSums, box: Box, chosen: Sequence[Descriptor], material: Material
) -> xr.Dataset:
    """Results of one window, with its region."""
    totals = sums.total(box)
    each = [one.finalize(totals, material, box.start) for one in chosen]
    found = xr.merge(each, join="exact", compat="no_conflicts")
    return with_region(found, box.start, box.stop, material)


def results_of_windows(
    sums: CellSums, lattice: Lattice, chosen: Sequence[Descriptor], material: Material
) -> xr.Dataset:
    """Results of every window of a lattice, along a dimension for each axis that windows divide.

    Profiles along such an axis are left out: they run over other planes in every window.
    """
    windows = list(lattice.windows)
    first = results_of(sums, windows[0], chosen, material)
    first = first.drop_dims([axis for axis in lattice.axes if axis in first.dims])
    values = [values_of(sums, box, chosen, material) for box in windows]
    dims = [f"{axis}_window" for axis in lattice.axes]
    counts = [len(lattice.spans[AXES.index(axis)]) for axis in lattice.axes]
    found = {
        name: (
            (*dims, *one.dims),
            np.stack([v[str(name)] for v in values]).reshape(*counts, *one.shape),
            one.attrs,
        )
        for name, one in first.data_vars.items()
    }
    made = xr.Dataset(found, {**first.coords, **_window_coordinates(lattice, material)})
    return with_region(made, lattice.hull.start, lattice.hull.stop, material)


def _window_coordinates(lattice: Lattice, material: Material) -> dict[str, Any]:
    """Centres and faces of the windows along each axis that they divide."""
    found: dict[str, Any] = {}
    for axis in lattice.axes:
        number, dim = AXES.index(axis), f"{axis}_window"
        low, high = (np.array(lattice.spans[number]) * material.spacing[number]).T
        texts = {
            dim: ("centre", (low + high) / 2),
            f"{dim}_from": ("low face", low),
            f"{dim}_to": ("high face", high),
        }
        for name, (what, places) in texts.items():
            about = {
                "units": material.units,
                "long_name": f"{what} of the window along {axis}",
            }
            found[name] = (dim, places, about)
    return found
