"""Masks as grains.

References
----------
MatSAM (2024). DOI 10.48550/arXiv.2401.05638
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.mask_set import Mask
from tim3d.kernels.masks.painting import grain_boundaries, painted
from tim3d.lazy import ndimage
from tim3d.models.promptable.mask_rules.base import COVER, LIMITS, MaskRule
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps

GRAINS = Map("grains", "number of the grain", dtype="uint32", joined="objects")


@dataclass(frozen=True)
class AsGrains(MaskRule):
    """Lines between grains from the outlines of masks, and numbers of the grains (MatSAM).

    Parameters
    ----------
    edge : int
        Pixels below which a piece of the outline of a mask is dropped.
    line : int
        Pixels below which a piece of a line is dropped.
    """

    edge: int = 50
    line: int = 200
    kind: ClassVar[str] = "grains"
    searched: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **LIMITS,
        "edge": (0, 20, 50, 100),
        "line": (0, 50, 100, 200, 400),
    }

    def check(self, names: Sequence[str]) -> None:
        """Raise `ArgumentError` if a limit is out of range."""
        super().check(names)
        if min(self.edge, self.line) < 0:
            raise ArgumentError(f"{self}: edge and line are 0 pixels or more")

    def classes(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Grain and boundary."""
        return ("grain", "boundary")

    @property
    def maps(self) -> tuple[Map, ...]:
        """Numbers of grains, and how many masks hold a voxel."""
        return GRAINS, COVER

    def numbers(self, masks: Sequence[Mask], shape: tuple[int, int]) -> NDArray[np.uint32]:
        """Grains are the pieces (4 neighbours) between the lines."""
        return _pieces(grain_boundaries(masks, shape, self.edge, self.line))

    def result(
        self, masks: Sequence[Mask], grey: NDArray[np.float32], names: tuple[str, ...]
    ) -> Maps:
        """Lines, the grains between them, and how many masks hold a pixel."""
        lines = grain_boundaries(masks, grey.shape, self.edge, self.line)
        cover = painted(masks, grey.shape).cover
        return {LABELS: lines.astype(np.uint8), GRAINS.name: _pieces(lines), COVER.name: cover}


def _pieces(lines: NDArray[np.bool_]) -> NDArray[np.uint32]:
    return np.asarray(ndimage.label(~lines)[0], np.uint32)
