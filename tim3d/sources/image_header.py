"""Header of an image file, and the turn that its pixels need."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.base import Voxels
from tim3d.sources.metadata import Calibration

SAME_MEANING = (
    "grey values of a volume need one meaning. Invert those that differ, for example in ImageJ: Edit > Invert LUT, "
    "Edit > Invert"
)
PALETTE = (
    "pixels are numbers of the colours of a palette and are taken as such: right for labels; for grey values save the "
    "images as grey first"
)
LOSSY = (
    "JPEG is lossy: edges are blurred and ringed, in squares of 8 x 8 pixels, and phase fractions and surfaces with "
    "them; ask for the original files"
)
UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows that are cut off at the bottom, and the orientation (1 to 8 of TIFF and Exif) to undo.

    >>> Turn(bar=1, orientation=6).apply(np.array([[1, 2], [3, 4], [9, 9]])).tolist()
    [[3, 1], [4, 2]]
    """

    bar: int = 0
    orientation: int = UPRIGHT

    @property
    def swaps(self) -> bool:
        """Whether rows become columns."""
        return self.orientation > 4

    def apply(self, stored: Voxels) -> Voxels:
        """The image as it is meant, of pixels (y, x) or (y, x, 3) as they are stored."""
        kept = stored[: stored.shape[0] - self.bar]
        if self.swaps:
            kept = kept.swapaxes(0, 1)
        if self.orientation in (3, 4, 7, 8):
            kept = kept[::-1]
        return kept[:, ::-1] if self.orientation in (2, 3, 6, 7) else kept

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the image as it is meant."""
        kept = rows - self.bar
        return (columns, kept) if self.swaps else (kept, columns)


@dataclass(frozen=True, slots=True)
class Header:
    """Header of an image file: pages, their shape (y, x) and stored dtype, labels, calibration.

    `shape` is that of the image as it is meant, after `turn`. `offset` is the byte at which the
    pixels of all pages start, if they are one uncompressed run of `disk_dtype`, otherwise None;
    `indices` are the positions in the file, or in the run, of the pages that are slices,
    `first_page` is the position in the file of the first, and
    `level` is the number of a smaller copy of each; with a `palette`, pixels are indices of
    colours; `piece_bytes` is the memory of a decoded strip or tile; with `white_is_zero`, the
    lowest grey value is white; `missing` is the value that stands for missing data.
    """

    pages: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    labels: tuple[str, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    offset: int | None = None
    disk_dtype: str = ""
    indices: tuple[int, ...] = (0,)
    first_page: int = 0
    level: int = 0
    turn: Turn = field(default_factory=Turn)
    positions_nm: tuple[float, ...] | None = None
    palette: bool = False
    piece_bytes: int = 0
    white_is_zero: bool = False
    remarks: tuple[str, ...] = ()
    missing: float | None = None

    @property
    def stored(self) -> tuple[int, int]:
        """Rows and columns in the file."""
        rows, columns = self.shape[::-1] if self.turn.swaps else self.shape
        return (rows + self.turn.bar, columns)


def colour_error(path: Path, seen: str) -> InputError:
    """Return the error for an image with more than one channel."""
    return InputError(
        f"{path} has {seen}; expected one grey channel. Write grey copies into another folder: cd {path.parent}; "
        'mkdir grey; python -c "import sys; from PIL import Image; '
        f"[Image.open(f).convert('L').save('grey/' + f + '.png') for f in sys.argv[1:]]\" *{path.suffix}"
    )
