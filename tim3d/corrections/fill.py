"""Fill: missing and bad ones interpolated, at their places along z."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from tim3d.corrections import doubts
from tim3d.corrections.base import Column, Correction, Greys, Measured, Stack, as_type
from tim3d.errors import ArgumentError
from tim3d.kernels.image.slice_faults import COPY, FAULTS, contrast_of, correlation, faults
from tim3d.lazy import xarray as xr
from tim3d.typed import SliceNumbers

# Places that differ by less are one.
_SAME = 1e-6


@dataclass(frozen=True)
class Fill(Measured):
    """Interpolate slices that are missing or bad, between the nearest good ones.

    Every slice has a place along z, counted in slices, and is good or bad: both are columns of the
    table and may be edited, as for places from the log of the milling. Good slices at a whole place
    are kept bit for bit; all others are interpolated linearly. Bad slices at the two ends of the
    stack are left out.

    Parameters
    ----------
    bad : list of int
        Numbers of slices that are bad, counted from 0 (default: none beside those that are found).
    missing : list of int
        Numbers that no slice has, in the count that includes them (default: none).
    find : bool
        Find bad slices: without contrast, saturated, stored with the pixels of the one before,
        unlike both neighbours.
    copies : {"interpolate", "leave-out"}
        Whether a copy stands for a slice that was milled, or the material did not change.
    table : path, optional
        CSV file with the columns slice, place and good in the place of the measured table (default:
        measured).
    """

    bad: SliceNumbers = ()
    missing: SliceNumbers = ()
    find: bool = True
    copies: Literal["interpolate", "leave-out"] = "interpolate"
    table: str | Path | None = None

    kind = "fill"
    version = 2
    before = 2
    columns = (
        Column("place", "place of the slice along z, in slices"),
        Column(
            "good",
            "1 for a slice that is used, 0 for one that is not",
            neutral=1.0,
            least=0.0,
            most=1.0,
            expected="1 or 0",
        ),
    )

    def check(self, stack: Stack) -> None:
        """Refuse numbers that no slice can have."""
        n = stack.shape[0]
        for name, numbers, end in (
            ("bad", self.bad, n),
            ("missing", self.missing, n + len(self.missing)),
        ):
            if wrong := [one for one in numbers if not 0 <= one < end]:
                raise ArgumentError(f"fill: {name}={wrong[0]}; there are slices 0 to {end - 1}")

    def row(self, grey: Greys, z: int) -> Mapping[str, float]:
        """Contrast of a slice, and its likeness to the two before it."""
        own = grey[-1]
        ends = (0.0, float(np.iinfo(own.dtype).max)) if own.dtype.kind == "u" else (-np.inf, np.inf)
        deviation, saturated = contrast_of(own, ends)
        return {
            "contrast": deviation,
            "saturated": saturated,
            "correlation": correlation(grey[-2], own) if z >= 1 else 1.0,
            "correlation2": correlation(grey[-3], own) if z >= 2 else 1.0,
        }

    def row_as_stored(self, grey: Greys) -> Mapping[str, float]:
        """Whether a slice is a copy, which an alignment would hide: it moves both by fractions of a pixel."""
        return {"copy": float(len(grey) > 1 and np.array_equal(grey[0], grey[1]))}

    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """Fault and place of every slice."""
        names = ("contrast", "saturated", "correlation", "correlation2", "copy")
        fault = faults(*(rows[name].values for name in names))
        good = np.ones(stack.shape[0])
        good[(fault > 0) & self.find] = 0.0
        good[list(self.bad)] = 0.0
        meaning = {"long_name": "fault of the slice", "flag_values": list(range(len(FAULTS)))}
        return rows.assign(
            fault=("z", fault.astype(np.float64), meaning | {"flag_meanings": " ".join(FAULTS)}),
            place=("z", self._places(fault, stack.shape[0])),
            good=("z", good),
        )

    def neutral(self, stack: Stack) -> xr.Dataset:
        """Table for a plan: the places as far as they are given, and all slices good."""
        n = stack.shape[0]
        places = self._places(np.zeros(n, np.int64), n)
        return xr.Dataset({"place": ("z", places), "good": ("z", np.ones(n))})

    def _places(self, fault: np.ndarray, slices: int) -> np.ndarray:
        """Places with a gap for each missing number; copies that are left out have that of the original."""
        gone = set(self.missing)
        places = np.array([z for z in range(slices + len(gone)) if z not in gone], np.float64)
        if self.copies == "leave-out":
            places -= np.cumsum(fault == COPY)
        return places

    def doubts(self, table: xr.Dataset, stack: Stack) -> list[str]:
        """Many slices that are interpolated, many in a row, and those at the ends."""
        between = self.applied(table).between if (table.good > 0).sum() > 1 else np.zeros(0, bool)
        found = [*doubts.interpolated(between), *doubts.left_out(table.good.values)]
        if "correlation" in table:
            found += doubts.nearly_equal(table.correlation.values, table.good.values)
        return found

    def applied(self, table: xr.Dataset) -> Placed:
        """Interpolation by the columns place and good."""
        return Placed(tuple(table.place.values.tolist()), tuple(table.good.values.tolist()))


@dataclass(frozen=True)
class Placed(Correction):
    """Slices at even places, by linear interpolation between the nearest good slices."""

    places: tuple[float, ...]
    good: tuple[float, ...]

    kind = "placed"

    def check(self, stack: Stack) -> None:
        """Refuse places that do not rise, and a stack without good slices."""
        if len(self._used) < 2:
            raise ArgumentError(f"fill: {len(self._used)} of {stack.shape[0]} slices are good")
        used = np.array(self.places)[self._used]
        if (np.diff(used) <= _SAME).any():
            z = int(self._used[1:][np.diff(used) <= _SAME][0])
            raise ArgumentError(
                f"fill: the place {self.places[z]:g} of slice {z} is not beyond those before it"
            )

    def made(self, stack: Stack) -> Stack:
        """Even places from the first good slice to the last."""
        return Stack((len(self._sources[0]), *stack.shape[1:]), stack.dtype, stack.spacing_nm)

    def reads(self, stack: Stack, wanted: range) -> range:
        """Slices before and after the places."""
        low, high, _ = self._sources
        return range(int(low[wanted.start]), int(high[wanted.stop - 1]) + 1)

    def correct(self, grey: Greys, first: int) -> Greys:
        """Not used: the number of slices may change."""
        raise NotImplementedError

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """Slices themselves where one lies at the place, and means of two weighted by their distances."""
        low, high, share = self._sources
        out = np.empty((len(wanted), *stack.shape[1:]), stack.dtype)
        for number, z in enumerate(wanted):
            a, b = grey[low[z] - given.start], grey[high[z] - given.start]
            if share[z] == 0:
                out[number] = a
            else:
                weight = np.float32(share[z])
                mean = (1 - weight) * a.astype(np.float32) + weight * b.astype(np.float32)
                out[number] = as_type(mean, stack.dtype)
        return out

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Bytes of one slice: two in float32, and their products."""
        return 20 * shape[1] * shape[2]

    @property
    def between(self) -> np.ndarray:
        """Whether each slice of the result is interpolated."""
        return np.asarray(self._sources[2] > 0)

    @cached_property
    def _used(self) -> np.ndarray:
        return np.flatnonzero(np.array(self.good) > 0)

    @cached_property
    def _sources(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slices before and after the place of every slice of the result, and the share of the latter."""
        places = np.array(self.places)[self._used]
        wanted = places[0] + np.arange(int(np.floor(places[-1] - places[0] + _SAME)) + 1)
        above = np.searchsorted(places, wanted - _SAME).clip(0, len(places) - 1)
        exact = np.abs(places[above] - wanted) <= _SAME
        below = np.where(exact, above, np.maximum(above - 1, 0))
        gap = np.where(exact, 1.0, places[above] - places[below])
        share = np.where(exact, 0.0, (wanted - places[below]) / gap)
        return self._used[below], self._used[np.where(exact, below, above)], share
