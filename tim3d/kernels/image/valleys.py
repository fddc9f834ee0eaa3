"""Whether thresholds of a histogram lie in valleys between modes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tim3d.kernels.image.threshold import otsu
from tim3d.lazy import ndimage

# Depth of a valley below the lower of the modes beside it, and width over which the histogram is smoothed before, over
# the standard deviation within the classes.
SHALLOW, SMOOTH = 0.05, 0.25


@dataclass(frozen=True)
class Slope:
    """A threshold that lies in no valley.

    Attributes
    ----------
    number : int
        Its place among the thresholds, from 0 on.
    threshold : float
        Grey value.
    moved : float
        Share of the voxels that one bin of the histogram more would move to the darker class.
    """

    number: int
    threshold: float
    moved: float

    def said(self, darker: str, brighter: str) -> str:
        """Return a sentence about the two classes that it parts.

        >>> Slope(0, 120.0, 0.013).said("pore", "solid")[:50]
        'the histogram has no valley between pore and solid'
        """
        return (
            f"the histogram has no valley between {darker} and {brighter}: raising the threshold {self.threshold:g} "
            f"by one bin moves {100 * self.moved:.2g} % of all voxels"
        )


def on_slopes(
    counts: npt.ArrayLike, centres: npt.ArrayLike, thresholds: Sequence[float]
) -> list[Slope]:
    """Thresholds between whose two classes a smoothed histogram has no valley.

    Parameters
    ----------
    counts, centres : 1-D arrays
        Non-negative counts, and ascending bin centres.
    thresholds : sequence of float
        Ascending; class k contains thresholds[k-1] < grey <= thresholds[k].

    Examples
    --------
    >>> grey = np.arange(256)
    >>> two = np.rint(1e6 * (np.exp(-((grey - 60) ** 2) / 450) + np.exp(-((grey - 180) ** 2) / 450)))
    >>> [slope.threshold for slope in on_slopes(two, grey, [120])], len(on_slopes(two, grey, [120, 178]))
    ([], 1)
    """
    n, grey = np.asarray(counts, np.float64), np.asarray(centres, np.float64)
    ends = [0, *np.searchsorted(grey, thresholds, side="right").tolist(), len(grey)]
    classes = [slice(a, b) for a, b in itertools.pairwise(ends)]
    smooth = ndimage.gaussian_filter1d(
        n, max(1.0, SMOOTH * _deviation(n, classes)), mode="constant"
    )
    modes = [part.start + int(np.argmax(smooth[part])) for part in classes]
    found = []
    for number, (low, high) in enumerate(itertools.pairwise(modes)):
        valley = float(smooth[low : high + 1].min())
        if valley > (1 - SHALLOW) * min(smooth[low], smooth[high]):
            found.append(
                Slope(number, float(thresholds[number]), float(smooth[ends[number + 1]] / n.sum()))
            )
    return found


def doubts_of_cuts(
    counts: npt.ArrayLike,
    centres: npt.ArrayLike,
    thresholds: Sequence[float],
    classes: Sequence[str],
) -> list[str]:
    """Sentences on the thresholds that lie in no valley; `classes` are named from dark to bright."""
    return [
        one.said(classes[one.number], classes[one.number + 1])
        for one in on_slopes(counts, centres, thresholds)
    ]


def has_two_modes(counts: npt.ArrayLike, centres: npt.ArrayLike) -> bool:
    """Return True if Otsu's threshold of a histogram lies in a valley; False too if there is one grey value.

    >>> has_two_modes([1, 9, 1, 1, 9, 1], range(6)), has_two_modes([0, 9, 0], range(3))
    (True, False)
    """
    if np.count_nonzero(np.asarray(counts)) < 2:
        return False
    return not on_slopes(counts, centres, [otsu(counts, centres)])


def _deviation(n: npt.NDArray[np.float64], classes: Sequence[slice]) -> float:
    """Standard deviation of the bins within their classes, in bins."""
    bins, squares = np.arange(len(n)), 0.0
    for part in classes:
        total = n[part].sum()
        if total:
            mean = (n[part] * bins[part]).sum() / total
            squares += float((n[part] * (bins[part] - mean) ** 2).sum())
    return math.sqrt(squares / n.sum())
