"""Scores of objects against true ones, as variables with units and definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.kernels.statistics import object_agreement as scores
from tim3d.kernels.statistics import object_pairing as pairing
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.lazy import xarray as xr

DEFINITIONS = {
    "objects": "number of objects",
    "segmentation_accuracy": "TP / (TP + FP + FN) of objects that overlap by the threshold or more",
    "mean_segmentation_accuracy": "mean of the segmentation accuracy over the thresholds 0.5 to 0.95",
    "panoptic_quality": "sum of the IoU of matched objects / (TP + FP/2 + FN/2)",
    "matched_iou": "mean IoU of matched objects",
    "object_f1": "2 TP / (2 TP + FP + FN) of objects that overlap by more than a half",
    "aggregated_jaccard": "shared voxels of partners / voxels of all objects, one partner each (AJI+)",
    "best_iou": "mean over true objects of the IoU of the best found one, 0 without one",
    "mean_overlap_iou": "mean over true objects of the mean IoU of all found ones above 0.05 (mIoU of SAM-I-Am)",
    "stray_iou": "mean over true objects of the mean IoU of found ones beside the best (mFPR of SAM-I-Am)",
    "adjusted_rand_index": "Rand index of all voxels less chance, the background an object (ARI of MatSAM)",
    "adapted_rand_error": "1 - 2 sum n^2 / (sum t^2 + sum f^2), on true objects",
    "rand_precision": "sum n^2 / sum f^2, low where objects are merged",
    "rand_recall": "sum n^2 / sum t^2, low where objects are split",
    "vi_split": "conditional entropy of the found objects in the true ones",
    "vi_merge": "conditional entropy of the true objects in the found ones",
}
BITS = ("vi_split", "vi_merge")
# Middle of the names of scores of all images as if they were one.
POOLED = "pooled_"
BY_THRESHOLD = "segmentation_accuracy"
ALONG = (
    "threshold",
    np.array(scores.TWENTIETHS) / 20,
    {"units": "1", "long_name": "least IoU of a match"},
)


def require_objects(table: Overlaps) -> None:
    """Raise `InputError` if the truth has no object."""
    if not table.objects()[0]:
        raise InputError("the truth has no object: all of its numbers are 0")


def object_scores(table: Overlaps) -> dict[str, Any]:
    """Every score of a contingency table by its name, and the number of true objects.

    Examples
    --------
    >>> same = Overlaps.of(np.array([[0, 0, 5], [1, 4, 3]]))
    >>> found = object_scores(same)
    >>> found["panoptic_quality"], found["true_objects"], found["segmentation_accuracy"].shape
    (1.0, 1, (10,))
    """
    true, found = table.objects()
    accuracy = scores.segmentation_accuracy(table)
    return (
        {"objects": found, "mean_segmentation_accuracy": float(accuracy.mean())}
        | scores.panoptic_quality(table)
        | {"aggregated_jaccard": pairing.aggregated_jaccard(table)}
        | pairing.mean_ious(table)
        | {"adjusted_rand_index": pairing.adjusted_rand_index(table)}
        | scores.adapted_rand_error(table)
        | scores.variation_of_information(table)
        | {BY_THRESHOLD: accuracy, "true_objects": true}
    )


def variables_of(
    values: Mapping[str, Any], prefix: str, kind: str = "", along: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Variables of a Dataset from scores, those of a baseline with its prefix.

    Parameters
    ----------
    values : mapping
        As from `object_scores`, perhaps stacked along axes that come first.
    prefix : str
        Beginning of the names; the number of true objects has none.
    kind : str
        Middle of the names, such as ``pooled_``.
    along : tuple of str
        Names of the stacked axes.
    """
    return {
        f"{'' if name == 'true_objects' else prefix}{kind}{name}": (
            (*along, "threshold") if name == BY_THRESHOLD else along,
            value,
            about_score(name),
        )
        for name, value in values.items()
    }


def about_score(name: str) -> dict[str, str]:
    """Unit and definition of a score."""
    about = DEFINITIONS["objects" if name == "true_objects" else name]
    return {"units": "bit" if name in BITS else "1", "long_name": about}


def of_all_images(found: xr.Dataset) -> xr.Dataset:
    """Scores that are pooled over images, under the names of scores of one field.

    >>> import xarray
    >>> images = xarray.Dataset({"objects": ("image", [1, 2]), "baseline_pooled_objects": ((), 3)})
    >>> list(of_all_images(images))
    ['baseline_objects']
    """
    names = [str(name) for name in found.data_vars if POOLED in str(name)]
    return found[names].rename({name: name.replace(POOLED, "", 1) for name in names})
