"""Corrections: values that make better grey values from grey values, some slices at a time.

A `Correction` knows all that it needs from its own fields. One that needs numbers of every slice
first, such as the drift, is `Measured`: rows are measured slice by slice, become a table, and the
table with the parameters becomes a `Correction`. Neither knows the engine or the store.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.corrections.table_files import digest_of, read_table
from tim3d.errors import InputError
from tim3d.forecast import will_exist
from tim3d.grid import Triple
from tim3d.lazy import xarray as xr
from tim3d.steps import Step

Greys: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """Shape, type and voxel size of a grey field, before or after a correction.

    Parameters
    ----------
    shape : (z, y, x)
        Number of voxels.
    dtype : {"uint8", "uint16", "float32"}
        Type of the grey values.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    """

    shape: Triple
    dtype: str
    spacing_nm: tuple[float, float, float]

    @property
    def slices(self) -> range:
        """Numbers of all slices."""
        return range(self.shape[0])

    @property
    def extent_nm(self) -> tuple[float, float, float]:
        """Edges of the stack along z, y and x."""
        (nz, ny, nx), (dz, dy, dx) = self.shape, self.spacing_nm
        return nz * dz, ny * dy, nx * dx

    @property
    def largest(self) -> float:
        """Largest value of the type; infinite for floats."""
        whole = np.dtype(self.dtype).kind == "u"
        return float(np.iinfo(self.dtype).max) if whole else math.inf

    def bytes_of(self, slices: int) -> int:
        """Bytes of a number of slices."""
        return slices * self.shape[1] * self.shape[2] * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table of slices.

    Parameters
    ----------
    name : str
        Name of the column, in the sample and in CSV files.
    long_name : str
        Quantity of its numbers.
    units : str
        Their unit; "1" for dimensionless ones.
    neutral : float
        Number that corrects nothing; stands for the unknown ones in a plan.
    least, most : float
        Range of its numbers, both ends included.
    expected : str
        The range in words, for the message about a table that was edited.
    """

    name: str
    long_name: str
    units: str = "1"
    neutral: float = 0.0
    least: float = -math.inf
    most: float = math.inf
    expected: str = ""

    def check(self, values: Greys, path: str | Path) -> None:
        """Refuse numbers of a given table that are beyond the range.

        Raises
        ------
        InputError
            With the file and the first slice.
        """
        beyond = np.flatnonzero((values < self.least) | (values > self.most))
        if beyond.size:
            raise InputError(
                f"{path}: slice {beyond[0]} has {self.name} {values[beyond[0]]:g}; expected {self.expected} "
                f"({self.long_name})"
            )


class Correction(Step):
    """Function from grey values to grey values; subclass it as a frozen dataclass that pickles.

    It is given whole slices. A voxel may depend on its own slice and on `halo` slices before and
    after it, by the same arithmetic wherever the given slices begin: then no block shows in the
    result. Most corrections are `correct` and `halo`; one that changes the shape or the voxel size
    overrides `made`, `reads` and `region` too.
    """

    def check(self, stack: Stack) -> None:
        """Raise `ArgumentError` if the correction does not fit a field; called before any work."""

    @property
    def halo(self) -> int:
        """Slices before and after a slice that it depends on."""
        return 0

    def halo_in(self, stack: Stack) -> int:
        """Slices before and after a slice in a field; one with lengths in nanometres overrides it."""
        return self.halo

    def made(self, stack: Stack) -> Stack:
        """Field that becomes of a field."""
        return stack

    def reads(self, stack: Stack, wanted: range) -> range:
        """Slices of a field that are needed for slices of the result."""
        halo = self.halo_in(stack)
        return range(max(0, wanted.start - halo), min(stack.shape[0], wanted.stop + halo))

    @abstractmethod
    def correct(self, grey: Greys, first: int) -> Greys:
        """Corrected grey values of the same shape, as floats or in the type given.

        Parameters
        ----------
        grey : array (slices, y, x)
            Whole slices, cut at the ends of the stack.
        first : int
            Number of the first of them.
        """

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """Slices `wanted` of the result from the slices `given` of a field, which are `reads`."""
        corrected = self.correct(grey, given.start)
        inner = slice(wanted.start - given.start, wanted.stop - given.start)
        return as_type(corrected[inner], self.made(stack).dtype)

    def working_bytes(self, shape: Triple) -> int:
        """Bytes needed for a box of slices, besides the grey values that are given and returned."""
        return 32 * math.prod(shape)


class Measured(Step):
    """Correction that needs numbers of every slice; subclass it as a frozen dataclass that pickles.

    A row is measured from each slice and from `before` slices before it; all rows together become
    the table that is applied. The table is kept in the sample, and one that was edited by hand can
    be given as a file in the field `table`.

    Attributes
    ----------
    columns : tuple of Column
        What `applied` reads from the table.
    before : int
        Slices before a slice that its row is measured from.
    table : path, optional
        CSV file of a table that takes the place of the measured one.
    """

    columns: ClassVar[tuple[Column, ...]] = ()
    before: ClassVar[int] = 0
    table: str | Path | None = None

    def check(self, stack: Stack) -> None:
        """Raise `ArgumentError` if the correction does not fit a field; called before any work."""

    @abstractmethod
    def row(self, grey: Greys, z: int) -> Mapping[str, float]:
        """Finite numbers of slice z: the last of the given slices; those before it come first."""

    def row_as_stored(self, grey: Greys) -> Mapping[str, float]:
        """Further numbers of a slice, from the one before it and itself as they were stored.

        Pixels are those of the microscope, cut by the crops that come first: nothing has moved or
        changed them, whatever corrections came before this one. Only the slice itself is given of the
        first one, and if `before` is 0.
        """
        return {}

    @abstractmethod
    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """Table over z from the rows of all slices: the `columns`, and whatever explains them."""

    @abstractmethod
    def applied(self, table: xr.Dataset) -> Correction:
        """Correction by a table."""

    def doubts(self, table: xr.Dataset, stack: Stack) -> list[str]:
        """Doubts about a table, measured or given, one line each: logged as warnings and kept with it."""
        return []

    def row_bytes(self, stack: Stack) -> int:
        """Bytes needed to measure a row, besides the slices."""
        return 64 * (self.before + 1) * stack.shape[1] * stack.shape[2]

    def neutral(self, stack: Stack) -> xr.Dataset:
        """Table that corrects nothing, for a plan."""
        return xr.Dataset(
            {one.name: ("z", np.full(stack.shape[0], one.neutral)) for one in self.columns}
        )

    def given(self, stack: Stack) -> xr.Dataset:
        """Table of the file, checked against the columns and the number of slices."""
        assert self.table is not None
        table = read_table(self.table, [one.name for one in self.columns], stack.shape[0])
        for one in self.columns:
            one.check(table[one.name].values, self.table)
        return table

    @property
    def is_awaited(self) -> bool:
        """Whether an earlier step of a recipe that is planned has yet to write the table."""
        return (
            self.table is not None and not Path(self.table).exists() and will_exist(str(self.table))
        )

    def description(self) -> dict[str, Any]:
        """All that decides the grey values; a table that is given by the digest of its bytes."""
        about = super().description()
        if self.table is None:
            return about
        return about | {"table": "awaited" if self.is_awaited else digest_of(self.table)}


def as_type(grey: Greys, dtype: str) -> Greys:
    """Grey values in a type: rounded to the nearest and cut to its range where it is whole.

    >>> as_type(np.array([-3.0, 1.5, 2.6, 300.0]), "uint8").tolist()
    [0, 2, 3, 255]
    """
    if np.dtype(dtype).kind == "f" or grey.dtype == dtype:
        return grey.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.rint(grey).clip(limits.min, limits.max).astype(dtype)
