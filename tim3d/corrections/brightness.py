"""Brightness: the same brightness and contrast in every slice."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tim3d.corrections import doubts
from tim3d.corrections.base import Column, Correction, Greys, Measured, Stack
from tim3d.corrections.nanometres import by_slice
from tim3d.kernels.image.brightness import (
    adjusted,
    check_quantiles,
    gains_and_offsets,
    slice_levels,
    target_levels,
)
from tim3d.lazy import xarray as xr
from tim3d.steps import check_length


@dataclass(frozen=True)
class Brightness(Measured):
    """Give every slice the same brightness and contrast.

    Parameters
    ----------
    low : float
        Fraction of the pixels below the lower grey value that is matched, within the darkest phase.
    high : float
        Fraction of the pixels below the upper one, within the brightest phase.
    contrast : bool
        Whether the contrast is matched as well as the brightness.
    slow_nm : float
        Depth over which true changes are kept: a standard deviation along z (default: none are).
    table : path, optional
        CSV file with the gain and offset of each slice, instead of the measured ones.
    """

    low: float = 0.05
    high: float = 0.95
    contrast: bool = True
    slow_nm: float = 0.0
    table: str | Path | None = None

    kind = "brightness"
    columns = (
        Column(
            "gain",
            "factor of the grey values of a slice",
            neutral=1.0,
            least=sys.float_info.min,
            expected="a number above 0",
        ),
        Column("offset", "grey levels added after the factor"),
    )

    def check(self, stack: Stack) -> None:
        """Refuse fractions out of order, and a depth that is negative or beyond the stack."""
        check_quantiles(self.low, self.high)
        cure = "leave it out: then no change along z is kept"
        check_length(self, "slow_nm", stack.extent_nm[0], "the stack", cure)

    def row(self, grey: Greys, z: int) -> Mapping[str, float]:
        """Grey values of a slice that are matched."""
        low, high = slice_levels(grey[-1], self.low, self.high)
        return {"low": low, "high": high}

    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """Gain and offset of each slice."""
        levels = np.column_stack([rows.low.values, rows.high.values])
        target = target_levels(levels, self.slow_nm / stack.spacing_nm[0])
        gain, offset = gains_and_offsets(levels, target, self.contrast)
        return rows.assign(gain=("z", gain), offset=("z", offset))

    def doubts(self, table: xr.Dataset, stack: Stack) -> list[str]:
        """Slices whose contrast is multiplied by much."""
        return list(doubts.strong(table.gain.values))

    def applied(self, table: xr.Dataset) -> Correction:
        """Gain and offset of each slice, as a correction."""
        gains, offsets = (tuple(table[name].values.tolist()) for name in ("gain", "offset"))
        return Linear(gains, offsets)


@dataclass(frozen=True)
class Linear(Correction):
    """Multiply each slice by a number and add another.

    Parameters
    ----------
    gains, offsets : tuple of float
        Numbers of all slices of the stack.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]

    kind = "linear"

    def correct(self, grey: Greys, first: int) -> Greys:
        """Grey values of the slices after gain and offset, in their type."""
        numbers = iter(range(first, first + len(grey)))

        def linear(one: Greys) -> Greys:
            z = next(numbers)
            return adjusted(one, self.gains[z], self.offsets[z])

        return by_slice(linear, grey)

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Four arrays of floats of one slice."""
        return 16 * shape[1] * shape[2]
