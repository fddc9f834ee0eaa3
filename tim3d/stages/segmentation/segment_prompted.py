"""The verb `segment_prompted`: labels and objects from the masks that a promptable network draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.models.promptable.decoder_segmenter import DecoderSegmenter
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.decoder import Decoder
from tim3d.models.segmentation.training_record import Learnt
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import given
from tim3d.stages.segmentation.inference import Segmentation
from tim3d.stages.segmentation.prompted import BATCH, awaited_by, decoded, prompted
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.typed import MaskWord, Merges, PromptWord, Window


@Verb
def segment_prompted(
    sample: str,
    *,
    model: str | Path,
    prompts: PromptWord,
    masks: MaskWord | None = None,
    field: str = "raw",
    out: str = "phase",
    phases: Phases | None = None,
    merge: Merges | None = None,
    window: Window | None = None,
    halo: int = 0,
    embeddings: str = "",
    batch: int = BATCH,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Segment a grey field by a promptable network, slice by slice.

    Prompts come from a grid, from the structure of the image, from a file or from another field;
    masks become objects, grains or materials. A network that was imported with the decoder of
    micro-sam numbers objects without prompts. See docs/promptable.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        A network written by tim3d import-network.
    prompts : Prompting
        Where prompts come from: grid, structure, file:path=points.csv, strokes:field=strokes or
        objects:field=cells, each with its parameters; or decoder, with the limits of its objects.
    masks : MaskRule, optional
        What becomes of masks: objects, grains or materials, each with its limits, or
        file:path=rules.json with those that tim3d tune-masks chose (default: objects).
    field : str
        The grey field.
    out : str
        Name of the field of labels; maps beside it are ``OUT_objects``, ``OUT_quality`` and others.
    phases : Phases, optional
        Names and codes of the labels (default: the classes of the rule, with the codes 0, 1, ...).
    merge : mapping of name to name, optional
        Classes that count as another one (default: none).
    window : (y, x), optional
        Edges of a window in pixels, each of which is looked at by itself (default: whole slices).
    halo : int
        Border of a window in pixels that is thrown away.
    embeddings : str
        Node of embeddings that tim3d embed kept of the same network, field and windows (default:
        none, they are computed).
    batch : int
        Prompts that the network gets at a time.
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily.

    Raises
    ------
    ArgumentError
        If prompts or rule do not fit each other, or a parameter is out of its range.
    CheckpointError
        If the model is damaged, or not a promptable network.
    MissingFieldError
        If the grey field or the field of the prompts is missing.
    InputError
        If a prompt lies outside the volume, a slice has one grey value, no mask is left, or the
        embeddings are of another network or image.
    MissingExtraError
        If transformers is not installed.
    """
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; segment-prompted needs grey values")
    segmenter: PromptedSegmenter | DecoderSegmenter
    learnt: tuple[Learnt, ...] = ()
    windows = (window, halo, device, embeddings)
    if isinstance(prompts, Decoder):
        segmenter = decoded(sample, grey, Path(model), prompts, masks, batch, *windows)
    else:
        rule = masks or AsObjects()
        segmenter = prompted(
            sample, grey, Path(model), prompts, rule, window, halo, batch, device, embeddings
        )
        learnt = segmenter.tuned.learnt if segmenter.tuned else ()
    awaited = awaited_by(sample, grey, Path(model), masks)
    chosen = replace(given(segmenter, grey), awaited=awaited, learnt=learnt)
    segmentation = Segmentation(
        sample, grey, out, chosen, phases, dict(merge or {}), options, "segment_prompted"
    )
    segmentation.coded  # noqa: B018  refuses bad phases before a plan is made
    return Task(segmentation.plans, segmentation.run)
