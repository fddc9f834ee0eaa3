"""Voxels of some phases as hexahedra or tetrahedra."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline, Plan
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.exporting.asked import cuts
from tim3d.exporting.job import limit_bytes, resident_base
from tim3d.exporting.phases import PhaseExport
from tim3d.exporting.volume import COPIES, slab_plan
from tim3d.formats.base import UNITS, ElementFormat, Elements
from tim3d.grid import Box, triple
from tim3d.storage import store

# Bytes of an element while the file is written: corners, points, copies and text of meshio.
ELEMENT_BYTES = {"hexahedra": 600, "tetrahedra": 300}
PER_VOXEL = {"hexahedra": 1, "tetrahedra": 6}
# Corners (z, y, x) of a hexahedron in the order of VTK.
_HEXAHEDRON = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))  # fmt: skip


def _tetrahedra() -> list[tuple[tuple[int, int, int], ...]]:
    """Six tetrahedra around the space diagonal: neighbouring voxels have the same diagonals."""
    found = []
    for order in permutations(range(3)):
        corners = [np.zeros(3, int)]
        for axis in order:
            corners.append(corners[-1] + (np.arange(3) == axis))
        edges = [c[::-1] - corners[0] for c in corners[1:]]
        if np.linalg.det(edges) < 0:
            corners[1:3] = corners[2:0:-1]
        found.append(tuple(triple(c) for c in corners))
    return found


CORNERS = {"hexahedra": [_HEXAHEDRON], "tetrahedra": _tetrahedra()}


@dataclass(frozen=True)
class ElementExport(PhaseExport):
    """Voxels of some phases, or of all, as finite elements with shared corners."""

    def steps(self) -> list[Plan | Outline]:
        """A plan of the reading, and how many elements fit."""
        voxels, kind = self.asked.box(self.field).size, self.asked.given["cells"]
        plan = slab_plan(self.asked, [self.field], 0, COPIES)
        if set(self.phases) == set(self.known):  # else known when voxels are counted
            needed = plan.peak_bytes + voxels * PER_VOXEL[kind] * ELEMENT_BYTES[kind]
            plan = replace(plan, peak_bytes=needed, cure=f"{self._most_text()} {_SMALLER}")
        text = f"holds the mesh in memory: {self._most_text()} More are refused"
        return [plan, Outline(f"export {self.asked.format.name}", text)]

    def write(self, path: Path) -> None:
        """Collect the voxels, then write the elements."""
        codes = self._codes()
        inside = self.wanted_codes[codes]
        kind, count = self.asked.given["cells"], int(inside.sum())
        if not count:
            raise ArgumentError(f"no voxel of the region is {' or '.join(self.phases)}")
        if count * PER_VOXEL[kind] > self._most():
            raise MemoryPlanError(
                f"{count} voxels make {count * PER_VOXEL[kind]} {kind}. {self._most_text()} {_SMALLER}"
            )
        points, cells = connected(inside, kind)
        factor, start = UNITS[self.asked.given["unit"]], self.asked.box(self.field).start
        places = (points + np.array(start)) * (np.array(self.field.spacing_nm) * factor)
        assert isinstance(self.asked.format, ElementFormat)
        elements = Elements(
            points=np.ascontiguousarray(places[:, ::-1]),
            cells=cells,
            codes=np.repeat(codes[inside], PER_VOXEL[kind]),
            phases=self.known,
            unit=self.asked.given["unit"],
            mark=self.mark,
            note=self.asked.note(),
        )
        self.asked.format.write(elements, path)

    def _codes(self) -> NDArray[np.uint8]:
        box = self.asked.box(self.field)
        array = store.field_array(self.asked.sample, self.field.name)
        codes = np.empty(box.shape, np.uint8)
        edges = cuts(box.start[0], box.stop[0], self.field.chunk[0])
        with self.bar(box.shape[0], "slice") as bar:
            for low, high in pairwise(edges):
                part = Box((low, 0, 0), triple((high, *box.shape[1:]))).shift(box.start)
                codes[low:high] = store.read_box(array, part)
                bar.update(high - low)
        return codes

    def _most(self) -> int:
        room = limit_bytes() - resident_base() - self.asked.box(self.field).size
        return max(0, room) // ELEMENT_BYTES[self.asked.given["cells"]]

    def _most_text(self) -> str:
        kind = self.asked.given["cells"]
        edge = math.floor((self._most() / PER_VOXEL[kind]) ** (1 / 3))
        limit = size_text(limit_bytes())
        return f"{self._most() / 1e6:.3g} million {kind} fit into {limit}, a cube of {edge} voxels."


_SMALLER = "Give a smaller region: --z, --y, --x"


def connected(
    inside: NDArray[np.bool_], kind: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners of voxels and the elements between them; voxels that touch share corners.

    Parameters
    ----------
    inside : (z, y, x) bool
        Voxels that become elements.
    kind : {"hexahedra", "tetrahedra"}
        One hexahedron or six tetrahedra for each.

    Returns
    -------
    points : (n, 3) float64
        z, y, x in voxels.
    cells : (m, 8) or (m, 4) int64
        Rows of `points`, by voxel in the order z, y, x.
    """
    shape = triple(n + 1 for n in inside.shape)
    voxels = np.stack(np.nonzero(inside), axis=1)
    offsets = np.array(CORNERS[kind], np.int64)  # (elements, corners, axis)
    steps = np.array([shape[1] * shape[2], shape[2], 1], np.int64)
    numbers = (voxels @ steps)[:, None, None] + offsets @ steps
    used, cells = np.unique(numbers, return_inverse=True)
    points = np.stack(np.unravel_index(used, shape), axis=1).astype(np.float64)
    return points, cells.reshape(-1, offsets.shape[1])
