"""Align: slices moved back by the drift between them, to a fraction of a pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tim3d.corrections import doubts
from tim3d.corrections.base import Column, Correction, Greys, Measured, Stack, as_type
from tim3d.errors import ArgumentError
from tim3d.kernels.image.drift import Displacement, Reals, displacement, drift_curve, trend
from tim3d.kernels.image.translation import Interpolation, moved
from tim3d.lazy import xarray as xr
from tim3d.typed import PixelShift, VoxelRange

# Weight below which a displacement counts as an outlier.
OUTLIER = 0.01
# Pixels at each edge of a region in which a displacement can be measured.
SMALLEST = 32
_AXES = ("y", "x")


@dataclass(frozen=True)
class Align(Measured):
    """Move every slice back by its drift, as the displacements between slices show it.

    Images cannot tell a drift of the microscope from a structure that runs obliquely through the
    stack: both move from slice to slice. `remove` says which part of the measured curve is drift.

    Parameters
    ----------
    remove : {"jitter", "trend", "all"}
        What counts as drift: what is quicker than the window (jitter, which keeps every tilt), what
        is slower (trend), or all.
    window : float
        Slices over which jitter and trend are separated.
    slope : (y, x), optional
        Pixels a slice by which the structure itself moves, and which therefore stay (default: 0,0).
        Known from a tilted stage or from the orientation of layers. Of trend and all only.
    y, x : slice
        Region in which the drift is measured, as a fiducial mark or a straight edge (default: all).
    interpolation : {"cubic", "linear", "whole"}
        How slices are moved. Whole pixels keep the noise and leave up to half a pixel of drift.
    pad : {"crop", "edge"}
        The area that all slices have in common, or the frame as it is, where the outermost pixels
        repeat.
    table : path, optional
        CSV file with the columns slice, shift_y and shift_x in the place of the measured table
        (default: measured).
    """

    remove: Literal["jitter", "trend", "all"] = "jitter"
    window: float = 40.0
    slope: PixelShift | None = None
    y: VoxelRange | None = None
    x: VoxelRange | None = None
    interpolation: Literal["cubic", "linear", "whole"] = "cubic"
    pad: Literal["crop", "edge"] = "crop"
    table: str | Path | None = None

    kind = "align"
    before = 2
    columns = (
        Column("shift_y", "rows by which the slice is moved back", "pixel"),
        Column("shift_x", "columns by which the slice is moved back", "pixel"),
    )

    def check(self, stack: Stack) -> None:
        """Refuse options that change nothing, and a region that is too small."""
        if self.slope is not None and self.remove == "jitter":
            raise ArgumentError("align: slope changes nothing with remove=jitter: leave it out")
        if not self.window >= 4:
            raise ArgumentError(f"align: window={self.window:g}; a window has 4 slices or more")
        for name, asked, count in zip(_AXES, (self.y, self.x), stack.shape[1:], strict=True):
            if len(range(count)[asked or slice(None)]) < SMALLEST:
                raise ArgumentError(
                    f"align: a drift along {name} is measured in {SMALLEST} pixels or more, out of {count}"
                )

    def row(self, grey: Greys, z: int) -> Mapping[str, float]:
        """Displacements of a slice against the one before it and the one before that."""
        region = (self.y or slice(None), self.x or slice(None))
        own, nothing = grey[-1][region], Displacement(0.0, 0.0, 1.0)
        near = displacement(grey[-2][region], own) if z >= 1 else nothing
        far = displacement(grey[-3][region], own) if z >= 2 else nothing
        return {
            "step_y": near.y,
            "step_x": near.x,
            "step2_y": far.y,
            "step2_x": far.x,
            "correlation": near.correlation,
            "correlation2": far.correlation,
        }

    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """Drift along y and x, its trend, and the part of it that is taken back."""
        table, weight = rows, np.ones(stack.shape[0])
        for number, axis in enumerate(_AXES):
            near = rows[f"step_{axis}"].where(rows.correlation > doubts.ALIKE).values
            far = rows[f"step2_{axis}"].where(rows.correlation2 > doubts.ALIKE).values
            curve = drift_curve(near, far)
            slow = trend(curve.place, self.window)
            weight = np.minimum(weight, curve.weight)
            removed = self._removed(curve.place, slow, number)
            middle = float(np.rint(np.median(removed)))
            table = table.assign(
                {
                    f"drift_{axis}": _column(curve.place, f"measured drift along {axis}"),
                    f"trend_{axis}": _column(slow, f"slow part of the drift along {axis}"),
                    f"shift_{axis}": ("z", removed - middle),
                }
            )
        outlier = (weight < OUTLIER).astype(np.float64)
        about = "1 where the slice was placed by its neighbours"
        return table.assign(outlier=("z", outlier, {"long_name": about, "units": "1"}))

    def _removed(self, place: Reals, slow: Reals, axis: int) -> Reals:
        own = 0.0 if self.slope is None else self.slope[axis]
        kept = own * np.arange(len(place))
        if self.remove == "jitter":
            return np.asarray(place - slow)
        return np.asarray((slow if self.remove == "trend" else place) - kept)

    def doubts(self, table: xr.Dataset, stack: Stack) -> list[str]:
        """Slices without likeness to the one before, and displacements that cost much of the frame."""
        found = list(doubts.unlike(table.correlation.values)) if "correlation" in table else []
        for axis, count in zip(_AXES, stack.shape[1:], strict=True):
            shift = table[f"shift_{axis}"].values
            lost = 1 - len(_common(count, tuple(shift.tolist()))) / count
            found += doubts.far(axis, shift, lost, cropped=self.pad == "crop")
        return found

    def applied(self, table: xr.Dataset) -> Correction:
        """Moves by the columns shift_y and shift_x."""
        y, x = (tuple(table[f"shift_{axis}"].values.tolist()) for axis in _AXES)
        return Moved(y, x, self.interpolation, self.pad)

    def row_bytes(self, stack: Stack) -> int:
        """Bytes of the spectra of three slices, twice."""
        return 96 * stack.shape[1] * stack.shape[2]


def _column(values: Reals, long_name: str) -> tuple[str, Reals, dict[str, str]]:
    return "z", values, {"long_name": long_name, "units": "pixel"}


@dataclass(frozen=True)
class Moved(Correction):
    """Slices moved back by their own displacements along y and x, in pixels."""

    y: tuple[float, ...]
    x: tuple[float, ...]
    interpolation: Interpolation
    pad: Literal["crop", "edge"]

    kind = "moved"

    def check(self, stack: Stack) -> None:
        """Refuse displacements that leave nothing in common."""
        for axis, kept, values in zip(_AXES, self._kept(stack), (self.y, self.x), strict=True):
            if not kept:
                raise ArgumentError(
                    f"align: slices move by {max(values) - min(values):.0f} pixels along {axis} and have nothing in "
                    "common. Keep the frame: align:pad=edge"
                )

    def made(self, stack: Stack) -> Stack:
        """The area in common, or the frame."""
        rows, columns = (len(kept) for kept in self._kept(stack))
        return Stack((stack.shape[0], rows, columns), stack.dtype, stack.spacing_nm)

    def correct(self, grey: Greys, first: int) -> Greys:
        """Not used: the shape may change."""
        raise NotImplementedError

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """Each slice by its own displacement, rounded to the type of the field."""
        rows, columns = self._kept(stack)
        out = np.empty((len(wanted), len(rows), len(columns)), stack.dtype)
        for number, z in enumerate(wanted):
            image = moved(grey[number], self.y[z], self.x[z], rows, columns, self.interpolation)
            out[number] = as_type(image, stack.dtype)
        return out

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Bytes of one slice in float32, its parts and sums."""
        return 24 * shape[1] * shape[2]

    def _kept(self, stack: Stack) -> tuple[range, range]:
        """Rows and columns of the result, in those of the field."""
        if self.pad == "edge":
            return range(stack.shape[1]), range(stack.shape[2])
        rows, columns = (
            _common(count, values)
            for count, values in zip(stack.shape[1:], (self.y, self.x), strict=True)
        )
        return rows, columns


def _common(count: int, values: tuple[float, ...]) -> range:
    """Pixels that lie within every slice after it was moved.

    >>> _common(10, (-1.5, 0.0, 2.0))
    range(2, 8)
    """
    return range(max(0, math.ceil(-min(values))), min(count, count - math.ceil(max(values))))
