"""Rules for masks as values: they become objects, grains or materials. No torch here."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.containment import Containment, removed
from tim3d.kernels.masks.mask_set import Mask, mask_of, stability, touches_edge
from tim3d.kernels.masks.painting import Painted, grain_boundaries, painted
from tim3d.kernels.masks.structure_points import Crop
from tim3d.kernels.masks.textures import Chipping, materials, texture_maps
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps
from tim3d.steps import Step

# Limits where masks come from automatic prompts, and where each was asked for.
USUAL, ASKED = (0.88, 0.95, 0.7), (0.0, 0.0, 1.0)
COVER = Map("cover", "number of masks that hold a voxel", dtype="uint8")
QUALITY = Map("quality", "predicted IoU times stability of the mask of a voxel", dtype="float32")
OBJECTS = Map("objects", "number of the object", dtype="uint32", joined="objects")
GRAINS = Map("grains", "number of the grain", dtype="uint32", joined="objects")
MOST_CLUSTERS = 32


@dataclass(frozen=True)
class MaskRule(Step):
    """Rule for the masks of an image, with the limits that all rules have.

    Parameters
    ----------
    iou : float, optional
        Least intersection over union with the object that the network expects (default: 0.88 for
        automatic prompts, none for masks that were asked for).
    stability : float, optional
        Least intersection over union of the mask cut one logit higher and one lower (default: 0.95,
        none).
    nms : float, optional
        Intersection over union of two boxes above which the worse mask is dropped (default: 0.7,
        none).
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

    @abstractmethod
    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Labels and maps (y, x) of an image from its masks."""


@dataclass(frozen=True)
class AsObjects(MaskRule):
    """Each mask is an object: one label map without overlaps, and numbers.

    A pixel of several masks belongs to the one of the highest quality. A mask of a prompt with a
    phase is of that phase, others are called object.

    Parameters
    ----------
    iou, stability, nms, smallest, largest, empty
        As of `MaskRule`.
    """

    iou: float | None = None
    stability: float | None = None
    nms: float | None = None
    smallest: int = 1
    largest: int | None = None
    empty: str = "refuse"
    kind: ClassVar[str] = "objects"

    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Background, and the phases that are asked for."""
        return ("background", *(names or ("object",)))

    @property
    def maps(self) -> tuple[Map, ...]:
        """Numbers of objects, quality, and how many masks hold a voxel."""
        return OBJECTS, QUALITY, COVER

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Paint by rising quality."""
        found = painted(masks, grey.shape)
        classes = self.classes(names)
        numbers = [classes.index(one.name) if one.name in classes else 1 for one in masks]
        return {**_painted_maps(found, masks), LABELS: _by_owner(found, numbers, np.uint8)}


def _by_owner(found: Painted, values: Sequence[float], dtype: type) -> NDArray[np.generic]:
    """Value of the mask of each pixel, 0 where there is none."""
    table = np.concatenate([np.asarray(values, dtype).reshape(-1), np.zeros(1, dtype)])
    return np.asarray(table[found.owner])


def _painted_maps(found: Painted, masks: Sequence[Mask]) -> Maps:
    quality = _by_owner(found, [one.quality for one in masks], np.float32)
    return {
        OBJECTS.name: (found.owner + 1).astype(np.uint32),
        QUALITY.name: quality,
        COVER.name: found.cover,
    }


@dataclass(frozen=True)
class AsGrains(MaskRule):
    """Lines between grains from the outlines of masks, and numbers of the grains (MatSAM).

    Parameters
    ----------
    iou, stability, nms, smallest, largest, empty
        As of `MaskRule`.
    edge : int
        Pixels below which a piece of the outline of a mask is dropped.
    line : int
        Pixels below which a piece of a line is dropped.
    """

    iou: float | None = None
    stability: float | None = None
    nms: float | None = None
    smallest: int = 1
    largest: int | None = None
    empty: str = "refuse"
    edge: int = 50
    line: int = 200
    kind: ClassVar[str] = "grains"

    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Grain and boundary."""
        return ("grain", "boundary")

    @property
    def maps(self) -> tuple[Map, ...]:
        """Numbers of grains, and how many masks hold a voxel."""
        return GRAINS, COVER

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Grains are the pieces (4 neighbours) between the lines."""
        lines = grain_boundaries(masks, grey.shape, self.edge, self.line)
        grains, _ = ndimage.label(~lines)
        cover = painted(masks, grey.shape).cover
        return {
            LABELS: lines.astype(np.uint8),
            GRAINS.name: grains.astype(np.uint32),
            COVER.name: cover,
        }


@dataclass(frozen=True)
class AsMaterials(MaskRule):
    """Masks become materials by their texture, from dark to bright (SAM-I-Am).

    Parameters
    ----------
    iou, stability, nms, smallest, largest, empty
        As of `MaskRule`.
    materials : int, optional
        How many there are (default: the number of the clearest clusters, 2 to `most`).
    most : int
        Most materials that are looked for where their number is not given.
    inside : float
        Share of a mask above which it lies in another one; two that lie in each other are copies,
        of which the larger is kept.
    tiny : float
        Share of its parent below which a mask in it is dropped.
    compound : float
        Share above which a mask is dropped that the masks in it cover together.
    chip : int
        Pixels of the edge of the squares whose texture is compared.
    chips : int
        Squares of a mask at most, drawn at random.
    seed : int
        Seed of all that is random.
    """

    iou: float | None = None
    stability: float | None = None
    nms: float | None = None
    smallest: int = 1
    largest: int | None = None
    empty: str = "refuse"
    materials: int | None = None
    most: int = 6
    inside: float = 0.9
    tiny: float = 0.05
    compound: float = 0.7
    chip: int = 60
    chips: int = 10
    seed: int = 0
    kind: ClassVar[str] = "materials"

    def check(self, names: Sequence[str]) -> None:
        """Refuse numbers out of their range."""
        super().check(names)
        if names:
            raise ArgumentError(
                f"{self}: prompts that name phases give these, not materials: --masks objects"
            )
        shares = (self.inside, self.tiny, self.compound)
        if not 1 <= self._count <= MOST_CLUSTERS or not all(0 < one <= 1 for one in shares):
            raise ArgumentError(
                f"{self}: 1 to {MOST_CLUSTERS} materials; inside, tiny and compound from 0 to 1"
            )
        if self.chip < 2 or self.chips < 1:
            raise ArgumentError(f"{self}: a chip has 2 pixels or more, and a mask 1 chip or more")

    @property
    def _count(self) -> int:
        return self.most if self.materials is None else self.materials

    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Gaps between masks, and the materials from dark to bright."""
        return ("gap", *(f"material{n + 1}" for n in range(self._count)))

    @property
    def maps(self) -> tuple[Map, ...]:
        """Numbers of the masks that are left, quality, and how many masks hold a voxel."""
        return OBJECTS, QUALITY, COVER

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Remove, cluster, and paint by rising quality."""
        shape = grey.shape
        limits = Containment(self.inside, self.tiny, self.compound)
        left = removed(masks, shape, limits).masks
        found = painted(left, shape)
        clusters: Sequence[int] = []
        if left:
            how = Chipping(self.chip, most=self.chips, seed=self.seed)
            made = materials(left, texture_maps(grey), self.materials, self.most, how)
            clusters = (made.cluster + 1).tolist()
        return {**_painted_maps(found, left), LABELS: _by_owner(found, clusters, np.uint8)}
