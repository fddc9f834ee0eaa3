"""Interface of the rules for masks, and the limits that all of them have."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.mask_set import Mask, mask_of, stability, touches_edge
from tim3d.kernels.masks.structure_points import Crop
from tim3d.models.segmentation.segmenter import Map, Maps
from tim3d.steps import Step

# Limits where masks come from automatic prompts, and where each was asked for.
USUAL, ASKED = (0.88, 0.95, 0.7), (0.0, 0.0, 1.0)
COVER = Map("cover", "number of masks that hold a voxel", dtype="uint8")


@dataclass(frozen=True)
class MaskRule(Step):
    """Rule for the masks of an image, with the limits that all rules have.

    Parameters
    ----------
    iou : float, optional
        Least intersection over union with the object that the network expects (default: 0.88 for
        automatic prompts, none for masks that were asked for).
    stability : float, optional
        Least intersection over union of the mask cut one logit higher and one lower (default: 0.95
        for automatic prompts, else none).
    nms : float, optional
        Intersection over union of two boxes above which the worse mask is dropped (default: 0.7 for
        automatic prompts, else none).
    smallest : int
        Least pixels of a mask.
    largest : int, optional
        Most pixels of a mask (default: any).
    empty : {"refuse", "accept"}
        What happens where no mask is left, or an image has one grey value only.
    """

    iou: float | None = None
    stability: float | None = None
    nms: float | None = None
    smallest: int = 1
    largest: int | None = None
    empty: str = "refuse"

    def check(self, names: Sequence[str]) -> None:
        """Raise `ArgumentError` for a limit out of its range."""
        shares = (self.iou, self.stability, self.nms)
        if not all(one is None or 0 <= one <= 1 for one in shares):
            raise ArgumentError(f"{self}: iou, stability and nms lie from 0 to 1")
        if self.smallest < 1 or (self.largest is not None and self.largest < self.smallest):
            raise ArgumentError(f"{self}: smallest is 1 or more, and largest not below it")
        if self.empty not in ("refuse", "accept"):
            raise ArgumentError(f"{self}: empty is refuse or accept")

    def limits(self, explicit: bool) -> tuple[float, float, float]:
        """Limits of quality, stability and boxes."""
        given = (self.iou, self.stability, self.nms)
        usual = ASKED if explicit else USUAL
        iou, sure, nms = (u if g is None else g for g, u in zip(given, usual, strict=True))
        return iou, sure, nms

    def screened(
        self,
        logits: NDArray[np.float32],
        quality: float,
        crop: Crop,
        shape: tuple[int, int],
        limits: tuple[float, float, float],
        name: str,
    ) -> Mask | None:
        """The mask of a crop if it passes: sure enough, of a size, not cut by the crop.

        Its quality is the expected intersection over union, 1 at most, times the stability.
        """
        sure = stability(logits)
        bits = logits > 0
        area = np.count_nonzero(bits)
        passes = (
            quality >= limits[0]
            and sure >= limits[1]
            and self.smallest <= area <= (self.largest or math.inf)
            and not touches_edge(bits, crop, shape)
        )
        if not passes:
            return None
        return mask_of(bits, min(max(quality, 0.0), 1.0) * sure, crop, name)

    @abstractmethod
    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the labels, where prompts ask for these phases."""

    @property
    @abstractmethod
    def maps(self) -> tuple[Map, ...]:
        """Maps beside the labels."""

    def bytes_for(self, masks: int) -> int:
        """Memory that it needs for that many masks of an image, besides their bits and some images."""
        return 0

    @abstractmethod
    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Labels and maps (y, x) of an image from its masks."""
