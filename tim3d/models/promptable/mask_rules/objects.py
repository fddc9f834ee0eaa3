"""Masks as objects without overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.masks.mask_set import Mask
from tim3d.kernels.masks.painting import Painted, painted
from tim3d.models.promptable.mask_rules.base import COVER, MaskRule
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps

OBJECTS = Map("objects", "number of the object", dtype="uint32", joined="objects")
QUALITY = Map("quality", "predicted IoU times stability of the mask of a voxel", dtype="float32")


@dataclass(frozen=True)
class AsObjects(MaskRule):
    """Each mask is an object: one label map without overlaps, and numbers.

    A pixel of several masks belongs to the one of the highest quality. A mask of a prompt with a
    phase is of that phase, others are called object.
    """

    kind: ClassVar[str] = "objects"

    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Background, and the phases that are asked for."""
        return ("background", *(names or ("object",)))

    @property
    def maps(self) -> tuple[Map, ...]:
        """Numbers of objects, quality, and how many masks hold a voxel."""
        return OBJECTS, QUALITY, COVER

    def numbers(self, masks: Sequence[Mask], shape: tuple[int, int]) -> NDArray[np.uint32]:
        """Each mask is an object."""
        return owners(painted(masks, shape))

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Paint by rising quality."""
        found = painted(masks, grey.shape)
        classes = self.classes(names)
        numbers = [classes.index(one.name) if one.name in classes else 1 for one in masks]
        return {**painted_maps(found, masks), LABELS: by_owner(found, numbers, np.uint8)}


def owners(found: Painted) -> NDArray[np.uint32]:
    """Number of the mask of each pixel from 1, 0 where there is none."""
    return np.asarray(found.owner + 1, np.uint32)


def by_owner(found: Painted, values: Sequence[float], dtype: type) -> NDArray[np.generic]:
    """Value of the mask of each pixel, 0 where there is none."""
    table = np.concatenate([np.asarray(values, dtype).reshape(-1), np.zeros(1, dtype)])
    return np.asarray(table[found.owner])


def painted_maps(found: Painted, masks: Sequence[Mask]) -> Maps:
    """Numbers of the masks, quality and cover."""
    quality = by_owner(found, [one.quality for one in masks], np.float32)
    return {
        OBJECTS.name: owners(found),
        QUALITY.name: quality,
        COVER.name: found.cover,
    }
