"""Base class of all sources: a volume on disk with a known shape, readable by ranges of slices.

A `Source` holds paths and numbers only, so that it is sent to a worker in a few bytes; each read
opens the files it needs and closes them again.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError, MissingExtraError, Tim3dError
from tim3d.grid import Triple

Voxels: TypeAlias = NDArray[Any]
VoxelSize: TypeAlias = tuple[float | None, float | None, float | None]

UNKNOWN_SIZE: VoxelSize = (None, None, None)
DTYPES = ("uint8", "uint16", "float32")
MATLAB_ORDER = (
    "MATLAB wrote this array (rows, columns, slices): rows are y, columns x, the third axis z"
)
WHITE_IS_ZERO = "0 means white in these files (WhiteIsZero): what looks dark has large grey values, --polarity bright"
_LONGEST_LINE = 240


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Volume that can be read slice by slice, in (z, y, x) order.

    Attributes
    ----------
    shape : (z, y, x)
        Number of voxels along each axis.
    dtype : numpy.dtype
        Type of a voxel in native byte order; uint8, uint16 or float32 from `open_source`.
    voxel_size_nm : (dz, dy, dx)
        Voxel size from the metadata; None for an axis that the files do not state.
    origin : str
        Which metadata the voxel size comes from.
    positions_nm : tuple of float or None
        z of every slice from its name, in the order of the slices.
    filled : int
        Missing chunks that are read as the fill value, at the user's request.
    piece_bytes : int
        Memory of the largest chunk, strip or tile, which is decoded as a whole, in addition to the
        slices that are read.
    remarks : tuple of str
        Warnings about the data that affect how the results are to be interpreted.
    scale : (slope, intercept) or None
        What a stored number means, slope * number + intercept, if the file says so.
    missing : float or None
        Value that stands for missing data, if the file names one; slices that hold it are refused.
    extra_voxel_bytes : int
        Memory of each voxel that is read, in addition to its own, while it is converted.
    is_numbered : bool
        Whether voxels are numbers of objects, 0 for none, and no grey values.
    """

    shape: Triple
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize = UNKNOWN_SIZE
    origin: str = "no metadata"
    positions_nm: tuple[float, ...] | None = None
    filled: int = 0
    piece_bytes: int = 0
    remarks: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    missing: float | None = None
    extra_voxel_bytes: int = 0
    is_numbered: bool = False

    @property
    def slice_bytes(self) -> int:
        """Memory of one slice, in bytes."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def read(self, z0: int, z1: int) -> Voxels:
        """Read the slices `z0` <= z < `z1`, and no others, as an array (z1 - z0, y, x).

        Parameters
        ----------
        z0, z1 : int
            Range of slices.

        Raises
        ------
        ArgumentError
            If the range is empty or leaves the volume.
        InputError
            If a file is truncated, unreadable or has changed, or a float slice holds NaN or
            infinity.
        """
        if not 0 <= z0 < z1 <= self.shape[0]:
            raise ArgumentError(
                f"slices {z0} to {z1} asked for; {self.label} has slices 0 to {self.shape[0]}"
            )
        found = self.load(z0, z1)
        expected = (z1 - z0, *self.shape[1:])
        if found.shape != expected:
            raise InputError(
                f"{self.label}: read {found.shape}, expected {expected}; the data changed since opening"
            )
        voxels = np.ascontiguousarray(found, dtype=self.dtype)
        self._refuse_not_finite(voxels, z0)
        self._refuse_missing(voxels, z0)
        return voxels

    def identity(self) -> str:
        """SHA-256 of kind, relative names, sizes, shape, dtype and the first and last slice.

        It does not read the whole volume, and does not change when the files are moved to another
        folder.
        """
        digest = hashlib.sha256()
        facts = (type(self).__name__, self.parts(), self.shape, str(self.dtype), self.positions_nm)
        digest.update(repr(facts + ((self.filled,) if self.filled else ())).encode())
        last = self.shape[0] - 1
        for z in (0, last):
            digest.update(self.read(z, z + 1).tobytes())
        return digest.hexdigest()

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of this source in messages."""

    def slice_name(self, z: int) -> str:
        """Name of slice `z` in messages."""
        return f"slice {z} of {self.label}"

    @abstractmethod
    def load(self, z0: int, z1: int) -> Voxels:
        """Read the slices, without checks."""

    @abstractmethod
    def parts(self) -> tuple[object, ...]:
        """Relative names and sizes that distinguish this source from others."""

    def _refuse_not_finite(self, voxels: Voxels, z0: int) -> None:
        if voxels.dtype.kind != "f":
            return
        for z, plane in enumerate(voxels, z0):
            count = plane.size - np.count_nonzero(np.isfinite(plane))
            if count:
                raise InputError(
                    f"{self.slice_name(z)} holds {count} values that are NaN or infinite; every voxel needs a number. "
                    "Fill them first, for example with numpy.nan_to_num, and open the source again"
                )

    def _refuse_missing(self, voxels: Voxels, z0: int) -> None:
        if self.missing is None:
            return
        for z, plane in enumerate(voxels, z0):
            count = np.count_nonzero(plane == self.missing)
            if count:
                raise InputError(
                    f"{self.slice_name(z)} holds {count} values {self.missing:g}, which the file names as missing "
                    "data; every voxel needs a number. Fill them and save a new file without that mark"
                )


def stored_dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Dtype that voxels of `dtype` are read as: uint8 for bool, always in native byte order.

    Parameters
    ----------
    dtype : dtype
        Type in the file.
    where : str
        Name of the source in messages.

    Raises
    ------
    InputError
        If the dtype is not one of real numbers.

    Examples
    --------
    >>> stored_dtype(np.dtype(">u2"), "scan.raw") == np.dtype("uint16")
    True
    """
    # Strings of variable length have no byte order.
    native = np.dtype(dtype).newbyteorder("=") if dtype.kind in "biufc" else np.dtype(object)
    if native == np.bool_:
        return np.dtype(np.uint8)
    if native.kind not in "iuf" or native.itemsize > 8:
        raise InputError(
            f"{where} holds {native.name} values; tim3d reads whole numbers and float16, float32, float64. Save one "
            "real number a voxel as a new file"
        )
    return native


def volume_shape(shape: tuple[int, ...], where: str) -> Triple:
    """Return the shape, or raise unless it is (z, y, x) without an empty axis.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the axes.
    where : str
        Name of the source in messages.

    Raises
    ------
    InputError
        If there are not exactly three axes, or one is empty.
    """
    if len(shape) != 3:
        raise InputError(
            f"{where} has {len(shape)} axes without names, shape {tuple(shape)}; expected three, (z, y, x), or two of "
            "one slice. Save the volume that you want as an array of its own"
        )
    if min(shape) < 1:
        raise InputError(f"{where} has shape {tuple(shape)}; an axis is empty")
    z, y, x = (int(n) for n in shape)
    return (z, y, x)


def needed(package: str, where: object) -> Any:
    """Import a package that reads a format.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says what to type.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"{where} is read with the package {package}, which is not installed. Type  pip install 'tim3d[formats]'"
        ) from error


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Convert any error of a reader on damaged bytes into an `InputError` that names the file.

    Parsers of foreign formats raise many types (struct, zlib, index, key, type errors), none of
    which names the file.
    """
    try:
        yield
    except (Tim3dError, MemoryError):
        raise
    except Exception as error:
        needed = _missing_package(error)
        if needed:
            raise MissingExtraError(
                f"{where} needs a package: {_first_line(error)}. {needed}"
            ) from error
        raise InputError(
            f"cannot read {where}: {_first_line(error)}. {_reading_cure(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    """First line of a library's error message, shortened: some contain the whole header."""
    text = (str(error) or type(error).__name__).strip().splitlines()
    return text[0][:_LONGEST_LINE].rstrip(" .") if text else type(error).__name__


def _missing_package(error: Exception) -> str:
    """Command that installs a missing decoder; empty if the error does not report one."""
    if type(error).__name__ == "UnknownCodecError":
        return "Install the codec, or write the array again with zstd or gzip"
    if isinstance(error, ImportError) and (
        protocol := re.search(r"Install (\w+) to access", str(error))
    ):
        return f"Type  pip install {protocol.group(1)}"
    if isinstance(error, ImportError) or "'imagecodecs' package" in str(error):
        return "Type  pip install -U imagecodecs"
    return ""


def _reading_cure(error: Exception) -> str:
    if type(error).__module__.startswith("obstore"):
        credentials = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"Check the URL, and that the environment holds the store's credentials, such as {credentials}"
    if isinstance(error, OSError) and error.errno is not None:
        return "Check that it is still there and that you may read it"
    return "It is truncated, damaged or of another kind; copy it again from the microscope, or leave it out"
