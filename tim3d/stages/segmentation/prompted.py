"""The segmenter of a promptable network for a field, and the embeddings that it may have in the sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from tim3d.errors import ArgumentError, CheckpointError, MissingFieldError
from tim3d.forecast import expected
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import Lattice
from tim3d.kernels.windows.stitching import gather
from tim3d.models.promptable.decoder_segmenter import DecoderSegmenter
from tim3d.models.promptable.file_network import FileNetwork, network_of
from tim3d.models.promptable.kept import Kept, require_same
from tim3d.models.promptable.mask_rules.file import RuleFile, chosen_rule
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.base import drawn
from tim3d.models.promptable.prompting.decoder import Decoder
from tim3d.models.promptable.prompting.grid import Grid
from tim3d.models.segmentation.model_file import read_model
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import Window

# Prompts that the network gets at a time, by default.
BATCH = 64


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
    prompts = drawn(prompts)
    if halo and window is None:
        raise ArgumentError(
            "whole slices have no border to throw away; give a window too: --window 1024,1024"
        )
    if window is not None and len(window) != 2:
        raise ArgumentError(
            f"window {window}: two edges y,x of a window of a slice: --window 1024,1024"
        )
    black, white = grey_range(sample, grey)
    network = _network(model, _device(device))
    _, y, x = grey.shape if window is None else (1, *window)
    rule, tuned = chosen_rule(masks, network, prompts)
    made = PromptedSegmenter(network, prompts, rule, (y, x), black, white, halo, batch, tuned=tuned)
    ready = made.check(sample, grey.shape)
    return with_kept(ready, sample, embeddings, grey) if embeddings else ready


def decoded(
    sample: str,
    grey: Field,
    model: Path,
    prompts: Decoder,
    masks: object,
    batch: int,
    window: Window | None,
    halo: int,
    device: str,
    embeddings: str,
) -> DecoderSegmenter:
    """The segmenter by the decoder of a network, checked.

    Raises
    ------
    ArgumentError
        If a limit is out of its range, or an argument of prompts is given.
    CheckpointError
        If the file of the network has no decoder.
    """
    prompts.check()
    if masks is not None or batch != BATCH:
        raise ArgumentError(
            "--masks and --batch change nothing without prompts: leave them out, and give the limits as --prompts "
            "decoder:foreground=0.5,smallest=50"
        )
    # What the network is asked is its embedding alone, as in `embed`.
    asking = prompted(
        sample, grey, model, Grid(side=1), AsObjects(), window, halo, 1, device, embeddings
    )
    if cast(FileNetwork, asking.network).decoder is None:
        raise CheckpointError(
            f"{model} has no decoder: import the network with it, tim3d import-network vit_b.pt both.safetensors "
            "--decoder vit_b_decoder.pt"
        )
    return DecoderSegmenter(asking, prompts)


def _device(asked: str) -> str:
    # Imported here: torch takes seconds to load.
    from tim3d.models.common.device import choose_device

    return choose_device(asked)


def _network(model: Path, device: str) -> FileNetwork:
    """The network of a file, which an earlier step of a recipe may have yet to write."""
    planned = expected("network", str(model))
    if planned is None:
        return network_of(read_model(model), device)
    if not isinstance(planned, FileNetwork):
        raise CheckpointError(f"{model} is trained to label phases and takes no prompts")
    return replace(planned, device=device)


def awaited_by(sample: str, grey: Field, model: Path, masks: object = None) -> str:
    """Name what an earlier step of a recipe has yet to write for it: network, rule, or field."""
    if expected("network", str(model)):
        return str(model)
    if isinstance(masks, RuleFile) and expected("file", str(masks.path)):
        return str(masks.path)
    place = f"{sample}/{grey.name}"
    return place if expected("field", place) else ""


def grey_range(sample: str, grey: Field) -> tuple[float, float]:
    """Grey values that are black and white: 0 and 255, or the darkest and brightest of the volume."""
    if grey.dtype == "uint8":
        return 0.0, 255.0
    if expected("field", f"{sample}/{grey.name}"):
        return 0.0, 1.0  # no plan depends on it
    slices = store.open_dataset(sample, f"{grey.name}_slices")
    low, high = (np.asarray(slices[name].values) for name in ("grey_min", "grey_max"))
    return float(low.min()), max(float(high.max()), float(low.min()) + 1)


def window_in(array: Any, lattice: Lattice, index: Triple) -> np.ndarray:
    """Grey values (y, x) of a window of one slice, mirrored beyond the border of the volume."""
    box = lattice.read_box(lattice.support(index).clip(Box.whole(lattice.shape)))
    window: np.ndarray = gather(lattice, index, store.read_box(array, box), box)[0]
    return window


def question(segmenter: PromptedSegmenter, image: str) -> dict[str, Any]:
    """All that decides embeddings."""
    crops = segmenter.prompting.crops(segmenter.pixels)
    return {
        "network": segmenter.network.embedding_description(),
        "image": image,
        "grey": [segmenter.black, segmenter.white],
        "window": list(segmenter.pixels),
        "border": segmenter.border,
        "crops": [[*one.start, *one.stop] for one in crops],
    }


def kept_in(sample: str, node: str, segmenter: PromptedSegmenter, shape: Triple) -> Kept:
    """Place of the embeddings that this segmenter needs."""
    crops = segmenter.prompting.crops(segmenter.pixels)
    counts = segmenter.lattice(shape).counts  # type: ignore[union-attr]
    return Kept(sample, node, counts, len(crops), segmenter.network.shapes(segmenter.pixels))


def with_kept(
    segmenter: PromptedSegmenter, sample: str, node: str, grey: Field
) -> PromptedSegmenter:
    """The segmenter that reads its embeddings from a node.

    Raises
    ------
    InputError
        If they are of another network or image, or of other windows.
    """
    if not store.node_attributes(sample, node):
        raise MissingFieldError(
            f"no embeddings {node!r} in {sample}. Make them: tim3d embed {sample} --model MODEL --out {node}"
        )
    store.lazy_dataset(sample, node)
    found = store.node_attributes(sample, node).get("parameters", {})
    image = store.fingerprint_of(sample, grey.name)
    require_same(found, question(segmenter, image), node, sample)
    return replace(segmenter, kept=kept_in(sample, node, segmenter, grey.shape))
