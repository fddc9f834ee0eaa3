"""A segmenter by thresholds: the class of a voxel is how many of them its grey value exceeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.kernels.image.threshold import BLURS, blurred, classify
from tim3d.kernels.windows.lattice import Array
from tim3d.models.segmentation.segmenter import LABELS, Maps, Segmenter


@dataclass(frozen=True)
class Thresholds(Segmenter):
    """Grey values cut at ascending `levels`, after a blur; how they were found is part of the description.

    `classes` are in the order of the grey values, whichever of them is named first.
    """

    levels: tuple[float, ...]
    classes: tuple[str, ...]
    method: str = "fixed"
    blur: str = "none"
    polarity: str = "dark"
    kind: ClassVar[str] = "thresholds"

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """What the blur sees."""
        return BLURS[self.blur]

    def open(self) -> Callable[[Array, Box], Maps]:
        """Nothing to load."""
        return self.cut

    def cut(self, grey: Array, place: Box) -> Maps:
        """Classes of some slices; integers are looked up in a table of all of them."""
        smooth, levels = blurred(grey, self.blur), list(self.levels)
        if grey.dtype.kind == "f":
            return {LABELS: classify(smooth, levels)}
        return {LABELS: np.take(classify(np.arange(np.iinfo(grey.dtype).max + 1), levels), smooth)}

    def description(self) -> dict[str, Any]:
        """Kind, levels and how they were found."""
        how = {"method": self.method, "blur": self.blur, "polarity": self.polarity}
        return {"kind": self.kind, **how, "thresholds": list(self.levels)}

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """The levels and how they were found: phases say the rest, and fields made before kinds have none."""
        return {name: value for name, value in self.description().items() if name != "kind"}

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Grey (twice while it is decoded), labels (twice while they are encoded), and one slice in the making."""
        return (
            int(np.prod(read)) * 2 * voxel_bytes + 3 * int(np.prod(core)) + 40 * read[1] * read[2]
        )
