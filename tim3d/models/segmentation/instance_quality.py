"""Agreement of the instances of several images with true ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.statistics.object_agreement import Overlaps, panoptic_quality

Numbers = NDArray[np.integer]


def pooled_quality(pairs: Iterable[tuple[Numbers, Numbers]]) -> float:
    """Panoptic quality of the instances of several images together.

    Parameters
    ----------
    pairs : iterable of (true, found)
        Numbers (y, x) of each image, 0 for none; below 0 in the true ones where nothing is known.

    Examples
    --------
    >>> one = np.array([[1, 1, 0, 2]])
    >>> pooled_quality([(one, one)]), pooled_quality([(one, one), (one, 0 * one)])
    (1.0, 0.6666666666666666)
    """
    tables, true_before, found_before = [], 0, 0
    for true, found in pairs:
        seen = np.where(true >= 0, found, 0)
        shifted = (
            np.where(one > 0, one + before, 0)[None].astype(np.uint32)
            for one, before in ((true, true_before), (seen, found_before))
        )
        tables.append(overlaps(*shifted))
        true_before, found_before = true_before + int(true.max()), found_before + int(seen.max())
    return panoptic_quality(Overlaps.of(np.concatenate(tables)))["panoptic_quality"]
