"""Passes of a generator whose volume is the last of many states, which lie in the sample meanwhile.

Two arrays take turns, or three where a pass looks at two states: no block reads what another one of
the same pass writes, and a block that a kill interrupts is computed again from what it read before.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.engine import Ledger, Outline, Pass, Plan, run
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import BASE_BYTES, TORCH_BASE_BYTES
from tim3d.errors import ConvergenceError
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.kernels.generation.generator import Generator
from tim3d.kernels.generation.iterated import (
    Iterated,
    Means,
    State,
    advanced,
    covering,
    gathered,
    means_of,
    rank_of_cut,
    sums_of,
)
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.unfinished import Unfinished
from tim3d.storage import scratch, shards, store

log = logging.getLogger(__name__)
# Bits of a value, from the highest on, that a pass counts to find the cut.
DIGITS = (11, 11, 10)
# Edge of a block in voxels, unless a tile is longer: what a kill costs of every worker.
BLOCK = 128
# Change of a phase fraction by the cut beyond which interfaces become rough, where the state has two steep humps.
LARGE_SHIFT = 0.02


@dataclass(frozen=True)
class States:
    """States of a generator in the scratch node of a sample, in arrays that take turns."""

    sample: str
    node: str
    generator: Iterated

    def create(self) -> None:
        """Create the arrays; a chunk is a tile."""
        domain, tile = self.generator.domain.shape, self.generator.tile_edge
        chunk = triple(min(n, tile) for n in domain)
        for number in range(1, min(self.slots, self.generator.passes) + 1):
            for path in self._paths(number):
                scratch.create(self.sample, path, domain, chunk, 0, self.generator.stored)

    @property
    def slots(self) -> int:
        """Arrays of a channel."""
        return self.generator.remembers + 1

    @property
    def voxel_bytes(self) -> int:
        """Bytes of a state in each voxel."""
        return np.dtype(self.generator.stored).itemsize * self.generator.channels

    @property
    def bytes(self) -> int:
        """Bytes of all arrays before compression."""
        arrays = min(self.slots, self.generator.passes)
        return arrays * self.voxel_bytes * math.prod(self.generator.domain.shape)

    def read(self, number: int, box: Box) -> State:
        """State after a pass, of a box that may lie across faces of the domain; float32."""
        made = self.generator
        if number == 0:
            return gathered(made, box, made.begin)
        arrays = [scratch.array(self.sample, path, "r") for path in self._paths(number)]
        back = triple(-a for a in made.domain.start)
        return gathered(
            made,
            box,
            lambda part: np.stack([shards.read_box(one, part.shift(back)) for one in arrays]),
        )

    def write(self, number: int, core: Box, state: State, *, durable: bool) -> None:
        """Write the state of a box of whole tiles, given by its place in the array."""
        for path, values in zip(self._paths(number), state, strict=True):
            scratch.write(scratch.array(self.sample, path), core, values, durable=durable)

    def _paths(self, number: int) -> list[str]:
        channels = range(self.generator.channels)
        return [f"{self.node}/state_{number % self.slots}_{channel}" for channel in channels]


@dataclass(frozen=True)
class StepWork:
    """Block work of one pass: the states before, with what lies around, become the next one.

    Parameters
    ----------
    states : States
        The states.
    number : int
        The pass, from 1.
    durable : bool
        Whether a block is on disk before it counts as written.
    means : tuple of float, optional
        Mean of the state before over the domain, where the generator sets it.
    """

    states: States
    number: int
    durable: bool
    means: Means | None = None

    def read(self, block: Block) -> tuple[State, State | None]:
        """Read the state before around the tiles of the block, and of these the one before that."""
        generator, number = self.states.generator, self.number
        cover = covering(generator, self._place(block.core))
        before = self.states.read(number - 1, cover.grow(generator.reach(number)))
        earlier = generator.remembers > 1 and number > 1
        return before, self.states.read(number - 2, cover) if earlier else None

    def compute(self, block: Block, inputs: tuple[State, State | None]) -> State:
        """Advance the tiles of the block.

        Raises
        ------
        ConvergenceError
            If a value of the new state is not finite.
        """
        generator, core = self.states.generator, self._place(block.core)
        before, earlier = inputs
        if self.means is not None:
            before = generator.balanced(self.number, before, self.means)
        made = advanced(generator, self.number, core, before, earlier)
        if not np.isfinite(made).all():
            raise ConvergenceError(
                f"pass {self.number} of {generator.passes} of the generator {generator.kind!r} gave values that are "
                f"not finite near voxel {core.start}: its network is broken, or {generator.stored} is too narrow"
            )
        return made

    def write(self, block: Block, outputs: State) -> dict[str, Any]:
        """Write whole tiles, and return the sums from which the mean of the state follows."""
        self.states.write(self.number, block.core, outputs, durable=self.durable)
        return {"sums": sums_of(outputs)} if self.states.generator.balances else {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the states, of their parts while they are decoded, and of a tile."""
        generator = self.states.generator
        reach, edge = generator.reach(self.number), generator.tile_edge
        cover = [-(-n // edge) * edge for n in core]
        window = math.prod(n + 2 * r for n, r in zip(cover, reach, strict=True))
        tile = math.prod(edge + 2 * r for r in reach)
        voxels = 3 * (window + (generator.remembers - 1) * math.prod(cover)) + math.prod(core)
        return 4 * generator.channels * (voxels + tile) + generator.advance_bytes

    def _place(self, core: Box) -> Box:
        return core.shift(self.states.generator.domain.start)


@dataclass(frozen=True)
class DigitWork:
    """Block work that counts the values of the last state by their next binary digits.

    Only values are counted whose digits before are `known`.
    """

    states: States
    known: int
    level: int

    def read(self, block: Block) -> State:
        """Read the last state."""
        return self.states.read(self.states.generator.passes, block.core)

    def compute(self, block: Block, inputs: State) -> dict[str, Any]:
        """Histogram of the digits."""
        above = sum(DIGITS[: self.level])
        ranks = sortable(inputs).ravel()
        if above:
            ranks = ranks[ranks >> np.uint32(32 - above) == self.known]
        width = DIGITS[self.level]
        digits = (ranks >> np.uint32(32 - above - width)) & np.uint32(2**width - 1)
        return {"counts": np.bincount(digits, minlength=2**width).tolist()}

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the counts, which go into the marker."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the values, of a copy while they are decoded, and of digits of 8 bytes."""
        return 32 * math.prod(core)


def sortable(values: State) -> np.ndarray:
    """Whole numbers in the order of the values; uint32 of the same shape.

    >>> sortable(np.float32([-1, -0.0, 0, 2])).tolist()
    [1082130431, 2147483648, 2147483648, 3221225472]
    """
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(2**31))


def value_of(rank: int) -> float:
    """The float32 value of which `sortable` makes a number.

    >>> value_of(int(sortable(np.float32([-1.5]))[0]))
    -1.5
    """
    bits = rank ^ 2**31 if rank >> 31 else ~rank & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


@dataclass(frozen=True)
class Iteration:
    """All passes of a generator for the field `out` of a sample."""

    sample: str
    out: str
    generator: Iterated
    fingerprint: str
    options: Options

    @property
    def states(self) -> States:
        """Arrays of the states."""
        return States(self.sample, scratch.node_of(self.out), self.generator)

    @property
    def block(self) -> Triple:
        """Edges of a block: whole tiles."""
        edge = self.generator.tile_edge
        asked = self.options.block or (max(1, BLOCK // edge) * edge,) * 3
        return triple(
            -(-min(b, n) // edge) * edge
            for b, n in zip(asked, self.generator.domain.shape, strict=True)
        )

    @property
    def unfinished(self) -> Unfinished:
        """Arrays of an interrupted run."""
        state = {"fingerprint": self.fingerprint, "block": list(self.block)}
        return Unfinished(self.sample, self.states.node, self.out, state)

    def step(self, number: int, means: Means | None = None) -> Pass:
        """The pass that makes a state, by its number from 1; `means` are those of the state before."""
        generator, voxel = self.generator, self.states.voxel_bytes
        looks = min(number - 1, generator.remembers)
        return self._pass(
            f"{number:03d}-of-{generator.passes}",
            StepWork(self.states, number, self.options.durable, means),
            Grid(generator.domain.shape, self.block, generator.reach(number)),
            (looks * voxel, voxel),
            (generator.tile_edge,) * 3,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plan of a pass, how often it comes and what the states take; empty if they are made."""
        begun = self._begun()
        if "cut" in begun:
            return []
        passes = self.generator.passes
        # The second pass is shown where there is one: the first has no state to read.
        shown = self.step(min(2, passes)).plan(afresh=not begun)
        counted = " and 3 that count values for the cut" if self.generator.share is not None else ""
        times = f"{passes} such passes{counted}; the states take {size_text(self.states.bytes)} meanwhile"
        return [shown, Outline(self.states.node, times)]

    def run(self) -> None:
        """Make all states, or those that an interrupted run has not made, and find the cut."""
        begun = self._begun()
        if "cut" in begun:
            return
        if not begun:
            if not self.options.overwrite:
                self.unfinished.refuse_other_blocks()
            self.drop()
            self.states.create()
            self.unfinished.begin({"status": "writing"})
        means = None
        for number in range(1, self.generator.passes + 1):
            step = self.step(number, means)
            run(step, progress=self.options.progress)
            means = self._means(step) if self.generator.balances else None
        self.unfinished.begin({"status": "writing", **self._found_cut()})

    def record(self) -> dict[str, Any]:
        """Value of the cut, and the change of the share of label 0 by it, for the record of the field."""
        begun = store.node_attributes(self.sample, self.states.node)
        return {name: begun[name] for name in ("cut", "shift") if name in begun}

    def drop(self) -> None:
        """Delete the states and the markers of their passes."""
        self.unfinished.drop()
        Ledger(self.sample, self.states.node, "").forget()

    def _begun(self) -> dict[str, Any]:
        """Record of an interrupted run, empty if there is none to go on from."""
        if self.options.overwrite or not store.is_sample(self.sample):
            return {}
        goes_on = self.unfinished.goes_on()
        return store.node_attributes(self.sample, self.states.node) if goes_on else {}

    def _means(self, done: Pass) -> Means:
        """Mean over the domain of the state that a pass has made."""
        every = [record["sums"] for _, record in done.records()]
        return means_of([sum(one) for one in zip(*every, strict=True)], math.prod(done.grid.shape))

    def _found_cut(self) -> dict[str, float]:
        """Value at which the last state is cut, and by how much that changes the share of label 0."""
        share, shape = self.generator.share, self.generator.shape
        if share is None:
            return {"cut": 0.0}
        rank, known, below = rank_of_cut(share, math.prod(shape)), 0, 0
        for level, width in enumerate(DIGITS):
            counts = self._counted(level, known)
            if level == 0:
                below = int(counts[: 2 ** (width - 1)].sum())
            passed = np.cumsum(counts)
            digit = int(np.searchsorted(passed, rank, side="right"))
            rank -= int(passed[digit - 1]) if digit else 0
            known = (known << width) | digit
        shift = share - below / math.prod(shape)
        _warn_of_shift(shift, share)
        return {"cut": value_of(known), "shift": shift}

    def _counted(self, level: int, known: int) -> np.ndarray:
        edge = self.generator.tile_edge
        block = (-(-BLOCK // edge) * edge,) * 3
        one = self._pass(
            f"digits-{level + 1}-of-{len(DIGITS)}",
            DigitWork(self.states, known, level),
            Grid(self.generator.shape, block),
            (self.states.voxel_bytes, 0),
            block,
        )
        run(one, progress=self.options.progress)
        counts = np.zeros(2 ** DIGITS[level], np.int64)
        for _, record in one.records():
            counts += record["counts"]
        return counts

    def _pass(
        self, name: str, work: Any, grid: Grid, voxel_bytes: tuple[int, int], unit: Triple
    ) -> Pass:
        cut = "x".join(map(str, self.block))
        return Pass(
            work=work,
            grid=grid,
            ledger=Ledger(self.sample, f"{self.states.node}/{cut}/{name}", self.fingerprint),
            shard=unit,
            read_bytes=voxel_bytes[0],
            write_bytes=voxel_bytes[1],
            base_bytes=TORCH_BASE_BYTES if self.generator.needs_torch else BASE_BYTES,
            durable=self.options.durable,
            time_limit=self.options.time_limit,
        )


def _warn_of_shift(shift: float, share: float) -> None:
    if abs(shift) > LARGE_SHIFT:
        log.warning(
            "the generator made %.3f of the first phase, and %.3f are asked for: a cut elsewhere than at 0 by so "
            "much makes interfaces rough (docs/generate.md); train for this fraction, or leave out --fractions",
            share - shift,
            share,
        )


def labels_of(states: States, cut: float, box: Box) -> np.ndarray:
    """Labels of a box of the last state, which is read in slabs of the thickness of a tile.

    Parameters
    ----------
    states : States
        The states.
    cut : float
        Value at which the last one is cut.
    box : Box
        The box, within the volume.
    """
    generator, out = states.generator, np.empty(box.shape, np.uint8)
    for z in range(box.start[0], box.stop[0], generator.tile_edge):
        slab = Box((z, *box.start[1:]), (z + generator.tile_edge, *box.stop[1:])).clip(box)
        last = states.read(generator.passes, slab)
        out[slab.within(box).slices] = generator.finished(last, cut)
    return out


@dataclass(frozen=True, slots=True)
class LastState(Generator):
    """Generator of the labels of a last state that lies in a sample."""

    kind: ClassVar[str] = "stored"

    states: States
    spacing_nm: tuple[float, float, float]

    @classmethod
    def of(cls, generator: Iterated, sample: str, out: str) -> LastState:
        """Generator of the last state that another one has reached for the field `out`."""
        return cls(States(sample, scratch.node_of(out), generator), generator.spacing_nm)

    def labels(self, box: Box) -> np.ndarray:
        """Labels of a box."""
        cut = store.node_attributes(self.states.sample, self.states.node)["cut"]
        return labels_of(self.states, cut, box)

    def block_bytes(self, core: Triple) -> int:
        """Bytes of the labels, and of a slab of the state while it is decoded."""
        generator = self.states.generator
        slab = min(generator.tile_edge, core[0]) * core[1] * core[2]
        return math.prod(core) + (12 * generator.channels + 8) * slab
