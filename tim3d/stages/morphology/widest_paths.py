"""Widths of the widest paths of several fronts, block by block until no block changes another one.

A visit reads the radii of a block and one voxel around it, the widths that are known there, lets
them spread, and records which neighbours it raised: `tim3d.stages.geodesic.block_relaxation`.
Widths only rise, and are radii of voxels, so that any order of visits ends at the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.grid import AXES, Block, Box, Triple, triple
from tim3d.kernels.morphology.distance import Metric
from tim3d.kernels.morphology.painting import Radii, by_radius, largest_ball, painting_bytes
from tim3d.kernels.morphology.widest_path import LISTS, widen
from tim3d.stages.geodesic.block_relaxation import OFFSETS, Visits, digest, report
from tim3d.stages.geodesic.halo_arrays import (
    EMPTY,
    Borders,
    core_view,
    facing_layer,
    halo_view,
    padded,
)
from tim3d.stages.shared.packed import pack
from tim3d.storage import store

# Memory of the lists of voxels that wait, however many do.
WAITING_BYTES = 4 * LISTS
# A block and the layer of its neighbours that a visit sees.
AROUND: Triple = (1, 1, 1)
Pieces = dict[Triple, np.ndarray]


def packed_widths(widths: Radii) -> np.ndarray:
    """Widths as they are stored, in the same memory: bits of float32, `EMPTY` where there is none.

    >>> lengths(packed_widths(np.array([2.5, 0.0], np.float32))).tolist()
    [2.5, 0.0]
    """
    stored = widths.view(np.uint32)
    stored[stored == 0] = EMPTY
    return stored


def lengths(stored: np.ndarray) -> Radii:
    """Widths from what is stored, in the same memory."""
    stored[stored == EMPTY] = 0
    return stored.view(np.float32)


@dataclass(frozen=True)
class Passage:
    """Fronts from faces of the volume through a phase, and the arrays that hold their widths."""

    sample: str
    labels: str
    distance: str
    code: int
    directions: tuple[str, ...]
    visits: Visits
    node: str
    durable: bool

    @property
    def borders(self) -> Borders:
        """Arrays of widths."""
        return Borders(self.sample, self.node, "width", self.visits, 1)

    def direction(self, block: Block) -> str:
        """Direction of the front that a block of the stack belongs to."""
        return self.directions[self.visits.volume_of(block.index)]

    def plane(self, direction: str, *, inlet: bool) -> tuple[int, int]:
        """Axis and number of the plane where a front starts, or where it ends."""
        axis = AXES.index(direction[1])
        return axis, 0 if (direction[0] == "+") == inlet else self.visits.shape[axis] - 1

    def first(self) -> list[Triple]:
        """Blocks at the inlets, in the stack."""
        found = []
        for number, direction in enumerate(self.directions):
            axis, plane = self.plane(direction, inlet=True)
            at = plane // self.visits.block[axis]
            places = (triple(p) for p in np.ndindex(self.visits.counts) if p[axis] == at)
            found += [self.visits.stacked(number, place) for place in places]
        return found

    def radii(self, box: Box) -> Radii:
        """Distances in the phase, 0 elsewhere."""
        labels = store.read_box(store.field_array(self.sample, self.labels), box)
        radii = store.read_box(store.field_array(self.sample, self.distance), box)
        radii[labels != self.code] = 0  # in place: a copy would be the peak
        return radii

    def at_plane(self, block: Block, *, inlet: bool) -> tuple[slice, ...] | None:
        """Voxels of a block's core in the plane of the inlet or outlet, or None."""
        axis, plane = self.plane(self.direction(block), inlet=inlet)
        start, stop = block.core.start[axis], block.core.stop[axis]
        if not start <= plane < stop:
            return None
        cut = slice(plane - start, plane - start + 1)
        return tuple(cut if a == axis else slice(None) for a in range(3))


@dataclass(frozen=True)
class WidenWork:
    """Widths of a block, given those around it."""

    passage: Passage

    def read(self, block: Block) -> tuple[Radii, Radii, Pieces]:
        """Read radii and widths of the block and around it, and the layers of its neighbours."""
        passage = self.passage
        box = block.core.grow(AROUND).clip(Box.whole(passage.visits.shape))
        radii = np.zeros([n + 2 for n in block.core.shape], np.float32)
        inside = box.within(block.core.grow(AROUND))
        radii[inside.slices] = passage.radii(box)
        halo = {
            offset: passage.borders.read_beside(block, offset)
            for offset in passage.visits.neighbours(block.index, OFFSETS)
        }
        return radii, lengths(padded(passage.borders.read(block), halo, AROUND, EMPTY)), halo

    def compute(self, block: Block, inputs: tuple[Radii, Radii, Pieces]) -> Any:
        """Widths of the core, and which neighbours they raise."""
        radii, widths, halo = inputs
        start = self.passage.at_plane(block, inlet=True)
        if start is not None:
            core_view(widths, AROUND)[start] = core_view(radii, AROUND)[start]
        widen(widths, radii)
        wakes = [
            offset
            for offset, piece in halo.items()
            if (halo_view(widths, AROUND, offset, piece.shape) > lengths(piece.copy())).any()
        ]
        found = core_view(packed_widths(widths), AROUND)
        facing = {offset: facing_layer(found, offset, 1) for offset in halo}
        may = [offset for offset, layer in facing.items() if (layer != EMPTY).any()]
        shown = {offset: digest(layer, EMPTY) for offset, layer in facing.items()}
        seen = {offset: digest(piece, EMPTY) for offset, piece in halo.items()}
        return found, report(shown, seen, wakes, may)

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """Write the block and its layers."""
        found, record = outputs
        self.passage.borders.write(block, found, durable=self.passage.durable)
        return dict(record)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of radii, widths and what waits; while they are read or written, of copies."""
        return 16 * math.prod(n + 2 for n in core) + WAITING_BYTES


@dataclass(frozen=True)
class CountWork:
    """Voxels of a block by the largest ball over them: of all balls, and of those that a front reaches."""

    passage: Passage
    metric: Metric
    reach: float

    def read(self, block: Block) -> tuple[Radii, Radii]:
        """Read radii and widths as far as balls reach."""
        radii = self.passage.radii(block.read)
        beyond = Block(block.index, block.read, block.read)
        return radii, lengths(self.passage.borders.read(beyond))

    def compute(self, block: Block, inputs: tuple[Radii, Radii]) -> dict[str, Any]:
        """Count the voxels of the core by radius; 0 where no ball that entered covers them."""
        radii, widths = inputs
        core = block.core.within(block.read)
        own, cut = radii[core.slices], self.passage.at_plane(block, inlet=False)
        record = {"entered": _counted(largest_ball(widths, self.metric, core), own)}
        if self.passage.visits.volume_of(block.index) == 0:
            record["all"] = _counted(largest_ball(radii, self.metric, core), own)
        left = 0.0 if cut is None else float(widths[core.slices][cut].max())
        return record | {"left": left}

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of radii, widths and labels while they are read, and of painting."""
        taken = math.prod(read)
        # Radii, widths and a mark for each, while a block of widths is decoded; or radii beside the
        # widths that are painted. Decoding leaves its pieces of labels and distances.
        reading = 9 * taken + 8 * math.prod(core)
        painting = painting_bytes(core, read, self.metric, self.reach) + 4 * taken
        return 5 * taken + max(reading, painting)


def _counted(radii: Radii, inside: Radii) -> dict[str, Any]:
    values, counts = by_radius(radii, inside)
    return {"radius": pack(values), "voxels": pack(counts)}
