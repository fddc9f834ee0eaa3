"""Normalisation of a network's input from the table of slices, the same for every block."""

from __future__ import annotations

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.image.slice_normalisation import slice_scales, volume_scale
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.storage import store
from tim3d.storage.schema import Field


def normalisation_of(sample: str, grey: Field, how: str) -> Normalisation:
    """Normalisation of a sample: mean and deviation of the volume, or smoothed ones of each slice.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    grey : Field
        The field of grey values.
    how : {"volume", "slices", "table"}
        Over which voxels; "table" is the name of "slices" in a checkpoint.

    Raises
    ------
    ArgumentError
        If `how` is none of these.
    MissingFieldError
        If the table of slices is missing.
    """
    check_normalisation(how)
    slices = store.open_dataset(sample, f"{grey.name}_slices")
    mean, std = (np.asarray(slices[name].values) for name in ("grey_mean", "grey_std"))
    if how == "volume":
        average, deviation = volume_scale(mean, std)
        return Normalisation("volume", (average,), (deviation,))
    means, deviations = slice_scales(mean, std)
    return Normalisation("table", tuple(means.tolist()), tuple(deviations.tolist()))


def check_normalisation(how: str) -> None:
    """Raise `ArgumentError` unless `how` is a known normalisation."""
    if how not in ("volume", "slices", "table"):
        raise ArgumentError(f"no normalisation {how!r}; use volume or slices")
