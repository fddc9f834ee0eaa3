"""Exact sums, independent of order and blocking: floats as multiples of a quantum, no overflow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tim3d.errors import ArgumentError, InputError

Integers = NDArray[np.int64]
# Largest value in quanta, which float64 still resolves; largest sum, one bit below the range of
# int64.
LARGEST, LIMIT = 2.0**53, 2.0**62


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Fixed-point numbers: floats as integer multiples of a quantum, with order-independent sums.

    Every value is rounded to the nearest quantum separately: the error of a sum of n values is at
    most n / 2 quanta, of a mean half a quantum. There is no other error, because a quantum is a
    power of two.

    Parameters
    ----------
    bits : int
        Binary digits after the point: a quantum is 2^-bits of the unit of the values.

    Examples
    --------
    >>> sixteenths = FixedPoint(4)
    >>> total = sixteenths.total(np.array([0.25, 0.1, 0.1]))
    >>> total, total * sixteenths.quantum
    (8, 0.5)
    """

    bits: int

    @property
    def quantum(self) -> float:
        """Value of one quantum, in the unit of the values."""
        return math.ldexp(1.0, -self.bits)

    def integers(self, values: ArrayLike) -> Integers:
        """Round each value to the nearest number of quanta.

        Parameters
        ----------
        values : array of float
            Values in an array of any shape.

        Returns
        -------
        int64 array
            Quanta, in an array of the same shape; halves are rounded to even.

        Raises
        ------
        InputError
            If a value is not finite, or is 2^53 quanta or more.
        """
        floats = np.asarray(values, np.float64)
        scaled = np.rint(np.ldexp(floats, self.bits))
        fits = np.abs(scaled) < LARGEST  # False where a value is nan
        if not fits.all():
            raise InputError(
                f"the value {floats[~fits][0]:g} cannot be counted in quanta of {self.quantum:g}: finite numbers below "
                f"{LARGEST * self.quantum:g} can. Leave out the voxels without a value, or count in fewer bits"
            )
        return scaled.astype(np.int64)

    def total(self, values: NDArray[Any], where: NDArray[np.bool_] | None = None) -> int:
        """Sum the values in quanta, plane by plane, so that only one plane needs 8 bytes a voxel.

        Parameters
        ----------
        values : array of float
            Values in an array of one dimension or more.
        where : array of bool, optional
            Mask of the values to sum (default: all).

        Returns
        -------
        int
            Sum in quanta.

        Raises
        ------
        InputError
            If a value is not finite, or is 2^53 quanta or more.
        ArgumentError
            If the sum is 2^62 quanta or more.
        """
        total = sum(int(exact_sum(self.integers(plane))) for plane in _planes(values, where))
        if abs(total) >= LIMIT:
            raise _overflow()
        return total


def _planes(values: NDArray[Any], where: NDArray[np.bool_] | None) -> Iterator[NDArray[Any]]:
    """Planes of a volume; a list of values is one plane, and not as many as it has values."""
    if values.ndim == 1:
        values, where = values[None], None if where is None else where[None]
    masks = [...] * len(values) if where is None else where
    return (np.asarray(plane)[mask] for plane, mask in zip(values, masks, strict=True))


def exact_sum(values: NDArray[np.integer[Any]], axis: tuple[int, ...] | None = None) -> Integers:
    """Sum integers, or raise if the sum could exceed 64 bits.

    Parameters
    ----------
    values : array of int
        Integers in an array of any shape.
    axis : tuple of int, optional
        Axes to sum over (default: all).

    Raises
    ------
    ArgumentError
        If the magnitudes add up to 2^62 or more.

    Examples
    --------
    >>> exact_sum(np.array([[1, 2], [3, 4]]), (0,)).tolist()
    [4, 6]
    """
    magnitudes = np.abs(values.astype(np.float64)).sum(axis=axis)
    if np.max(magnitudes, initial=0.0) >= LIMIT:
        raise _overflow()
    return np.asarray(values.sum(axis=axis, dtype=np.int64))


def add_exactly(total: Integers, piece: Integers) -> None:
    """Add integers in place, or raise `ArgumentError` if a sum exceeds 64 bits.

    >>> counts = np.array([2, 3])
    >>> add_exactly(counts, np.array([5, -3]))
    >>> counts.tolist()
    [7, 0]
    """
    both = total + piece
    if (((total ^ both) & (piece ^ both)) < 0).any():  # both signs differ from the sign of the sum
        raise _overflow()
    total[...] = both


def _overflow() -> ArgumentError:
    return ArgumentError(
        "a sum of integers leaves 64 bits: count in larger quanta (fewer bits of FixedPoint)"
    )
