"""z positions of slices from their names, statistics of the steps, resampling to even steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.units import length_nm

_POSITION = re.compile(
    r"(?<![A-Za-z])z\s*=\s*([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*(nm|um|\u00b5m|\u03bcm|micron|mm|m)(?![A-Za-z])",
    re.IGNORECASE,
)
# A dash is a sign if nothing or a separator precedes it: z_-2, but not scan-2.
DIGITS = re.compile(r"((?<![\w.)\]-])-\d+|(?<=_)-\d+|\d+)")

# A weight nearer than this to 0 or 1 is a rounding error of the positions, not a point between
# slices.
_SNAP = 1e-6


def position_nm(name: str) -> float | None:
    """Position z in nm from `z=<number><unit>` in a name; None if it contains none.

    The unit is nm, um, µm, micron, mm or m.

    >>> position_nm("slice_00596_z=5.9104um.tif")
    5910.4
    """
    found = _POSITION.search(name)
    return None if found is None else length_nm(found[1], found[2])


def positions_of(names: Sequence[str]) -> tuple[float, ...] | None:
    """Position z in nm of every name, or None if no name contains one.

    Raises
    ------
    InputError
        If some names contain a position and others do not.
    """
    found = [position_nm(name) for name in names]
    known = tuple(z for z in found if z is not None)
    if not known:
        return None
    if len(known) < len(found):
        raise InputError(
            f"{len(known)} of {len(found)} slice names hold a z position; {names[found.index(None)]!r} holds none. "
            "Name it like the others (z=5.9104um), or rename all without z= and give --voxel-size z"
        )
    return known


def natural_key(name: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that orders slice_2 before slice_10; a z position counts as one number.

    >>> sorted(["s10.tif", "s2.tif", "s2_z=5.92um", "s2_z=5.9104um"], key=natural_key)
    ['s2.tif', 's2_z=5.9104um', 's2_z=5.92um', 's10.tif']
    """
    found = _POSITION.search(name)
    if found is None:
        return (*_runs(name), (0, 0, name))
    z = length_nm(found[1], found[2])
    return (*_runs(name[: found.start()]), (1, z, ""), *_runs(name[found.end() :]), (0, 0, name))


def _runs(text: str) -> list[tuple[int, float, str]]:
    parts = DIGITS.split(text)
    runs = [(1, int(part), "") if i % 2 else (2, 0, part.lower()) for i, part in enumerate(parts)]
    return [run for run in runs if run[0] == 1 or run[2]]


@dataclass(frozen=True, slots=True)
class SpacingStatistics:
    """Statistics of the steps between neighbouring slices, in nm.

    Number, mean, extremes, (population) standard deviation, and whether all have the same sign.
    """

    steps: int
    mean_nm: float
    min_nm: float
    max_nm: float
    sd_nm: float
    monotonic: bool

    def is_uniform(self, relative: float = 1e-3) -> bool:
        """Return whether no step differs from the mean by more than `relative` times the mean."""
        limit = relative * abs(self.mean_nm)
        return (
            self.monotonic and max(self.max_nm - self.mean_nm, self.mean_nm - self.min_nm) <= limit
        )

    def __str__(self) -> str:
        order = "" if self.monotonic else ", not monotonic"
        return (
            f"{self.steps} z steps: mean {self.mean_nm:.2f} nm, {self.min_nm:.2f} to {self.max_nm:.2f} nm, "
            f"s.d. {self.sd_nm:.2f} nm{order}"
        )


def spacing_statistics(positions_nm: Sequence[float]) -> SpacingStatistics:
    """Statistics of the steps between neighbouring slices.

    Raises
    ------
    ArgumentError
        If there are fewer than two positions, or one is not finite.

    Examples
    --------
    >>> str(spacing_statistics([0.0, 10.0, 22.0]))
    '2 z steps: mean 11.00 nm, 10.00 to 12.00 nm, s.d. 1.00 nm'
    """
    steps = np.diff(_checked(positions_nm))
    monotonic = bool((steps > 0).all() or (steps < 0).all())
    mean, low, high, sd = (float(f(steps)) for f in (np.mean, np.min, np.max, np.std))
    return SpacingStatistics(len(steps), mean, low, high, sd, monotonic)


def _checked(positions_nm: Sequence[float]) -> NDArray[np.float64]:
    positions = np.asarray(positions_nm, dtype=np.float64)
    if positions.ndim != 1 or len(positions) < 2 or not np.isfinite(positions).all():
        raise ArgumentError(
            f"z positions need at least two finite numbers, {positions.size} given; give --voxel-size z instead"
        )
    return positions


@dataclass(frozen=True, slots=True)
class Resampling:
    """Linear interpolation to even steps: (1 - weight) * slice `lower` + weight * slice `upper`.

    `positions_nm` are the z centres of the new slices, `step_nm` (> 0) the distance between them,
    `slices` the number of original slices.
    """

    step_nm: float
    positions_nm: tuple[float, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    weights: tuple[float, ...]
    slices: int

    def __len__(self) -> int:
        return len(self.positions_nm)


def uniform_resampling(positions_nm: Sequence[float], step_nm: float | None = None) -> Resampling:
    """Resampling to even steps from the first to the last position, by linear interpolation.

    The new slice k lies at z_0 + k * step for every k whose centre is not beyond the last slice:
    nothing is extrapolated. With a_i <= z <= a_(i+1) the weight of the upper neighbour is (z - a_i)
    / (a_(i+1) - a_i); a weight within 1e-6 of 0 or 1 is set to it, so that slices that are already
    uniform are unchanged. Positions may fall with the slice number; the order of the slices is
    kept. A step much larger than the original ones skips slices (no averaging).

    Parameters
    ----------
    positions_nm : sequence of float
        z of each slice in nm, rising or falling throughout.
    step_nm : float, optional
        Distance of the new slices; the default is the mean step, which keeps the number of slices.

    Raises
    ------
    ArgumentError
        If there are fewer than two positions, or the step is not positive.
    InputError
        If positions repeat or change direction.

    Examples
    --------
    >>> plan = uniform_resampling([0.0, 10.0, 24.0])
    >>> plan.step_nm, plan.positions_nm, plan.lower, plan.upper
    (12.0, (0.0, 12.0, 24.0), (0, 1, 2), (0, 2, 2))
    """
    positions = _checked(positions_nm)
    direction = 1.0 if positions[-1] >= positions[0] else -1.0
    rising = direction * positions
    _refuse_turns(positions, direction)
    step = (rising[-1] - rising[0]) / (len(rising) - 1) if step_nm is None else float(step_nm)
    if not np.isfinite(step) or step <= 0:
        raise ArgumentError(f"step of the new slices is {step:g} nm; it must be a positive number")
    count = int(np.floor((rising[-1] - rising[0]) / step + _SNAP)) + 1
    targets = np.minimum(rising[0] + step * np.arange(count), rising[-1])
    lower, upper, weights = _neighbours(rising, targets)
    return Resampling(
        float(step),
        tuple((direction * targets).tolist()),
        tuple(lower.tolist()),
        tuple(upper.tolist()),
        tuple(weights.tolist()),
        len(rising),
    )


def _neighbours(
    rising: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    low = np.clip(np.searchsorted(rising, targets, side="right") - 1, 0, len(rising) - 2)
    weights = (targets - rising[low]) / (rising[low + 1] - rising[low])
    # A slice of weight 0 must not be read: point both neighbours to the other slice.
    upper = np.where(weights < _SNAP, low, low + 1)
    lower = np.where(weights > 1 - _SNAP, low + 1, low)
    return lower, upper, np.where(lower == upper, 0.0, weights)


def _refuse_turns(positions: NDArray[np.float64], direction: float) -> None:
    bad = np.flatnonzero(direction * np.diff(positions) <= 0)
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"z goes from {positions[i]:g} nm (slice {i}) to {positions[i + 1]:g} nm (slice {i + 1}), against the "
            f"order of the stack, at {len(bad)} places; leave repeated slices out or correct their names, "
            "or give --voxel-size z and do not resample"
        )
