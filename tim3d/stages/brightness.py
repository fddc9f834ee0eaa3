"""Mean and deviation of grey values, from the table that ingest keeps: the same for every block."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tim3d import store
from tim3d.errors import ArgumentError
from tim3d.models.checkpoint import Normalisation
from tim3d.schema import Field

# Standard deviation, in slices, of the smoothing along z: drift is slow, what one slice happens to show is not drift.
SMOOTHING_SLICES = 5.0


def normalisation_of(sample: str, grey: Field, how: str) -> Normalisation:
    """Normalisation of a sample: one mean and deviation for the volume, or smoothed ones for every slice.

    Parameters
    ----------
    how : {"volume", "slices", "table"}
        "table" is what a checkpoint calls "slices".

    Raises
    ------
    ArgumentError
        If `how` is neither.
    MissingFieldError
        If the table of slices is missing.
    """
    slices = store.open_dataset(sample, f"{grey.name}_slices")
    mean = np.asarray(slices["grey_mean"].values)
    power = np.asarray(slices["grey_std"].values) ** 2 + mean**2
    if how == "volume":
        return Normalisation("volume", (float(mean.mean()),), (_deviation(power.mean(), mean.mean()),))
    if how not in ("slices", "table"):
        raise ArgumentError(f"no normalisation {how!r}; use volume or slices")
    means = gaussian_filter1d(mean, SMOOTHING_SLICES, mode="nearest")
    powers = gaussian_filter1d(power, SMOOTHING_SLICES, mode="nearest")
    deviations = [_deviation(p, m) for p, m in zip(powers, means, strict=True)]
    return Normalisation("table", tuple(map(float, means)), tuple(deviations))


def _deviation(power: float, mean: float) -> float:
    return float(np.sqrt(max(power - mean**2, 0.0)))
