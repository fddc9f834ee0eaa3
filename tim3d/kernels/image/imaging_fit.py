"""Estimates of an imaging model from grey values without a label: levels, noise, blur, stripes, drift, shine-through.

Classes are those of thresholds on slices that were blurred a little; what they say is taken from
their interior, where no pixel of another class is near. Tests compare the estimates with models
whose images were rendered (tests/unit/test_imaging_fit.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import InputError
from tim3d.kernels.image.edge_profile import (
    Profile,
    Rims,
    profile,
    profile_of_edges,
    rims,
    step_width,
)
from tim3d.kernels.image.imaging_model import Imaging, Point
from tim3d.kernels.image.noise_level import deviation, mask_response
from tim3d.lazy import ndimage, optimize

Grey: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]

# Weights of the blur before thresholds; it divides the deviation of white noise by about 3.7.
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
CALMED = float((BINOMIAL**2).sum())
# Edge of the square that an interior pixel shares with its class only.
CLEAR = 7
# Every which slice is looked at for rims, and by how much the edges of a pixel may differ there.
EVERY, SQUARE = 4, 0.05
# Fewest interior pixels of a class from which anything is estimated.
FEWEST = 200


@dataclass(frozen=True)
class Classified:
    """Consecutive slices and their classes: 0, 1, ... from the darkest; `clear` marks the interior."""

    grey: Grey
    classes: npt.NDArray[np.uint8]
    clear: Mask


def classified(grey: npt.NDArray[np.generic], thresholds: Sequence[float]) -> Classified:
    """Classify consecutive slices (z, y, x)."""
    values = grey.astype(np.float32)
    calm = values
    for axis in (1, 2):
        calm = ndimage.correlate1d(calm, BINOMIAL, axis=axis, mode="nearest")
    classes = np.searchsorted(np.asarray(thresholds), calm, side="left").astype(np.uint8)
    size = (1, CLEAR, CLEAR)
    clear = ndimage.minimum_filter(classes, size) == ndimage.maximum_filter(classes, size)
    return Classified(values, classes, clear)


def fit(
    runs: Sequence[Classified], names: Sequence[str], spacing: Point, dtype: str, through: str = ""
) -> Imaging:
    """Imaging model of runs of consecutive slices.

    Parameters
    ----------
    runs : sequence of Classified
        Runs of slices from different places of a stack.
    names : sequence of str
        Names of the classes, from the darkest.
    spacing : (dz, dy, dx)
        Distance of slices and edges of a pixel in nm.
    dtype : str
        Type of the grey values.
    through : str
        Class that is seen through. How far is estimated, how bright (`shine`) cannot be: it is set to .85.

    Raises
    ------
    InputError
        If a class has too few pixels in its interior.
    """
    levels = [_level(runs, code, name, name == through) for code, name in enumerate(names)]
    variances = [_noise_variance(runs, code) for code in range(len(names))]
    if through:  # what is seen through it varies
        variances[names.index(through)] = math.nan
    shot, read = _noise_law(levels, variances)
    low, edges = _edges(runs, levels, bool(through), spacing)
    found = None if through else _rims(runs, levels[low], levels[low + 1], spacing)
    if found:  # interiors that reach into rims do not show the levels
        levels[low : low + 2] = found.dark, found.bright
    top = len(names) - 1
    noise = math.sqrt(shot * levels[top] + read**2)
    factors = _slice_factors(runs, top, levels[top])
    stripes, width, depth = _stripes(runs, top, levels[top], noise)
    drift, drift_nm = _drift(factors, spacing[0])
    model: dict[str, float | str] = {"shot": shot, "read": read, "dtype": dtype}
    step, pixel = levels[low + 1] - levels[low], (spacing[1] * spacing[2]) ** 0.5
    soft = step_width(edges, levels[low], levels[low + 1])
    model |= {"blur_nm": _without_jitter(soft, noise, step) * pixel}
    if found:
        model |= {
            "blur_nm": found.blur * pixel,
            "rim": found.factor,
            "rim_nm": found.width * pixel,
        }
    model |= {
        "stripes": stripes,
        "stripes_width_nm": width * spacing[2],
        "stripes_depth_nm": depth * spacing[0],
    }
    model |= {"lines": _lines(runs, top, levels[top], noise), "drift": drift, "drift_nm": drift_nm}
    if through:
        decay = _decay(runs, names.index(through), levels, spacing[0])
        model |= {"through": through, "shine": 0.85 if decay else 0.0, "decay_nm": decay or 1.0}
    return Imaging(dict(zip(names, levels, strict=True)), **model)  # type: ignore[arg-type]


def _interior(runs: Sequence[Classified], code: int) -> Grey:
    return np.concatenate([run.grey[run.clear & (run.classes == code)] for run in runs])


def _level(runs: Sequence[Classified], code: int, name: str, is_seen_through: bool) -> float:
    """Mean of the interior; of a class that is seen through its lower quartile, for little is seen there."""
    values = _interior(runs, code)
    if len(values) < FEWEST:
        raise InputError(
            f"{name} has {len(values)} pixels away from other phases, and {FEWEST} are needed: check the thresholds, "
            "or take a larger part of the stack"
        )
    return float(np.quantile(values, 0.25) if is_seen_through else values.mean(dtype=np.float64))


def _noise_variance(runs: Sequence[Classified], code: int) -> float:
    """Variance of white noise in a class: of the second differences, that are blind to slopes."""
    found = [
        mask_response(run.grey.astype(np.float64))[run.clear & (run.classes == code)]
        for run in runs
    ]
    # The median is that of the noise even where the class has a texture of its own here and there.
    return deviation(float(np.median(np.concatenate(found)))) ** 2


def _noise_law(levels: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    """Shot and read noise of variance = shot level + read^2, both not below 0."""
    pairs = [(v, s) for v, s in zip(levels, variances, strict=True) if math.isfinite(s)]
    if len(pairs) == 1:
        return pairs[0][1] / max(pairs[0][0], 1.0), 0.0  # shot noise rules in a microscope
    matrix = np.array([[level, 1.0] for level, _ in pairs])
    found, _ = optimize.nnls(matrix, np.array([v for _, v in pairs]))
    return float(found[0]), math.sqrt(float(found[1]))


def _edges(
    runs: Sequence[Classified], levels: Sequence[float], one_sided: bool, spacing: Point
) -> tuple[int, Profile]:
    """Class below the widest step, and the profile across its boundaries."""
    low = int(np.argmax(np.diff(levels)))
    pixel = (spacing[1] * spacing[2]) ** 0.5
    slices = [pair for run in runs for pair in zip(run.grey, run.classes, strict=True)]
    sampling = (spacing[1] / pixel, spacing[2] / pixel)
    return low, profile(slices, low, sampling, bright_side=one_sided)


def _rims(runs: Sequence[Classified], dark: float, bright: float, spacing: Point) -> Rims | None:
    """Rims beside the strongest edges of some slices; none are sought in pixels that are not squares."""
    if abs(spacing[1] / spacing[2] - 1) > SQUARE:
        return None
    return rims(profile_of_edges(grey for run in runs for grey in run.grey[::EVERY]), dark, bright)


def _without_jitter(width: float, noise: float, step: float) -> float:
    """Width of a step less what noise adds, by which the boundary that is found is moved; in pixels."""
    jitter = 2 * math.pi * (noise * CALMED / step) ** 2
    return math.sqrt(max(width**2 - jitter, 0.0) / (1 + jitter))


def _slice_factors(runs: Sequence[Classified], code: int, level: float) -> list[Floats]:
    """Brightness of each slice of each run: the mean of a class over its level."""
    return [
        np.array(
            [
                float(grey[mask].mean(dtype=np.float64)) / level if mask.any() else 1.0
                for grey, mask in zip(run.grey, run.clear & (run.classes == code), strict=True)
            ]
        )
        for run in runs
    ]


def _drift(factors: Sequence[Floats], dz: float) -> tuple[float, float]:
    """Spread of the brightness of slices, and the depth over which exp(-(z / depth)^2) describes its correlation."""
    together = np.concatenate(factors)
    spread = float(together.std())
    steps = np.concatenate([np.diff(run) for run in factors])
    if spread == 0 or not len(steps):
        return spread, dz
    alike = 1 - float((steps**2).mean()) / (2 * spread**2)
    return spread, dz / math.sqrt(-math.log(min(max(alike, 0.05), 0.999)))


def _stripes(
    runs: Sequence[Classified], code: int, level: float, noise: float
) -> tuple[float, float, float]:
    """Spread of vertical stripes as a share of grey, and their deviations along x and z in pixels and slices."""
    columns = [np.stack([_means(g, m, 0) for g, m in _residuals(run, code, level)]) for run in runs]
    variance, along = _spread(columns, runs, code, noise / level, axis=1)
    if not variance:
        return 0.0, 1.0, 1.0
    across = (
        np.concatenate([(a[1:] * a[:-1]).ravel() for a in columns])
        if len(columns[0]) > 1
        else np.zeros(1)
    )
    across = across[np.isfinite(across)]
    alike = float(across.mean()) / variance if len(across) else 0.0
    return math.sqrt(variance), _deviation(along), _deviation(alike)


def _lines(runs: Sequence[Classified], code: int, level: float, noise: float) -> float:
    """Spread of the brightness of lines of a scan, beyond that of neighbouring lines together."""
    rows = [np.stack([_means(g, m, 1) for g, m in _residuals(run, code, level)]) for run in runs]
    variance, along = _spread(rows, runs, code, noise / level, axis=2)
    return math.sqrt(variance * max(1 - along, 0.0))


def _residuals(run: Classified, code: int, level: float) -> list[tuple[Floats, Mask]]:
    """Relative deviation of the grey values of a class from the mean of their slice, where it is clear."""
    out = []
    for grey, mask in zip(run.grey, run.clear & (run.classes == code), strict=True):
        mean = float(grey[mask].mean(dtype=np.float64)) if mask.any() else level
        out.append(((grey - mean) / mean, mask))
    return out


def _means(values: Floats, mask: Mask, axis: int) -> Floats:
    """Means along an axis over a mask; NaN of fewer than 24 pixels."""
    count = mask.sum(axis)
    total = np.where(mask, values, 0).sum(axis, dtype=np.float64)
    return np.where(count >= 24, total / np.maximum(count, 1), np.nan)


def _spread(
    means: Sequence[Floats], runs: Sequence[Classified], code: int, noise: float, axis: int
) -> tuple[float, float]:
    """Variance of means of lines less that of the noise in them, and the correlation of neighbours."""
    square, pair, counts = [], [], []
    for values, run in zip(means, runs, strict=True):
        count = (run.clear & (run.classes == code)).sum(axis)
        square.append((values**2)[np.isfinite(values)])
        counts.append(count[np.isfinite(values)])
        product = values[:, 1:] * values[:, :-1]
        pair.append(product[np.isfinite(product)])
    squares, pairs, lengths = (np.concatenate(one) for one in (square, pair, counts))
    if len(squares) < 50 or len(pairs) < 50:
        return 0.0, 0.0
    variance = float(squares.mean() - (noise**2 / lengths).mean())
    # Below twice the error of the noise that was taken off, there may be no stripes.
    if variance < 4 * noise**2 / float(lengths.mean()) / math.sqrt(len(squares)):
        return 0.0, 0.0
    return variance, min(max(float(pairs.mean()) / variance, 0.0), 1.0)


def _deviation(alike: float) -> float:
    """Deviation of the Gaussian, in steps, that makes white noise of neighbours alike by this correlation."""
    return 1 / (2 * math.sqrt(-math.log(min(max(alike, 0.02), 0.99))))


def _decay(runs: Sequence[Classified], void: int, levels: Sequence[float], dz: float) -> float:
    """Depth in nm over which what is behind a pore falls to 1/e; 0 if none is seen.

    Mean grey of pores by the number of slices to the solid behind. The first slices count as solid, so
    bright are they: the rate of the fall is known, the brightness at depth 0 is not.
    """
    total, count = np.zeros(64), np.zeros(64)
    for run in runs:
        depth = np.full(run.grey.shape[1:], 63)
        for grey, classes, clear in zip(
            run.grey[::-1], run.classes[::-1], run.clear[::-1], strict=True
        ):
            depth = np.where(classes != void, 0, np.minimum(depth + 1, 63))
            at = depth[(depth > 0) & (depth < 63) & clear]
            total += np.bincount(at, grey[(depth > 0) & (depth < 63) & clear], 64)
            count += np.bincount(at, minlength=64)
    known = np.flatnonzero(count > 100)
    if len(known) < 3:
        return 0.0
    step = max(levels) - levels[void]
    above = (total[known] / count[known] - levels[void]) / step
    fit_to = lambda p: (above - p[0] - p[1] * np.exp(-known / p[2])) * np.sqrt(count[known])  # noqa: E731
    found = optimize.least_squares(fit_to, (0.0, 0.3, 3.0), bounds=([-0.2, 0, 0.3], [0.2, 2, 60]))
    return float(found.x[2] * dz) if found.x[1] > 0.02 else 0.0
