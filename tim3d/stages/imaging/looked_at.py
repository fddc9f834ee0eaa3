"""Parts of a stack from which models and spectra are estimated."""

from __future__ import annotations

import numpy as np

from tim3d.grid import Box, triple
from tim3d.storage.schema import Field

# Places along z that are looked at, slices at each, and the largest edge of their middle part.
PLACES, SLICES, EDGE = 4, 16, 768


def boxes(grey: Field) -> list[Box]:
    """Parts of a stack that are looked at: consecutive slices at places along z, the middle of each.

    >>> grey = Field("raw", (100, 64, 900), "uint8", (1.0,) * 3, (16,) * 3, (16,) * 3)
    >>> [(box.start, box.stop) for box in boxes(grey)][:2]
    [((0, 0, 66), (16, 64, 834)), ((28, 0, 66), (44, 64, 834))]
    """
    depth = grey.shape[0]
    count = min(PLACES, max(1, depth // SLICES))
    length = min(depth, SLICES)
    starts = np.linspace(0, depth - length, count).astype(int).tolist()
    sides = [
        (max(0, (n - EDGE) // 2), min(n, (n - EDGE) // 2 + EDGE) if n > EDGE else n)
        for n in grey.shape[1:]
    ]
    (y0, y1), (x0, x1) = sides
    return [Box(triple((z, y0, x0)), triple((z + length, y1, x1))) for z in starts]
