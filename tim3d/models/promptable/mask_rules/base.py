"""Interface of the rules for masks, and the limits that all of them have."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.mask_set import Mask, mask_of, stability, touches_edge
from tim3d.kernels.masks.structure_points import Crop
from tim3d.models.segmentation.segmenter import Map, Maps
from tim3d.steps import Step

# Limits where masks come from automatic prompts, and where each was asked for.
USUAL, ASKED = (0.88, 0.95, 0.7), (0.0, 0.0, 1.0)
# Values of the limits that are tried on labelled images.
LIMITS: Mapping[str, tuple[Any, ...]] = {
    "iou": (0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.88, 0.9, 0.92, 0.94, 0.96),
    "stability": (0.5, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97),
    "nms": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "smallest": (1, 10, 30, 100, 300, 1000),
    "largest": (None, 1000, 3000, 10_000, 25_000, 50_000, 100_000),
}
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

    Attributes
    ----------
    searched : mapping of str to tuple
        Parameters that decide which masks are left, and the values that `tim3d tune-masks` tries.
    """

    iou: float | None = None
    stability: float | None = None
    nms: float | None = None
    smallest: int = 1
    largest: int | None = None
    empty: str = "refuse"
    searched: ClassVar[Mapping[str, tuple[Any, ...]]] = LIMITS

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

    def stated(self, explicit: bool) -> MaskRule:
        """The same rule with the limits that it has by default."""
        iou, sure, nms = self.limits(explicit)
        return replace(self, iou=iou, stability=sure, nms=nms)

    def allows(
        self, iou: float, sure: float, area: int, limits: tuple[float, float, float]
    ) -> bool:
        """Whether a mask is sure enough, and of a size."""
        small = self.smallest <= area <= (self.largest or math.inf)
        return iou >= limits[0] and sure >= limits[1] and small

    def left(self, masks: Sequence[Mask]) -> list[Mask]:
        """Masks that a looser rule let pass and this one does too; all of its limits are given."""
        limits = self.limits(explicit=True)
        return [one for one in masks if self.allows(one.iou, one.stability, one.area, limits)]

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
        area = int(np.count_nonzero(bits))
        if not self.allows(quality, sure, area, limits) or touches_edge(bits, crop, shape):
            return None
        made = mask_of(bits, min(max(quality, 0.0), 1.0) * sure, crop, name)
        return replace(made, iou=quality, stability=sure)

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
    def numbers(self, masks: Sequence[Mask], shape: tuple[int, int]) -> NDArray[np.uint32]:
        """Numbers of the objects of an image (y, x) from its masks; 0 is none."""

    @abstractmethod
    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Labels and maps (y, x) of an image from its masks."""
