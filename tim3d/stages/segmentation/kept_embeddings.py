"""Embeddings that are kept in a sample: what decides them, and their use by a segmenter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tim3d.grid import Triple
from tim3d.models.promptable.kept import Kept, require_same
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.storage import store
from tim3d.storage.schema import Field


def question(segmenter: PromptedSegmenter, image: str) -> dict[str, Any]:
    """All that decides embeddings."""
    about = segmenter.network.description()
    return {
        "network": about, "image": image, "grey": [segmenter.black, segmenter.white],
        "window": list(segmenter.pixels), "border": segmenter.border,
        "layers": getattr(segmenter.prompting, "layers", 0),
    }  # fmt: skip


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
    store.lazy_dataset(sample, node)
    found = store.node_attributes(sample, node).get("parameters", {})
    image = store.fingerprint_of(sample, grey.name)
    require_same(found, question(segmenter, image), node, sample)
    return replace(segmenter, kept=kept_in(sample, node, segmenter, grey.shape))
