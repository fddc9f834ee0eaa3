"""Grey values and their differences along the axes: partials, and values from their sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.descriptors.base import Material, Partial
from tim3d.descriptors.inputs import Input
from tim3d.grid import AXES, Box, Triple, triple
from tim3d.kernels.statistics.correlation import pairs_at
from tim3d.kernels.statistics.grey_statistics import LARGEST, LEVELS, differences, histogram
from tim3d.lazy import xarray as xr
from tim3d.stages.comparison.line_counts import Lags
from tim3d.storage.schema import Spacing

GREY = Input("grey")
# Sums along an axis; the last two plane by plane.
SUMS = ("squares", "values", "steps")


@dataclass(frozen=True)
class SumGreys:
    """Histogram of a core, and sums of differences along all three axes."""

    lags: Lags

    def __call__(self, grey: np.ndarray, core: Box, material: Material) -> dict[str, np.ndarray]:
        """Return integer sums by name; a sum along an axis by name and axis."""
        found = [differences(grey, lags, a, core) for a, lags in enumerate(self.lags)]
        sums = {
            f"{n}_{axis}": v
            for axis, one in zip(AXES, found, strict=True)
            for n, v in vars(one).items()
        }
        return {"histogram": histogram(grey[core.slices]), **sums}


def grey_partials(lags: Lags) -> tuple[Partial, ...]:
    """Partials of 8-bit grey values: histogram, squares by lag, values and steps by plane."""
    compute, halo = SumGreys(lags), triple(one[-1] for one in lags)

    def partial(part: str, dim: str, sizes: tuple[int, ...]) -> Partial:
        plane = dim if dim in AXES else None
        return Partial(part, halo, (dim,), sizes, compute, plane=plane, reads=(GREY,), part=part)

    along = [
        partial(f"{name}_{axis}", "lag", (len(one),))
        if name == "squares"
        else partial(f"{name}_{axis}", axis, ())
        for axis, one in zip(AXES, lags, strict=True)
        for name in SUMS
    ]
    return (partial("histogram", "grey", (LEVELS,)), *along)


@dataclass(frozen=True, eq=False)
class Greys:
    """Statistics of the grey values of a volume or an image.

    Attributes
    ----------
    shares : (256,)
        Distribution.
    squares : (3, lags)
        Mean squared difference along z, y, x; nan along an axis without pairs.
    step : (3,)
        Mean step between neighbours along z, y, x, in grey values per nm.
    planes : three arrays (planes, 1)
        Mean grey value over 255 of the planes across z, y, x.
    changes : three arrays (planes - 1,)
        Mean step between two planes, in grey values.
    """

    shares: np.ndarray
    squares: np.ndarray
    step: np.ndarray
    planes: tuple[np.ndarray, ...]
    changes: tuple[np.ndarray, ...]


def greys_in(kept: xr.Dataset, lags: Lags, shape: Triple, spacing: Spacing) -> Greys:
    """Grey-value statistics of a volume, from its stored sums."""
    totals = [{name: np.asarray(kept[f"{name}_{axis}"].values) for name in SUMS} for axis in AXES]
    return _values(np.asarray(kept["histogram"].values), totals, lags, shape, spacing)


def greys_of(grey: np.ndarray, lags: Lags, spacing: Spacing) -> Greys:
    """Grey-value statistics of an array; an image is one slice."""
    totals = [vars(differences(grey, lags[axis], axis)) for axis in range(3)]
    return _values(histogram(grey), totals, lags, triple(grey.shape), spacing)


def _values(
    counts: np.ndarray,
    totals: Sequence[dict[str, np.ndarray]],
    lags: Lags,
    shape: Triple,
    spacing: Spacing,
) -> Greys:
    across = [math.prod(shape) // n for n in shape]
    squares = [_means(total["squares"], shape, lags[a], a) for a, total in enumerate(totals)]
    steps = [
        _means(total["steps"].sum(keepdims=True), shape, (1,), a)[0]
        for a, total in enumerate(totals)
    ]
    return Greys(
        shares=counts / math.prod(shape),
        squares=np.array(squares),
        step=np.array(steps) / np.array(spacing),
        planes=tuple(
            total["values"][:, None] / (n * LARGEST)
            for total, n in zip(totals, across, strict=True)
        ),
        changes=tuple(total["steps"][:-1] / n for total, n in zip(totals, across, strict=True)),
    )


def _means(sums: np.ndarray, shape: Triple, lags: Sequence[int], axis: int) -> np.ndarray:
    every = pairs_at(shape, lags, axis)
    return np.asarray(sums / np.where(every > 0, every, np.nan))
