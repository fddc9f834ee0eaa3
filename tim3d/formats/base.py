"""Content of exported files, and base classes of the formats that write it.

A format is a frozen dataclass below one of `VolumeFormat`, `SurfaceFormat`, `ElementFormat`,
`LineFormat`, `TableFormat` and `FigureFormat`. It writes to the path that it is given and knows neither samples
nor names of files: `tim3d.export` puts finished files in their place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.phases import Phases

Spacing = tuple[float, float, float]
# Lengths in files: the factor from nanometres.
UNITS = {"nm": 1.0, "um": 1e-3, "mm": 1e-6, "m": 1e-9}
VOXEL_TYPES = ("uint8", "uint16", "uint32", "float32")


@dataclass(frozen=True)
class Layer:
    """A field as it goes into a file.

    Parameters
    ----------
    name : str
        Name of the field.
    dtype : numpy.dtype
        Type of a value.
    read : callable
        ``read(z0, z1)`` returns the slices `z0` <= z < `z1` of the region, as (z, y, x), or
        (z, y, x, 3) for vectors in the order x, y, z.
    units, long_name : str
        Unit and meaning of the values.
    phases : Phases, optional
        Names of the codes of a field of labels.
    components : int
        Numbers of a voxel: 1, or 3 for vectors.
    """

    name: str
    dtype: np.dtype[Any]
    read: Callable[[int, int], NDArray[Any]]
    units: str = "1"
    long_name: str = ""
    phases: Phases | None = None
    components: int = 1

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel."""
        return self.dtype.itemsize * self.components


def _silent(_: int) -> None:
    pass


@dataclass(frozen=True)
class Volume:
    """A region of some fields, read slab by slab.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the region.
    spacing, corner : (z, y, x)
        Edges of a voxel, and the outer face of the first voxel, in `unit`. Voxel i of an axis has
        its centre at ``corner + (i + 1/2) * spacing``: coordinates are those of the sample.
    unit : str
        Unit of all lengths: nm, um, mm or m.
    layers : tuple of Layer
        The fields, on one grid.
    cuts : tuple of int
        Slices at which slabs begin, and the number of slices.
    mark, note : str
        Line that says which export this is, and line that says of what; to be kept in the file.
    step : callable, optional
        Called with the number of slices of every slab that was read.
    """

    shape: Triple
    spacing: Spacing
    corner: Spacing
    unit: str
    layers: tuple[Layer, ...]
    cuts: tuple[int, ...]
    mark: str
    note: str
    step: Callable[[int], None] = _silent

    @property
    def centre(self) -> Spacing:
        """Centre of the first voxel, (z, y, x)."""
        z, y, x = (c + s / 2 for c, s in zip(self.corner, self.spacing, strict=True))
        return (z, y, x)

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def data_bytes(self) -> int:
        """Bytes of all values of all fields."""
        return self.voxels * sum(layer.voxel_bytes for layer in self.layers)

    def slabs(self, layer: Layer) -> Iterator[NDArray[Any]]:
        """Slabs of a field in the order of z; the next one is read while one is written."""
        ranges = list(zip(self.cuts[:-1], self.cuts[1:], strict=True))
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(layer.read, *ranges[0])
            for following in [*ranges[1:], None]:
                slab = np.ascontiguousarray(coming.result(), layer.dtype)
                if following is not None:
                    coming = ahead.submit(layer.read, *following)
                yield slab
                self.step(len(slab))

    def slices(self, layer: Layer) -> Iterator[NDArray[Any]]:
        """Slices of a field, one by one."""
        for slab in self.slabs(layer):
            yield from slab


@dataclass(frozen=True)
class Surface:
    """A closed surface of triangles whose normals point out of the phase.

    Parameters
    ----------
    vertices : (n, 3) float64
        x, y, z in `unit`, in the coordinates of the sample.
    faces : (m, 3) int64
        Rows of `vertices`.
    name, unit, mark, note : str
        Phases that it encloses, unit of its lengths, and the lines that a file keeps.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    name: str
    unit: str
    mark: str
    note: str


@dataclass(frozen=True)
class Elements:
    """Voxels as finite elements.

    Parameters
    ----------
    points : (n, 3) float64
        Corners of the voxels: x, y, z in `unit`.
    cells : (m, 8) or (m, 4) int64
        Corners of every hexahedron or tetrahedron, in the order of VTK.
    codes : (m,) uint8
        Code of the phase of every element.
    phases : Phases
        Names of the codes.
    unit, mark, note : str
        Unit of the lengths, and the lines that a file keeps.
    """

    points: NDArray[np.float64]
    cells: NDArray[np.int64]
    codes: NDArray[np.uint8]
    phases: Phases
    unit: str
    mark: str
    note: str

    @property
    def kind(self) -> str:
        """Kind of element, as `meshio` calls it."""
        return "hexahedron" if self.cells.shape[1] == 8 else "tetra"


@dataclass(frozen=True)
class Lines:
    """Lines through points, one after the other.

    Parameters
    ----------
    points : (n, 3) float64
        x, y, z in `unit`, in the coordinates of the sample, in order along each line.
    ends : (m,) int64
        Number of points up to the end of each line.
    of_points, of_lines : mapping of str to array
        Numbers of each point, and of each line.
    unit, mark, note : str
        Unit of the lengths, and the lines of text that a file keeps.
    """

    points: NDArray[np.float64]
    ends: NDArray[np.int64]
    of_points: Mapping[str, NDArray[Any]]
    of_lines: Mapping[str, NDArray[Any]]
    unit: str
    mark: str
    note: str


@dataclass(frozen=True)
class Table:
    """Numbers as tidy rows, one for each value.

    Parameters
    ----------
    columns : mapping of str to type
        Names of the columns in their order, with `str`, `float` or `int`.
    pieces : iterator of mapping of str to list
        Some thousand rows at a time, column by column; None where a row has no entry.
    mark : str
        Line that a file keeps where it can.
    """

    columns: Mapping[str, type]
    pieces: Iterator[Mapping[str, Sequence[Any]]]
    mark: str


class Format(ABC):
    """A format of files.

    Attributes
    ----------
    name : str
        Name for ``--format``.
    suffixes : tuple of str
        Endings of its files, the usual one first; empty for a folder.
    version : int
        To be raised when the same content gives another file.
    needs : tuple of str
        Packages of the extra ``export`` that it imports.
    keeps_mark : bool
        Whether its files hold the mark of the export as text in the first or last 128 KiB. By it the
        same export is answered without writing, and any other file of that name is left alone. A
        format without it replaces files with ``--overwrite`` only.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ()
    keeps_mark: ClassVar[bool] = False

    def companions(self, path: Path) -> tuple[Path, ...]:
        """Other files that are written beside `path`."""
        return ()


class VolumeFormat(Format):
    """A format of voxels.

    Attributes
    ----------
    dtypes : tuple of str
        Types of values that it holds.
    several : bool
        Whether a file holds several fields.
    vectors : bool
        Whether a voxel may have three numbers.
    is_folder : bool
        Whether it is a folder of files.
    """

    dtypes: ClassVar[tuple[str, ...]] = VOXEL_TYPES
    several: ClassVar[bool] = False
    vectors: ClassVar[bool] = False
    is_folder: ClassVar[bool] = False

    def check(self, volume: Volume) -> None:
        """Refuse what the format cannot hold.

        Raises
        ------
        ArgumentError
            If it holds one field only, or not this type of values.
        """
        names = [layer.name for layer in volume.layers if layer.components == 1]
        if len(names) > 1 and not self.several:
            raise ArgumentError(
                f"a {self.name} file holds one field, got {' and '.join(names)}; several go into "
                ".vti, .vtkhdf, .h5 or .ome.tif"
            )
        for layer in volume.layers:
            if layer.components > 1 and not self.vectors:
                raise ArgumentError(
                    f"a {self.name} file holds no vectors: write .vti, .vtkhdf or .h5"
                )
            if layer.dtype.name not in self.dtypes:
                raise ArgumentError(
                    f"{layer.name!r} is {layer.dtype.name}, and a {self.name} file holds "
                    f"{', '.join(self.dtypes)}; write .nrrd, .vti or .h5"
                )

    @abstractmethod
    def write(self, volume: Volume, path: Path) -> None:
        """Write the volume to a file, or into a folder, that does not exist yet."""


class SurfaceFormat(Format):
    """A format of triangles."""

    @abstractmethod
    def write(self, surface: Surface, path: Path) -> None:
        """Write the surface to a file that does not exist yet."""


class ElementFormat(Format):
    """A format of finite elements."""

    @abstractmethod
    def write(self, elements: Elements, path: Path) -> None:
        """Write the elements to a file that does not exist yet."""


class LineFormat(Format):
    """A format of lines."""

    @abstractmethod
    def write(self, lines: Lines, path: Path) -> None:
        """Write the lines to a file that does not exist yet."""


class TableFormat(Format):
    """A format of tables."""

    @abstractmethod
    def write(self, table: Table, path: Path) -> None:
        """Write the table to a file that does not exist yet."""


class FigureFormat(Format):
    """A format of figures."""

    @abstractmethod
    def write(self, figure: Any, path: Path, mark: str) -> None:
        """Write a figure of matplotlib to a file that does not exist yet."""


def phases_text(phases: Phases | None) -> str:
    """Names and codes as they are typed; empty without names.

    >>> phases_text(Phases(pore=0, solid=1))
    'pore=0,solid=1'
    """
    return ",".join(f"{name}={code}" for name, code in (phases or {}).items())


def xyz(values: Sequence[Any]) -> list[Any]:
    """A triple in the order x, y, z.

    >>> xyz((1, 2, 3))
    [3, 2, 1]
    """
    return list(values)[::-1]
