"""Interface of what gives prompts: of a slice, of a window of one, or of a single image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import Crop, crops, points_in
from tim3d.models.promptable.prompts import Prompt
from tim3d.steps import Step

Grey8 = NDArray[np.uint8]
# Prompts of an image that follow from its structure or from a field, at most.
MOST_MARKS = 4096


class Prompting(Step):
    """Where prompts come from, to be inherited by a frozen dataclass.

    Its fields are what is typed in the shell; `ready` adds what a sample or a file holds.

    Attributes
    ----------
    explicit : bool
        Whether each prompt asks for one object, and gets its best mask; else each point may give
        several masks, or none.
    """

    explicit: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:
        """Phases that prompts may ask for."""
        return ()

    @property
    def inputs(self) -> dict[str, str]:
        """Fields that they are read from, and their fingerprints."""
        return {}

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """The same, with all that workers need; refuses what does not fit the volume."""
        return self

    def ready_for_images(self) -> Prompting:
        """The same for single images; refuses what needs a sample."""
        return self.ready("", (1, 1, 1))

    def of_image(self, name: str, shape: tuple[int, int]) -> Prompting:
        """The same for the image of this name in a folder."""
        return self

    def crops(self, shape: tuple[int, int]) -> list[Crop]:
        """Crops in which an image is looked at: the whole of it."""
        return crops(shape, 0)

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Prompts that follow from an image (y, x) or from its place in the volume."""
        raise ArgumentError(f"{self} has no prompts before ready() is called")

    def prompts(self, grey: Grey8, crop: Crop, marks: Sequence[Prompt]) -> list[Prompt]:
        """Prompts of a crop, in its pixels; `marks` are those of the whole image."""
        return within(marks, crop)

    def most(self, crop: Crop) -> int:
        """Prompts of a crop, at most: more are refused, because the plan counts their masks."""
        return MOST_MARKS


def drawn(prompts: object) -> Prompting:
    """The prompts, of which masks are drawn.

    Raises
    ------
    ArgumentError
        If they are something else, or the decoder, which draws none.
    """
    if isinstance(prompts, Prompting):
        return prompts
    if isinstance(prompts, Step):
        raise ArgumentError(
            f"{prompts} numbers objects without prompts, so that no masks are drawn: tim3d segment-prompted SAMPLE "
            f"--model MODEL --prompts {prompts}"
        )
    raise ArgumentError(f"prompts {prompts!r} are not known: --prompts structure")


def within(marks: Sequence[Prompt], crop: Crop) -> list[Prompt]:
    """Prompts with a point in a crop, in its pixels; for the whole image all of them."""
    if crop.layer == 0:
        return list(marks)
    y, x = crop.start
    return [one.moved(x, y) for one in marks if len(points_in(one.points, crop))]
