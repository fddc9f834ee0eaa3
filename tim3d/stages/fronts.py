"""Fronts that travel through a phase: what a visit of a block does, and what is read off when all are at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d import store
from tim3d.grid import Block, Triple
from tim3d.kernels import geodesic as kernel
from tim3d.schema import AXES, Spacing
from tim3d.stages.borders import OUTSIDE, Borders, padded, touching
from tim3d.stages.relaxation import FACES, OFFSETS, Visits, digest, report

UNREACHED = kernel.UNREACHED
# Stands in a field for voxels that no path reaches: fields hold finite values.
NO_PATH = -1.0
# How far refining looks along an axis.
REACH = 2


@dataclass(frozen=True)
class Front:
    """What travels: through the voxels of a phase, from an outer face of the volume or from the voxels of a source.

    `direction` is ``+z`` for the front from the lowest plane, or empty with a source, which is (field, code).
    """

    phase: str
    code: int
    direction: str
    source: tuple[str, int] | None = None

    @property
    def axis(self) -> int:
        """Along which it travels, and planes are counted; z from a source."""
        return AXES.index(self.direction[1]) if self.direction else 0

    @property
    def rises(self) -> bool:
        """Whether it starts from the lowest plane."""
        return not self.direction.startswith("-")

    def starts_at(self, place: Triple, counts: Triple) -> bool:
        """Whether a block may hold voxels of the start."""
        if self.source is not None:
            return True
        return place[self.axis] == (0 if self.rises else counts[self.axis] - 1)


@dataclass(frozen=True)
class Travel:
    """Where fronts travel and where their values are kept."""

    sample: str
    field: str
    fronts: tuple[Front, ...]
    visits: Visits
    spacing: Spacing
    metric: str
    node: str
    durable: bool
    every: int = 1

    def borders(self, kind: str) -> Borders:
        """Of the values ``arrival`` or ``exact``."""
        return Borders(self.sample, self.node, kind, self.visits, 1 if self.metric == "graph26" else REACH)

    @property
    def offsets(self) -> tuple[Triple, ...]:
        """Neighbours that matter."""
        return OFFSETS if self.metric == "graph26" else FACES

    @property
    def result(self) -> str:
        """Kind of the values that are wanted."""
        return "arrival" if self.metric == "graph26" else "exact"

    def front(self, block: Block) -> Front:
        """That of a block."""
        return self.fronts[self.visits.volume_of(block.index)]

    def region(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Where a front may go, and where it starts, within the core of a block (uint8)."""
        front = self.front(block)
        region = np.equal(self.codes(self.field, block), front.code, dtype=bool)
        if front.source is not None:
            start = np.equal(self.codes(front.source[0], block), front.source[1])
            return (region | start).view(np.uint8), start.view(np.uint8)
        start = np.zeros_like(region)
        plane = 0 if front.rises else self.visits.shape[front.axis] - 1
        if block.core.start[front.axis] <= plane < block.core.stop[front.axis]:
            cut = [slice(None)] * 3
            cut[front.axis] = slice(plane - block.core.start[front.axis], plane - block.core.start[front.axis] + 1)
            start[tuple(cut)] = region[tuple(cut)]
        return region.view(np.uint8), start.view(np.uint8)

    def codes(self, field: str, block: Block) -> np.ndarray:
        """Labels of a block's core, those of every voxel or of every second one."""
        cuts = zip(block.core.start, block.core.stop, strict=True)
        taken = tuple(slice(a * self.every, b * self.every, self.every) for a, b in cuts)
        return np.asarray(store.field_array(self.sample, field)[taken])

    def halo(self, kind: str, block: Block, deep: int) -> dict[Triple, np.ndarray]:
        """What the neighbours show, by offset."""
        borders = self.borders(kind)
        found = self.visits.neighbours(block.index, self.offsets)
        return {offset: borders.read_beside(block, offset, deep) for offset in found}


def _plain(piece: np.ndarray) -> np.ndarray:
    """A border without the mark of voxels that can never be reached."""
    return np.where(piece == OUTSIDE, UNREACHED, piece).astype(np.uint32)


@dataclass(frozen=True)
class ArriveWork:
    """First arrival: settle a block with what its neighbours show."""

    travel: Travel

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray, dict[Triple, np.ndarray]]:
        """Region, values with the start at 0 and a rim around, and the halo as it was read."""
        region, start = self.travel.region(block)
        arrival = self.travel.borders("arrival").read(block)
        arrival[start != 0] = 0
        del start
        halo = self.travel.halo("arrival", block, 1)
        plain = {offset: _plain(piece) for offset, piece in halo.items()}
        return padded(region, {}, 1, 0), padded(arrival, plain, 1, UNREACHED), halo

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray, dict[Triple, np.ndarray]]) -> Any:
        """Values of the core, where it can be reached, and the report."""
        region, arrival, halo = inputs
        kernel.arrive(arrival, region, self.travel.spacing, metric=self.travel.metric)
        core = (slice(1, -1),) * 3
        values = arrival[core]
        shown = {offset: touching(values, offset, 1) for offset in halo}
        wakes = [offset for offset, piece in shown.items() if _lowers(piece, halo[offset], self.travel.metric)]
        seen = {offset: digest(_plain(piece), UNREACHED) for offset, piece in halo.items()}
        told = report({offset: digest(piece, UNREACHED) for offset, piece in shown.items()}, seen, wakes)
        return values, region[core], told

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """The block and its borders."""
        values, region, told = outputs
        self.travel.borders("arrival").write(block, values, region, durable=self.travel.durable)
        return dict(told)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """While codes and values are read and padded; while the kernel works; while values are written."""
        voxels, rim = int(np.prod(core)), int(np.prod([n + 2 for n in core]))
        return max(
            14 * voxels, 2 * rim + 4 * rim + kernel.geodesic_bytes(core, self.travel.metric), 5 * rim + 10 * voxels
        )


def _lowers(shown: np.ndarray, facing: np.ndarray, metric: str) -> bool:
    """Whether a border may lower what it faces: only a smaller value can, and never one outside the region.

    What faces it may be old; it has become smaller since, if anything, so that the answer errs to yes only.
    """
    values = np.where(facing == OUTSIDE, 0, facing)
    for axis in range(3) if metric == "graph26" else ():  # a path may go on over an edge or a corner
        if values.shape[axis] > 1:
            values = _largest_beside(values, axis)
    return bool((shown < values).any())


def _largest_beside(values: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    out = moved.copy()
    np.maximum(out[1:], moved[:-1], out=out[1:])
    np.maximum(out[:-1], moved[1:], out=out[:-1])
    return np.moveaxis(out, 0, axis)


@dataclass(frozen=True)
class RefineWork:
    """Second order, along the order of arrival: fill what a block and its neighbours have the predecessors of."""

    travel: Travel

    def read(self, block: Block) -> Any:
        """Values and arrivals with two voxels around, and the halos of the first two."""
        arrival = self.travel.borders("arrival").read(block)
        before = {offset: _plain(piece) for offset, piece in self.travel.halo("arrival", block, REACH).items()}
        exact = self.travel.borders("exact").read(block)
        exact[arrival == 0] = 0
        halo = self.travel.halo("exact", block, REACH)
        reached = padded(arrival, before, REACH, UNREACHED)
        del arrival
        return padded(exact, halo, REACH, UNREACHED), reached, halo, before

    def compute(self, block: Block, inputs: Any) -> Any:
        """Values of the core and the report."""
        exact, arrival, halo, before = inputs
        kernel.refine(exact, arrival, np.not_equal(arrival, UNREACHED).view(np.uint8), self.travel.spacing)
        values = exact[(slice(REACH, -REACH),) * 3]
        shown = {offset: touching(values, offset, REACH) for offset in halo}
        wakes = [o for o, piece in shown.items() if _feeds(piece, halo[o], before[o], o)]
        shows, seen = ({o: digest(p, UNREACHED) for o, p in pieces.items()} for pieces in (shown, halo))
        return values, report(shows, seen, wakes)

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """The block and its borders."""
        values, told = outputs
        self.travel.borders("exact").write(block, values, durable=self.travel.durable)
        return dict(told)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Both values while they are read and padded; the padded ones and the region; values while they are written."""
        voxels, rim = int(np.prod(core)), int(np.prod([n + 2 * REACH for n in core]))
        kernel_bytes = kernel.geodesic_bytes(core, self.travel.metric)
        return max(12 * voxels + 8 * rim, 9 * rim + kernel_bytes, 9 * rim + 8 * voxels)


def _feeds(shown: np.ndarray, facing: np.ndarray, arrival: np.ndarray, offset: Triple) -> bool:
    """Whether a neighbour waits for values behind ones that are known here."""
    axis = next(a for a in range(3) if offset[a])
    waits = ((facing == UNREACHED) & (arrival != UNREACHED)).any(axis=axis)
    return bool((waits & (shown != UNREACHED).any(axis=axis)).any())


@dataclass(frozen=True)
class SumsWork:
    """What a block adds to the planes across the way: voxels of the phase, those reached, their distances."""

    travel: Travel

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Region and values."""
        front = self.travel.front(block)
        inside = np.equal(self.travel.codes(self.travel.field, block), front.code)
        return inside, self.travel.borders(self.travel.result).read(block)

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray]) -> dict[str, list[int]]:
        """Integers by plane."""
        inside, values = inputs
        values[~inside] = UNREACHED  # voxels of a source belong to the way and not to the phase
        total, reached, phase = kernel.plane_sums(values, inside.view(np.uint8), self.travel.front(block).axis)
        return {"inside": phase.tolist(), "reached": reached.tolist(), "total": total.tolist()}

    def write(self, block: Block, outputs: dict[str, list[int]]) -> dict[str, Any]:
        """Nothing but the record."""
        return dict(outputs)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Codes and values while they are read, and masks."""
        return 14 * int(np.prod(core))


@dataclass(frozen=True)
class FieldWork:
    """Distances in nm of one front, as a field."""

    travel: Travel
    volume: int
    out: str

    def read(self, block: Block) -> np.ndarray:
        """Values in units of the kernel."""
        index = self.travel.visits.stacked(self.volume, block.index)
        return self.travel.borders(self.travel.result).read(Block(index, block.core, block.read))

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Lengths, and `NO_PATH`."""
        lengths = kernel.in_length(inputs, self.travel.spacing)
        lengths[inputs == UNREACHED] = NO_PATH
        return lengths

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards."""
        array = store.field_array(self.travel.sample, self.out, mode="r+")
        store.write_box(array, block.core, outputs, durable=self.travel.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Values, the product, lengths, and these while they are encoded."""
        return 20 * int(np.prod(core))
