"""Prompts at what stands out in an image.

References
----------
MatSAM (2024). DOI 10.48550/arXiv.2401.05638
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import Crop, centres, edge_regions, threshold_regions
from tim3d.models.promptable.prompting.base import MOST_MARKS, Grey8, Prompting
from tim3d.models.promptable.prompting.grid import Grid
from tim3d.models.promptable.prompts import Prompt, point


@dataclass(frozen=True)
class Structure(Grid):
    """Centres of what stands out in the image, after a grid (MatSAM).

    A centre is a prompt of each crop in which it lies.

    Parameters
    ----------
    regions : {"edges", "threshold"}
        What stands out: pieces of edges by Canny, or what is brighter than Otsu's threshold; in
        both the holes too.
    low, high : float
        Thresholds of the gradient of edges, in grey values from 0 to 255.
    smallest : int
        Pixels below which a piece of edge is dropped.
    width : int
        Edge of the square in pixels by which edges are widened.
    """

    regions: str = "edges"
    low: float = 80.0
    high: float = 130.0
    smallest: int = 15
    width: int = 5
    kind: ClassVar[str] = "structure"

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Refuse regions that are not known."""
        if self.regions not in ("edges", "threshold"):
            raise ArgumentError(f"{self}: regions are edges or threshold")
        if not 0 <= self.low <= self.high:
            raise ArgumentError(f"{self}: low is 0 or more, and high not below it")
        if min(self.smallest, self.width) < 1:
            raise ArgumentError(f"{self}: smallest and width are 1 pixel or more")
        return super().ready(sample, shape)

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Centres of the outlines."""
        if self.regions == "edges":
            found = centres(edge_regions(grey, self.low, self.high, self.smallest, self.width))
        else:
            found = centres(threshold_regions(grey))
        if len(found) > MOST_MARKS:
            raise InputError(
                f"slice {place.start[0]} has {len(found)} outlines, which is noise: {MOST_MARKS} at most. Denoise it "
                "first, or take regions=threshold or higher low and high"
            )
        return [point(x, y) for x, y in found]

    def most(self, crop: Crop) -> int:
        """Points of the grid of the crop, and all centres."""
        return super().most(crop) + MOST_MARKS
