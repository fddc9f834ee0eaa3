"""Finite elements through meshio: Abaqus, Gmsh, Nastran (which COMSOL imports) and VTU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.formats.base import ElementFormat, Elements, phases_text


class MeshioFormat(ElementFormat):
    """A format that `meshio` writes, and how its files keep a line of text."""

    needs = ("meshio",)
    remark = ""
    keeps_mark = True

    def mesh(self, elements: Elements) -> Any:
        """The mesh as `meshio` takes it."""
        raise NotImplementedError

    def write(self, elements: Elements, path: Path) -> None:
        """Write the mesh, and behind it the line that says what it is."""
        import meshio

        self.save(meshio, path, self.mesh(elements))
        text = f"{elements.mark}; {phases_text(elements.phases)}; lengths in {elements.unit}"
        with path.open("a", encoding="utf-8") as file:
            file.write(self.remark.format(text))

    def save(self, meshio: Any, path: Path, mesh: Any) -> None:
        """Write with the defaults of meshio."""
        meshio.write(path, mesh)


@dataclass(frozen=True)
class Abaqus(MeshioFormat):
    """Abaqus input; an element set for every phase."""

    name = "abaqus"
    suffixes = (".inp",)
    remark = "** {}\n"

    def mesh(self, elements: Elements) -> Any:
        """Elements with a set of them for every phase that occurs."""
        import meshio

        sets = {name: [np.flatnonzero(elements.codes == code)] for name, code in _there(elements)}
        cells = [(elements.kind, elements.cells)]
        return meshio.Mesh(elements.points, cells, cell_sets=sets)


@dataclass(frozen=True)
class Gmsh(MeshioFormat):
    """Gmsh 2.2 binary, which all its versions read; a physical group for every phase, code + 1."""

    name = "gmsh"
    suffixes = (".msh",)
    remark = "$Comments\n{}\n$EndComments\n"

    def mesh(self, elements: Elements) -> Any:
        """Elements with physical groups: Gmsh counts them from 1."""
        import meshio

        names = {name: np.array([code + 1, 3]) for name, code in _there(elements)}
        tags = [elements.codes.astype(np.int32) + 1]
        return meshio.Mesh(
            elements.points,
            [(elements.kind, elements.cells)],
            cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags},
            field_data=names,
        )

    def save(self, meshio: Any, path: Path, mesh: Any) -> None:
        """Write version 2.2; meshio asks 4.1 for more than it knows of an element set."""
        meshio.gmsh.write(path, mesh, fmt_version="2.2", binary=True)


@dataclass(frozen=True)
class Nastran(MeshioFormat):
    """Nastran bulk data, which COMSOL imports; property number code + 1 for every phase."""

    name = "nastran"
    suffixes = (".bdf", ".nas")
    remark = "$ {}\n"

    def mesh(self, elements: Elements) -> Any:
        """Elements with the numbers of their properties."""
        import meshio

        cells = [(elements.kind, elements.cells)]
        data = {"nastran:ref": [elements.codes.astype(np.int32) + 1]}
        return meshio.Mesh(elements.points, cells, cell_data=data)

    def save(self, meshio: Any, path: Path, mesh: Any) -> None:
        """Write fields of 16 characters, which hold the coordinates without loss."""
        meshio.nastran.write(path, mesh, point_format="fixed-large", cell_format="fixed-small")


@dataclass(frozen=True)
class Vtu(MeshioFormat):
    """VTU for ParaView; the code of the phase of every cell."""

    name = "vtu"
    suffixes = (".vtu",)
    remark = "<!-- {} -->\n"

    def mesh(self, elements: Elements) -> Any:
        """Elements with their codes."""
        import meshio

        cells = [(elements.kind, elements.cells)]
        return meshio.Mesh(elements.points, cells, cell_data={"phase": [elements.codes]})

    def save(self, meshio: Any, path: Path, mesh: Any) -> None:
        """Write binary data without compression."""
        meshio.vtu.write(path, mesh, binary=True, compression=None)


def _there(elements: Elements) -> list[tuple[str, int]]:
    """Names and codes of the phases that occur."""
    present = set(np.unique(elements.codes).tolist())
    return [(name, code) for name, code in elements.phases.items() if code in present]
