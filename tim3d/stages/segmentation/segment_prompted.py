"""The verb `segment_prompted`: labels and objects from the masks that a promptable network draws."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from tim3d.errors import ArgumentError
from tim3d.models.promptable.file_network import network_of
from tim3d.models.promptable.mask_rules import AsObjects, MaskRule
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting import Prompting
from tim3d.models.segmentation.model_file import read_model
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import given
from tim3d.stages.segmentation.inference import Segmentation
from tim3d.stages.segmentation.kept_embeddings import with_kept
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
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
    batch: int = 64,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Segment a grey field by a promptable network, slice by slice.

    Prompts come from a grid, from the structure of the image, from a file or from another field;
    masks become objects, grains or materials. See docs/promptable.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        A network written by tim3d import-network.
    prompts : Prompting
        Where prompts come from: grid, structure, file:path=points.csv, strokes:field=strokes or
        objects:field=cells, each with its parameters.
    masks : MaskRule, optional
        What becomes of masks: objects, grains or materials, each with its limits (default:
        objects).
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
    segmenter = prompted(
        sample,
        grey,
        Path(model),
        prompts,
        masks or AsObjects(),
        window,
        halo,
        batch,
        device,
        embeddings,
    )
    chosen = given(segmenter, grey)
    segmentation = Segmentation(
        sample, grey, out, chosen, phases, dict(merge or {}), options, "segment_prompted"
    )
    segmentation.coded  # noqa: B018  refuses bad phases before a plan is made
    return Task(segmentation.plans, segmentation.run)


def prompted(
    sample: str,
    grey: Field,
    model: Path,
    prompts: object,
    masks: object,
    window: Window | None,
    halo: int,
    batch: int,
    device: str,
    embeddings: str,
) -> PromptedSegmenter:
    """The segmenter of these arguments, checked.

    Raises
    ------
    ArgumentError
        If prompts or masks are not values of their kinds, or do not fit.
    """
    if not isinstance(prompts, Prompting):
        raise ArgumentError(f"prompts {prompts!r} are not known: --prompts structure")
    if not isinstance(masks, MaskRule):
        raise ArgumentError(f"masks {masks!r} are not known: --masks objects")
    if halo and window is None:
        raise ArgumentError(
            "whole slices have no border to throw away; give a window too: --window 1024,1024"
        )
    if window is not None and len(window) != 2:
        raise ArgumentError(
            f"window {window}: two edges y,x of a window of a slice: --window 1024,1024"
        )
    black, white = grey_range(sample, grey)
    network = network_of(read_model(model), _device(device))
    _, y, x = grey.shape if window is None else (1, *window)
    made = PromptedSegmenter(network, prompts, masks, (y, x), black, white, halo, batch)
    ready = made.check(sample, grey.shape)
    return with_kept(ready, sample, embeddings, grey) if embeddings else ready


def _device(asked: str) -> str:
    # Imported here: torch takes seconds to load.
    from tim3d.models.common.device import choose_device

    return choose_device(asked)


def grey_range(sample: str, grey: Field) -> tuple[float, float]:
    """Grey values that are black and white: 0 and 255, or the darkest and brightest of the volume."""
    if grey.dtype == "uint8":
        return 0.0, 255.0
    slices = store.open_dataset(sample, f"{grey.name}_slices")
    low, high = (np.asarray(slices[name].values) for name in ("grey_min", "grey_max"))
    return float(low.min()), max(float(high.max()), float(low.min()) + 1)
