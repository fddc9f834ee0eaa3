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
from tim3d.models.segmentation.model_file import UNET, ModelFile, read_model
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.stages.segmentation.chosen import Chosen, FromFile, given
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class Asked:
    """A model file, the field that it is to segment, and the options of windows and inference."""

    sample: str
    grey: Field
    model: Path
    how: Inference


Reader: TypeAlias = Callable[[Asked], Chosen]


def _unet(asked: Asked) -> Chosen:
    return FromFile(asked.sample, asked.grey, asked.model, asked.how).chosen()


KINDS: dict[str, Reader] = {UNET: _unet}


def chosen(asked: Asked) -> Chosen:
    """Return the segmenter of a model file, chosen by the kind that the file states.

    Raises
    ------
    CheckpointError
        If the file is damaged, or its kind is not known.
    """
    if expected("network", str(asked.model)) is not None:
        return _unet(asked)  # an earlier step of a recipe trains it
    kind = read_model(asked.model).kind
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
        If the kind is that of the U-Net.
    """
    if kind == UNET:
        raise ArgumentError(f"{kind!r} is the kind of tim3d's own networks; choose another name")
    KINDS[kind] = lambda asked: _own(asked, opened)


def _own(asked: Asked, opened: Callable[[ModelFile], Segmenter]) -> Chosen:
    file = read_model(asked.model)
    _refuse_options(asked.how, file)
    segmenter = opened(file)
    found = given(segmenter, asked.grey)
    if segmenter.sha256 != file.sha256:
        raise ArgumentError(
            f"segmenter {segmenter.kind!r} must keep the sha256 of its file {file.path}, so that another file makes "
            "another field: sha256=file.sha256"
        )
    return found


def _refuse_options(how: Inference, file: ModelFile) -> None:
    """Refuse options of the U-Net: they would have no effect."""
    for one in fields(how):
        if getattr(how, one.name) != one.default:
            raise ArgumentError(
                f"--{one.name} changes nothing with a model of the kind {file.kind!r}: leave it out"
            )
