"""Agreement of two label fields: confusion matrices of planes, and metrics computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from tim3d.descriptors.base import Counts, Labels, Material, Partial
from tim3d.descriptors.inputs import Input
from tim3d.engine import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.statistics import metrics
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.partials import counting_pass, material_of, sums
from tim3d.stages.shared.results import ResultMaking, result_name, result_task
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field
from tim3d.typed import Merges, SliceRange


@Verb
def score(
    sample: str,
    *,
    field: str = "phase",
    truth: str = "truth",
    foreground: str | None = None,
    merge: Merges | None = None,
    slices: SliceRange = slice(None),
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Agreement of a segmentation with the truth, pooled over all voxels of a range of slices.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field that is judged. Its codes may differ from those of the truth.
    truth : str
        The label field that counts as true, with the same phase names.
    foreground : str, optional
        The phase that IoU, Dice, precision and recall speak of (default: the last).
    merge : mapping of name to name, optional
        Phases that count as another one (default: none). They are those of `field`, as in
        ``{"shine_through": "pore"}``.
    slices : slice
        Slices that count, by number (default: all).
    out : str
        Name of the result (default: FIELD_score and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        `confusion` (truth, predicted) in voxels, and each metric of
        `tim3d.kernels.statistics.metrics`, without unit.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields differ in phases or shape, `merge` names a phase that the field does not have,
        or no slice is left.
    MixedRunError
        If a field is outdated, or `out` is another result.
    """
    predicted, true = (
        store.complete_field(sample, field, "segment"),
        store.complete_field(sample, truth, "labels"),
    )
    names = _common_names(predicted, true, dict(merge or {}))
    chosen = foreground or names[-1]
    if chosen not in names:
        raise ArgumentError(f"no phase {chosen!r} in {field!r}; it has {', '.join(names)}")
    planes = range(predicted.shape[0])[slices]
    if not planes:
        raise ArgumentError(f"no slice in {slices}; {field!r} has {predicted.shape[0]} slices")
    node = result_name(
        f"{field}_score", truth=(truth, "truth"), foreground=(chosen, names[-1]), merge=(dict(merge or {}), {}),
        slices=((planes.start, planes.stop), (0, predicted.shape[0])),
    )  # fmt: skip
    scoring = Scoring(
        sample, predicted, true, names, dict(merge or {}), chosen, (planes.start, planes.stop)
    )
    return result_task(scoring.making(out or node, options), options)


@dataclass(frozen=True)
class Scoring:
    """The two fields to compare, and the parameters of the comparison."""

    sample: str
    predicted: Field
    true: Field
    names: tuple[str, ...]
    merge: Mapping[str, str]
    foreground: str
    planes: tuple[int, int]

    def making(self, node: str, options: Options) -> ResultMaking:
        """The result, from a pass over both fields that serves any slices and any foreground."""
        fields = (self.predicted, self.true)
        inputs = {f.name: store.fingerprint_of(self.sample, f.name) for f in fields}
        ranks = (_ranks(self.predicted, self.names, self.merge), _ranks(self.true, self.names, {}))
        reads = {Input("labels", f.name): f for f in fields}
        counting = counting_pass(
            self.sample, self.predicted, reads, [Confusion(*ranks, len(self.names)).partial(tuple(reads))],
            material_of(self.true),
            name=f"score/{self.predicted.name}-{self.true.name}",
            fingerprint=schema.fingerprint(verb="score", inputs=inputs, ranks=ranks), options=options,
        )  # fmt: skip
        parameters = {
            "field": self.predicted.name, "truth": self.true.name, "names": self.names, "merge": self.merge,
            "foreground": self.foreground, "slices": self.planes,
        }  # fmt: skip
        gather = partial(self.metrics, counting)
        return ResultMaking("score", self.sample, node, inputs, parameters, (counting,), gather)

    def metrics(self, counting: Pass) -> xr.Dataset:
        """The confusion matrix of the slices, in voxels, and its metrics."""
        matrix = sums(counting)["planes"].values[slice(*self.planes)].sum(axis=0)
        found = metrics.scores(matrix, self.names.index(self.foreground))
        values = {
            name: ((), value, {"units": "1", "long_name": name}) for name, value in found.items()
        }
        confusion = (("truth", "predicted"), matrix, {"units": "1", "long_name": "voxels"})
        labels = np.array(self.names, dtype=object)
        attributes = {
            "foreground": self.foreground, "field": self.predicted.name, "truth_field": self.true.name,
            "averaging": "pooled over all voxels", "slices": list(self.planes),
        }  # fmt: skip
        return xr.Dataset(
            {"confusion": confusion, **values}, {"truth": labels, "predicted": labels}, attributes
        )


def _common_names(predicted: Field, true: Field, merge: Mapping[str, str]) -> tuple[str, ...]:
    if predicted.shape != true.shape:
        raise ArgumentError(other_stack(predicted.name, predicted.shape, true.name, true.shape))
    if strange := [name for name in merge if name not in (predicted.phases or ())]:
        raise ArgumentError(
            f"--merge names {', '.join(strange)}, and {predicted.name!r} has the phases "
            f"{', '.join(predicted.phases or ())}: leave out what it does not have"
        )
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


def _ranks(field: Field, names: tuple[str, ...], merge: Mapping[str, str]) -> tuple[int, ...]:
    """Index among the names of the phase of each of 256 codes; other codes get no index."""
    table = [len(names)] * 256
    for name, code in (field.phases or {}).items():
        table[code] = names.index(merge.get(name, name))
    return tuple(table)


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of each plane of a core, from the phase index of each of 256 codes."""

    predicted: tuple[int, ...]
    true: tuple[int, ...]
    classes: int

    def __call__(self, predicted: Labels, true: Labels, core: Box, material: Material) -> Counts:
        """Number of voxels by (plane, truth, predicted)."""
        found, sought = (np.asarray(table, np.uint8) for table in (self.predicted, self.true))
        pairs = zip(sought[true[core.slices]], found[predicted[core.slices]], strict=True)
        return np.array([metrics.confusion(t, p, self.classes) for t, p in pairs])

    def partial(self, reads: tuple[Input, ...]) -> Partial:
        """Partial that holds the matrices of all planes along z."""
        dims, sizes = ("z", "truth", "predicted"), (self.classes, self.classes)
        return Partial(
            "planes", (0, 0, 0), dims, sizes, self, plane="z", reads=reads, voxel_bytes=12
        )
