"""Grey values of one image set moved to the histogram of another, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.int64]
Greys: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class HistogramMatch:
    """Map of grey values that gives one histogram the shape of another.

    A voxel of grey g stands at a place among all voxels in the order of their grey values: at
    C(g - 1) + u c(g), of c(g) voxels of that grey and C(g - 1) darker ones. It is given the grey value
    that stands at the same share of the target. With u uniform between 0 and 1 the voxels of one grey
    are dealt to several, so that the histograms agree in the mean, gaps and all; no order of two
    different grey values is ever turned round.

    Parameters
    ----------
    source, target : (levels,) int64
        Voxels of each grey value.

    References
    ----------
    Ties that are broken to match exactly: Coltuc, Bolon, Chassery, IEEE Trans. Image Process. 15
    (2006) 1143. DOI 10.1109/TIP.2005.864170. Here at random, which keeps blocks apart.

    Examples
    --------
    >>> match = HistogramMatch(np.array([2, 2, 0]), np.array([1, 0, 3]))
    >>> match(np.array([0, 0, 1]), np.array([0.1, 0.9, 0.5])).tolist()
    [0, 2, 2]
    """

    source: Counts
    target: Counts

    def __call__(self, grey: Greys, uniform: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
        """Return the grey values of voxels; `uniform` has a number from 0 to 1 for each."""
        darker = np.concatenate([[0], np.cumsum(self.source)])
        share = float(self.target.sum()) / float(darker[-1])
        place = (darker[grey] + uniform * self.source[grey].astype(np.float64)) * share
        upto = np.cumsum(self.target).astype(np.float64)
        last = int(np.flatnonzero(self.target)[-1])
        found: npt.NDArray[np.intp] = np.minimum(np.searchsorted(upto, place, side="right"), last)
        return found
