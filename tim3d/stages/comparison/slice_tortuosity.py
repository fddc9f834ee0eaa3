"""Geodesic tortuosity within slices one voxel thick, to compare with a micrograph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Pass
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.kernels.geodesic.geodesic import (
    UNIT,
    UNREACHED,
    distance,
    geodesic_bytes,
    plane_sums,
    tortuosity,
)
from tim3d.kernels.statistics.comparison import PLANES
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.stages.shared.field import Options
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field, Spacing

PARTS = ("sums", "reached", "phase")


@dataclass(frozen=True)
class Slices:
    """Evenly spaced slices across an axis, `count` in all, each cut to its middle `window`."""

    volume: Triple
    axis: int
    count: int
    window: tuple[int, int]

    def box(self, number: int) -> Box:
        """Box of the voxels of one slice.

        >>> Slices((9, 4, 4), 0, 3, (2, 4)).box(1)
        Box(start=(4, 1, 0), stop=(5, 3, 4))
        """
        start, stop = [0, 0, 0], [0, 0, 0]
        start[self.axis] = (2 * number + 1) * self.volume[self.axis] // (2 * self.count)
        stop[self.axis] = start[self.axis] + 1
        for axis, length in zip(PLANES[self.axis], self.window, strict=True):
            start[axis] = (self.volume[axis] - length) // 2
            stop[axis] = start[axis] + length
        return Box(triple(start), triple(stop))


def ways(ranks: np.ndarray, phases: int, axis: int, spacing: Spacing) -> dict[str, list[Any]]:
    """Sums of geodesic distances in one slice across an axis, by line direction, phase and plane.

    Paths run in both directions along both axes of the slice; the planes of a backward path are
    counted from the far side.
    """
    out: dict[str, list[Any]] = {name: [] for name in PARTS}
    for along in PLANES[axis]:
        sums = np.array([_both_ways(ranks == phase, along, spacing) for phase in range(phases)])
        for place, name in enumerate(PARTS):
            out[name].append(sums[:, place].tolist())
    return out


def _both_ways(region: np.ndarray, along: int, spacing: Spacing) -> np.ndarray:
    """Distance sums, voxels reached and voxels inside, by plane from the seeds, (3, planes)."""
    flipped = np.ascontiguousarray(np.flip(region, along))
    total: np.ndarray = _one_way(region, along, spacing) + _one_way(flipped, along, spacing)
    return total


def _one_way(region: np.ndarray, along: int, spacing: Spacing) -> np.ndarray:
    inside = region.astype(np.uint8)
    seeds = np.zeros_like(inside)
    first = tuple(slice(1) if a == along else slice(None) for a in range(3))
    seeds[first] = inside[first]
    lengths = distance(inside, seeds, spacing)
    known = np.isfinite(lengths)
    units = np.full(lengths.shape, UNREACHED, np.uint32)
    units[known] = np.rint(lengths[known] / min(spacing) * UNIT)
    return np.array(plane_sums(units, inside, along))


def tortuosities(
    sums: dict[str, list[Any]], axis: int, spacing: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Mean tortuosity over the last quarter of the planes, and share reached, (2, phases) each."""
    found = []
    for line, along in enumerate(PLANES[axis]):
        each = zip(*(sums[name][line] for name in PARTS), strict=True)
        found.append(
            [tortuosity(s, reached, inside, spacing, along) for s, reached, inside in each]
        )
    values = [[one.last_quarter for one in row] for row in found]
    return np.array(values), np.array([[one.reached for one in row] for row in found])


def added(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Add the sums of slices with equal windows."""
    return {
        name: [np.sum([np.asarray(r[name][line]) for r in records], axis=0) for line in range(2)]
        for name in PARTS
    }


@dataclass(frozen=True)
class SlicesWork:
    """Block work: read one slice, compute the distances in it, keep their sums."""

    sample: str
    field: str
    slices: Slices
    codes: tuple[int, ...]
    spacing: Spacing

    def read(self, block: Block) -> np.ndarray:
        """Read the labels of the slice."""
        return store.read_box(
            store.field_array(self.sample, self.field), self.slices.box(block.index[0])
        )

    def compute(self, block: Block, inputs: np.ndarray) -> dict[str, Any]:
        """Sum the geodesic distances in the slice."""
        return ways(ranks_of(inputs, self.codes), len(self.codes), self.slices.axis, self.spacing)

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the record, which the engine stores with the marker; no voxel is written."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of labels, ranks, region, seeds, distances, padded copies and the queue."""
        rows, columns = self.slices.window
        wide = triple((5, rows + 4, columns + 4))
        return 24 * math.prod(wide) + geodesic_bytes(wide)


def slices_pass(
    sample: str, labels: Field, slices: Slices, codes: tuple[int, ...], options: Options
) -> Pass:
    """Pass over the slices across one axis."""
    source = store.fingerprint_of(sample, labels.name)
    mark = schema.fingerprint(verb="fidelity", field=source, codes=codes, slices=vars(slices))
    return Pass(
        work=SlicesWork(sample, labels.name, slices, codes, labels.spacing_nm),
        grid=Grid((slices.count, 1, 1), (1, 1, 1)),
        ledger=Ledger(sample, f"{labels.name}_slices_across_{AXES[slices.axis]}", mark),
        shard=(1, 1, 1),
        read_bytes=math.prod(slices.window),
        write_bytes=0,
        durable=options.durable,
        time_limit=options.time_limit,
    )
