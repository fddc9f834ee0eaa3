"""The segmenter of a single image by a promptable network, its prompts and its rule for masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.models.promptable.file_network import FileNetwork, network_of
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import Tuned, chosen_rule
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.base import Prompting, drawn
from tim3d.models.segmentation.model_file import read_model
from tim3d.stages.images.chosen import Grey, PerImage


@dataclass(frozen=True)
class ByPrompts(PerImage):
    """A promptable network on whole images, each by itself.

    Grey values run over the range of their type: 0 to 255, or 0 to 65535.
    """

    network: FileNetwork
    prompting: Prompting
    rule: MaskRule
    tuned: Tuned | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.rule.classes(self.prompting.names)

    @property
    def numbers(self) -> str | None:
        """Name of the map that numbers objects; None if the rule makes none."""
        return next((one.name for one in self.rule.maps if one.joined == "objects"), None)

    @property
    def learnt_images(self) -> Mapping[str, str]:
        """Names of the images that the limits were chosen on."""
        return self.tuned.images if self.tuned else {}

    def of(self, grey: Grey, name: str) -> PromptedSegmenter:
        """Return the segmenter of the image (1, y, x) of this name."""
        size = (grey.shape[1], grey.shape[2])
        prompting = self.prompting.of_image(name, size)
        return PromptedSegmenter(
            self.network, prompting, self.rule, size, 0.0, float(np.iinfo(grey.dtype).max)
        )

    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape."""
        return PromptedSegmenter(self.network, self.prompting, self.rule, shape).image_bytes(shape)

    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""
        return {
            "network": self.network.description(),
            "prompts": self.prompting.description(),
            "masks": self.rule.description(),
            **({"tuned": self.tuned.sha256} if self.tuned else {}),
        }


def by_prompts(path: Path, device: str, prompts: object, masks: object) -> ByPrompts:
    """The segmenters of a promptable network, with prompts that single images can have.

    Raises
    ------
    ArgumentError
        If prompts or masks are not of their kinds, or are those of a sample.
    CheckpointError
        If the file holds another network.
    """
    from tim3d.models.common.device import choose_device

    asked = drawn(prompts)
    ready = asked.ready_for_images()
    network = network_of(read_model(path), choose_device(device))
    rule, tuned = chosen_rule(masks, network, asked)
    rule.check(ready.names)
    return ByPrompts(network, ready, rule, tuned)
