"""Volumes in one file (numpy arrays, raw binary), and the choice of one array in a container."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.axes import IN_ORDER, Places, cut, is_volume, ordered_shape, places_in_order
from tim3d.sources.base import Source, Voxels, reading, stored_dtype, volume_shape
from tim3d.sources.unread import named_format
from tim3d.sources.wanted import Order, Wanted

_SHOWN = 12
# Suffixes of headers that lie beside their voxels.
_HEADERS = (".mhd", ".nhdr", ".hdr")


@dataclass(frozen=True, kw_only=True, repr=False)
class FileSource(Source):
    """Source that is one file at `path`."""

    path: str
    size: int = field(default=0)

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return self.path

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (Path(self.path).name, self.size)


@dataclass(frozen=True, kw_only=True, repr=False)
class NpyFile(FileSource):
    """Numpy array file, memory-mapped while it is read; `places` are its axes z, y and x."""

    places: Places = IN_ORDER

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        return np.array(cut(mapped_npy(self.path), self.places, z0, z1))


@dataclass(frozen=True, kw_only=True, repr=False)
class RawFile(FileSource):
    """Voxels without a header, stored as `disk_dtype`; x runs fastest in `order` "C", z in "F"."""

    disk_dtype: str = ""
    order: Order = "C"

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (*super().parts(), self.disk_dtype, self.order)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.path):
            mapped = np.memmap(self.path, self.disk_dtype, "r", shape=self.shape, order=self.order)
            return np.array(mapped[z0:z1])


def mapped_npy(path: str) -> Voxels:
    """Memory-map the array of a .npy file, if the file is as long as its header states.

    Raises
    ------
    InputError
        If the file is shorter or otherwise damaged, or holds Python objects.
    """
    with reading(path):
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        promised, size = found.offset + found.nbytes, Path(path).stat().st_size
        if promised != size:
            raise InputError(
                f"{path} is damaged: its header promises {found.shape} of {found.dtype}, {promised} bytes with itself, "
                f"and the file has {size}; copy it again"
            )
        held: Voxels = found
        return held


def open_npy(path: Path, wanted: Wanted) -> NpyFile:
    """Open a .npy file of shape (z, y, x) or (y, x), in C or Fortran order; drop axes of length one."""
    wanted.refuse_picks(str(path))
    mapped = mapped_npy(str(path))
    places = places_in_order(mapped.shape, mapped.dtype, str(path))
    return NpyFile(
        shape=ordered_shape(mapped.shape, places, str(path)),
        dtype=stored_dtype(mapped.dtype, str(path)),
        places=places,
        origin="npy, no metadata",
        path=str(path),
        size=path.stat().st_size,
    )


def open_raw(
    path: Path, shape: tuple[int, ...] | None, dtype: DTypeLike | None, order: Order
) -> RawFile:
    """Open a file without a header, whose size in bytes must match shape and dtype exactly.

    Parameters
    ----------
    path : Path
        The file.
    shape : (z, y, x)
        Number of voxels along each axis.
    dtype : dtype
        Type of a voxel, with its byte order.
    order : {"C", "F"}
        C has x running fastest, F has z running fastest.

    Raises
    ------
    ArgumentError
        If shape or dtype are missing or invalid, or the order is neither C nor F.
    InputError
        If the size of the file does not match.
    """
    if shape is None or dtype is None:
        said = named_format(path) or _described_by(path) or "has no header that tim3d knows"
        raise ArgumentError(
            f"{path} {said}; for raw voxels without a header type their shape and type, for example "
            "--shape 1000,1024,1024 --dtype uint8"
        )
    if order not in ("C", "F"):
        raise ArgumentError(
            f"order is {order!r}; write 'C' (x runs fastest) or 'F' (z runs fastest)"
        )
    disk = _dtype(dtype)
    stored = stored_dtype(disk, str(path))
    sizes = volume_shape(tuple(shape), f"the given shape of {path}")
    needed, size = math.prod(sizes) * disk.itemsize, path.stat().st_size
    if size != needed:
        raise InputError(
            f"{path} has {size} bytes; shape {sizes} of {disk.name} needs {needed}. "
            f"Correct shape (z, y, x) or dtype{_slices_hint(size, sizes, disk)}"
        )
    return RawFile(
        shape=sizes,
        dtype=stored,
        origin="raw voxels, no metadata",
        path=str(path),
        size=size,
        disk_dtype=disk.str,
        order=order,
    )


def _described_by(path: Path) -> str:
    """Header of the same name beside a file of voxels, for a message; empty if there is none."""
    beside = [path.with_suffix(suffix) for suffix in _HEADERS if path.with_suffix(suffix).is_file()]
    return f"seems to belong to {beside[0].name}: give that file" if beside else ""


def _dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        return np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError(
            f"dtype {dtype!r} is not known; write uint8, uint16, >u2 or float32"
        ) from error


def _slices_hint(size: int, shape: tuple[int, int, int], disk: np.dtype[Any]) -> str:
    per_slice = shape[1] * shape[2] * disk.itemsize
    return (
        f"; the file would hold {size // per_slice} slices of that size"
        if size % per_slice == 0
        else ""
    )


def choose(
    every: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    wanted: str | None,
    where: str,
    astray: Mapping[str, str] | None = None,
    *,
    spacious: bool = False,
) -> str:
    """Name of the array to read in a container: the wanted one, or the only possible volume.

    Parameters
    ----------
    every : mapping of name to shape and dtype
        The arrays in the container.
    wanted : str or None
        Name of one of them.
    where : str
        Name of the container in messages.
    astray : mapping of name to text, optional
        Links that are not followed, and their targets.
    spacious : bool
        Whether every array can be a volume, whatever its axes.

    Raises
    ------
    InputError
        If there is no such array or the choice is ambiguous; the message lists the arrays.
    """
    astray = astray or {}
    lost = "".join(
        f"; {name} leads to {target}" for name, target in sorted(astray.items())[:_SHOWN]
    )
    if wanted is not None:
        name = wanted.strip("/")
        if name in astray:
            raise InputError(
                f"{where}: {name} leads to {astray[name]}. Give that file itself, or put it there"
            )
        if name not in every:
            raise InputError(
                f"{where} has no data set {wanted!r}; it holds {_listing(every)}{lost}. Name one: --dataset NAME"
            )
        return name
    volumes = {name: item for name, item in every.items() if spacious or is_volume(*item)}
    # Which of more axes are z, y and x, their names may say.
    longer = [name for name, (shape, _) in every.items() if len(shape) > 3]
    if len(volumes or longer) == 1:
        return next(iter(volumes or longer))
    if not volumes:
        raise InputError(
            f"{where} holds no data set with three axes (z, y, x); it holds {_listing(every)}{lost}. Name what you "
            "want, if it is a volume: --dataset NAME"
        )
    raise InputError(
        f"{where} holds {len(volumes)} data sets with three axes: {_listing(volumes)}. Name one: --dataset "
        f"{min(volumes)}"
    )


def _listing(every: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    shown = [f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(every.items())]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more or "nothing"
