"""Prompts on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import Crop, crops, grid_points
from tim3d.models.promptable.prompting.base import Grey8, Prompting, within
from tim3d.models.promptable.prompts import Prompt, point


@dataclass(frozen=True)
class Grid(Prompting):
    """A grid of points in the whole image, and in crops of it.

    Parameters
    ----------
    side : int
        Points along each side of the image.
    layers : int
        Layers of crops that are looked at besides; layer i has 4^i.
    scale : int
        A crop of layer i has side / scale^i points along each side.
    """

    side: int = 32
    layers: int = 0
    scale: int = 1
    kind: ClassVar[str] = "grid"

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Refuse numbers without a point."""
        if self.side < 1 or self.scale < 1 or not 0 <= self.layers <= 4:
            raise ArgumentError(
                f"{self}: side and scale are 1 or more, and layers 0 to 4; for example grid:side=32,layers=1,scale=2"
            )
        return self

    def crops(self, shape: tuple[int, int]) -> list[Crop]:
        """The whole image, and the layers."""
        return crops(shape, self.layers)

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """None: a grid does not depend on the image."""
        return []

    def prompts(self, grey: Grey8, crop: Crop, marks: Sequence[Prompt]) -> list[Prompt]:
        """Points of the grid of the crop, then marks in it."""
        grid = grid_points(crop.shape, self._side(crop))
        return [*(point(x, y) for x, y in grid), *within(marks, crop)]

    def most(self, crop: Crop) -> int:
        """Points of the grid of the crop."""
        return self._side(crop) ** 2

    def _side(self, crop: Crop) -> int:
        return max(1, int(self.side // self.scale**crop.layer))
