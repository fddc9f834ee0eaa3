"""Maps of a block, and the objects of its windows; the blocks of a volume state each window once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.components import Components, Counts, Ids
from tim3d.kernels.morphology.objects import (
    WindowObjects,
    best_pairs,
    compact,
    kept_table,
    without_voxels,
)
from tim3d.kernels.windows.lattice import Array, Lattice
from tim3d.models.segmentation.segmenter import Maps, Segmenter, place

NO_OBJECTS = without_voxels(0)


def numbered_region(
    segmenter: Segmenter, shape: Triple, core: Box, grey: Array, box: Box
) -> tuple[Maps, dict[str, WindowObjects]]:
    """Maps of a core, and the objects of the windows whose first kept voxel lies in it.

    Parameters
    ----------
    segmenter : Segmenter
        One with maps of objects. In these each voxel has the number in its own window, from 1 and
        without gaps.
    shape : (z, y, x)
        Voxels of the volume.
    core : Box
        Voxels wanted.
    grey, box : array, Box
        Grey values and their box: `segmenter.read_box` of the core, or larger.

    Returns
    -------
    maps : mapping of str to array
        The maps of the core.
    objects : dict of str to WindowObjects
        Objects of the windows of the core, by the name of the map.
    """
    lattice = segmenter.lattice(shape)
    assert lattice is not None, "objects are numbered in windows"
    indices = _needed(lattice, core)
    made = segmenter.blank(core)
    tables = {one.name: Table(lattice, core, one.overlap) for one in segmenter.numbered}
    every = segmenter.each_window(shape, indices, grey, box)
    for index, found in zip(indices, every, strict=True):
        ids = {name: tables[name].add(index, found[name]) for name in tables}
        kept = lattice.support(index).clip(core)
        if kept.size:
            place(made, {**found, **ids}, lattice.box(index), kept, core)
    return made, {name: table.objects() for name, table in tables.items()}


def _needed(lattice: Lattice, core: Box) -> list[Triple]:
    """Windows of a core, and those before its own, in lexicographic order."""
    touching = lattice.windows(core)
    own = [index for index in touching if is_own(lattice, core, index)]
    before = {lattice.before(index, axis) for index in own for axis in range(3) if index[axis] > 0}
    return sorted({*touching, *before})


def is_own(lattice: Lattice, core: Box, index: Triple) -> bool:
    """Whether the first voxel that a window keeps lies in a core: so in one block of any grid."""
    first = lattice.support(index).start
    return all(a <= n < b for a, n, b in zip(core.start, first, core.stop, strict=True))


@dataclass
class Table:
    """Objects and pairs of the own windows of a core, filled window by window.

    `waiting` holds the numbers of a window where the next window along an axis will be compared
    with it, by the axis and that window.
    """

    lattice: Lattice
    core: Box
    overlap: float
    windows: list[Triple] = field(default_factory=list)
    tables: list[Components] = field(default_factory=list)
    pairs: list[Counts] = field(default_factory=list)
    waiting: dict[tuple[int, Triple], Ids] = field(default_factory=dict)

    def add(self, index: Triple, numbers: Array) -> Ids:
        """Take a window in, after those before it; return its numbers without gaps."""
        ids, count = compact(numbers)
        if is_own(self.lattice, self.core, index):
            self._count(index, ids, count)
            for axis in range(3):
                if index[axis] > 0:
                    self._compare(index, axis, ids)
        for axis in range(3):
            self._wait(index, axis, ids)
        return ids

    def _count(self, index: Triple, ids: Ids, count: int) -> None:
        shape = self.lattice.shape
        kept = self.lattice.support(index).clip(Box.whole(shape))
        inside = np.ascontiguousarray(ids[kept.within(self.lattice.box(index)).slices])
        self.windows.append(index)
        self.tables.append(kept_table(inside, count, kept.start, shape))

    def _compare(self, index: Triple, axis: int, ids: Ids) -> None:
        one = self.waiting.pop((axis, index))
        here = self.lattice.facing(index, axis)[1].within(self.lattice.box(index))
        found = best_pairs(one, ids[here.slices], self.overlap)
        where = np.broadcast_to([axis, len(self.windows) - 1], (len(found), 2))
        self.pairs.append(np.hstack([where, found]))

    def _wait(self, index: Triple, axis: int, ids: Ids) -> None:
        after = self.lattice.after(index, axis)
        if is_own(self.lattice, self.core, after):
            there = self.lattice.facing(after, axis)[0].within(self.lattice.box(index))
            self.waiting[axis, after] = ids[there.slices].copy()

    def objects(self) -> WindowObjects:
        """All that was taken in."""
        columns = ("code", "voxels", "first", "start", "stop")
        parts = [NO_OBJECTS, *self.tables]
        table = Components(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in columns)
        )
        return WindowObjects(
            np.array(self.windows, np.int64).reshape(-1, 3),
            np.array([len(part) for part in self.tables], np.int64),
            table,
            np.concatenate([np.zeros((0, 4), np.int64), *self.pairs]),
        )
