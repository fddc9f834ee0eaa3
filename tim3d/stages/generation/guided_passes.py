"""Block work of a guided step: a pass of velocities and codes of soft shares, and one that moves the state.

What lies between the two passes is in the sample, beside the states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.errors import ConvergenceError
from tim3d.grid import Block, Box, Triple, triple
from tim3d.kernels.generation.guidable import Guidable
from tim3d.kernels.generation.guidance import (
    LEVELS,
    Move,
    log_factors,
    moved_estimate,
    soft_codes,
    steepness,
)
from tim3d.kernels.generation.iterated import (
    Means,
    State,
    advanced,
    covering,
    sums_of,
    tiles,
)
from tim3d.kernels.generation.reverse_process import Evaluation, moved
from tim3d.stages.generation.iteration import States
from tim3d.storage import scratch, shards


@dataclass(frozen=True)
class Between:
    """Arrays between the two passes of a guided step, beside the states."""

    states: States
    generator: Guidable

    @property
    def volume(self) -> Box:
        """The volume, by its place in the arrays of the domain."""
        back = triple(-a for a in self.generator.domain.start)
        return Box.whole(self.generator.shape).shift(back)

    def create(self) -> None:
        """Create the arrays; a chunk is a tile."""
        made, guide = self.generator, self.generator.guide
        assert guide is not None
        chunk = triple(min(n, made.tile_edge) for n in made.domain.shape)
        for name, kind in (("velocity", "float32"), ("codes", "uint8")):
            scratch.create(self.states.sample, self.path(name), made.domain.shape, chunk, 0, kind)
        if guide.solves:
            small = triple(min(a, b) for a, b in zip(chunk, made.shape, strict=True))
            self._create("heat", made.shape, small)
            for turn in range(2):
                shape = turned_shape(made.shape, guide.axis)
                self._create(f"guess_{turn}", shape, triple(min(n, made.tile_edge) for n in shape))

    def _create(self, name: str, shape: Triple, chunk: Triple) -> None:
        scratch.create(self.states.sample, self.path(name), shape, chunk, 0, "float32")

    def path(self, name: str) -> str:
        """Path of an array."""
        return f"{self.states.node}/{name}"

    def read(self, name: str, box: Box) -> np.ndarray:
        """Values of a box, by its place in the array."""
        return shards.read_box(scratch.array(self.states.sample, self.path(name), "r"), box)

    def write(self, name: str, box: Box, values: np.ndarray, *, durable: bool) -> None:
        """Write whole tiles, or a whole array."""
        array = scratch.array(self.states.sample, self.path(name))
        scratch.write(array, box, values, durable=durable)

    @property
    def bytes(self) -> int:
        """Bytes of the arrays before compression."""
        made, guide = self.generator, self.generator.guide
        solved = 12 * math.prod(made.shape) if guide is not None and guide.solves else 0
        return 5 * math.prod(made.domain.shape) + solved


@dataclass(frozen=True)
class VelocityWork:
    """Block work of the first pass of a guided step: velocities, and codes of the soft shares."""

    between: Between
    number: int
    durable: bool
    means: Means | None = None

    def read(self, block: Block) -> State:
        """Read the state before around the tiles of the block."""
        made = self.between.generator
        cover = covering(made, _place(made, block.core))
        return self.between.states.read(self.number - 1, cover.grow(made.reach(self.number)))

    def compute(self, block: Block, inputs: State) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Velocities, codes, and their sums in the volume.

        Raises
        ------
        ConvergenceError
            If a velocity is not finite.
        """
        made, core = self.between.generator, _place(self.between.generator, block.core)
        if self.means is not None:
            inputs = made.balanced(self.number, inputs, self.means)
        velocity = advanced(made, self.number, core, inputs, None, self._velocity)[0]
        if not np.isfinite(velocity).all():
            raise ConvergenceError(
                f"pass {self.number} of {made.passes} gave velocities that are not finite near voxel {core.start}: the "
                f"network is broken, or {made.stored} is too narrow"
            )
        reach = made.reach(self.number)
        cover = covering(made, core)
        state = inputs[0][core.within(cover.grow(reach)).slices]
        time = self._one.at
        codes = soft_codes(state + np.float32(1 - time) * velocity, steepness(time))
        return velocity, codes, self._sums(block.core, velocity, codes)

    @property
    def _one(self) -> Evaluation:
        return self.between.generator.process.evaluations()[self.number - 1]

    def _velocity(self, number: int, tile: Box, before: State, earlier: State | None) -> State:
        return self.between.generator.velocity(number, tile, before)

    def _sums(self, core: Box, velocity: np.ndarray, codes: np.ndarray) -> dict[str, Any]:
        """Voxels of each code, and of each tile the sum of the squares of the velocities."""
        inner, edge = self.between.volume.clip(core), self.between.generator.tile_edge
        if min(inner.shape) < 1:
            return {"counts": [0] * LEVELS, "squares": []}
        counts = np.zeros(LEVELS, np.int64)
        for plane in codes[inner.within(core).slices]:
            counts += np.bincount(plane.ravel(), minlength=LEVELS)
        squares = [
            float(np.square(velocity[part.within(core).slices], dtype=np.float64).sum()).hex()
            for part in _parts(core, inner, edge)
        ]
        return {"counts": counts.tolist(), "squares": squares}

    def write(
        self, block: Block, outputs: tuple[np.ndarray, np.ndarray, dict[str, Any]]
    ) -> dict[str, Any]:
        """Write whole tiles, and return the sums."""
        velocity, codes, sums = outputs
        for name, values in (("velocity", velocity), ("codes", codes)):
            self.between.write(name, block.core, values, durable=self.durable)
        return sums

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the states, velocities, codes, and of a tile."""
        made = self.between.generator
        reach, edge = made.reach(self.number), made.tile_edge
        cover = [-(-n // edge) * edge for n in core]
        window = math.prod(n + 2 * r for n, r in zip(cover, reach, strict=True))
        tile = math.prod(edge + 2 * r for r in reach)
        return 12 * window + 4 * tile + 56 * math.prod(core) + made.advance_bytes


@dataclass(frozen=True)
class MoveWork:
    """Block work of the second pass of a guided step: the state after it."""

    between: Between
    number: int
    move: Move
    durable: bool
    means: Means | None = None

    def read(self, block: Block) -> tuple[State, np.ndarray, np.ndarray, np.ndarray | None]:
        """Read state, velocity, codes, and the derivatives of the conductivity within the volume."""
        made, between, inner = self.between.generator, self.between, self._inner(block)
        state = between.states.read(self.number - 1, _place(made, block.core))
        heat = None
        if self.move.heated and min(inner.shape) > 0:
            heat = between.read("heat", inner.shift(made.domain.start))
        return (
            state,
            between.read("velocity", block.core),
            between.read("codes", block.core),
            heat,
        )

    def compute(
        self,
        block: Block,
        inputs: tuple[State, np.ndarray, np.ndarray, np.ndarray | None],
    ) -> State:
        """State after the step, with the estimate of the data moved in the volume."""
        state, velocity, codes, heat = inputs
        if self.means is not None:
            state = self.between.generator.balanced(self.number, state, self.means)
        made, inner = self.between.generator, self._inner(block)
        one, guide = made.process.evaluations()[self.number - 1], made.guide
        assert guide is not None
        if min(inner.shape) > 0:
            at = inner.within(block.core).slices
            factors = log_factors(*guide.conductivities) if guide.conductivities else None
            move = moved_estimate(codes[at], heat, factors, self.move, steepness(one.at))
            velocity = velocity.copy()
            velocity[at] = guided_velocity(one, velocity[at], move)
        noise = made.noise(self.number, _place(made, block.core))
        return moved(one, state, velocity[None], None, noise).astype(made.stored)

    def _inner(self, block: Block) -> Box:
        return self.between.volume.clip(block.core)

    def write(self, block: Block, outputs: State) -> dict[str, Any]:
        """Write whole tiles, and return the sums from which the mean of the state follows."""
        self.between.states.write(self.number, block.core, outputs, durable=self.durable)
        return {"sums": sums_of(outputs)} if self.between.generator.balances else {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of state, velocity, codes and derivatives, of copies, of noise, and of numbers of 8 bytes."""
        drawn = self.between.generator.process.evaluations()[self.number - 1].drawn[0]
        return (96 + 32 * drawn) * math.prod(core)


def guided_velocity(one: Evaluation, velocity: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Velocity that leads to an estimate of the data that is moved.

    >>> guided_velocity(Evaluation(0.5, 0.5, 0.75), np.float32([1.0]), np.float32([0.2])).round(6).tolist()
    [1.399999976158142]
    """
    return np.asarray(velocity + move / np.float32(1 - one.at), np.float32)


def _place(made: Guidable, core: Box) -> Box:
    return core.shift(made.domain.start)


def _parts(core: Box, inner: Box, edge: int) -> Iterator[Box]:
    """Parts of the tiles of a block that lie in the volume."""
    whole = Box(
        core.start,
        triple(a + -(-n // edge) * edge for a, n in zip(core.start, core.shape, strict=True)),
    )
    for tile in tiles(whole, edge):
        part = tile.clip(inner)
        if min(part.shape) > 0:
            yield part


def turned_shape(shape: Triple, axis: int) -> Triple:
    """Shape with an axis first."""
    return triple((shape[axis], *(n for a, n in enumerate(shape) if a != axis)))
