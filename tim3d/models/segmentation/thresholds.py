"""Segmenter by thresholds: a voxel's class is the number of thresholds that its grey exceeds."""

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
    """Segmenter that cuts grey values at ascending `levels`, after a blur.

    The method that found the levels is part of the description. `classes` are in the order of grey
    values, whichever phase is named first.
    """

    levels: tuple[float, ...]
    classes: tuple[str, ...]
    method: str = "fixed"
    blur: str = "none"
    polarity: str = "dark"
    kind: ClassVar[str] = "thresholds"

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """Reach of the blur, in voxels."""
        return BLURS[self.blur]

    def open(self) -> Callable[[Array, Box], Maps]:
        """Return `cut`: there is nothing to load."""
        return self.cut

    def cut(self, grey: Array, place: Box) -> Maps:
        """Classify slices; integers are compared with the first value of each class."""
        smooth, levels = blurred(grey, self.blur), list(self.levels)
        if grey.dtype.kind == "f":
            return {LABELS: classify(smooth, levels)}
        labels = np.zeros(smooth.shape, np.uint8)
        of_all = classify(np.arange(np.iinfo(grey.dtype).max + 1), levels)
        for first in np.searchsorted(of_all, np.arange(1, int(of_all[-1]) + 1)):
            labels += smooth >= int(first)
        return {LABELS: labels}

    def description(self) -> dict[str, Any]:
        """Kind, levels and the method that found them."""
        how = {"method": self.method, "blur": self.blur, "polarity": self.polarity}
        return {"kind": self.kind, **how, "thresholds": list(self.levels)}

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """Levels and method, without the kind, which older fields lack; phases state the codes."""
        return {name: value for name, value in self.description().items() if name != "kind"}

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: grey twice to decode, labels twice to encode, buffers of a slice."""
        return (
            int(np.prod(read)) * 2 * voxel_bytes + 3 * int(np.prod(core)) + 40 * read[1] * read[2]
        )
