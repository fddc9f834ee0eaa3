"""Triangles in files: STL, PLY and OBJ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tim3d.formats.base import Surface, SurfaceFormat

# Triangles or vertices that are converted at once.
PIECE = 2**16
_HEADER_BYTES = 80


@dataclass(frozen=True)
class Stl(SurfaceFormat):
    """Binary STL; the header names phase and unit, which the format itself does not know."""

    name = "stl"
    suffixes = (".stl",)
    keeps_mark = True

    def write(self, surface: Surface, path: Path) -> None:
        """Write three corners and the normal of every triangle in float32."""
        # A header that begins with "solid" would be taken for a text file.
        header = f"{surface.mark} {surface.unit} {surface.name}".encode("ascii", "replace")
        kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        with path.open("xb") as file:
            file.write(header[:_HEADER_BYTES].ljust(_HEADER_BYTES))
            file.write(np.uint32(len(surface.faces)).tobytes())
            for faces in _pieces(surface.faces):
                corners = surface.vertices[faces]
                piece = np.zeros(len(faces), kind)
                piece["corners"], piece["normal"] = corners, _normals(corners)
                file.write(piece.tobytes())


@dataclass(frozen=True)
class Ply(SurfaceFormat):
    """Binary PLY with shared vertices in float64."""

    name = "ply"
    suffixes = (".ply",)
    keeps_mark = True

    def write(self, surface: Surface, path: Path) -> None:
        """Write the vertices, then the faces."""
        head = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment {surface.mark}",
            f"comment {surface.note}; {surface.name}; lengths in {surface.unit}",
            f"element vertex {len(surface.vertices)}",
            *(f"property double {axis}" for axis in "xyz"),
            f"element face {len(surface.faces)}",
            "property list uchar int vertex_indices",
            "end_header\n",
        ]
        kind = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
        with path.open("xb") as file:
            file.write("\n".join(head).encode())
            for vertices in _pieces(surface.vertices):
                file.write(vertices.astype("<f8").tobytes())
            for faces in _pieces(surface.faces):
                piece = np.empty(len(faces), kind)
                piece["count"], piece["corners"] = 3, faces
                file.write(piece.tobytes())


@dataclass(frozen=True)
class Obj(SurfaceFormat):
    """Wavefront OBJ, as text."""

    name = "obj"
    suffixes = (".obj",)
    keeps_mark = True

    def write(self, surface: Surface, path: Path) -> None:
        """Write a line for every vertex and every face; faces count vertices from 1."""
        with path.open("x", encoding="utf-8") as file:
            file.write(f"# {surface.mark}\n# {surface.note}; lengths in {surface.unit}\n")
            file.write(f"o {surface.name}\n")
            for vertices in _pieces(surface.vertices):
                file.writelines(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in vertices.tolist())
            for faces in _pieces(surface.faces):
                file.writelines(f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist())


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))


def _normals(corners: np.ndarray) -> np.ndarray:
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(across, axis=1, keepdims=True)
    return np.asarray(across / np.where(lengths > 0, lengths, 1))
