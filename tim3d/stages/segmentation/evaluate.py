"""The verb `evaluate`: a segmentation against the truth, phase by phase or object by object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tim3d.descriptors.base import Counts, Labels, Material, Partial
from tim3d.descriptors.inputs import Input
from tim3d.engine import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.morphology import boundary_bands
from tim3d.lazy import xarray as xr
from tim3d.stages.segmentation.baseline_labels import (
    after_making,
    baseline_names,
    made_baselines,
)
from tim3d.stages.segmentation.evaluate_objects import Objects, is_numbered
from tim3d.stages.shared.agreement import (
    SLICES,
    UNLABELLED,
    Agreement,
    Resampling,
    about_baselines,
    compared,
    evaluated,
    stacked,
)
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.learnt_labels import about_learnt
from tim3d.stages.shared.partials import counting_pass, material_of, sums
from tim3d.stages.shared.results import ResultMaking, result_name, result_task
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field
from tim3d.typed import Merges, Names, SliceRange


@Verb
def evaluate(
    sample: str,
    *,
    field: str = "phase",
    truth: str = "truth",
    baseline: Names | None = None,
    merge: Merges | None = None,
    slices: SliceRange = slice(None),
    tolerance: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    run: int | None = None,
    seed: int = 0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Compare a segmentation with the truth: phases voxel by voxel, or numbered objects.

    Phases are compared by their names. Voxels of a phase of the truth that is called `unlabelled`
    have no truth and are left out. Fields of numbers (of particles, components, grains) are
    compared as objects, an object being what of it lies in the slices.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The field of labels or numbers that is judged. Its codes may differ from those of the truth.
    truth : str
        The field that counts as true.
    baseline : sequence of str, optional
        Other fields that are judged beside it (default: none). Take those of thresholds: otsu makes
        the labels ``GREY_otsu`` by Otsu's method, adaptive ``GREY_adaptive`` by a local one, of the
        grey field behind `field` and the phases of the truth, the first of which is the darkest.
    merge : mapping of name to name, optional
        Phases that count as another one (default: none). They are those of `field` or of the
        baseline, as in ``{"shine_through": "pore"}``.
    slices : slice
        Slices that count, by number (default: all).
    tolerance : float, optional
        Distance in nm within which boundaries agree (default: two pixels).
    resamples : int
        Resamples of the slices from which intervals are found, 0 for none.
    level : float
        Probability of the intervals.
    run : int, optional
        Consecutive slices that are resampled together (default: from the autocorrelation of the
        accuracy of slices).
    seed : int
        Seed of the resamples.
    out : str
        Name of the result (default: FIELD_evaluation and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        Of phases: `confusion` (truth, predicted) in voxels; IoU, Dice, precision, recall, boundary
        F1 and its chance level of every phase, over all voxels and by slice; their means over
        phases, `iou_micro` and `accuracy`; limits of intervals, ``METRIC_low`` and ``METRIC_high``;
        the same of the baseline, ``baseline_METRIC``, and what is gained, ``METRIC_gain``; of a second
        baseline ``baseline_2_METRIC`` and ``METRIC_gain_2``. Of objects: the metrics of
        `tim3d.kernels.statistics.object_agreement`. The attribute `learnt_slices` names those from
        which the model, or its rule for masks, has learnt.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields differ in phases or shape, `merge` names a phase that the field does not have,
        no slice is left, an argument does not apply to objects, or the field is its own truth.
    InputError
        If no voxel has a truth.
    MixedRunError
        If a field is outdated, or `out` is another result.
    """
    if field == truth:  # it would be found faultless
        raise ArgumentError(
            f"{field!r} would be judged by itself: --truth names the field of true labels"
        )
    judged = store.complete_field(sample, field, "segment")
    true = store.complete_field(sample, truth, "labels")
    asked = _others(sample, baseline, field, truth)
    named, made = made_baselines(sample, judged, true, asked, options)
    if made:
        again = partial(
            evaluate.task, sample, field=field, truth=truth, baseline=named, merge=merge, slices=slices,
            tolerance=tolerance, resamples=resamples, level=level, run=run, seed=seed, out=out, options=options,
        )  # fmt: skip
        does = f"compares {', '.join(map(repr, (field, *named)))} with {truth!r}"
        return after_making(made, again, does)
    others = tuple(store.complete_field(sample, one, "segment") for one in named)
    node = partial(result_name, f"{field}_evaluation", truth=(truth, "truth"), baseline=(named, ()))
    resampling = Resampling(resamples, level, seed, run)
    resampling.check()
    if is_numbered(judged):
        _refuse_of_phases(merge, tolerance, run)
        planes = _planes(judged, slices)
        name = out or node(slices=(planes, (0, judged.shape[0])))
        objects = Objects(sample, true, (judged, *others), planes)
        return result_task(objects.making(name, options), options)
    fields = tuple(
        Judged(one, merge if one is judged else _own(one, merge)) for one in (judged, *others)
    )
    names = _common_names(fields, true)
    planes = _planes(judged, slices)
    if run is not None and 1 < run > (planes[1] - planes[0]) // 2:
        raise ArgumentError(
            f"--run {run} leaves {planes[1] - planes[0]} slices nothing to vary: give half of them at most"
        )
    within = 2 * max(true.spacing_nm[1:]) if tolerance is None else tolerance
    if not 0 < within < np.inf:
        raise ArgumentError(f"--tolerance {within:g} is not a length in nm: --tolerance 10")
    name = node(
        merge=(dict(merge or {}), {}), slices=(planes, (0, judged.shape[0])), tolerance=(tolerance, None),
        resamples=(resamples, 1000), level=(level, 0.95), run=(run, None), seed=(seed, 0),
    )  # fmt: skip
    evaluating = Evaluating(sample, fields, true, names, planes, within, resampling)
    return result_task(evaluating.making(out or name, options), options)


def _others(sample: str, baseline: Sequence[str] | None, field: str, truth: str) -> Sequence[str]:
    """Names of baselines; refuse what is judged, which would add nothing, and the truth, which has no fault."""
    names, taken = baseline_names(sample, baseline), {field: "judged", truth: "the truth"}
    if same := next((name for name in names if name in taken), None):
        raise ArgumentError(
            f"--baseline {same}: {same!r} is {taken[same]}; name another field or method, as --baseline otsu"
        )
    return names


@dataclass(frozen=True)
class Judged:
    """A field of labels that is compared with the truth, and its phases that count as others."""

    field: Field
    merge: Mapping[str, str] | None

    def ranks(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Index among the names of each of 256 codes."""
        return _ranks(self.field, names, self.merge or {})


@dataclass(frozen=True)
class Evaluating:
    """The fields to compare, the first of them judged, and the parameters of the comparison."""

    sample: str
    fields: tuple[Judged, ...]
    true: Field
    names: tuple[str, ...]
    planes: tuple[int, int]
    tolerance: float
    resampling: Resampling

    def making(self, node: str, options: Options) -> ResultMaking:
        """The result, from a pass over all fields that serves any slices and any intervals."""
        fields = (*(one.field for one in self.fields), self.true)
        inputs = {f.name: store.fingerprint_of(self.sample, f.name) for f in fields}
        partials = [p for number in range(len(self.fields)) for p in self._partials(number)]
        asked = {"names": self.names, "ranks": [one.ranks(self.names) for one in self.fields]}
        names = "-".join(f.name for f in fields)
        counting = counting_pass(
            self.sample, self.true, {Input("labels", f.name): f for f in fields}, partials,
            material_of(self.true), name=f"evaluate/{names}",
            fingerprint=schema.fingerprint(
                verb="evaluate", inputs=inputs, tolerance=self.tolerance, **asked
            ),
            options=options,
        )  # fmt: skip
        gather = partial(self.result, counting)
        return ResultMaking(
            "evaluate", self.sample, node, inputs, self._parameters(), (counting,), gather
        )

    def _parameters(self) -> dict[str, Any]:
        how = self.resampling
        return {
            "field": self.fields[0].field.name, "truth": self.true.name, "names": self.names,
            "baseline": [one.field.name for one in self.fields[1:]],
            "merge": [dict(one.merge or {}) for one in self.fields], "slices": self.planes,
            "tolerance": self.tolerance, "resamples": how.resamples, "level": how.level,
            "run": how.run, "seed": how.seed,
        }  # fmt: skip

    def _partials(self, number: int) -> Iterator[Partial]:
        judged = self.fields[number]
        widths = boundary_bands.half_widths(self.tolerance, self.true.spacing_nm[1:])
        classes = len(self.names)
        compare = Compare(
            judged.ranks(self.names), _ranks(self.true, self.names, {}), classes, widths
        )
        reads = (Input("labels", judged.field.name), Input("labels", self.true.name))
        sizes = {"confusion": (classes, classes), "boundary": (classes, boundary_bands.COLUMNS)}
        for part, size in sizes.items():
            yield Partial(
                f"{part}_{number}", boundary_bands.reach(widths), ("z", f"{part}_row", f"{part}_column"),
                size, compare, plane="z", reads=reads, part=part, voxel_bytes=24,
            )  # fmt: skip

    def result(self, counting: Pass) -> xr.Dataset:
        """Metrics of the slices."""
        found, (first, last) = sums(counting), self.planes
        each = [
            Agreement(
                *(
                    found[f"{part}_{number}"].values[first:last]
                    for part in ("confusion", "boundary")
                )
            )
            for number in range(len(self.fields))
        ]
        result = evaluated(each[0], each[1:], self.names, SLICES, self.resampling)
        depth = self.true.spacing_nm[0]
        z = (np.arange(first, last) + 0.5) * depth
        size = (last - first) * self.true.shape[1] * self.true.shape[2]
        about = {
            "field": self.fields[0].field.name, "truth_field": self.true.name,
            **about_baselines(one.field.name for one in self.fields[1:]),
            "slices": list(self.planes), "tolerance_nm": self.tolerance,
            "voxels_without_truth": size - result.attrs["voxels"],
            **about_learnt(self.sample, self.fields[0].field.name, self.true, range(first, last)),
        }  # fmt: skip
        along = ("z", z, {"units": schema.UNIT, "long_name": "centre of the slice"})
        return result.assign_coords(z=along).assign_attrs(about)


def _refuse_of_phases(merge: Merges | None, tolerance: float | None, run: int | None) -> None:
    given = {"--merge": merge, "--tolerance": tolerance, "--run": run}
    if unused := [name for name, value in given.items() if value is not None]:
        raise ArgumentError(
            f"{', '.join(unused)} is of labels, and these fields hold numbers of objects: leave it out"
        )


def _own(field: Field, merge: Merges | None) -> dict[str, str]:
    """Merges of the phases that a baseline has: it need not have all of those of the judged field."""
    return {name: other for name, other in (merge or {}).items() if name in (field.phases or ())}


def _planes(judged: Field, slices: SliceRange) -> tuple[int, int]:
    planes = range(judged.shape[0])[slices]
    if not planes:
        raise ArgumentError(f"no slice in {slices}; {judged.name!r} has {judged.shape[0]} slices")
    return planes.start, planes.stop


def _common_names(fields: Sequence[Judged], true: Field) -> tuple[str, ...]:
    """Names of the phases of the truth, which every judged field must have."""
    for one in fields:
        _check_stack(one, true)
    names = tuple(name for name in (true.phases or {}) if name != UNLABELLED)
    for one in fields:
        merge = one.merge or {}
        seen = {merge.get(name, name) for name in one.field.phases or ()}
        if not names or seen != set(names):
            raise ArgumentError(
                f"{one.field.name!r} has {_listed(seen)}, {true.name!r} has {_listed(names)}. "
                + _naming(sorted(seen - set(names)), names)
            )
    return names


def _check_stack(judged: Judged, true: Field) -> None:
    field = judged.field
    if field.shape != true.shape:
        raise ArgumentError(other_stack(field.name, field.shape, true.name, true.shape))
    if strange := [name for name in judged.merge or {} if name not in (field.phases or ())]:
        raise ArgumentError(
            f"--merge names {', '.join(strange)}, and {field.name!r} has the phases "
            f"{', '.join(field.phases or ())}: leave out what it does not have"
        )


def _listed(names: Iterable[str]) -> str:
    return f"the phases {', '.join(sorted(names))}" if names else "no phases"


def _naming(strange: Sequence[str], names: Sequence[str]) -> str:
    if not names:
        return "Ingest true labels with names: --phases pore=0,solid=1"
    if not strange:
        return "A phase of the truth that is nowhere found cannot be compared: segment with all of them"
    return f"Count what has another name as one of the truth: --merge {','.join(f'{n}={names[0]}' for n in strange)}"


def _ranks(field: Field, names: tuple[str, ...], merge: Mapping[str, str]) -> tuple[int, ...]:
    """Index among the names of the phase of each of 256 codes; `NONE` where there is no truth."""
    table = [len(names)] * 256
    for name, code in (field.phases or {}).items():
        counted = merge.get(name, name)
        table[code] = names.index(counted) if counted in names else boundary_bands.NONE
    return tuple(table)


@dataclass(frozen=True)
class Compare:
    """Counts of each plane of a core, from the phase index of each of 256 codes."""

    predicted: tuple[int, ...]
    true: tuple[int, ...]
    classes: int
    widths: tuple[int, ...]

    def __call__(
        self, predicted: Labels, true: Labels, core: Box, material: Material
    ) -> dict[str, Counts]:
        """Confusion matrices and counts of boundaries, by plane."""
        found, sought = (np.asarray(table, np.uint8) for table in (self.predicted, self.true))
        own, rows = core.slices[0], core.slices[1:]
        each = stacked(
            [
                compared(found[p], sought[t], self.classes, self.widths, rows)
                for p, t in zip(predicted[own], true[own], strict=True)
            ],
            self.classes,
        )
        return {"confusion": each.confusion, "boundary": each.boundary}
