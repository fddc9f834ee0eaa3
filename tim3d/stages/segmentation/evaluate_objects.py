"""Objects of a field of numbers against true ones, from one table of their overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Pass
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block
from tim3d.kernels.morphology.overlaps import added, overlaps
from tim3d.kernels.statistics import object_agreement as scores
from tim3d.kernels.statistics import object_pairing as pairing
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.agreement import about_baselines, prefixes
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.learnt_labels import about_learnt
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import ResultMaking
from tim3d.storage import schema, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field

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


def is_numbered(field: Field) -> bool:
    """Whether a field holds numbers of objects."""
    return field.phases is None and field.dtype == schema.ID_DTYPE


@dataclass(frozen=True)
class Objects:
    """Fields of numbers that are compared with a true one, the first of them judged."""

    sample: str
    true: Field
    fields: Sequence[Field]
    planes: tuple[int, int]

    def making(self, node: str, options: Options) -> ResultMaking:
        """The result, from one pass over all fields.

        Raises
        ------
        ArgumentError
            If a field does not hold numbers, or is of another shape.
        """
        self._check()
        fields = (self.true, *self.fields)
        inputs = {f.name: store.fingerprint_of(self.sample, f.name) for f in fields}
        names = "-".join(f.name for f in fields)
        counting = reduction_pass(
            self.sample, fields, partial(count_overlaps, self.planes), name=f"evaluate/{names}",
            fingerprint=schema.fingerprint(
                verb="evaluate", objects=True, inputs=inputs, slices=self.planes
            ),
            # A table of rows that is at most half full, at worst an object in every voxel.
            kernel_bytes=64 * len(self.fields), options=options,
        )  # fmt: skip
        asked: dict[str, Any] = {"field": self.fields[0].name, "truth": self.true.name}
        asked["slices"] = self.planes
        asked["baseline"] = ",".join(f.name for f in self.fields[1:])
        return ResultMaking(
            "evaluate",
            self.sample,
            node,
            inputs,
            asked,
            (counting,),
            partial(self.result, counting),
        )

    def _check(self) -> None:
        for one in self.fields:
            if one.shape != self.true.shape:
                raise ArgumentError(
                    other_stack(one.name, one.shape, self.true.name, self.true.shape)
                )
        for one in (self.true, *self.fields):
            if not one.may_number:
                raise ArgumentError(
                    f"{self.fields[0].name!r} holds numbers of objects, and {one.name!r} does not: label both, "
                    f"tim3d label {self.sample} --field {one.name} --keep --component {one.name}_objects"
                )

    def result(self, counting: Pass) -> xr.Dataset:
        """Metrics of every field, those of the baseline with a prefix."""
        tables: list[list[np.ndarray]] = [[] for _ in self.fields]
        for _, record in counting.records():
            for table, packed in zip(tables, record["overlaps"], strict=True):
                table.append(unpack(packed))
        found: dict[str, Any] = {}
        for prefix, table in zip(prefixes(len(tables)), tables, strict=True):
            found |= _metrics(scores.Overlaps.of(added(table)), prefix)
        thresholds = np.array(scores.TWENTIETHS) / 20
        about = {
            "field": self.fields[0].name, "truth_field": self.true.name, "slices": list(self.planes),
            **about_baselines(f.name for f in self.fields[1:]),
            **about_learnt(self.sample, self.fields[0].name, self.true, range(*self.planes)),
        }  # fmt: skip
        along = ("threshold", thresholds, {"units": "1", "long_name": "least IoU of a match"})
        return xr.Dataset(found, {"threshold": along}, about)


def count_overlaps(
    planes: tuple[int, int], fields: tuple[np.ndarray, ...], block: Block
) -> dict[str, Any]:
    """Tables of overlaps with the first field in some slices, packed for a record."""
    first, last = (max(0, z - block.core.start[0]) for z in planes)
    true, *others = (one[first:last] for one in fields)
    return {"overlaps": [pack(overlaps(true, other)) for other in others]}


def _metrics(table: scores.Overlaps, prefix: str) -> dict[str, Any]:
    true, found = table.objects()
    if not true:
        raise InputError("the truth has no object: all of its numbers are 0")
    accuracy = scores.segmentation_accuracy(table)
    single = (
        {"objects": found, "mean_segmentation_accuracy": float(accuracy.mean())}
        | scores.panoptic_quality(table)
        | {"aggregated_jaccard": pairing.aggregated_jaccard(table)}
        | pairing.mean_ious(table)
        | {"adjusted_rand_index": pairing.adjusted_rand_index(table)}
        | scores.adapted_rand_error(table)
        | scores.variation_of_information(table)
    )
    variables: dict[str, Any] = {
        f"{prefix}{name}": ((), value, _about(name)) for name, value in single.items()
    }
    name = "segmentation_accuracy"
    variables[f"{prefix}{name}"] = ("threshold", accuracy, _about(name))
    return variables | {"true_objects": ((), true, _about("objects"))}


def _about(name: str) -> dict[str, str]:
    return {"units": "bit" if name in BITS else "1", "long_name": DEFINITIONS[name]}
