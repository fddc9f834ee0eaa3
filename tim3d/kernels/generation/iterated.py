"""Generators whose volume is the last of a sequence of states, each made from the one before it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.generator import Generator, repeats

# A state, (channels, z, y, x).
State = npt.NDArray[np.floating]
# Mean of a state over its domain, in each channel.
Means = tuple[float, ...]
# Fixed point, in which sums of values do not depend on their order.
ONE = 2.0**24
# Of the number of a pass, a tile, and the states before.
Advance = Callable[[int, Box, State, State | None], State]


class Iterated(Generator):
    """Generator whose volume is the last of a sequence of states, each a local function of the one before.

    `tim3d.generate` makes each state in a pass over blocks and keeps the last two or three in the
    sample, so that a volume of any size costs the memory of a block and no work is done twice. A
    state is computed in tiles that are fixed in the domain: no bit depends on the blocks, the
    workers or a kill.

    Attributes
    ----------
    shape : (z, y, x)
        Voxels of the volume, which begins at (0, 0, 0).
    domain : Box
        Voxels of a state, among them the volume. A state continues itself periodically across
        opposite faces of the domain, so that no voxel lies at a border.
    passes : int
        States after the first one.
    channels : int
        Numbers of a state in each voxel.
    stored : {"float32", "float16"}
        Type in which states are stored.
    remembers : int
        States that a pass looks at: 1, the one before, or 2.
    share : float, optional
        Share of the voxels of the volume that lie below the cut of the last state (default: the cut
        is 0). It needs one channel.
    balances : bool
        Whether the mean of a state over the domain, in each channel, is set before a pass looks at
        it; see `balanced`.
    """

    __slots__ = ()
    shape: Triple
    domain: Box
    passes: int
    channels: int = 1
    stored: str = "float32"
    remembers: int = 1
    share: float | None = None
    balances: bool = False

    @property
    @abstractmethod
    def tile_edge(self) -> int:
        """Edge of a tile in voxels; tiles start at the domain's first voxel."""

    @abstractmethod
    def reach(self, number: int) -> Triple:
        """Voxels around a tile that pass `number` (1, 2, ...) looks at, in the state before."""

    @abstractmethod
    def begin(self, box: Box) -> State:
        """Compute the first state of a box within the domain; (channels, z, y, x), float32."""

    @abstractmethod
    def advance(self, number: int, tile: Box, before: State, earlier: State | None) -> State:
        """Compute the state of a tile after pass `number`.

        Parameters
        ----------
        number : int
            The pass, from 1.
        tile : Box
            The tile, which may end beyond the domain: these voxels are cut.
        before : (channels, z, y, x) float32
            The state before, of the tile with `reach` voxels around it.
        earlier : (channels, z, y, x) float32, optional
            The state before that, of the tile alone, where `remembers` is 2 and there is one.

        Returns
        -------
        (channels, z, y, x)
            The state of the tile.
        """

    def balanced(self, number: int, before: State, means: Means) -> State:
        """State of a box before pass `number`, moved so that the mean over the domain is as it should be.

        Parameters
        ----------
        number : int
            The pass, from 2.
        before : (channels, z, y, x)
            The state of a box.
        means : tuple of float
            Its mean over the domain in each channel.
        """
        raise NotImplementedError(f"the generator {self.kind!r} sets no means")

    @property
    @abstractmethod
    def advance_bytes(self) -> int:
        """Memory in bytes while a tile is advanced, besides the states of the block."""

    @abstractmethod
    def finished(self, last: State, cut: float) -> np.ndarray:
        """Labels from the last state of a box; uint8. With a share, label 0 lies below the cut."""

    def labels(self, box: Box) -> np.ndarray:
        """Labels of a box of the volume; the last state of the whole domain is kept in memory."""
        last = last_state(self)
        return self.finished(
            gathered(self, box, lambda part: last[_at(part, self.domain)]), self.cut_of(last)
        )

    def cut_of(self, last: State) -> float:
        """Value of the last state at which it is cut."""
        if self.share is None:
            return 0.0
        volume = last[_at(Box.whole(self.shape), self.domain)]
        return float(np.sort(volume, axis=None)[rank_of_cut(self.share, volume.size)])

    def block_bytes(self, core: Triple) -> int:
        """Memory in bytes of the states of the whole domain, and of a tile."""
        states = (self.remembers + 2) * self.channels * math.prod(self.domain.shape)
        return 4 * states + self.advance_bytes + math.prod(core)


def rank_of_cut(share: float, voxels: int) -> int:
    """Number, in ascending order from 0, of the value at which a state is cut.

    Values below it are a share of all values, as exactly as ties allow.

    >>> rank_of_cut(0.25, 8), rank_of_cut(1.0, 8)
    (2, 7)
    """
    return min(round(share * voxels), voxels - 1)


def sums_of(state: State) -> list[int]:
    """Sum of the values of each channel in fixed point.

    >>> sums_of(np.full((2, 1, 1, 2), [[[[0.5, 1.0]]], [[[0.0, -1.0]]]])) == [3 * 2**23, -(2**24)]
    True
    """
    return [int(np.rint(one.astype(np.float64) * ONE).astype(np.int64).sum()) for one in state]


def means_of(sums: Sequence[int], voxels: int) -> Means:
    """Mean in each channel from sums in fixed point.

    >>> means_of([3 * 2**23, -(2**24)], 2)
    (0.75, -0.5)
    """
    return tuple(one / voxels / ONE for one in sums)


def covering(generator: Iterated, core: Box) -> Box:
    """Tiles that a box intersects, as one box, which may end beyond the domain."""
    edge, origin = generator.tile_edge, generator.domain.start
    low = triple(a - (a - o) % edge for a, o in zip(core.start, origin, strict=True))
    high = triple(b + (o - b) % edge for b, o in zip(core.stop, origin, strict=True))
    return Box(low, high)


def gathered(generator: Iterated, box: Box, read: Callable[[Box], State]) -> State:
    """State of a box that may lie across faces of the domain; `read` gives it within the domain."""
    domain = generator.domain
    out = np.empty((generator.channels, *box.shape), np.float32)
    inside = box.shift(triple(-a for a in domain.start))
    for place, source in repeats(inside, domain.shape):
        out[(slice(None), *place)] = read(source.shift(domain.start))
    return out


def advanced(
    generator: Iterated,
    number: int,
    core: Box,
    before: State,
    earlier: State | None,
    by: Advance | None = None,
) -> State:
    """State of a box after a pass, tile by tile.

    Parameters
    ----------
    generator : Iterated
        The generator.
    number : int
        The pass, from 1.
    core : Box
        The box, within the domain.
    before : (channels, z, y, x)
        The state before, of the tiles that cover the box with their reach around them.
    earlier : (channels, z, y, x), optional
        The state before that, of these tiles.
    by : callable, optional
        What is computed of a tile (default: the `advance` of the generator).

    Returns
    -------
    (channels, z, y, x)
        The state of the box, in the type in which it is stored; by another function float32.
    """
    cover, reach = covering(generator, core), generator.reach(number)
    out = np.empty((generator.channels, *core.shape), np.float32 if by else generator.stored)
    for tile in tiles(cover, generator.tile_edge):
        window = before[_at(tile.grow(reach), cover.grow(reach))]
        one = None if earlier is None else earlier[_at(tile, cover)]
        made = (by or generator.advance)(number, tile, np.ascontiguousarray(window), one)
        part = tile.clip(core)
        out[_at(part, core)] = made[_at(part, tile)]
    return out


@lru_cache(maxsize=1)
def last_state(generator: Iterated) -> State:
    """Last state of the whole domain, computed in memory as one block."""
    domain = generator.domain
    cover = covering(generator, domain)
    states: list[State] = [generator.begin(domain)]

    def around(age: int, box: Box) -> State:
        return gathered(generator, box, lambda part: states[-age][_at(part, domain)])

    for number in range(1, generator.passes + 1):
        before = around(1, cover.grow(generator.reach(number)))
        if generator.balances and number > 1:
            means = means_of(sums_of(states[-1]), math.prod(domain.shape))
            before = generator.balanced(number, before, means)
        earlier = around(2, cover) if generator.remembers > 1 and number > 1 else None
        states = [*states[-1:], advanced(generator, number, domain, before, earlier)]
    return states[-1]


def _at(box: Box, outer: Box) -> tuple[slice, ...]:
    return (slice(None), *box.within(outer).slices)


def tiles(cover: Box, edge: int) -> Iterator[Box]:
    """Tiles of a box that is made of whole ones."""
    ranges = [range(a, b, edge) for a, b in zip(cover.start, cover.stop, strict=True)]
    for start in product(*ranges):
        yield Box(triple(start), triple(a + edge for a in start))
