"""Segmenter by a local threshold: a pixel is cut at the mean grey around it, less an offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.image.threshold import BLURS, beyond_local_mean, blurred, is_dark
from tim3d.kernels.windows.lattice import Array
from tim3d.models.segmentation.segmenter import LABELS, Maps, Segmenter

# Edge of the square in pixels, and offset in grey levels of 8 bits, with which MatSAM's table is reproduced.
EDGE, OFFSET = 21, 5
METHOD = "adaptive"


@dataclass(frozen=True)
class LocalThreshold(Segmenter):
    """Pixels that are darker, or brighter, than the mean of a square around them by an offset.

    A pixel has the first class if grey <= round(mean) - offset (polarity dark) or grey >= round(mean)
    + offset (bright). The mean is that of a square in the slice, beyond whose border the last pixel
    is repeated. All numbers are whole, so that no block shows.

    Parameters
    ----------
    classes : tuple of str
        Names of the two classes: of the pixels that stand out, and of the others.
    edge : int
        Edge of the square in pixels, odd.
    offset : int
        Offset in grey levels of 8 bits; of 16 bits 257 times as much.
    blur : {"none", "binomial"}
        Blur of every slice before.
    polarity : {"dark", "bright"}
        Whether the first class is darker or brighter than what surrounds it.

    Examples
    --------
    >>> grey = np.full((1, 9, 9), 100, np.uint8)
    >>> grey[0, 4, 4] = 20
    >>> cut = LocalThreshold(("pore", "solid"), edge=5).open()
    >>> cut(grey, Box((0, 0, 0), (1, 9, 9)))["labels"][0, 4, 3:6].tolist()
    [1, 0, 1]
    """

    classes: tuple[str, ...]
    edge: int = EDGE
    offset: int = OFFSET
    blur: str = "none"
    polarity: str = "dark"
    kind: ClassVar[str] = "local-threshold"
    working_bytes = 72.0

    def __post_init__(self) -> None:
        if len(self.classes) != 2 or self.edge < 3 or self.edge % 2 == 0 or self.offset < 0:
            raise ArgumentError(
                f"a local threshold has 2 classes, an odd edge of 3 pixels or more and an offset of 0 or more, not "
                f"{self.classes}, {self.edge} and {self.offset}"
            )
        if self.blur not in BLURS:
            raise ArgumentError(f"no blur {self.blur!r}; use {' or '.join(BLURS)}")
        is_dark(self.polarity)

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """Reach of the square and of the blur, in voxels."""
        _, y, x = BLURS[self.blur]
        return (0, y + self.edge // 2, x + self.edge // 2)

    def open(self) -> Callable[[Array, Box], Maps]:
        """Return `cut`: there is nothing to load."""
        return self.cut

    def cut(self, grey: Array, place: Box) -> Maps:
        """Classify slices of uint8 or uint16."""
        if grey.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"a local threshold cuts uint8 and uint16, and these grey values are {grey.dtype}: convert them"
            )
        levels = self.offset * (257 if grey.dtype == np.uint16 else 1)
        smooth, dark = blurred(grey, self.blur), is_dark(self.polarity)
        stands_out = [beyond_local_mean(plane, self.edge, levels, dark=dark) for plane in smooth]
        return {LABELS: np.where(np.stack(stands_out), np.uint8(0), np.uint8(1))}

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """Method, as of other thresholds, with its square and offset."""
        return {
            "method": METHOD, "edge": self.edge, "offset": self.offset, "blur": self.blur, "polarity": self.polarity,
        }  # fmt: skip
