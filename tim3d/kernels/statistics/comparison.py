"""Comparison of volumes with micrographs: deviations, bootstrap intervals, lattice imprint, seams.

Slices across z, y and x are compared with the micrograph of the same plane. With one micrograph for
all three planes the material is assumed to be isotropic, and curves are averaged over both
directions of a plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.grey_statistics import LARGEST, correlation, distance, variance

Floats = NDArray[np.float64]

# Axes of the rows and the columns of the slices across z, y and x.
PLANES = ((1, 2), (0, 2), (0, 1))
# Largest deviations accepted for a generated volume; none is set for the tortuosity.
GOALS = {
    "phase_fraction": 0.02,
    "two_point": 0.01,
    "lineal_path": 0.01,
    "surface": 0.1,
    "slice_tortuosity": math.nan,
}
MEANING = {
    "phase_fraction": "difference of the phase fractions",
    "two_point": "mean absolute error of S2 over the lags",
    "lineal_path": "mean absolute error of L over the lags",
    "surface": "relative difference of the surface per volume, 2 P_L",
    "slice_tortuosity": "relative difference of the geodesic tortuosity in slices",
}
# The same for grey values; the correlation of two equal phases is four times their S2.
GREY_GOALS = {"histogram": 0.02, "correlation": 0.04, "step": 0.1}
GREY_MEANING = {
    "histogram": "distance W1 of the distributions of grey values, over 255",
    "correlation": "mean absolute error of the correlation rho over the lags",
    "step": "relative difference of the mean step between neighbours",
}
LAGS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48)
DRAWS = 4000
# From this many volumes the spread between runs has a standard error of about 27 %.
FEWEST_VOLUMES = 8


def by_slices(values: Floats, axis: int) -> Floats:
    """Rearrange values along z, y, x by slices across z, y, x and the two directions in each slice.

    Parameters
    ----------
    values : array
        Values with one axis for z, y, x.
    axis : int
        That axis; it is replaced by two, (3 slices, 2 directions).

    Examples
    --------
    >>> by_slices(np.array([10.0, 20.0, 30.0]), 0).tolist()
    [[20.0, 30.0], [10.0, 30.0], [10.0, 20.0]]
    """
    return np.stack([np.take(values, plane, axis) for plane in PLANES], axis)


def deviations(
    volume: Mapping[str, Floats], image: Mapping[str, Floats], *, isotropic: bool
) -> dict[str, Floats]:
    """Deviations of volumes from the micrographs of the slices across z, y and x.

    Parameters
    ----------
    volume : mapping
        ``phase_fraction`` (..., phases), ``two_point`` and ``lineal_path`` (..., 3 axes, phases,
        lags), ``surface`` (..., 3 axes, phases), ``slice_tortuosity`` (..., 3 slices, 2 directions,
        phases); any leading axes.
    image : mapping
        ``phase_fraction`` (3 slices, phases), the others (3 slices, 2 directions, ...).
    isotropic : bool
        Whether to average over the directions before the comparison.

    Returns
    -------
    dict
        Deviation of each quantity, (..., 3 slices, phases), dimensionless, as defined in `MEANING`.
    """
    out = {"phase_fraction": volume["phase_fraction"][..., None, :] - image["phase_fraction"]}
    for name in ("two_point", "lineal_path"):
        difference = by_slices(volume[name], volume[name].ndim - 3) - image[name]
        if isotropic:
            difference = difference.mean(axis=-3, keepdims=True)
        out[name] = np.abs(difference).mean(axis=(-3, -1))
    surface = by_slices(volume["surface"], volume["surface"].ndim - 2)
    out["surface"] = _relative(surface.mean(axis=-2), image["surface"].mean(axis=-2))
    tortuosity = volume["slice_tortuosity"].mean(axis=-2)
    out["slice_tortuosity"] = _relative(tortuosity, image["slice_tortuosity"].mean(axis=-2))
    return out


def grey_deviations(
    volume: Mapping[str, Floats], image: Mapping[str, Floats], *, isotropic: bool
) -> dict[str, Floats]:
    """Deviations of volumes' grey values from the micrographs of the slices across z, y and x.

    Parameters
    ----------
    volume : mapping
        ``shares`` (..., 256), mean squared differences ``squares`` (..., 3 axes, lags), ``step``
        (..., 3 axes); any leading axes.
    image : mapping
        ``shares`` (3 slices, 256), ``squares`` (3 slices, 2 directions, lags), ``step`` (3 slices,
        2 directions).
    isotropic : bool
        Whether to average over the directions before the comparison.

    Returns
    -------
    dict
        Deviation of each quantity, (..., 3 slices, 1), dimensionless, as defined in `GREY_MEANING`.
    """
    wide = distance(volume["shares"][..., None, :], image["shares"]) / LARGEST
    found = correlation(volume["squares"], variance(volume["shares"])[..., None])
    wanted = correlation(image["squares"], variance(image["shares"])[..., None])
    difference = by_slices(found, found.ndim - 2) - wanted
    if isotropic:
        difference = difference.mean(axis=-2, keepdims=True)
    step = by_slices(volume["step"], volume["step"].ndim - 1).mean(axis=-1)
    parts = (
        wide,
        np.abs(difference).mean(axis=(-2, -1)),
        _relative(step, image["step"].mean(axis=-1)),
    )
    return {name: part[..., None] for name, part in zip(GREY_GOALS, parts, strict=True)}


def _relative(value: Floats, truth: Floats) -> Floats:
    """Relative deviation value / truth - 1; nan where the truth is 0."""
    return value / np.where(truth == 0, np.nan, truth) - 1


def resampled(values: Floats, seed: int, draws: int = DRAWS) -> Floats:
    """Bootstrap means over volumes drawn with replacement, (draws, ...) from (volumes, ...).

    The same seed gives the same draws. B. Efron, Ann. Stat. 7 (1979) 1, doi:10.1214/aos/1176344552.

    Parameters
    ----------
    values : (volumes, ...) float64
        Value of each volume.
    seed : int
        Seed of the draws.
    draws : int
        Number of draws.
    """
    count = len(values)
    weights = (
        np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
        / count
    )
    return np.tensordot(weights, values, axes=1)


def interval(draws: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the 2.5 % and 97.5 % quantiles of resampled values; nan with `count` < 2 volumes."""
    if count < 2:
        nothing = np.full(draws.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return low, high


@dataclass(frozen=True, eq=False)
class Imprint:
    """Phase fractions of planes by their position modulo a period, along one axis.

    Attributes
    ----------
    profile : (residues, phases)
        Mean fraction over the planes of each residue.
    span : (phases,)
        Largest minus smallest mean.
    error : (phases,)
        Standard error of one mean, from the scatter of planes of the same residue.
    ratio : (phases,)
        Root mean square deviation of the means over the error: about 1 or below without an imprint.
    """

    profile: Floats
    span: Floats
    error: Floats
    ratio: Floats


def imprint(planes: Sequence[Floats], period: int) -> Imprint:
    """Test whether phase fractions depend on the position modulo a period: a generator's lattice.

    Parameters
    ----------
    planes : sequence of (planes, phases)
        Fractions in the planes of each volume, in their order.
    period : int
        Period in voxels, 2 or more; each residue needs at least two planes.

    Raises
    ------
    ArgumentError
        If the period is below 2, or the planes of all volumes are fewer than two periods.

    Examples
    --------
    >>> stripes = np.tile([[0.2], [0.4]], (8, 1))
    >>> found = imprint([stripes + 1e-9 * np.arange(16)[:, None]], 2)
    >>> found.profile.ravel().round(3).tolist(), bool(found.ratio[0] > 1000)
    ([0.2, 0.4], True)
    """
    if period < 2 or sum(len(p) for p in planes) < 2 * period:
        longest = max(len(p) for p in planes)
        raise ArgumentError(
            f"a period of {period} voxels: it must be 2 or more, and fit twice into {longest} voxels"
        )
    residues = np.concatenate([np.arange(len(p)) % period for p in planes])
    # Differences between the means of volumes are not an imprint.
    level = np.concatenate(list(planes)).mean(axis=0)
    values = np.concatenate([p - p.mean(axis=0) for p in planes]) + level
    groups = [values[residues == r] for r in range(period)]
    profile = np.array([g.mean(axis=0) for g in groups])
    within = sum(((g - g.mean(axis=0)) ** 2).sum(axis=0) for g in groups) / (len(values) - period)
    error = np.sqrt(within * period / len(values))
    scatter = np.sqrt(((profile - profile.mean(axis=0)) ** 2).sum(axis=0) / (period - 1))
    ratio = scatter / np.where(error > 0, error, np.nan)
    return Imprint(profile, np.ptp(profile, axis=0), error, ratio)


@dataclass(frozen=True)
class Seams:
    """Ratio of phase changes at chunk faces and elsewhere along one axis; nan without faces."""

    ratio: float
    error: float
    faces: int


def seams(changes: Sequence[Floats], edge: int, period: int | None) -> Seams:
    """Seam ratio: fraction of voxel pairs that change phase at chunk faces, over that elsewhere.

    Parameters
    ----------
    changes : sequence of (planes - 1,)
        For each volume, fraction of the pairs between a plane and the next one with two phases.
    edge : int
        Edge of the chunks in voxels.
    period : int, optional
        Period of the generator's lattice in voxels. Faces are then compared with planes of the same
        residue, if there are any, because the density of interfaces may vary within a period.

    Returns
    -------
    Seams
        The ratio is 1 without seams; its standard error assumes independent faces.

    Examples
    --------
    >>> seams([np.array([0.1, 0.3, 0.1, 0.1, 0.1, 0.3, 0.1])], 2, None).faces
    3
    """
    places = np.concatenate([np.arange(1, len(c) + 1) for c in changes])
    values = np.concatenate(list(changes))
    across = places % edge == 0
    alike = ~across & np.isin(places % (period or 1), places[across] % (period or 1))
    elsewhere = alike if alike.sum() > 1 else ~across
    on, off = values[across], values[elsewhere]
    if not on.size or off.size < 2 or not off.mean() > 0:
        return Seams(math.nan, math.nan, int(on.size))
    ratio = float(on.mean() / off.mean())
    scatter = float(off.std(ddof=1)) / float(off.mean())
    return Seams(ratio, scatter * math.sqrt(1 / on.size + ratio**2 / off.size), int(on.size))
