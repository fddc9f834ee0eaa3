"""Labels by Otsu's threshold that a comparison makes for itself, to be judged beside a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import FromHistogram
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


def by_otsu(sample: str, judged: Field, true: Field, options: Options) -> Segmentation:
    """Segmentation of the grey field behind a field, into the phases of a truth: ``GREY_otsu``.

    The phase of the lowest code is the darkest one, as of ``tim3d segment --method otsu``; for three
    phases or more thresholds are by the multi-Otsu method.

    Raises
    ------
    ArgumentError
        If the field holds numbers of objects.
    """
    if is_numbered(judged):
        raise ArgumentError(
            f"--baseline {OTSU} is of labels, and {judged.name!r} holds numbers of objects. Make them: tim3d segment "
            f"{sample} --method otsu --phases NAMES --out by_otsu; tim3d label {sample} --field by_otsu --keep "
            "--component by_otsu_objects; then --baseline by_otsu_objects"
        )
    grey = _grey(sample, judged.name)
    named = sorted((code, name) for name, code in (true.phases or {}).items() if name != UNLABELLED)
    phases = Phases(**{name: code for code, name in named})
    method = "otsu" if len(phases) == 2 else "multi-otsu"
    asked = {"method": method, "blur": "none", "polarity": "dark"}
    out, how = f"{grey.name}_{OTSU}", replace(options, overwrite=False)
    counted = Histogram(sample, grey, "none", how)
    chosen = FromHistogram(counted, out, phases, asked, None).chosen()
    return Segmentation(sample, grey, out, chosen, phases, {}, how)


def _grey(sample: str, name: str) -> Field:
    """Grey field that a field was made of; raw if its record names none."""
    fields = set(store.fields(sample))
    for record in records_of(sample, name):
        for one in record.get("inputs", {}):
            if one in fields and not (found := store.complete_field(sample, one)).labels:
                return found
    return store.complete_field(sample, "raw")


def after_otsu(
    made: Segmentation, then: Callable[[str], Task[xr.Dataset]], does: str
) -> Task[xr.Dataset]:
    """Task that makes the labels, if they are not there, and then another one that reads them."""

    def plans() -> list[Plan | Outline]:
        left = made.plans()
        return [*left, Outline("evaluate", does)] if left else list(then(made.out).plans())

    def run() -> xr.Dataset:
        made.run()
        return then(made.out).run()

    return Task(plans, run)
