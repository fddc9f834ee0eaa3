"""How well one label field agrees with another: the confusion matrix plane by plane, and the named metrics of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d import schema, store
from tim3d.advice import other_stack
from tim3d.engine import lock_sample, run
from tim3d.errors import ArgumentError
from tim3d.grid import Block
from tim3d.kernels import metrics
from tim3d.schema import Field
from tim3d.stages.field import DEFAULTS, Options
from tim3d.stages.reduction import inner, reduction_pass


def score(
    sample: str,
    *,
    field: str = "phase",
    truth: str = "truth",
    foreground: str | None = None,
    merge: Mapping[str, str] | None = None,
    slices: slice = slice(None),
    options: Options = DEFAULTS,
) -> xr.Dataset:
    """Agreement of a segmentation with the truth, pooled over all voxels of a range of slices.

    Parameters
    ----------
    field, truth : str
        Two label fields of the sample with the same phase names; their codes may differ.
    foreground : str, optional
        The phase that `iou_foreground`, `dice`, `precision` and `recall` speak of (default: the last).
    merge : mapping of name to name, optional
        Phases of `field` that count as another one, for example ``{"shine_through": "pore"}``.
    slices : slice
        Which slices, by number.

    Returns
    -------
    xarray.Dataset
        `confusion` (truth, predicted) in voxels, and each metric of `tim3d.kernels.metrics`, without unit.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields name other phases, differ in shape, or no slice is left.
    """
    predicted, true = store.complete_field(sample, field, "segment"), store.complete_field(sample, truth, "labels")
    merge = dict(merge or {})
    names = _common_names(predicted, true, merge)
    if not range(predicted.shape[0])[slices]:
        raise ArgumentError(f"no slice in {slices}; {field!r} has {predicted.shape[0]} slices")
    chosen = foreground or names[-1]
    if chosen not in names:
        raise ArgumentError(f"no phase {chosen!r} in {field!r}; it has {', '.join(names)}")
    planes = _planes(sample, predicted, true, names, merge, options)
    matrix = planes[slices].sum(axis=0)
    values = {
        k: ((), v, {"units": "1", "long_name": k}) for k, v in metrics.scores(matrix, names.index(chosen)).items()
    }
    confusion = (("truth", "predicted"), matrix, {"units": "1", "long_name": "voxels"})
    labels = np.array(names, dtype=object)
    attributes = {"foreground": chosen, "field": field, "truth_field": truth, "averaging": "pooled over all voxels"}
    return xr.Dataset({"confusion": confusion, **values}, {"truth": labels, "predicted": labels}, attributes)


def _common_names(predicted: Field, true: Field, merge: Mapping[str, str]) -> tuple[str, ...]:
    if predicted.shape != true.shape:
        raise ArgumentError(other_stack(predicted.name, predicted.shape, true.name, true.shape))
    names = true.phases.names if true.phases else ()
    seen = {merge.get(name, name) for name in predicted.phases or ()}
    if not names or seen != set(names):
        raise ArgumentError(
            f"{predicted.name!r} has the phases {', '.join(sorted(seen))}, {true.name!r} has "
            f"{', '.join(sorted(names))}. " + _naming(sorted(seen - set(names)), names)
        )
    return names


def _naming(strange: Sequence[str], names: Sequence[str]) -> str:
    if not names:
        return "Ingest true labels with names: --phases pore=0,solid=1"
    if not strange:
        return "A phase of the truth that is nowhere found cannot be compared: segment with all of them"
    return f"Count what has another name as one of the truth: --merge {','.join(f'{n}={names[0]}' for n in strange)}"


def _planes(
    sample: str, predicted: Field, true: Field, names: tuple[str, ...], merge: Mapping[str, str], options: Options
) -> np.ndarray:
    """Confusion matrices of all planes, (z, truth, predicted)."""
    inputs = [store.fingerprint_of(sample, f.name) for f in (predicted, true)]
    scoring = reduction_pass(
        sample,
        (predicted, true),
        ConfusionKernel(_ranks(predicted, names, merge), _ranks(true, names, {}), len(names)),
        name=f"score/{predicted.name}-{true.name}",
        fingerprint=schema.fingerprint(verb="score", inputs=inputs, names=names, merge=merge),
        options=options,
        kernel_bytes=12,
    )
    with lock_sample(sample):
        run(scoring, progress=options.progress)
    total = np.zeros((predicted.shape[0], len(names), len(names)), dtype=np.int64)
    for block in scoring.grid:
        total[block.core.slices[0]] += np.asarray(scoring.ledger.record(block.index)["planes"], dtype=np.int64)
    return total


def _ranks(field: Field, names: tuple[str, ...], merge: Mapping[str, str]) -> tuple[int, ...]:
    """Place of each code's phase among the names, for all 256 codes; codes without a phase get no place."""
    table = [len(names)] * 256
    for name, code in (field.phases or {}).items():
        table[code] = names.index(merge.get(name, name))
    return tuple(table)


@dataclass(frozen=True)
class ConfusionKernel:
    """Confusion matrix of each plane of a core."""

    predicted: tuple[int, ...]
    true: tuple[int, ...]
    classes: int

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Voxels by (plane, truth, predicted)."""
        tables = (np.asarray(self.predicted, np.uint8), np.asarray(self.true, np.uint8))
        core = inner(block).slices
        predicted, true = (table[field[core]] for table, field in zip(tables, fields, strict=True))
        return {
            "planes": [metrics.confusion(t, p, self.classes).tolist() for t, p in zip(true, predicted, strict=True)]
        }
