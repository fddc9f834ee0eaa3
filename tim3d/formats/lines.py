"""Lines in files: VTK poly data (XML with raw data) for ParaView."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from tim3d.formats.base import LineFormat, Lines
from tim3d.formats.vtk import comment

_TYPES = {"float64": "Float64", "float32": "Float32", "int64": "Int64", "uint8": "UInt8"}


@dataclass(frozen=True)
class Vtp(LineFormat):
    """VTP: a line for each strut, with numbers for each of its points and for itself."""

    name = "vtp"
    suffixes = (".vtp",)
    keeps_mark = True

    def write(self, lines: Lines, path: Path) -> None:
        """Write the XML, then each array behind its length."""
        arrays = list(_arrays(lines))
        with path.open("xb") as file:
            file.write(_head(lines).encode())
            for _, _, values in arrays:
                file.write(np.uint64(values.nbytes).tobytes())
                file.write(values.tobytes())
            file.write(b"\n  </AppendedData>\n</VTKFile>\n")


def _arrays(lines: Lines) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Every array in the order of the file: where it belongs, its name, its values."""
    for name, values in lines.of_points.items():
        yield "PointData", name, np.ascontiguousarray(values)
    for name, values in lines.of_lines.items():
        yield "CellData", name, np.ascontiguousarray(values)
    yield "Points", "Points", np.ascontiguousarray(lines.points)
    yield "Lines", "connectivity", np.arange(len(lines.points), dtype=np.int64)
    yield "Lines", "offsets", np.ascontiguousarray(lines.ends, dtype=np.int64)


def _head(lines: Lines) -> str:
    """XML up to the appended data, with the place of every array in it."""
    place, parts = 0, dict.fromkeys(("PointData", "CellData", "Points", "Lines"), "")
    for part, name, values in _arrays(lines):
        width = values.shape[1] if values.ndim > 1 else 1
        parts[part] += (
            f'        <DataArray type="{_TYPES[values.dtype.name]}" Name={quoteattr(name)} '
            f'NumberOfComponents="{width}" format="appended" offset="{place}"/>\n'
        )
        place += 8 + values.nbytes
    remarks = (lines.mark, lines.note, f"lengths in {lines.unit}")
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            *(f"<!-- {comment(text)} -->" for text in remarks),
            '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
            "  <PolyData>",
            f'    <Piece NumberOfPoints="{len(lines.points)}" NumberOfVerts="0" '
            f'NumberOfLines="{len(lines.ends)}" NumberOfStrips="0" NumberOfPolys="0">',
            *(f"      <{part}>\n{inner}      </{part}>" for part, inner in parts.items()),
            "    </Piece>",
            "  </PolyData>",
            '  <AppendedData encoding="raw">\n_',
        ]
    )
