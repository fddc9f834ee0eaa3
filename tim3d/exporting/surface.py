"""The surface of a phase as a closed mesh, made block by block."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline, Plan
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, MemoryPlanError, MissingExtraError
from tim3d.exporting.asked import Asked
from tim3d.exporting.job import limit_bytes, resident_base
from tim3d.exporting.phases import PhaseExport
from tim3d.formats.base import UNITS, Surface, SurfaceFormat
from tim3d.grid import Block, Box, Grid, triple
from tim3d.kernels.morphology import marching_cubes, mesh
from tim3d.storage import store

log = logging.getLogger(__name__)
# Bytes of a triangle while the mesh is put together, and more while edges are collapsed; bytes of
# a voxel of a block while it is cut.
TRIANGLE_BYTES, COLLAPSING_BYTES, VOXEL_BYTES = 200, 450, 4
# Part of a voxel by which collapsed edges leave a face of the volume that they lay on.
NEAR_FACE = 0.1
# Share of the volume of the voxels by which what a surface encloses may differ in silence.
VOLUME_OFF = 0.02


@dataclass(frozen=True)
class SurfaceExport(PhaseExport):
    """The surface that encloses some phases of a label field."""

    def unnamed(self) -> list[str]:
        """Refuse: to enclose all phases is to enclose the volume."""
        raise ArgumentError(
            f"a surface encloses a phase: --phases {self.known.names[-1]} "
            f"(of {', '.join(self.known)}; several, with commas, count as one)"
        )

    def inputs(self) -> dict[str, str]:
        """Fingerprint of the labels, and the phases; numbers out of range are refused."""
        _check_numbers(self.asked)
        return super().inputs()

    def steps(self) -> list[Plan | Outline]:
        """A plan of the blocks, and how many triangles fit."""
        grid, box = self._grid, self.asked.box(self.field)
        base, limit = resident_base(), limit_bytes()
        peak = base + VOXEL_BYTES * math.prod(b + 1 for b in grid.block_at((0, 0, 0)).core.shape)
        most = max(0, limit - base) // self._triangle_bytes
        plan = Plan(
            name=f"surface of {', '.join(self.phases)}",
            blocks=len(grid),
            left=len(grid),
            block=grid.block,
            halo=(1, 1, 1),
            read_bytes=math.prod(box.shape),
            write_bytes=0,
            peak_bytes=peak,
            limit_bytes=limit,
            workers=1,
            threads=1,
            cure="Use a smaller --block",
        )
        text = (
            f"holds the mesh in memory: at most {most / 1e6:.3g} million triangles "
            f"in {size_text(limit)}; more are refused before anything is written"
        )
        return [plan, Outline(f"export {self.asked.format.name}", text)]

    def write(self, path: Path) -> None:
        """Build the mesh, smooth and decimate it as asked, and write it."""
        vertices, faces = self._mesh()
        factor, (z, y, x) = UNITS[self.asked.given["unit"]], self.asked.box(self.field).start
        corner = np.array([x, y, z]) * np.array(self.field.spacing_nm[::-1])
        surface = Surface(
            vertices=(vertices + corner) * factor,
            faces=faces,
            name=" ".join(self.phases),
            unit=self.asked.given["unit"],
            mark=self.mark,
            note=self.asked.note(),
        )
        assert isinstance(self.asked.format, SurfaceFormat)
        self.asked.format.write(surface, path)

    @property
    def _triangle_bytes(self) -> int:
        return TRIANGLE_BYTES + (COLLAPSING_BYTES if self.asked.given["keep"] < 1 else 0)

    @property
    def _grid(self) -> Grid:
        """Blocks of cells: there is one more along each axis than voxels."""
        shape = self.asked.box(self.field).shape
        cells = triple(n + 1 for n in shape)
        wanted = self.asked.options.block or (self.field.chunk[0], *cells[1:])
        return Grid(cells, triple(min(b, n) for b, n in zip(wanted, cells, strict=True)))

    def _mesh(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Vertices (x, y, z) in nm from the corner of the region, and faces."""
        shape = self.asked.box(self.field).shape
        numbers, faces, voxels = self._welded()
        if not len(faces):
            raise ArgumentError(f"no voxel of the region is {' or '.join(self.phases)}")
        places = mesh.positions(numbers, triple(n + 2 for n in shape))
        held = mesh.on_border(places, shape)[:, ::-1]
        vertices = np.ascontiguousarray((places * self.field.spacing_nm)[:, ::-1])
        target = voxels * math.prod(self.field.spacing_nm)
        if times := self.asked.given["smoothing"]:
            vertices = mesh.smoothed(vertices, faces, held, times, target)
        if (keep := self.asked.given["keep"]) < 1:
            vertices, faces = mesh.decimated(vertices, faces, keep)
            step = np.array(self.field.spacing_nm[::-1])
            vertices, held = mesh.snapped(vertices, step * shape[::-1], NEAR_FACE * step)
            vertices = mesh.with_volume(vertices, faces, held, target)
        enclosed = mesh.volume(vertices, faces)
        log.info(
            "surface of %s: %d triangles, closed, enclosing %.6g nm3, %+.3f %% of its voxels",
            ", ".join(self.phases), len(faces), enclosed, 100 * (enclosed / target - 1),
        )  # fmt: skip
        self._warn_of_volume(enclosed / target - 1)
        return vertices, faces

    def _warn_of_volume(self, off: float) -> None:
        """Warn if the surface encloses another volume than that of the voxels."""
        if abs(off) <= VOLUME_OFF:
            return
        restored = self.asked.given["smoothing"] or self.asked.given["keep"] < 1
        cure = "" if restored else "restore the volume with --smoothing 10, or "
        log.warning(
            "the surface of %s encloses %.1f %% %s than its voxels: corners of voxels are cut off, and much of it is a "
            "voxel or two thick. %s",
            ", ".join(self.phases), 100 * abs(off), "less" if off < 0 else "more",
            f"{cure}take specks away first: tim3d clean".capitalize(),
        )  # fmt: skip

    def _welded(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Numbers of the vertices, faces, and the number of voxels of the phases."""
        corners, cells, voxels = self._triangles()
        return *mesh.welded(corners, cells), voxels

    def _triangles(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Triangles of all blocks, their cells, and the number of voxels of the phases."""
        parts, voxels, triangles = [], 0, 0
        room = limit_bytes() - resident_base()
        with self.bar(len(self._grid), "block") as bar:
            for number, (corners, cells, inside) in enumerate(self._blocks(), 1):
                parts.append((corners, cells))
                voxels, triangles = voxels + inside, triangles + len(cells)
                bar.update()
                if triangles * self._triangle_bytes > room:
                    raise self._too_many(triangles, number / len(self._grid), room)
        return (
            np.concatenate([corners for corners, _ in parts]),
            np.concatenate([cells for _, cells in parts]),
            voxels,
        )

    def _too_many(self, triangles: int, share: float, room: int) -> MemoryPlanError:
        fit = max(0, room) / self._triangle_bytes
        return MemoryPlanError(
            f"the surface has some {triangles / share / 1e6:.3g} million triangles, and "
            f"{fit / 1e6:.3g} million fit into the {size_text(max(0, room))} that are free. "
            "Give a smaller region (--z, --y, --x) or more --memory"
        )

    def _blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
        box, array = (
            self.asked.box(self.field),
            store.field_array(self.asked.sample, self.field.name),
        )
        wanted = self.wanted_codes
        whole = triple(n + 2 for n in box.shape)
        for block in self._grid:
            around, voxels = _voxels(block), Box.whole(box.shape)
            codes = store.read_box(array, around.clip(voxels).shift(box.start))
            inside = marching_cubes.padded(codes, wanted, around, voxels)
            corners, cells = marching_cubes.triangles(inside, block.core.start, whole)
            yield corners, cells, int(inside[1:, 1:, 1:].sum())


def _voxels(block: Block) -> Box:
    """Voxels at the corners of the cells of a block; cell 0 begins before the first voxel."""
    return Box(triple(n - 1 for n in block.core.start), block.core.stop)


def _check_numbers(asked: Asked) -> None:
    smoothing, keep = asked.given["smoothing"], asked.given["keep"]
    if smoothing < 0:
        raise ArgumentError(f"--smoothing {smoothing}: a number of steps, 0 or more")
    if not 0 < keep <= 1:
        raise ArgumentError(f"--keep {keep:g}: the share of the triangles that stays, up to 1")
    if keep < 1 and importlib.util.find_spec("fast_simplification") is None:
        raise MissingExtraError(
            "--keep needs the package fast-simplification. Type: pip install 'tim3d[export]'"
        )
