"""Regions and lattices of windows as cells: disjoint boxes that every window is a whole number of."""

from __future__ import annotations

import itertools
import logging
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Block, Box, Grid, Triple, morton_key, triple
from tim3d.stages.shared.region import Ruler

log = logging.getLogger(__name__)
# Voxels from a first to before a last one along an axis, in order.
Span: TypeAlias = tuple[int, int]
Spans: TypeAlias = tuple[Span, ...]
PerAxis: TypeAlias = tuple[Spans, Spans, Spans]
# Part of a cell in a block along an axis: number of the cell, first voxel, voxel after the last.
Piece: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Lattice:
    """Windows of one size: a product of spans along z, y, x. A region is a lattice of one.

    Parameters
    ----------
    spans : (spans, spans, spans)
        Spans along each axis; they may overlap.
    axes : tuple of str
        Axes that windows divide; along the others there is one span.
    """

    spans: PerAxis
    axes: tuple[str, ...] = ()

    @property
    def counts(self) -> Triple:
        """Number of windows along each axis."""
        return triple(len(one) for one in self.spans)

    @property
    def windows(self) -> Iterator[Box]:
        """Every window, x fastest."""
        return (_box(spans) for spans in itertools.product(*self.spans))

    @property
    def hull(self) -> Box:
        """Box from the first to the last window."""
        return _box([(one[0][0], one[-1][1]) for one in self.spans])


def _box(spans: Sequence[Span]) -> Box:
    return Box(triple(low for low, _ in spans), triple(high for _, high in spans))


def lattice_of(
    region: Box,
    rulers: Sequence[Ruler],
    windows: Mapping[str, float] | None,
    step: Mapping[str, float] | None,
) -> Lattice:
    """Lattice of the windows that fit into a region, from its lowest faces on.

    Parameters
    ----------
    region : Box
        The region.
    rulers : sequence of Ruler
        Along z, y, x.
    windows, step : mapping of str to float, optional
        Edges of the windows, and distances from window to window, by axis in the unit of the rulers.

    Raises
    ------
    ArgumentError
        If an axis is not known, a length is not a number of whole voxels, or no window fits.
    """
    sizes, steps = dict(windows or {}), dict(step or {})
    for named, allowed in ((sizes, AXES), (steps, tuple(sizes))):
        if strange := [axis for axis in named if axis not in allowed]:
            listed = ", ".join(allowed) or "none: give --windows z=..."
            raise ArgumentError(f"windows have no axis {strange[0]!r} here; there are {listed}")
    spans = [
        _along(ruler, (low, high), sizes.get(ruler.axis), steps.get(ruler.axis))
        for ruler, low, high in zip(rulers, region.start, region.stop, strict=True)
    ]
    return Lattice((spans[0], spans[1], spans[2]), tuple(a for a in AXES if a in sizes))


def _along(ruler: Ruler, within: Span, size: float | None, step: float | None) -> Spans:
    if size is None:
        return (within,)
    edge = ruler.voxels(size, "a window")
    stride = edge if step is None else ruler.voxels(step, "a step")
    low, high = within
    starts = range(low, high - edge + 1, stride)
    if not starts:
        raise ArgumentError(
            f"a window of {size:g} {ruler.unit} along {ruler.axis} does not fit into the region, which has "
            f"{(high - low) * ruler.step:g} {ruler.unit} there"
        )
    if (end := starts[-1] + edge) < high and stride <= edge:
        log.warning(
            "left out: %s %g:%g %s, where no window fits",
            *(ruler.axis, end * ruler.step, high * ruler.step, ruler.unit),
        )
    return tuple((start, start + edge) for start in starts)


@dataclass(frozen=True)
class Cells:
    """Disjoint boxes between all faces of some windows: a product of spans along z, y, x."""

    along: PerAxis

    @property
    def counts(self) -> Triple:
        """Number of cells along each axis."""
        return triple(len(one) for one in self.along)

    def box(self, place: Sequence[int]) -> Box:
        """Box of one cell."""
        return _box([one[n] for one, n in zip(self.along, place, strict=True)])

    def within(self, box: Box) -> tuple[slice, slice, slice]:
        """Cells that fill a window, along each axis."""
        starts = [[low for low, _ in one] for one in self.along]
        ends = zip(starts, box.start, box.stop, strict=True)
        z, y, x = (slice(bisect_left(s, low), bisect_left(s, high)) for s, low, high in ends)
        return z, y, x


def cells_of(lattice: Lattice, faces: Sequence[Iterable[int]] = ((), (), ())) -> Cells:
    """Cells between the faces of all windows, and between further faces along each axis.

    >>> cells_of(Lattice((((0, 4), (2, 6)), ((0, 9),), ((0, 2), (5, 7)))), ((), (3,), ())).along
    (((0, 2), (2, 4), (4, 6)), ((0, 3), (3, 9)), ((0, 2), (5, 7)))
    """
    z, y, x = (_split(spans, more) for spans, more in zip(lattice.spans, faces, strict=True))
    return Cells((z, y, x))


def _split(spans: Spans, faces: Iterable[int]) -> Spans:
    ends = sorted({*itertools.chain(*spans), *faces})
    return tuple(
        (low, high)
        for low, high in itertools.pairwise(ends)
        if any(start <= low and high <= stop for start, stop in spans)
    )


def whole_blocks(box: Box, grid: Grid) -> tuple[range, range, range]:
    """Blocks that lie in a box as a whole, along each axis."""
    z, y, x = (
        range(-(-low // edge), -(-high // edge) if high == n else high // edge)
        for low, high, edge, n in zip(box.start, box.stop, grid.block, grid.shape, strict=True)
    )
    return z, y, x


def block_faces(box: Box, grid: Grid) -> tuple[list[int], list[int], list[int]]:
    """Faces of a box and faces of blocks in it, along each axis."""
    z, y, x = (
        [low, *range((low // edge + 1) * edge, high, edge), high]
        for low, high, edge in zip(box.start, box.stop, grid.block, strict=True)
    )
    return z, y, x


@dataclass(frozen=True)
class CutBlocks(Grid):
    """Blocks that cells cut. Of each block, the box around its pieces of cells is read.

    Parameters
    ----------
    shape, halo
        As of every grid; `block` is the largest box that is read, without its halo.
    edges : (z, y, x)
        Voxels of a block.
    cells : Cells
        The cells.
    """

    edges: Triple = (1, 1, 1)
    cells: Cells = Cells(((), (), ()))

    @classmethod
    def of(cls, grid: Grid, cells: Cells) -> CutBlocks:
        """Blocks of a grid that cells cut."""
        every = cls(grid.shape, grid.block, grid.halo, grid.block, cells)
        shapes = [every.block_at(index).core.shape for index in every.indices()]
        largest = triple(np.max(shapes, axis=0)) if shapes else grid.block
        return cls(grid.shape, largest, grid.halo, grid.block, cells)

    @property
    def counts(self) -> Triple:
        """Number of blocks of the volume along each axis, cut or not."""
        return triple(-(-n // b) for n, b in zip(self.shape, self.edges, strict=True))

    @property
    def layout(self) -> dict[str, Any]:
        """As of every grid, and how many blocks are cut."""
        return {**super().layout, "blocks": len(self)}

    def __len__(self) -> int:
        return len(self.indices())

    @cached_property
    def _along(self) -> tuple[dict[int, list[Piece]], ...]:
        """Pieces of cells by block, along each axis."""
        return tuple(map(_pieces, self.cells.along, self.edges))

    @cached_property
    def _filled(self) -> tuple[set[int], ...]:
        """Blocks that one cell fills, along each axis."""
        return tuple(
            {
                block
                for block, parts in along.items()
                if [part[1:] for part in parts] == [(block * edge, min((block + 1) * edge, n))]
            }
            for along, edge, n in zip(self._along, self.edges, self.shape, strict=True)
        )

    def indices(self) -> list[Triple]:
        """Blocks of which a cell holds a part and no cell all, in Morton order."""
        touched = map(triple, itertools.product(*self._along))
        return sorted((index for index in touched if not self._is_whole(index)), key=morton_key)

    def _is_whole(self, index: Triple) -> bool:
        return all(i in filled for i, filled in zip(index, self._filled, strict=True))

    def block_at(self, index: Triple) -> Block:
        """The box around the pieces in a block."""
        parts = [along[i] for along, i in zip(self._along, index, strict=True)]
        core = _box([(one[0][1], one[-1][2]) for one in parts])
        return Block(triple(index), core, core.grow(self.halo).clip(self.volume))

    def voxels(self, indices: Iterable[Triple]) -> tuple[int, int]:
        """Count the voxels of these blocks that are counted, and that are read."""
        blocks = [self.block_at(index) for index in indices]
        return sum(b.core.size for b in blocks), sum(b.read.size for b in blocks)

    def pieces(self, index: Triple) -> list[tuple[Triple, Box]]:
        """Place of the cell and box of every piece in a block."""
        parts = [along[i] for along, i in zip(self._along, index, strict=True)]
        return [
            (triple(cell for cell, *_ in one), _box([(low, high) for _, low, high in one]))
            for one in itertools.product(*parts)
        ]


def _pieces(spans: Spans, edge: int) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for cell, (low, high) in enumerate(spans):
        for block in range(low // edge, -(-high // edge)):
            piece = (cell, max(low, block * edge), min(high, (block + 1) * edge))
            found.setdefault(block, []).append(piece)
    return found


def volumes_of(cells: Cells) -> list[int]:
    """Voxels of every cell, x fastest."""
    return [math.prod(b - a for a, b in spans) for spans in itertools.product(*cells.along)]
