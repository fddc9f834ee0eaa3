"""Kinds of model files, and the segmenter that each is read by: the table behind ``--model``.

A file states its kind; one without a kind is a U-Net. A kind of a user's own is added by `register`
(docs/extend.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.forecast import expected
from tim3d.models.promptable.importing import KIND as PROMPTABLE
from tim3d.models.segmentation.bpartis import KIND as BPARTIS
from tim3d.models.segmentation.bpartis import BPartIS, window_of
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.families import FAMILIES
from tim3d.models.segmentation.model_file import ModelFile, read_model
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.models.segmentation.segmenter_check import check_segmenter
from tim3d.models.segmentation.stroke_forest import KIND as STROKES
from tim3d.models.segmentation.stroke_forest import StrokeForest, StrokeModel, model_of
from tim3d.models.segmentation.training_record import learnt_from
from tim3d.stages.segmentation.chosen import Chosen, FromFile, compare_spacing, given
from tim3d.stages.segmentation.normalisation import normalisation_of
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class Asked:
    """A model file, the field that it is to segment, and the options of windows and inference."""

    sample: str
    grey: Field
    model: Path
    how: Inference


Reader: TypeAlias = Callable[[Asked], Chosen]


def _network(asked: Asked) -> Chosen:
    return FromFile(asked.sample, asked.grey, asked.model, asked.how).chosen()


def _strokes(asked: Asked) -> Chosen:
    """The forest of a file; it, or the grey field, may be written by an earlier step of a recipe."""
    refuse_options(asked.how, STROKES, but=("probabilities", "normalisation"))
    planned = expected("network", str(asked.model))
    model: StrokeModel = planned or model_of(read_model(asked.model))
    compare_spacing(model.spacing, asked.grey)
    grey = f"{asked.sample}/{asked.grey.name}"
    awaited = str(asked.model) if planned else grey if expected("field", grey) else ""

    def ready() -> Segmenter:
        how = asked.how.normalisation or model.normalisation
        scale = normalisation_of(asked.sample, asked.grey, how)
        return _forest(asked, model, scale, read_model(asked.model).sha256)

    def later() -> Segmenter:
        return _forest(asked, model, Normalisation("volume", (0.0,), (1.0,)), "not trained yet")

    made = later if awaited else ready
    check_segmenter(made(), asked.grey.shape)
    return Chosen(
        str(asked.model), model.classes, ready, made, awaited=awaited, error=CheckpointError,
        learnt=learnt_from(model.training),
    )  # fmt: skip


def _forest(asked: Asked, model: StrokeModel, scale: Normalisation, sha256: str) -> StrokeForest:
    path, spacing = str(asked.model.absolute()), asked.grey.spacing_nm
    return StrokeForest(path, model, spacing, scale, sha256, asked.how.probabilities)


def _edges(how: Inference) -> tuple[int, int] | None:
    """Window in the plane of a slice.

    Raises
    ------
    ArgumentError
        If the window has three edges.
    """
    if how.window is not None and len(how.window) != 2:
        raise ArgumentError(f"--window {how.window}: this network takes windows of a slice, y,x")
    return None if how.window is None else (how.window[0], how.window[1])


def _bpartis(asked: Asked) -> Chosen:
    """BPartIS on windows of slices; the last halo of a window is where particles are compared."""
    refuse_options(asked.how, BPARTIS, but=("window", "halo", "device"))
    from tim3d.models.common.device import choose_device

    how = asked.how
    halo = (
        0 if how.window is None else min(how.window) // 4 // 8 * 8 if how.halo is None else how.halo
    )
    file = read_model(asked.model)
    return given(
        BPartIS(
            str(asked.model.absolute()), file.sha256, window_of(asked.grey.shape, _edges(how)), (0, halo, halo),
            device=choose_device(how.device),
        ),
        asked.grey,
    )  # fmt: skip


def _promptable(asked: Asked) -> Chosen:
    planned = expected("network", str(asked.model))
    decoder = planned.decoder if planned else read_model(asked.model).description.get("decoder")
    raise CheckpointError(
        f"{asked.model} is a promptable network, which draws what prompts show: tim3d segment-prompted "
        f"{asked.sample} --model {asked.model} --prompts {'decoder' if decoder else 'structure'}"
    )


KINDS: dict[str, Reader] = {
    **dict.fromkeys(FAMILIES, _network),
    STROKES: _strokes,
    BPARTIS: _bpartis,
    PROMPTABLE: _promptable,
}
BUILT_IN = frozenset(KINDS)


def chosen(asked: Asked) -> Chosen:
    """Return the segmenter of a model file, chosen by the kind that the file states.

    Raises
    ------
    CheckpointError
        If the file is damaged, or its kind is not known.
    """
    planned = expected("network", str(asked.model))  # an earlier step of a recipe trains it
    kind = read_model(asked.model).kind if planned is None else planned.kind
    if kind not in KINDS:
        raise CheckpointError(
            f"{asked.model} holds a segmenter of the kind {kind!r}, and the known ones are "
            f"{', '.join(sorted(KINDS))}. Update tim3d, or in Python: tim3d.segmenters.register({kind!r}, ...)"
        )
    return KINDS[kind](asked)


def register(kind: str, opened: Callable[[ModelFile], Segmenter]) -> None:
    """Let `tim3d.segment` read model files of another kind, in this process.

    Parameters
    ----------
    kind : str
        The kind that the files state.
    opened : callable
        Returns the segmenter of a file; it keeps the file's `sha256`.

    Raises
    ------
    ArgumentError
        If the kind is that of tim3d's own models.
    """
    if kind in BUILT_IN:
        raise ArgumentError(f"{kind!r} is the kind of tim3d's own models; choose another name")
    KINDS[kind] = lambda asked: _own(asked, opened)


def _own(asked: Asked, opened: Callable[[ModelFile], Segmenter]) -> Chosen:
    file = read_model(asked.model)
    refuse_options(asked.how, file.kind)
    segmenter = opened(file)
    found = given(segmenter, asked.grey)
    if segmenter.sha256 != file.sha256:
        raise ArgumentError(
            f"segmenter {segmenter.kind!r} must keep the sha256 of its file {file.path}, so that another file makes "
            "another field: sha256=file.sha256"
        )
    return found


def refuse_options(how: Inference, kind: str, but: tuple[str, ...] = ()) -> None:
    """Refuse options of the U-Net, but for some: they would have no effect."""
    for one in fields(how):
        if one.name not in but and getattr(how, one.name) != one.default:
            raise ArgumentError(
                f"--{one.name} changes nothing with a model of the kind {kind!r}: leave it out"
            )
