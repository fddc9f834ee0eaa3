"""Volumes in one file: numpy arrays, raw binary, HDF5."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import DTypeLike

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.base import Source, Voxels, reading, stored_dtype, volume_shape

Order = Literal["C", "F"]


@dataclass(frozen=True, kw_only=True, repr=False)
class FileSource(Source):
    """A source that is one file at `path`."""

    path: str
    size: int = field(default=0)

    @property
    def label(self) -> str:
        """What messages call this source."""
        return self.path

    def _parts(self) -> tuple[object, ...]:
        return (Path(self.path).name, self.size)


@dataclass(frozen=True, kw_only=True, repr=False)
class NpyFile(FileSource):
    """A numpy array file, memory-mapped while it is read."""

    def _load(self, z0: int, z1: int) -> Voxels:
        return np.array(_mapped_npy(self.path)[z0:z1])


@dataclass(frozen=True, kw_only=True, repr=False)
class RawFile(FileSource):
    """Voxels without a header; `disk_dtype` keeps the byte order, `order` "C" has x running fastest, "F" z."""

    disk_dtype: str = ""
    order: Order = "C"

    def _parts(self) -> tuple[object, ...]:
        return (*super()._parts(), self.disk_dtype, self.order)

    def _load(self, z0: int, z1: int) -> Voxels:
        with reading(self.path):
            mapped = np.memmap(self.path, self.disk_dtype, "r", shape=self.shape, order=self.order)
            return np.array(mapped[z0:z1])


@dataclass(frozen=True, kw_only=True, repr=False)
class Hdf5Dataset(FileSource):
    """A data set inside an HDF5 file."""

    dataset: str

    @property
    def label(self) -> str:
        """What messages call this source."""
        return f"{self.path}:{self.dataset}"

    def _parts(self) -> tuple[object, ...]:
        return (*super()._parts(), self.dataset)

    def _load(self, z0: int, z1: int) -> Voxels:
        with reading(self.label), h5py.File(self.path, "r") as file:
            return np.asarray(file[self.dataset][z0:z1])


def _mapped_npy(path: str) -> Voxels:
    with reading(path):
        found: Voxels = np.load(path, mmap_mode="r", allow_pickle=False)
        return found


def open_npy(path: Path) -> NpyFile:
    """A .npy file of shape (z, y, x), in C or Fortran order."""
    mapped = _mapped_npy(str(path))
    return NpyFile(
        shape=volume_shape(mapped.shape, str(path)),
        dtype=stored_dtype(mapped.dtype, str(path)),
        origin="npy, no metadata",
        path=str(path),
        size=path.stat().st_size,
    )


def open_raw(path: Path, shape: tuple[int, ...] | None, dtype: DTypeLike | None, order: Order) -> RawFile:
    """A file without a header; the number of its bytes must be exactly that of the shape.

    Raises
    ------
    ArgumentError
        If shape or dtype are not given or make no sense, or the order is neither C nor F.
    InputError
        If the file has another number of bytes.
    """
    if shape is None or dtype is None:
        raise ArgumentError(
            f"{path} has no header that tim3d knows; for raw voxels give shape and dtype, "
            "for example shape=(1000, 1024, 1024), dtype='uint8'"
        )
    if order not in ("C", "F"):
        raise ArgumentError(f"order is {order!r}; write 'C' (x runs fastest) or 'F' (z runs fastest)")
    disk = _dtype(dtype)
    sizes = volume_shape(tuple(shape), f"the given shape of {path}")
    needed, size = math.prod(sizes) * disk.itemsize, path.stat().st_size
    if size != needed:
        raise InputError(
            f"{path} has {size} bytes; shape {sizes} of {disk.name} needs {needed}. "
            f"Correct shape (z, y, x) or dtype{_slices_hint(size, sizes, disk)}"
        )
    return RawFile(
        shape=sizes,
        dtype=stored_dtype(disk, str(path)),
        origin="raw voxels, no metadata",
        path=str(path),
        size=size,
        disk_dtype=disk.str,
        order=order,
    )


def _dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        return np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError(f"dtype {dtype!r} is not known; write uint8, uint16, >u2 or float32") from error


def _slices_hint(size: int, shape: tuple[int, int, int], disk: np.dtype[Any]) -> str:
    per_slice = shape[1] * shape[2] * disk.itemsize
    return f"; the file would hold {size // per_slice} slices of that size" if size % per_slice == 0 else ""


def open_hdf5(path: Path, dataset: str | None) -> Hdf5Dataset:
    """A data set of an HDF5 file: the named one, else the only one with three axes.

    Raises
    ------
    InputError
        If the named one is not there, or none is named and there is not exactly one with three axes.
    """
    with reading(path), h5py.File(path, "r") as file:
        every = _datasets(file)
        name = choose(every, dataset, str(path))
        shape, dtype = every[name]
    return Hdf5Dataset(
        shape=volume_shape(shape, f"{path}:{name}"),
        dtype=stored_dtype(dtype, f"{path}:{name}"),
        origin=f"HDF5 data set {name}, no metadata",
        path=str(path),
        size=path.stat().st_size,
        dataset=name,
    )


def _datasets(file: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = (item.shape, item.dtype)

    file.visititems(visit)
    return found


def choose(every: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], wanted: str | None, where: str) -> str:
    """The array to read of those in a container: the wanted one, else the only one with three axes.

    Raises
    ------
    InputError
        If there is none or the choice is not clear; the message lists what is there.
    """
    listing = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(every.items())) or "nothing"
    if wanted is not None:
        name = wanted.strip("/")
        if name not in every:
            raise InputError(f"{where} has no data set {wanted!r}; it holds {listing}. Name one of them with dataset=")
        return name
    volumes = [name for name, (shape, _) in every.items() if len(shape) == 3]
    if len(volumes) == 1:
        return volumes[0]
    if not volumes:
        raise InputError(f"{where} holds no data set with three axes (z, y, x); it holds {listing}")
    raise InputError(
        f"{where} holds {len(volumes)} data sets with three axes: {listing}. Name one with dataset='{volumes[0]}'"
    )
