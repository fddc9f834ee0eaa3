"""Masks as materials.

References
----------
SAM-I-Am (2024). DOI 10.48550/arXiv.2404.06638
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.masks.containment import Containment, removed
from tim3d.kernels.masks.mask_set import Mask
from tim3d.kernels.masks.painting import painted
from tim3d.kernels.masks.textures import Chipping, materials, texture_maps
from tim3d.models.promptable.mask_rules.base import COVER, LIMITS, MaskRule
from tim3d.models.promptable.mask_rules.objects import (
    OBJECTS,
    QUALITY,
    by_owner,
    owners,
    painted_maps,
)
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps

MOST_CLUSTERS = 32
# Masks of an image that are compared with each other, at most, and the bytes of a pair of them.
MOST_MASKS, PAIR_BYTES = 4096, 32


@dataclass(frozen=True)
class AsMaterials(MaskRule):
    """Masks become materials by their texture, from dark to bright (SAM-I-Am).

    Parameters
    ----------
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

    materials: int | None = None
    most: int = 6
    inside: float = 0.9
    tiny: float = 0.05
    compound: float = 0.7
    chip: int = 60
    chips: int = 10
    seed: int = 0
    kind: ClassVar[str] = "materials"
    searched: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **LIMITS,
        "inside": (0.8, 0.85, 0.9, 0.95),
        "tiny": (0.01, 0.02, 0.05, 0.1),
        "compound": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    }

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
        if not 0 <= self.seed < 2**32:
            raise ArgumentError(f"{self}: seed is from 0 to 2^32 - 1")

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

    def bytes_for(self, masks: int) -> int:
        """Bytes of the matrices in which each two masks are compared."""
        return PAIR_BYTES * min(masks, MOST_MASKS) ** 2

    def numbers(self, masks: Sequence[Mask], shape: tuple[int, int]) -> NDArray[np.uint32]:
        """Each mask that is not removed is an object."""
        return owners(painted(self._without_removed(masks, shape), shape))

    def _without_removed(self, masks: Sequence[Mask], shape: tuple[int, int]) -> list[Mask]:
        """Masks without copies, tiny parts and compounds.

        Raises
        ------
        InputError
            If there are too many masks to be compared with each other.
        """
        if len(masks) > MOST_MASKS:
            raise InputError(
                f"{len(masks)} masks are too many to become materials: {MOST_MASKS} at most. Raise the limits iou or "
                "stability, or lower nms"
            )
        return removed(masks, shape, Containment(self.inside, self.tiny, self.compound)).masks

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Remove, cluster, and paint by rising quality."""
        left = self._without_removed(masks, grey.shape)
        found = painted(left, grey.shape)
        clusters: Sequence[int] = []
        if left:
            how = Chipping(self.chip, most=self.chips, seed=self.seed)
            made = materials(left, texture_maps(grey), self.materials, self.most, how)
            clusters = (made.cluster + 1).tolist()
        return {**painted_maps(found, left), LABELS: by_owner(found, clusters, np.uint8)}
