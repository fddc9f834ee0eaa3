"""Volumes against micrographs: deviations of their values, bootstrap intervals, lattice imprint, seams.

Slices across z, y and x are compared with the micrograph of that plane. With one micrograph for all three the material
is taken to be isotropic, and curves are means over both directions of a plane.
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
# What is asked of a generated volume; of a tortuosity nothing is.
GOALS = {"phase_fraction": 0.02, "two_point": 0.01, "lineal_path": 0.01, "surface": 0.1, "slice_tortuosity": math.nan}
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
# A spread between runs is known to about 27 % from so many.
FEWEST_VOLUMES = 8


def by_slices(values: Floats, axis: int) -> Floats:
    """Values along z, y, x as those of the rows and columns of the slices across z, y, x: two axes instead of one.

    >>> by_slices(np.array([10.0, 20.0, 30.0]), 0).tolist()
    [[20.0, 30.0], [10.0, 30.0], [10.0, 20.0]]
    """
    return np.stack([np.take(values, plane, axis) for plane in PLANES], axis)


def deviations(volume: Mapping[str, Floats], image: Mapping[str, Floats], *, isotropic: bool) -> dict[str, Floats]:
    """How far volumes are from the micrographs of the slices across z, y and x.

    Parameters
    ----------
    volume : mapping
        ``phase_fraction`` (..., phases), ``two_point`` and ``lineal_path`` (..., 3 axes, phases, lags), ``surface``
        (..., 3 axes, phases), ``slice_tortuosity`` (..., 3 slices, 2 directions, phases); any leading axes.
    image : mapping
        ``phase_fraction`` (3 slices, phases), the others (3 slices, 2 directions, ...).
    isotropic : bool
        Whether the directions are averaged before they are compared.

    Returns
    -------
    dict
        (..., 3 slices, phases) for each quantity, without unit: `MEANING` says what.
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


def grey_deviations(volume: Mapping[str, Floats], image: Mapping[str, Floats], *, isotropic: bool) -> dict[str, Floats]:
    """How far the grey values of volumes are from those of the micrographs of the slices across z, y and x.

    Parameters
    ----------
    volume : mapping
        ``shares`` (..., 256), mean squared differences ``squares`` (..., 3 axes, lags), ``step`` (..., 3 axes); any
        leading axes.
    image : mapping
        ``shares`` (3 slices, 256), ``squares`` (3 slices, 2 directions, lags), ``step`` (3 slices, 2 directions).
    isotropic : bool
        Whether the directions are averaged before they are compared.

    Returns
    -------
    dict
        (..., 3 slices, 1) for each quantity, without unit: `GREY_MEANING` says what.
    """
    wide = distance(volume["shares"][..., None, :], image["shares"]) / LARGEST
    found = correlation(volume["squares"], variance(volume["shares"])[..., None])
    wanted = correlation(image["squares"], variance(image["shares"])[..., None])
    difference = by_slices(found, found.ndim - 2) - wanted
    if isotropic:
        difference = difference.mean(axis=-2, keepdims=True)
    step = by_slices(volume["step"], volume["step"].ndim - 1).mean(axis=-1)
    parts = (wide, np.abs(difference).mean(axis=(-2, -1)), _relative(step, image["step"].mean(axis=-1)))
    return {name: part[..., None] for name, part in zip(GREY_GOALS, parts, strict=True)}


def _relative(value: Floats, truth: Floats) -> Floats:
    """value / truth - 1; nan where the truth is 0."""
    return value / np.where(truth == 0, np.nan, truth) - 1


def resampled(values: Floats, seed: int, draws: int = DRAWS) -> Floats:
    """Means of volumes drawn with replacement, (draws, ...) from (volumes, ...); the same draws for the same seed.

    B. Efron, Ann. Stat. 7 (1979) 1, doi:10.1214/aos/1176344552.
    """
    count = len(values)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws) / count
    return np.tensordot(weights, values, axes=1)


def interval(draws: Floats, count: int) -> tuple[Floats, Floats]:
    """The 2.5 % and 97.5 % quantiles of resampled values; nan from fewer than two volumes."""
    if count < 2:
        nothing = np.full(draws.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return low, high


@dataclass(frozen=True, eq=False)
class Imprint:
    """The phase fractions in planes by the residue of their place, along one axis.

    Attributes
    ----------
    profile : (residues, phases)
        Mean fraction of the planes of each residue.
    span : (phases,)
        Largest minus smallest of them.
    error : (phases,)
        Standard error of one of them, from planes of the same residue.
    ratio : (phases,)
        Root mean square deviation from the mean, over the error: about 1 or below without an imprint.
    """

    profile: Floats
    span: Floats
    error: Floats
    ratio: Floats


def imprint(planes: Sequence[Floats], period: int) -> Imprint:
    """Whether the phase fraction depends on the place modulo a period, as it does in a generator's lattice.

    Parameters
    ----------
    planes : sequence of (planes, phases)
        Fractions in the planes of each volume, in their order.
    period : int
        In voxels, 2 or more; each residue needs two planes at least.

    Raises
    ------
    ArgumentError
        If the period is not 2 or more, or no volume has two of them.

    Examples
    --------
    >>> stripes = np.tile([[0.2], [0.4]], (8, 1))
    >>> found = imprint([stripes + 1e-9 * np.arange(16)[:, None]], 2)
    >>> found.profile.ravel().round(3).tolist(), bool(found.ratio[0] > 1000)
    ([0.2, 0.4], True)
    """
    if period < 2 or sum(len(p) for p in planes) < 2 * period:
        longest = max(len(p) for p in planes)
        raise ArgumentError(f"a period of {period} voxels: it must be 2 or more, and fit twice into {longest} voxels")
    residues = np.concatenate([np.arange(len(p)) % period for p in planes])
    # Volumes differ in their means, which is no imprint.
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
    """Changes of phase across the faces of chunks over those elsewhere, along one axis; nan for want of faces."""

    ratio: float
    error: float
    faces: int


def seams(changes: Sequence[Floats], edge: int, period: int | None) -> Seams:
    """Seam ratio: share of voxel pairs that change phase across a chunk's face, over the same share elsewhere.

    Parameters
    ----------
    changes : sequence of (planes - 1,)
        Of each volume, share of the pairs between a plane and the next one that are of two phases.
    edge : int
        Of the chunks, in voxels.
    period : int, optional
        Of the generator's lattice: faces are then compared with planes of the same residue, for the density of
        interfaces may vary within a period (where there are such planes).

    Returns
    -------
    Seams
        The ratio is 1 without seams; its standard error takes faces to be independent.

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
