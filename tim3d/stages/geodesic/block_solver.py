"""Geodesic distances block by block: one visit of a block, and the sums and fields made from converged values.

A visit works on the core and on a copy of its neighbours' layers, and keeps the core only:

        depth         core         depth
      |~~~~~~~~|================|~~~~~~~~|      ~ layers of the neighbours, worked on and dropped
      |~~~~~~~~|==============a-|--+~~~~~|      The way from a to b leaves the core and comes back: one visit finds it,
      |~~~~~~~~|==============b<|--+~~~~~|      where without the layers it would take two rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.base import Material, evaluate
from tim3d.descriptors.geodesic import DISTANCES, REGION, SumPlanes
from tim3d.grid import Block, Box, Triple, triple
from tim3d.kernels.geodesic import geodesic as kernel
from tim3d.phases import Phases
from tim3d.stages.geodesic.block_relaxation import FACES, OFFSETS, Visits, digest, report
from tim3d.stages.geodesic.halo_arrays import (
    EMPTY,
    OUTSIDE,
    Borders,
    core_view,
    facing_layer,
    halo_view,
    padded,
)
from tim3d.storage import store
from tim3d.storage.schema import AXES, Spacing

UNREACHED = kernel.UNREACHED
# Distance of voxels that no path reaches, as fields hold finite values only.
NO_PATH = -1.0
# Voxels on each side along an axis that refining reads.
REACH = 2
# Thickness of the neighbours' layers that a visit also solves, and discards (rounds by depth:
# docs/geodesic.md).
DEPTH = 16


@dataclass(frozen=True)
class Front:
    """A front through the voxels of a phase, from an outer face of the volume or from the voxels of a source.

    `direction` is ``+z`` for the front from the lowest plane, or empty with a source, which is
    (field, code).
    """

    phase: str
    code: int
    direction: str
    source: tuple[str, int] | None = None

    @property
    def axis(self) -> int:
        """Axis along which planes are counted; z for a source."""
        return AXES.index(self.direction[1]) if self.direction else 0

    @property
    def rises(self) -> bool:
        """Whether the front starts from the lowest plane."""
        return not self.direction.startswith("-")

    def starts_at(self, place: Triple, counts: Triple) -> bool:
        """Whether a block may contain starting voxels."""
        if self.source is not None:
            return True
        return place[self.axis] == (0 if self.rises else counts[self.axis] - 1)


@dataclass(frozen=True)
class Travel:
    """Fronts, the blocks that they cross, and the node that holds their values."""

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
        """Arrays of the values ``arrival`` or ``exact``."""
        return Borders(self.sample, self.node, kind, self.visits, self.depth)

    @property
    def material(self) -> Material:
        """Material of the plane sums: the voxel size, without names of phases."""
        return Material(Phases.none(), self.spacing)

    @property
    def depth(self) -> int:
        """Thickness of the layers: `DEPTH`, but not more than a block."""
        edges = zip(self.visits.block, self.visits.counts, strict=True)
        deepest = min([DEPTH, *(edge for edge, count in edges if count > 1)])
        return deepest if deepest >= 2 * REACH or self.metric == "graph26" else REACH

    @property
    def works_beyond(self) -> bool:
        """Whether the layers are thick enough to be solved too.

        A visit then finds which neighbours it changes.
        """
        return self.depth >= 2 * REACH

    @property
    def offsets(self) -> tuple[Triple, ...]:
        """Offsets of the neighbours that a visit reads."""
        return OFFSETS if self.works_beyond or self.metric == "graph26" else FACES

    def pads(self, least: int) -> Triple:
        """Thickness of the frame around a block: `depth` where it has neighbours, else `least`."""
        return triple(self.depth if count > 1 else least for count in self.visits.counts)

    def padded_voxels(self, core: Triple, least: int) -> int:
        """Number of voxels of a block with its frame."""
        return math.prod(n + 2 * pad for n, pad in zip(core, self.pads(least), strict=True))

    @property
    def result(self) -> str:
        """Kind of the values that form the result."""
        return "arrival" if self.metric == "graph26" else "exact"

    def front(self, block: Block) -> Front:
        """The front to which a block of the stack belongs."""
        return self.fronts[self.visits.volume_of(block.index)]

    def region(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Masks (uint8) of the voxels in a block's core that a front may enter or start from."""
        front = self.front(block)
        region = np.equal(self.codes(self.field, block), front.code, dtype=bool)
        if front.source is not None:
            start = np.equal(self.codes(front.source[0], block), front.source[1])
            return (region | start).view(np.uint8), start.view(np.uint8)
        start = np.zeros_like(region)
        plane = 0 if front.rises else self.visits.shape[front.axis] - 1
        if block.core.start[front.axis] <= plane < block.core.stop[front.axis]:
            cut = [slice(None)] * 3
            cut[front.axis] = slice(
                plane - block.core.start[front.axis], plane - block.core.start[front.axis] + 1
            )
            start[tuple(cut)] = region[tuple(cut)]
        return region.view(np.uint8), start.view(np.uint8)

    def codes(self, field: str, block: Block) -> np.ndarray:
        """Labels of a block's core, at every voxel or every second one."""
        cuts = zip(block.core.start, block.core.stop, strict=True)
        taken = tuple(slice(a * self.every, b * self.every, self.every) for a, b in cuts)
        return store.read_slices(store.field_array(self.sample, field), taken)

    def halo(self, kind: str, block: Block) -> dict[Triple, np.ndarray]:
        """Facing layers of the neighbours, by offset."""
        borders = self.borders(kind)
        return {
            offset: borders.read_beside(block, offset)
            for offset in self.visits.neighbours(block.index, self.offsets)
        }


def _plain(piece: np.ndarray) -> np.ndarray:
    """A layer in which voxels outside of the region count as unreached."""
    return np.where(piece == OUTSIDE, np.uint32(UNREACHED), piece)


def _way_in(piece: np.ndarray) -> np.ndarray:
    """Mask (uint8) of a layer's voxels that a front may enter; zero until its block is visited."""
    open_to: np.ndarray = (piece != OUTSIDE) & _was_visited(piece)
    return open_to.view(np.uint8)


def _was_visited(piece: np.ndarray) -> bool:
    return bool((piece != EMPTY).any())


@dataclass(frozen=True)
class ArriveWork:
    """First-order arrival times of a block, given the layers of its neighbours."""

    travel: Travel

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray, dict[Triple, np.ndarray]]:
        """Read region and values, both padded, with the start at 0, and the unpadded layers."""
        region, start = self.travel.region(block)
        arrival = self.travel.borders("arrival").read(block)
        arrival[start != 0] = 0
        del start
        halo, pads = self.travel.halo("arrival", block), self.travel.pads(1)
        open_to = {offset: _way_in(piece) for offset, piece in halo.items()}
        plain = {offset: _plain(piece) for offset, piece in halo.items()}
        return padded(region, open_to, pads, 0), padded(arrival, plain, pads, UNREACHED), halo

    def compute(
        self, block: Block, inputs: tuple[np.ndarray, np.ndarray, dict[Triple, np.ndarray]]
    ) -> Any:
        """Compute the values of the core, where it can be reached, and the report."""
        region, arrival, halo = inputs
        pads = self.travel.pads(1)
        overlap = triple(pad - 1 for pad in pads)
        kernel.arrive(
            arrival, region, self.travel.spacing, metric=self.travel.metric, overlap=overlap
        )
        values = core_view(arrival, pads)
        may = [offset for offset, piece in halo.items() if self._may_lower(values, offset, piece)]
        wakes = [
            offset
            for offset, piece in halo.items()
            if self._lowers(arrival, offset, piece, offset in may)
        ]
        shown = {
            offset: digest(facing_layer(values, offset, self.travel.depth), UNREACHED)
            for offset in halo
        }
        seen = {offset: digest(_plain(piece), UNREACHED) for offset, piece in halo.items()}
        return values, core_view(region, pads), report(shown, seen, wakes, may)

    def _lowers(self, arrival: np.ndarray, offset: Triple, piece: np.ndarray, may: bool) -> bool:
        """Whether values beyond the core became smaller; without overlap, whether they may."""
        if not self.travel.works_beyond or not _was_visited(piece):
            return may
        return bool(
            (halo_view(arrival, self.travel.pads(1), offset, piece.shape) < _plain(piece)).any()
        )

    def _may_lower(self, values: np.ndarray, offset: Triple, piece: np.ndarray) -> bool:
        """Whether the outermost voxels may lower the voxels that they face."""
        graph = self.travel.metric == "graph26"
        if not graph and offset not in FACES:
            return False
        facing = facing_layer(piece, triple(-o for o in offset), 1)
        return _falls_to(facing_layer(values, offset, 1), facing, graph)

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """Write the block and its layers."""
        values, region, record = outputs
        self.travel.borders("arrival").write(block, values, region, durable=self.travel.durable)
        return dict(record)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Peak bytes of three stages: reading and padding, the kernel, writing."""
        voxels, all_in = math.prod(core), self.travel.padded_voxels(core, 1)
        halo = all_in - voxels
        working = 5 * all_in + kernel.geodesic_bytes((1, 1, all_in), self.travel.metric) + 4 * halo
        return max(14 * voxels + 10 * halo, working, 5 * all_in + 10 * voxels + 16 * halo)


def _falls_to(shown: np.ndarray, facing: np.ndarray, graph: bool) -> bool:
    """Whether a layer may lower the one it faces.

    Only a smaller value can, and only inside the region.

    The facing layer may be out of date; values only fall, so an error is towards yes.
    """
    values = np.where(facing == OUTSIDE, 0, facing)
    for axis in range(3) if graph else ():  # a path may continue over an edge or a corner
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
    """Second-order distances, in the order of arrival, of all voxels whose predecessors are known."""

    travel: Travel

    def read(self, block: Block) -> Any:
        """Read values and arrival times, both padded, and the layers of values unpadded."""
        arrival, pads = self.travel.borders("arrival").read(block), self.travel.pads(REACH)
        before = {
            offset: _plain(piece) for offset, piece in self.travel.halo("arrival", block).items()
        }
        exact = self.travel.borders("exact").read(block)
        exact[arrival == 0] = 0
        reached = padded(arrival, before, pads, UNREACHED)
        del arrival, before
        halo = self.travel.halo("exact", block)
        return padded(exact, halo, pads, UNREACHED), reached, halo

    def compute(self, block: Block, inputs: Any) -> Any:
        """Compute the values of the core and the report."""
        exact, arrival, halo = inputs
        kernel.refine(
            exact, arrival, np.not_equal(arrival, UNREACHED).view(np.uint8), self.travel.spacing
        )
        values, pads = core_view(exact, self.travel.pads(REACH)), self.travel.pads(REACH)
        shown = {offset: facing_layer(values, offset, self.travel.depth) for offset in halo}
        times = {
            offset: halo_view(arrival, pads, offset, piece.shape) for offset, piece in halo.items()
        }
        may = [o for o, piece in halo.items() if o in FACES and _feeds(values, piece, times[o], o)]
        wakes = [
            o
            for o, piece in halo.items()
            if self._adds(halo_view(exact, pads, o, piece.shape), piece, o in may)
        ]
        shows, seen = (
            {o: digest(p, UNREACHED) for o, p in pieces.items()} for pieces in (shown, halo)
        )
        return values, report(shows, seen, wakes, may)

    def _adds(self, found: np.ndarray, piece: np.ndarray, may: bool) -> bool:
        """Whether a value beyond the core became known; without overlap, whether it may."""
        if not self.travel.works_beyond:
            return may
        return bool(((found != UNREACHED) & (piece == UNREACHED)).any())

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """Write the block and its layers."""
        values, record = outputs
        self.travel.borders("exact").write(block, values, durable=self.travel.durable)
        return dict(record)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Peak bytes of three stages: reading and padding both values, the kernel, writing."""
        voxels, all_in = math.prod(core), self.travel.padded_voxels(core, REACH)
        halo = all_in - voxels
        working = 9 * all_in + kernel.geodesic_bytes((1, 1, all_in), self.travel.metric) + 4 * halo
        return max(
            12 * voxels + 8 * all_in + 8 * halo, working, 9 * all_in + 8 * voxels + 16 * halo
        )


def _feeds(values: np.ndarray, piece: np.ndarray, arrival: np.ndarray, offset: Triple) -> bool:
    """Whether a neighbour has reached voxels without value within `REACH` of values known here."""
    axis, back = next(a for a in range(3) if offset[a]), triple(-o for o in offset)
    facing, times = facing_layer(piece, back, REACH), facing_layer(arrival, back, REACH)
    waits = ((facing == UNREACHED) & (times != UNREACHED)).any(axis=axis)
    known = (facing_layer(values, offset, REACH) != UNREACHED).any(axis=axis)
    return bool((waits & known).any())


@dataclass(frozen=True)
class SumsWork:
    """Sums of a block by plane normal to the front: voxels of the phase, those reached, their distances."""

    travel: Travel

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Read the region and the values."""
        front = self.travel.front(block)
        inside = np.equal(self.travel.codes(self.travel.field, block), front.code)
        return inside, self.travel.borders(self.travel.result).read(block)

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray]) -> dict[str, list[int]]:
        """Compute integer sums by plane."""
        inside, values = inputs
        values[~inside] = UNREACHED  # voxels of a source belong to the path but not to the phase
        partials = SumPlanes(self.travel.front(block).axis).partials()
        voxels = {REGION: inside.view(np.uint8), DISTANCES: values}
        found = evaluate(partials, voxels, Box.whole(block.core.shape), self.travel.material)
        return {name: planes.tolist() for name, planes in found.items()}

    def write(self, block: Block, outputs: dict[str, list[int]]) -> dict[str, Any]:
        """Write the record only."""
        return dict(outputs)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of codes and values while they are read, and of masks."""
        return 14 * int(np.prod(core))


@dataclass(frozen=True)
class FieldWork:
    """Distances in nm of one front, written as a field."""

    travel: Travel
    volume: int
    out: str

    def read(self, block: Block) -> np.ndarray:
        """Read the values, in units of the kernel."""
        index = self.travel.visits.stacked(self.volume, block.index)
        return self.travel.borders(self.travel.result).read(Block(index, block.core, block.read))

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Convert to lengths in nm, and to `NO_PATH` where no path leads."""
        lengths = kernel.in_length(inputs, self.travel.spacing)
        lengths[inputs == UNREACHED] = NO_PATH
        return lengths

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(
            self.travel.sample, self.out, block.core, outputs, durable=self.travel.durable
        )
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of values, product and lengths, and of the lengths while they are encoded."""
        return 20 * int(np.prod(core))
