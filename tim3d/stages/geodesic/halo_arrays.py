"""Values of blocks under block relaxation: whole blocks, and copies of their outermost layers.

The halo of a block is read from the layers of its neighbours, so that a visit decodes no block but
its own. Each block is one chunk, and so is each pair of layers: a reader sees them entirely old or
entirely new. Along an axis that is divided into blocks, with layers d voxels thick:

    values    |LLLL..............HHHH|LLLL..............HHHH|     one chunk a block
               block i                block i + 1
    layers    |LLLLHHHH|LLLLHHHH|                                 one chunk of 2 d voxels a block
               2 d i     2 d (i + 1)

    high halo of block i      = layers[2 d (i + 1) : 2 d (i + 1) + d]      L of block i + 1
    low halo of block i + 1   = layers[2 d (i + 1) - d : 2 d (i + 1)]      H of block i

The last block may be thinner than d: its L begins and its H ends where a whole one would.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.grid import Block, Box, Triple, triple
from tim3d.stages.geodesic.block_relaxation import Visits
from tim3d.storage import scratch, store
from tim3d.storage.schema import AXES

# Fill value: the value is not yet known.
EMPTY = 2**32 - 1
# In a layer: a voxel outside of the region, which never gets a value.
OUTSIDE = EMPTY - 1


@dataclass(frozen=True)
class Borders:
    """Arrays of one kind of value (uint32) of several volumes, in a temporary node of the sample.

    `depth` is the thickness of a layer in voxels.
    """

    sample: str
    node: str
    kind: str
    visits: Visits
    depth: int

    def create(self, volume: int) -> None:
        """Create arrays without values for one volume."""
        counts, edge = self.visits.counts, self.visits.block
        scratch.create(self.sample, self._path(volume), self.visits.shape, edge, EMPTY)
        for axis in self._cut_axes():
            chunk = _with(edge, axis, 2 * self.depth)
            shape = triple(n * c for n, c in zip(counts, chunk, strict=True))
            scratch.create(self.sample, self._path(volume, axis), shape, chunk, EMPTY)

    def _cut_axes(self) -> list[int]:
        return [axis for axis in range(3) if self.visits.counts[axis] > 1]

    def _path(self, volume: int, axis: int | None = None) -> str:
        return f"{self.node}/{volume}/{self.kind}" + ("" if axis is None else f"_{AXES[axis]}")

    def _array(self, block: Block, axis: int | None = None) -> Any:
        path = self._path(self.visits.volume_of(block.index), axis)
        return _opened(self.sample, path, self.visits.shape, self.visits.block, self.depth)

    def read(self, block: Block) -> np.ndarray:
        """Read the values of a block's core, which may reach into other blocks.

        One after another: each is decoded as a whole.
        """
        array, core = self._array(block), block.core
        values = np.empty(core.shape, np.uint32)
        edges = zip(core.start, core.stop, self.visits.block, strict=True)
        for place in itertools.product(*(range(a // edge, -(-b // edge)) for a, b, edge in edges)):
            part = Visits.block_at(self.visits, triple(place)).core.clip(core)
            values[part.within(core).slices] = store.read_box(array, part)
        return values

    def read_beside(self, block: Block, offset: Triple) -> np.ndarray:
        """Read the layer of a neighbour that faces this block, at most `depth` voxels thick."""
        place = triple(i + o for i, o in zip(self.visits.within(block.index), offset, strict=True))
        axis = next(a for a in range(3) if offset[a])
        core = Visits.block_at(self.visits, place).core
        sides = [_side(core.start[a], core.stop[a], offset[a], self.depth) for a in range(3)]
        middle, thick = (2 * place[axis] + 1) * self.depth, min(self.depth, core.shape[axis])
        first = middle - self.depth if offset[axis] > 0 else middle + self.depth - thick
        sides[axis] = (first, first + thick)
        low, high = zip(*sides, strict=True)
        return store.read_box(self._array(block, axis), Box(triple(low), triple(high)))

    def write(
        self, block: Block, values: np.ndarray, inside: np.ndarray | None = None, *, durable: bool
    ) -> None:
        """Write a block and its layers; where `inside` is 0 the layers hold `OUTSIDE`."""
        place = self.visits.within(block.index)
        for axis in self._cut_axes():
            chunk = _with(self.visits.block, axis, 2 * self.depth)
            layers = np.full(chunk, EMPTY, np.uint32)
            for kept, cut in _layers(values.shape, axis, self.depth):
                layer = values[cut]
                layers[kept] = (
                    layer if inside is None else np.where(inside[cut] != 0, layer, OUTSIDE)
                )
            start = triple(i * c for i, c in zip(place, chunk, strict=True))
            box = Box(start, triple(a + c for a, c in zip(start, chunk, strict=True)))
            scratch.write(self._array(block, axis), box, layers, durable=durable)
        scratch.write(self._array(block), block.core, values, durable=durable)


@functools.lru_cache(maxsize=256)
def _opened(sample: str, path: str, *layout: Any) -> Any:
    """Open an array, once per process: opening takes longer than reading a layer.

    `layout` is part of the cache key, so that an array recreated with another shape is reopened.
    """
    return scratch.array(sample, path)


def _with(edges: Triple, axis: int, value: int) -> Triple:
    return triple(value if a == axis else e for a, e in enumerate(edges))


def _side(start: int, stop: int, offset: int, deep: int) -> tuple[int, int]:
    """Range along one axis of the part of a neighbour that faces this block."""
    if offset == 0:
        return start, stop
    return (start, min(start + deep, stop)) if offset > 0 else (max(start, stop - deep), stop)


def _layers(
    shape: tuple[int, ...], axis: int, depth: int
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices of the low and the high layer, in the array of layers and in the block."""
    thick = min(depth, shape[axis])
    parts = [
        (slice(0, thick), slice(0, thick)),
        (slice(2 * depth - thick, 2 * depth), slice(shape[axis] - thick, None)),
    ]
    for kept, cut in parts:
        whole = [slice(0, n) for n in shape]
        yield (
            tuple(kept if a == axis else s for a, s in enumerate(whole)),
            tuple(cut if a == axis else s for a, s in enumerate(whole)),
        )


def facing_layer(values: np.ndarray, offset: Triple, deep: int) -> np.ndarray:
    """The part of a block that faces the neighbour at an offset, `deep` voxels thick."""
    return values[
        tuple(slice(*_side(0, n, o * -1, deep)) for n, o in zip(values.shape, offset, strict=True))
    ]


def padded(
    core: np.ndarray, halo: Mapping[Triple, np.ndarray], deep: Triple, empty: int
) -> np.ndarray:
    """Pad a block with a frame `deep` voxels thick that holds its neighbours' layers, or `empty`.

     deep    core    deep
    |-1,-1| -1, 0  |-1,+1|      pieces by offset; each lies against the core,
    | 0,-1|  core  | 0,+1|      also where it is thinner than the frame
    |+1,-1| +1, 0  |+1,+1|
    """
    out = np.full([n + 2 * d for n, d in zip(core.shape, deep, strict=True)], empty, core.dtype)
    core_view(out, deep)[...] = core
    for offset, piece in halo.items():
        halo_view(out, deep, offset, piece.shape)[...] = piece
    return out


def core_view(values: np.ndarray, deep: Triple) -> np.ndarray:
    """The core of a padded block."""
    return values[tuple(slice(d, n - d) for n, d in zip(values.shape, deep, strict=True))]


def halo_view(
    values: np.ndarray, deep: Triple, offset: Triple, shape: tuple[int, ...]
) -> np.ndarray:
    """View of the layer, of this shape, of the neighbour at an offset in a padded block."""
    edges = zip(offset, values.shape, deep, shape, strict=True)
    return values[tuple(_halo_slice(o, n - 2 * d, d, thick) for o, n, d, thick in edges)]


def _halo_slice(offset: int, edge: int, deep: int, thick: int) -> slice:
    if offset == 0:
        return slice(deep, deep + edge)
    return slice(deep + edge, deep + edge + thick) if offset > 0 else slice(deep - thick, deep)
