"""Blocks of a volume as integer boxes on a voxel grid, without data, units, input or output.

A `Grid` divides the shape of a field into `Block` s. A block writes its `core` and reads its `read`
box, which is the core and a halo around it, clipped at the border of the volume::

    volume      ..................      18 voxels, block 6, halo 2
    core        ccccccCCCCCCcccccc      three blocks tile the volume
    read        rrrrrrrr                block 0: clipped at the border
    read            RRRRRRRRRR          block 1: two voxels more on both sides
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tim3d.errors import ArgumentError

Triple: TypeAlias = tuple[int, int, int]

AXES = ("z", "y", "x")


def triple(values: object) -> Triple:
    """Convert three integers to a tuple, in (z, y, x) order.

    >>> triple([4, 5, 6])
    (4, 5, 6)
    """
    z, y, x = (int(v) for v in values)  # type: ignore[attr-defined]
    return (z, y, x)


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box of voxels, `start` <= (z, y, x) < `stop`.

    >>> Box((0, 0, 0), (4, 5, 6)).shape
    (4, 5, 6)
    """

    start: Triple
    stop: Triple

    @classmethod
    def whole(cls, shape: Triple) -> Box:
        """Return the box of a whole array."""
        return cls((0, 0, 0), triple(shape))

    @property
    def shape(self) -> Triple:
        """Edge lengths in voxels."""
        return triple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of voxels; 0 if any edge is empty."""
        return math.prod(max(0, n) for n in self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index that extracts this box from an array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def grow(self, low: Triple, high: Triple | None = None) -> Box:
        """Return a box larger by `low` voxels on low sides, by `high` (or `low`) on the others."""
        high = low if high is None else high
        return Box(
            triple(a - n for a, n in zip(self.start, low, strict=True)),
            triple(b + n for b, n in zip(self.stop, high, strict=True)),
        )

    def clip(self, other: Box) -> Box:
        """Return the part of this box inside `other`; its size is 0 if they do not intersect."""
        start = triple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = triple(
            max(s, min(a, b)) for s, a, b in zip(start, self.stop, other.stop, strict=True)
        )
        return Box(start, stop)

    def within(self, outer: Box) -> Box:
        """Return this box in coordinates relative to the start of `outer`.

        >>> Box((4, 4, 4), (6, 6, 6)).within(Box((3, 3, 0), (9, 9, 9)))
        Box(start=(1, 1, 4), stop=(3, 3, 6))
        """
        shift = triple(-a for a in outer.start)
        return self.shift(shift)

    def shift(self, offset: Triple) -> Box:
        """Return the box moved by `offset`."""
        return Box(
            triple(a + o for a, o in zip(self.start, offset, strict=True)),
            triple(b + o for b, o in zip(self.stop, offset, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Unit of work: `core` is written, `read` is read, `index` is the position on the grid."""

    index: Triple
    core: Box
    read: Box


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of edge `block` over a field of `shape`, starting at the origin.

    The last block along an axis may be thinner.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the field.
    block : (z, y, x)
        Voxels of a block.
    halo : (z, y, x), optional
        Voxels read around a core, clipped at the border of the volume.

    Raises
    ------
    ArgumentError
        If an edge is not positive or a halo is negative.

    Examples
    --------
    >>> grid = Grid((10, 10, 10), (4, 10, 10), halo=(1, 0, 0))
    >>> grid.counts, len(grid)
    ((3, 1, 1), 3)
    >>> grid.block_at((2, 0, 0)).read
    Box(start=(7, 0, 0), stop=(10, 10, 10))
    """

    shape: Triple
    block: Triple
    halo: Triple = (0, 0, 0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.block) < 1 or min(self.halo) < 0:
            raise ArgumentError(
                f"a grid needs positive edges: shape {self.shape}, block {self.block}, halo {self.halo}"
            )

    @property
    def counts(self) -> Triple:
        """Number of blocks along each axis."""
        return triple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def layout(self) -> dict[str, Any]:
        """Division into blocks, as it is recorded."""
        return {"shape": self.shape, "block": self.block}

    def __len__(self) -> int:
        return math.prod(self.counts)

    @property
    def volume(self) -> Box:
        """Box of the whole field."""
        return Box.whole(self.shape)

    def block_at(self, index: Triple) -> Block:
        """Return the block at a position of the block grid."""
        start = triple(i * b for i, b in zip(index, self.block, strict=True))
        core = Box(start, triple(a + b for a, b in zip(start, self.block, strict=True))).clip(
            self.volume
        )
        return Block(triple(index), core, core.grow(self.halo).clip(self.volume))

    def voxels(self, indices: Iterable[Triple]) -> tuple[int, int]:
        """Count the voxels that these blocks write, and the voxels that they read.

        >>> Grid((10, 10, 10), (4, 10, 10), halo=(1, 0, 0)).voxels([(0, 0, 0), (2, 0, 0)])
        (600, 800)
        """
        core, read = ([self._edges(axis, grown) for axis in range(3)] for grown in (False, True))
        written = taken = 0
        for z, y, x in indices:
            written += core[0][z] * core[1][y] * core[2][x]
            taken += read[0][z] * read[1][y] * read[2][x]
        return written, taken

    def _edges(self, axis: int, grown: bool) -> list[int]:
        """Length of each block along an axis: of its core, or (`grown`) of its read box."""
        n, step, halo = self.shape[axis], self.block[axis], self.halo[axis] if grown else 0
        return [min(n, start + step + halo) - max(0, start - halo) for start in range(0, n, step)]

    def indices(self) -> list[Triple]:
        """All block indices in Morton order, so that successive blocks read common voxels."""
        return sorted(itertools.product(*map(range, self.counts)), key=morton_key)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Block]:
        return (self.block_at(index) for index in self.indices())


def morton_key(index: Triple) -> int:
    """Position of a block on the Z-order curve.

    >>> morton_key((0, 0, 1)), morton_key((1, 0, 0)), morton_key((1, 1, 1))
    (1, 4, 7)
    """
    z, y, x = index
    return _spread(z) << 2 | _spread(y) << 1 | _spread(x)


@functools.lru_cache(maxsize=2**16)
def _spread(number: int) -> int:
    """Insert two zeros before each binary digit of a number.

    >>> bin(_spread(0b111))
    '0b1001001'
    """
    return int("00".join(f"{number:b}"), 2)
