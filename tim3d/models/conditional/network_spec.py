"""Layers of a conditional generator: which latent nodes a pixel depends on, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tim3d.errors import ArgumentError

KERNEL, DOUBLING = 3, 4
# Edge of the windows in which images are computed, rounded up to whole cells.
TILE = 64


@dataclass(frozen=True, slots=True)
class ConditionalSpec:
    """Layers of a `ConditionalGenerator`.

    Parameters
    ----------
    channels : int
        Channels of an image: 1 for two phases, one for each of more phases.
    conditions : int
        Numbers that the network is given beside the noise.
    widths : tuple of int
        Channels of the features at each level, from single pixels on; the edge of a cell doubles from
        one to the next, and a cell of the last level has a latent node.
    blocks : int
        Residual convolutions at the last level.
    latent : int
        Channels of the noise at each node.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> spec = ConditionalSpec(1, 4)
    >>> spec.cell, spec.nodes(0, 64), spec.pixels(-7, 21)
    (4, (-7, 21), (-2, 64))
    """

    channels: int
    conditions: int
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 3
    latent: int = 16

    def __post_init__(self) -> None:
        counts = (self.channels, self.conditions, self.blocks, self.latent, *self.widths)
        if len(self.widths) < 2 or min(counts) < 1:
            raise ArgumentError(
                "a conditional generator has two or more widths, and one or more channels, conditions, blocks and "
                f"channels of noise; given: {self}"
            )

    @property
    def levels(self) -> int:
        """Number of times that the edge of a cell is halved."""
        return len(self.widths) - 1

    @property
    def cell(self) -> int:
        """Distance of latent nodes in pixels; the network commutes with shifts by multiples of it only."""
        return int(2**self.levels)

    @property
    def tile(self) -> int:
        """Edge of the windows in which images are computed, in pixels."""
        return -(-TILE // self.cell) * self.cell

    @property
    def embedding(self) -> int:
        """Length of the vector that conditions become."""
        return self.widths[-1]

    def nodes(self, low: int, high: int) -> tuple[int, int]:
        """First node, and the one behind the last, that pixels `low` to `high` - 1 depend on.

        From the pixels back: a convolution adds one on both sides, a doubling halves the range.
        """
        low, high = low - 1, high + 1
        for _ in range(self.levels):
            low, high = (low - 1) // 2 - 1, -(-(high + 1) // 2)
        return low - 1 - self.blocks, high + 1 + self.blocks

    def pixels(self, first: int, last: int) -> tuple[int, int]:
        """First pixel, and the one behind the last, that nodes `first` to `last` - 1 determine."""
        first, last = first + 1 + self.blocks, last - 1 - self.blocks
        for _ in range(self.levels):
            first, last = 2 * first + 3, 2 * last - 1
        return first + 1, last - 1

    @property
    def reach(self) -> int:
        """Largest distance in cells of a node that a pixel depends on from the cell of the pixel."""
        first, last = self.nodes(0, self.cell)
        return max(-first, last - 1)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        size = self.embedding
        count = (2 * self.conditions + 1) * size + (size + 1) * size
        count += sum((places * a + 1) * b for places, _, a, b, _ in self._convolutions())
        return count + sum(width + (size + 1) * 2 * width for width in self._normalised())

    @property
    def multiplications(self) -> float:
        """Multiplications of the convolutions for each pixel, without the margins of a window."""
        return sum(
            taps * a * b / 2.0 ** (2 * level) for _, taps, a, b, level in self._convolutions()
        )

    def forward_bytes(self, edge: int) -> int:
        """Peak bytes of an evaluation in float32 of a window of an edge in pixels, without gradients."""
        return int(4 * self._voxels(edge) * 10 * self._busiest)

    def training_bytes(self, edge: int, batch: int) -> int:
        """Bytes of a step of the generator in float32 with windows of an edge.

        Weights with gradients, average and two moments, and all that the gradients of a layer need.
        """
        voxels = self._voxels(edge)
        kept = sum(12 * a / 2.0 ** (2 * level) for a, level in self._features())
        return int(4 * (5 * self.parameters + batch * voxels * kept))

    def _voxels(self, edge: int) -> int:
        """Pixels of the window that is computed for one of an edge."""
        first, last = self.pixels(*self.nodes(0, edge))
        return int((last - first + 4) ** 2)

    @property
    def _busiest(self) -> float:
        return max(width / 2.0 ** (2 * level) for width, level in self._features())

    def _features(self) -> Iterator[tuple[int, int]]:
        """Channels and level of the features behind every doubling and convolution."""
        for level, width in enumerate(self.widths):
            for _ in range(1 + (self.blocks if level == self.levels else 1)):
                yield width, level

    def _normalised(self) -> Iterator[int]:
        """Channels of the features that are normalised, scaled and shifted."""
        for width, _ in self._features():
            yield width

    def _convolutions(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Places of the kernel, multiplications of an output, channels before and after, level."""
        full = KERNEL**2
        yield full, full, self.latent, self.widths[-1], self.levels
        for _ in range(self.blocks):
            yield full, full, self.widths[-1], self.widths[-1], self.levels
        for level in range(self.levels):
            before, width = self.widths[level + 1], self.widths[level]
            yield DOUBLING**2, DOUBLING, before, width, level
            yield full, full, width, width, level
        yield full, full, self.widths[0], self.channels, 0


@dataclass(frozen=True, slots=True)
class CriticSpec:
    """Layers of a `ProjectionCritic`.

    Parameters
    ----------
    channels, conditions : int
        Channels of an image, and numbers of its conditions.
    widths : tuple of int
        Channels behind each convolution, which halves the edge.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    channels: int
    conditions: int
    widths: tuple[int, ...] = (32, 48, 64, 96)

    def __post_init__(self) -> None:
        if not self.widths or min(self.channels, self.conditions, *self.widths) < 1:
            raise ArgumentError(
                f"a critic has one or more channels, conditions and widths; given: {self}"
            )

    @property
    def parameters(self) -> int:
        """Number of weights."""
        last, entering = self.widths[-1], 2 * self.conditions
        count = (entering + 1) * last + (last + 1) * last + last + 1
        pairs = zip((self.channels, *self.widths), self.widths, strict=False)
        return count + sum((DOUBLING**2 * a + 1) * b for a, b in pairs)

    @property
    def smallest(self) -> int:
        """Least edge of a window."""
        return int(2 ** len(self.widths))

    def training_bytes(self, edge: int, batch: int) -> int:
        """Bytes of a step in float32 on as many real as generated windows of an edge."""
        kept = sum(6 * w / 4 ** (n + 1) for n, w in enumerate(self.widths)) + 6 * self.channels
        return int(4 * (6 * self.parameters + 2 * batch * edge**2 * kept))
