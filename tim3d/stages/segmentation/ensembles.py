"""Several model files, and several views of the volume, as one segmenter of mean probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tim3d.engine import Plan
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.kernels.windows.views import PLAIN, View, views
from tim3d.models.segmentation.dropout import Pass
from tim3d.models.segmentation.ensemble import Ensemble, Member
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.stages.segmentation import kinds
from tim3d.stages.segmentation.chosen import Chosen, given
from tim3d.storage.schema import Field

# Relative difference of the edges of a pixel up to which it is square.
SQUARE = 1e-6


def ensemble_of(
    sample: str,
    grey: Field,
    models: Sequence[Path],
    how: Inference,
    uncertainty: str,
    passes: Sequence[Pass] = (),
) -> Chosen:
    """The mean of some models, in one view or in all of them, or in some passes with dropout.

    Parameters
    ----------
    sample : str
        The sample.
    grey : Field
        The field to segment.
    models : sequence of Path
        Model files of the same classes.
    how : Inference
        Windows and inference of each.
    uncertainty : {"views", "models", "dropout"}
        Whether every model sees the mirrored and turned volume too, or is asked in passes.
    passes : sequence of Pass
        With dropout.

    Raises
    ------
    ArgumentError
        If there is nothing to compare, or a file is named twice.
    CheckpointError
        If the models have other classes.
    """
    if uncertainty == "models" and len(models) < 2:
        raise ArgumentError(
            "--uncertainty models compares models: give two or more, --model a.safetensors,b.safetensors, or "
            "--uncertainty views for one"
        )
    if len({str(one.absolute()) for one in models}) < len(models):
        raise ArgumentError(f"--model names a file twice: {', '.join(map(str, models))}")
    plain = replace(how, probabilities=False)
    every = [kinds.chosen(kinds.Asked(sample, grey, one, plain)) for one in models]
    for one in every:
        if one.classes != every[0].classes:
            raise CheckpointError(
                f"{one.name} has the classes {', '.join(one.classes)} and {every[0].name} has "
                f"{', '.join(every[0].classes)}: models of an ensemble have the same, in one order"
            )
    seen = views(_is_square(grey)) if uncertainty == "views" else (PLAIN,)
    return joined(every, seen, passes if uncertainty == "dropout" else (None,))


def in_views(segmenter: Segmenter, grey: Field) -> Chosen:
    """A segmenter that is given as a value, in all views."""
    return joined([given(segmenter, grey)], views(_is_square(grey)))


def joined(
    every: Sequence[Chosen], seen: Sequence[View], passes: Sequence[Pass | None] = (None,)
) -> Chosen:
    """Chosen segmenters as one, which is complete when all of them are."""

    def first() -> list[Plan]:
        return [plan for one in every for plan in one.first()]

    def made(which: Callable[[Chosen], Segmenter]) -> Callable[[], Segmenter]:
        return lambda: members_of([which(one) for one in every], seen, passes)

    made(lambda one: one.planned())()  # refuses what gives no probabilities before a plan is made
    return Chosen(
        name=", ".join(one.name for one in every),
        classes=every[0].classes,
        ready=made(lambda one: one.ready()),
        planned=made(lambda one: one.planned()),
        first=first,
        awaited=next((one.awaited for one in every if one.awaited), ""),
        error=CheckpointError,
        learnt=tuple(source for one in every for source in one.learnt),
    )


def members_of(
    segmenters: Sequence[Segmenter], seen: Sequence[View], passes: Sequence[Pass | None] = (None,)
) -> Ensemble:
    """Every segmenter in every pass and view."""
    exact = [
        one.exact() if asked is None else one.dropping(asked).exact()
        for one in segmenters
        for asked in passes
    ]
    return Ensemble(
        tuple(Member(one.turned() if view.turned else one, view) for one in exact for view in seen)
    )


def _is_square(grey: Field) -> bool:
    _, dy, dx = grey.spacing_nm
    return math.isclose(dy, dx, rel_tol=SQUARE)
