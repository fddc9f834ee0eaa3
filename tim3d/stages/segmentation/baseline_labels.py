"""Labels by thresholds that a comparison makes for itself, to be judged beside a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.models.segmentation.local_threshold import METHOD as ADAPTIVE
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import Chosen, FromHistogram, locally
from tim3d.stages.segmentation.evaluate_objects import is_numbered
from tim3d.stages.segmentation.inference import Segmentation
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.histogram import Histogram
from tim3d.stages.shared.learnt_labels import records_of
from tim3d.stages.shared.verb import Task
from tim3d.storage import store
from tim3d.storage.schema import Field

OTSU = "otsu"
MADE = (OTSU, ADAPTIVE)


def baseline_names(sample: str, given: Sequence[str] | str | None) -> tuple[str, ...]:
    """Names of the fields that are judged beside another one, each once.

    The shell parts them at commas, which names of fields may hold too: parts are joined again where
    that is a field of the sample.

    Raises
    ------
    ArgumentError
        If one is named twice, or is empty.
    """
    parts = [] if given is None else [given] if isinstance(given, str) else list(given)
    names, there = [], set(store.fields(sample))
    while parts:
        ends = range(len(parts), 1, -1)
        count = next((n for n in ends if ",".join(parts[:n]) in there), 1)
        names.append(",".join(parts[:count]))
        parts = parts[count:]
    if len(set(names)) < len(names) or "" in names:
        raise ArgumentError(
            f"--baseline {','.join(names)}: names of fields, each once, as in --baseline otsu,adaptive,by_strokes"
        )
    return tuple(names)


def made_baselines(
    sample: str, judged: Field, true: Field, named: Sequence[str], options: Options
) -> tuple[tuple[str, ...], list[Segmentation]]:
    """Fields of baselines, and the segmentations that make those which are named by a method."""
    there = set(store.fields(sample))
    made = {
        how: by_thresholds(sample, judged, true, how, options)
        for how in MADE
        if how in named and how not in there
    }
    return tuple(made[one].out if one in made else one for one in named), list(made.values())


def by_thresholds(
    sample: str, judged: Field, true: Field, how: str, options: Options
) -> Segmentation:
    """Segmentation of the grey field behind a field, into the phases of a truth: ``GREY_otsu``, ``GREY_adaptive``.

    The phase of the lowest code is the darkest one, as of ``tim3d segment --method otsu``; for three
    phases or more Otsu's thresholds are by the multi-Otsu method.

    Raises
    ------
    ArgumentError
        If the field holds numbers of objects, or a local threshold is asked for more than two phases.
    """
    if is_numbered(judged):
        raise ArgumentError(
            f"--baseline {how} is of labels, and {judged.name!r} holds numbers of objects. Make them: tim3d segment "
            f"{sample} --method {how} --phases NAMES --out by_{how}; tim3d label {sample} --field by_{how} --keep "
            f"--component by_{how}_objects; then --baseline by_{how}_objects"
        )
    grey = _grey(sample, judged.name)
    named = sorted((code, name) for name, code in (true.phases or {}).items() if name != UNLABELLED)
    phases = Phases(**{name: code for code, name in named})
    out, quiet = f"{grey.name}_{how}", replace(options, overwrite=False)
    chosen = _chosen(sample, grey, out, phases, how, quiet)
    return Segmentation(sample, grey, out, chosen, phases, {}, quiet)


def _chosen(
    sample: str, grey: Field, out: str, phases: Phases, how: str, options: Options
) -> Chosen:
    if how == ADAPTIVE:
        if len(phases) != 2:
            raise ArgumentError(
                f"--baseline {ADAPTIVE} parts two phases, and the truth has {len(phases)} ({', '.join(phases)}): "
                f"--baseline {OTSU}"
            )
        return locally(phases, grey)
    asked = {
        "method": OTSU if len(phases) == 2 else "multi-otsu",
        "blur": "none",
        "polarity": "dark",
    }
    return FromHistogram(
        Histogram(sample, grey, "none", options), out, phases, asked, None
    ).chosen()


def _grey(sample: str, name: str) -> Field:
    """Grey field that a field was made of; raw if its record names none."""
    fields = set(store.fields(sample))
    for record in records_of(sample, name):
        for one in record.get("inputs", {}):
            if one in fields and not (found := store.complete_field(sample, one)).labels:
                return found
    return store.complete_field(sample, "raw")


def after_making(
    made: Sequence[Segmentation], then: Callable[[], Task[xr.Dataset]], does: str
) -> Task[xr.Dataset]:
    """Task that makes labels, if they are not there, and then another one that reads them."""

    def plans() -> list[Plan | Outline]:
        left = [plan for one in made for plan in one.plans()]
        return [*left, Outline("evaluate", does)] if left else list(then().plans())

    def run() -> xr.Dataset:
        for one in made:
            one.run()
        return then().run()

    return Task(plans, run)
