"""Sums that depend on no order and no blocking: floats as whole numbers of a quantum, additions that never wrap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tim3d.errors import ArgumentError, InputError

Integers = NDArray[np.int64]
# Quanta of one value, which float64 still tells apart; and of a sum, with a bit to spare below the range of int64.
LARGEST, LIMIT = 2.0**53, 2.0**62


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Floats as whole numbers of quanta, so that their sum is the same in any order and for any blocks.

    Every value is rounded to the nearest quantum by itself: a sum of n values is off by at most n / 2 quanta, a mean by
    half a quantum. Nothing else is lost, for a quantum is a power of two.

    Parameters
    ----------
    bits : int
        Binary digits behind the point: a quantum is 2^-bits of the unit of the values.

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
        """The value of one quantum, in the unit of the values."""
        return math.ldexp(1.0, -self.bits)

    def integers(self, values: ArrayLike) -> Integers:
        """Each value as the nearest number of quanta.

        Parameters
        ----------
        values : array of float
            Any shape.

        Returns
        -------
        int64 array
            Of the same shape; half a quantum goes to the even neighbour.

        Raises
        ------
        InputError
            If a value is not finite, or is 2^53 quanta or more.
        """
        floats = np.asarray(values, np.float64)
        scaled = np.rint(np.ldexp(floats, self.bits))
        fits = np.abs(scaled) < LARGEST  # false where a value is not a number
        if not fits.all():
            raise InputError(
                f"the value {floats[~fits][0]:g} cannot be counted in quanta of {self.quantum:g}: finite numbers below "
                f"{LARGEST * self.quantum:g} can. Leave out the voxels without a value, or count in fewer bits"
            )
        return scaled.astype(np.int64)

    def total(self, values: NDArray[Any], where: NDArray[np.bool_] | None = None) -> int:
        """The sum of the values in quanta, plane by plane: eight bytes a voxel are held for one plane only.

        Parameters
        ----------
        values : array of float
            One dimension or more.
        where : array of bool, optional
            Which values count (default: all).

        Returns
        -------
        int
            The quanta.

        Raises
        ------
        InputError
            As `integers` does.
        ArgumentError
            If the sum is 2^62 quanta or more.
        """
        total = sum(int(exact_sum(self.integers(plane))) for plane in _planes(values, where))
        if abs(total) >= LIMIT:
            raise _overflow()
        return total


def _planes(values: NDArray[Any], where: NDArray[np.bool_] | None) -> Iterator[NDArray[Any]]:
    masks = [...] * len(values) if where is None else where
    return (np.asarray(plane)[mask] for plane, mask in zip(values, masks, strict=True))


def exact_sum(values: NDArray[np.integer[Any]], axis: tuple[int, ...] | None = None) -> Integers:
    """The sum of whole numbers, refused where it could leave 64 bits.

    Parameters
    ----------
    values : array of int
        Any shape.
    axis : tuple of int, optional
        Axes that are summed (default: all).

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
    """Add whole numbers in place; raises `ArgumentError` if a sum leaves 64 bits.

    >>> counts = np.array([2, 3])
    >>> add_exactly(counts, np.array([5, -3]))
    >>> counts.tolist()
    [7, 0]
    """
    both = total + piece
    if (((total ^ both) & (piece ^ both)) < 0).any():  # both signs differ from that of the sum
        raise _overflow()
    total[...] = both


def _overflow() -> ArgumentError:
    return ArgumentError("a sum of whole numbers leaves 64 bits: count in larger quanta (fewer bits of FixedPoint)")
