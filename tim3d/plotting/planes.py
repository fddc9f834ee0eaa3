"""One plane of a field at a time, from the level of the pyramid that suits a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from tim3d.grid import Box, Triple, triple
from tim3d.storage import store
from tim3d.storage.schema import AXES

# Pixels along the longer edge of a picture: more than a page shows, few enough to embed.
LARGEST = 1200


@dataclass(frozen=True)
class Plane:
    """A plane through the middle of a volume.

    Parameters
    ----------
    values : (rows, columns) array
        Voxels; a plane across x has rows y and columns z, so that it can stand beside a plane
        across z.
    normal : str
        Axis that the plane cuts.
    axes : (str, str)
        Axis along the rows (down) and along the columns (to the right).
    voxel_nm, size_nm : (float, float)
        Edges of a pixel and of the whole plane, down and to the right.
    position_nm : float
        Centre of the plane along its normal.
    """

    values: npt.NDArray[Any]
    normal: str
    axes: tuple[str, str]
    voxel_nm: tuple[float, float]
    size_nm: tuple[float, float]
    position_nm: float

    @property
    def extent_nm(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of the picture in nm, with rows counted downwards."""
        rows, columns = self.values.shape
        return (0.0, columns * self.voxel_nm[1], rows * self.voxel_nm[0], 0.0)

    def turned(self) -> Plane:
        """The same plane with rows and columns exchanged."""
        return replace(
            self,
            values=self.values.T,
            axes=self.axes[::-1],
            voxel_nm=self.voxel_nm[::-1],
            size_nm=self.size_nm[::-1],
        )


def levels(sample: str, name: str) -> list[Triple]:
    """Factors of the levels of a field against its full resolution.

    Raises
    ------
    MissingFieldError
        If the sample has no such field.
    """
    store.field_array(sample, name)
    ome: Any = store.open_sample(sample)[name].attrs["ome"]
    scales = [d["coordinateTransformations"][0]["scale"] for d in ome["multiscales"][0]["datasets"]]
    return [triple(round(a / b) for a, b in zip(scale, scales[0], strict=True)) for scale in scales]


def middle_plane(sample: str, name: str, normal: str, largest: int = LARGEST) -> Plane:
    """Read the plane across the middle of an axis, with edges of at most `largest` pixels.

    It comes from the finest level on which no edge exceeds `largest`; of that level only the chunks
    that the plane meets are read.

    Parameters
    ----------
    sample, name : str
        The sample and its field.
    normal : {"z", "y", "x"}
        Axis that the plane cuts in the middle.
    largest : int
        Pixels that a picture may have along an edge.

    Raises
    ------
    MissingFieldError
        If the sample has no such field.
    """
    field, factors = store.read_field(sample, name), levels(sample, name)
    axis = AXES.index(normal)
    across = [a for a in range(3) if a != axis]
    number = _level(field.shape, factors, across, largest)
    factor = factors[number]
    array = store.field_array(sample, name, number)
    index = field.shape[axis] // 2 // factor[axis]
    values = store.read_box(array, _one_plane(triple(array.shape), axis, index)).squeeze(axis)
    voxel = [s * f for s, f in zip(field.spacing_nm, factor, strict=True)]
    size = [s * n for s, n in zip(field.spacing_nm, field.shape, strict=True)]
    down, right = across if normal != "x" else across[::-1]
    return Plane(
        values=values if normal != "x" else values.T,
        normal=normal,
        axes=(AXES[down], AXES[right]),
        voxel_nm=(voxel[down], voxel[right]),
        size_nm=(size[down], size[right]),
        position_nm=min((index + 0.5) * voxel[axis], size[axis]),
    )


def middle_planes(sample: str, name: str) -> tuple[Plane, Plane, Plane]:
    """Middle planes across z, y and x; the latter two have z to the right, to form a column."""
    z, y, x = (middle_plane(sample, name, normal) for normal in AXES)
    return z, y.turned(), x


def picture_factors(sample: str, name: str, largest: int = LARGEST) -> list[Triple]:
    """Voxels (z, y, x) per pixel of the middle planes across z, y and x; no voxel is read."""
    field, factors = store.read_field(sample, name), levels(sample, name)
    return [
        factors[_level(field.shape, factors, [a for a in range(3) if a != axis], largest)]
        for axis in range(3)
    ]


def _level(shape: Triple, factors: list[Triple], across: list[int], largest: int) -> int:
    fits = (
        n for n, f in enumerate(factors) if max(-(-shape[a] // f[a]) for a in across) <= largest
    )
    return next(fits, len(factors) - 1)


def _one_plane(shape: Triple, axis: int, index: int) -> Box:
    start = triple(index if a == axis else 0 for a in range(3))
    stop = triple(index + 1 if a == axis else n for a, n in enumerate(shape))
    return Box(start, stop)
