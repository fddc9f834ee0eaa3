"""Layers of a local network: how far a voxel sees, which shifts it commutes with, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from tim3d.errors import ArgumentError

Objective = Literal["flow", "ddpm"]
KERNEL = 3
# Convolutions of a block.
CONVOLUTIONS = 2
# Sine and cosine of this many frequencies of the time are the input of its embedding.
FREQUENCIES = 16


@dataclass(frozen=True, slots=True)
class LocalNetworkSpec:
    """Layers of a `LocalNetwork`.

    Parameters
    ----------
    dimensions : int
        2 for images, 3 for volumes.
    channels : int
        Channels of the state: 1 for grey values or two phases, one for each of more phases.
    widths : tuple of int
        Channels of the features at each level; the edge of a cell doubles from one to the next.
    blocks : int
        Residual blocks at each level, on the way down and again on the way up.
    unshuffle : int
        Edge in voxels of a cell of the first level.
    conditions : int
        Numbers that the network is given beside the state.
    objective : {"flow", "ddpm"}
        Output of the network: the velocity data - noise on the straight path from noise to data, or
        the noise in x = sqrt(a) data + sqrt(1 - a) noise.
    coarse : int
        Channels that the network is given beside the state: 1 for the local fraction of a phase.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> spec = LocalNetworkSpec(2, 1, (32, 48))
    >>> spec.reach, spec.multiple, spec.halo
    (31, 4, 32)
    """

    dimensions: int
    channels: int
    widths: tuple[int, ...]
    blocks: int = 1
    unshuffle: int = 2
    conditions: int = 0
    objective: Objective = "flow"
    coarse: int = 0

    def __post_init__(self) -> None:
        counts = (self.channels, self.blocks, self.unshuffle, *self.widths)
        if self.dimensions not in (2, 3) or not self.widths or min(counts) < 1:
            raise ArgumentError(
                f"a local network has 2 or 3 dimensions, and one or more channels, blocks, widths and voxels in a "
                f"cell; given: {self}"
            )
        if self.coarse not in (0, 1):
            raise ArgumentError(
                f"a local network is given the local fraction of one phase or of none, not of {self.coarse}"
            )
        if self.conditions < 0 or self.objective not in get_args(Objective):
            raise ArgumentError(
                f"a local network has 0 or more conditions and the objective flow or ddpm; given: {self}"
            )

    @property
    def levels(self) -> int:
        """Number of times that the edge of a cell doubles."""
        return len(self.widths) - 1

    @property
    def multiple(self) -> int:
        """Edge in voxels of a cell of the last level.

        The network commutes with shifts by multiples of it only, so that windows begin and end at
        multiples of it, counted from the origin of the volume.
        """
        return int(self.unshuffle * 2**self.levels)

    @property
    def reach(self) -> int:
        """Largest distance in voxels, along an axis, of a voxel of the input that one of the output depends on."""
        return max(
            max(place - first, last - place)
            for place in range(self.multiple)
            for first, last in [self.support(place)]
        )

    @property
    def halo(self) -> int:
        """The reach, rounded up to whole cells: what a window reads around what it computes."""
        return -(-self.reach // self.multiple) * self.multiple

    def support(self, place: int) -> tuple[int, int]:
        """First and last voxel along an axis on which the output at a place depends.

        From the output back to the input: a convolution adds a cell on both sides, a change of level halves or
        doubles the range.

        Examples
        --------
        >>> LocalNetworkSpec(3, 1, (8,), unshuffle=1).support(0)  # 6 convolutions
        (-6, 6)
        """
        stage = CONVOLUTIONS * self.blocks * (KERNEL // 2)
        first = last = place // self.unshuffle
        first, last = first - KERNEL // 2, last + KERNEL // 2
        for _ in range(self.levels):
            first, last = (first - stage) // 2, (last + stage) // 2
        # The lowest level has the blocks of both ways; each level above adds those of the way down.
        first, last = first - 2 * stage, last + 2 * stage
        for _ in range(self.levels):
            first, last = 2 * first - stage, 2 * last + 1 + stage
        first, last = first - KERNEL // 2, last + KERNEL // 2
        return self.unshuffle * first, self.unshuffle * last + self.unshuffle - 1

    @property
    def inputs(self) -> int:
        """Channels of the state after unshuffling: the voxels of a cell of the first level."""
        return int(self.channels * self.unshuffle**self.dimensions)

    @property
    def entering(self) -> int:
        """Channels that enter the first convolution: those of the state, and what is given beside it."""
        return int((self.channels + self.coarse) * self.unshuffle**self.dimensions)

    @property
    def multiplications(self) -> float:
        """Multiplications of the convolutions for each voxel of the output."""
        return sum(
            kernel * before * after / self._voxels(level)
            for kernel, before, after, level in self._convolutions()
        )

    @property
    def embedding(self) -> int:
        """Length of the vector that time and conditions become."""
        return 4 * self.widths[0]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        size, entering = self.embedding, 2 * FREQUENCIES + 2 * self.conditions
        count = (entering + 1) * size + (size + 1) * size + self.widths[0]
        count += sum((kernel * a + 1) * b for kernel, a, b, _ in self._convolutions())
        for before, width, _ in self._blocks():
            count += before + width + (size + 1) * 2 * width  # gains, scales and shifts
        return count

    def training_bytes(self, edge: int, batch: int) -> int:
        """Bytes of a training step in float32 on crops of an edge.

        Weights with gradients, average and two moments; and all that the gradients of a block need,
        with its gradients and copies: eight times the features before it, ten times those in it.
        """
        kept = sum((8 * a + 10 * b) / self._voxels(level) for a, b, level in self._blocks())
        kept += 8 * (self.channels + self.coarse) + 4 * self.widths[0] / self._voxels(0)
        return int(4 * (5 * self.parameters + batch * edge**self.dimensions * kept))

    def forward_bytes(self, shape: tuple[int, ...]) -> int:
        """Peak bytes of an evaluation in float32 of a window of this shape, without gradients.

        State and output, the features that wait for the way up, and at the widest level 15 times its
        features: the joined ones, intermediate results and the copies of a convolution.
        """
        voxels = math.prod(shape)
        waiting = sum(w / self._voxels(n) for n, w in enumerate(self.widths[:-1]))
        busiest = max(15 * w / self._voxels(n) for n, w in enumerate(self.widths))
        return int(4 * voxels * (4 * (self.channels + self.coarse) + waiting + busiest))

    def _voxels(self, level: int) -> int:
        return int((self.unshuffle * 2**level) ** self.dimensions)

    def _convolutions(self) -> Iterator[tuple[int, int, int, int]]:
        """Places of the kernel, channels before and after, and level of every convolution."""
        full, last = KERNEL**self.dimensions, self.levels
        yield full, self.entering, self.widths[0], 0
        for before, width, level in self._blocks():
            yield full, before, width, level
            yield full, width, width, level
            if before != width:
                yield 1, before, width, level
        for level, width in enumerate(self.widths):
            if level < last:
                below = self.widths[level + 1]
                yield 2**self.dimensions, width, below, level + 1
                yield 1, below, width, level + 1
        yield full, self.widths[0], self.inputs, 0

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Channels before and in every block, and its level."""
        for level, width in enumerate(self.widths):
            joined = width if level == self.levels else 2 * width
            for entering in (width, joined):
                for block in range(self.blocks):
                    yield width if block else entering, width, level
