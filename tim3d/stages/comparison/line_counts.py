"""Pairs, segments and changes along the axes of labels: partials, and values from their sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.descriptors.base import Labels, Material, Partial
from tim3d.grid import AXES, Box, Triple, triple
from tim3d.kernels.statistics.correlation import line_counts, pairs_at, ranks_of
from tim3d.lazy import xarray as xr
from tim3d.storage.schema import Spacing

# Lags in voxels along z, y and x.
Lags = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
COUNTS = ("pairs", "segments", "voxels", "changes")
BY_PLANE = ("voxels", "changes")


@dataclass(frozen=True)
class CountLines:
    """Counts of a core along all three axes, with phases in the order of `codes`."""

    codes: tuple[int, ...]
    lags: Lags

    def __call__(self, labels: Labels, core: Box, material: Material) -> dict[str, np.ndarray]:
        """Return integer counts by name and axis."""
        ranks = ranks_of(labels, self.codes)
        found = [
            line_counts(ranks, len(self.codes), lags, a, core) for a, lags in enumerate(self.lags)
        ]
        return {
            f"{n}_{axis}": v
            for axis, one in zip(AXES, found, strict=True)
            for n, v in vars(one).items()
        }


def line_partials(codes: tuple[int, ...], lags: Lags) -> tuple[Partial, ...]:
    """Partials along z, y, x: pairs and segments by phase and lag, voxels and changes by plane."""
    compute, halo = CountLines(codes, lags), triple(one[-1] for one in lags)

    def partial(name: str, axis: str, length: int) -> Partial:
        dims, sizes = (
            ((axis, "phase"), (len(codes),))
            if name in BY_PLANE
            else (("phase", "lag"), (len(codes), length))
        )
        plane, part = axis if name in BY_PLANE else None, f"{name}_{axis}"
        return Partial(part, halo, dims, sizes, compute, plane=plane, part=part)

    return tuple(
        partial(name, axis, len(one))
        for axis, one in zip(AXES, lags, strict=True)
        for name in COUNTS
    )


@dataclass(frozen=True, eq=False)
class Lines:
    """Statistics along lines through a volume or an image; phases in the requested order.

    Attributes
    ----------
    fraction : (phases,)
    two_point, lineal_path : (3, phases, lags)
        Along z, y, x; nan along an axis without pairs.
    surface : (3, phases)
        2 P_L along z, y, x, per nm.
    planes : three arrays (planes, phases)
        Fractions of the planes across z, y, x.
    changes : three arrays (planes - 1,)
        Share of the voxel pairs between two planes that are of two phases.
    """

    fraction: np.ndarray
    two_point: np.ndarray
    lineal_path: np.ndarray
    surface: np.ndarray
    planes: tuple[np.ndarray, ...]
    changes: tuple[np.ndarray, ...]


def lines_in(counts: xr.Dataset, lags: Lags, shape: Triple, spacing: Spacing) -> Lines:
    """Line statistics of a volume, from its stored counts."""
    totals = [
        {name: np.asarray(counts[f"{name}_{axis}"].values) for name in COUNTS} for axis in AXES
    ]
    return _values(totals, lags, shape, spacing)


def lines_of(ranks: np.ndarray, phases: int, lags: Lags, spacing: Spacing) -> Lines:
    """Line statistics of an array of ranks; an image is one slice."""
    totals = [vars(line_counts(ranks, phases, lags[axis], axis)) for axis in range(3)]
    return _values(totals, lags, triple(ranks.shape), spacing)


def _values(
    totals: Sequence[dict[str, np.ndarray]], lags: Lags, shape: Triple, spacing: Spacing
) -> Lines:
    curves = {
        name: [_shares(totals[a][name], shape, lags[a], a) for a in range(3)]
        for name in ("pairs", "segments")
    }
    across = [math.prod(shape) // n for n in shape]
    crossings = [
        _shares(totals[a]["changes"].sum(axis=0)[:, None], shape, (1,), a)[:, 0] for a in range(3)
    ]
    return Lines(
        fraction=totals[0]["voxels"].sum(axis=0) / math.prod(shape),
        two_point=np.array(curves["pairs"]),
        lineal_path=np.array(curves["segments"]),
        surface=np.array([2 * c / h for c, h in zip(crossings, spacing, strict=True)]),
        planes=tuple(total["voxels"] / n for total, n in zip(totals, across, strict=True)),
        changes=tuple(
            t["changes"].sum(axis=1)[:-1] / (2 * n) for t, n in zip(totals, across, strict=True)
        ),
    )


def _shares(counts: np.ndarray, shape: Triple, lags: Sequence[int], axis: int) -> np.ndarray:
    every = pairs_at(shape, lags, axis)
    return np.asarray(counts / np.where(every > 0, every, np.nan))
