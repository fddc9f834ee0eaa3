"""Slices in tiles: a function with a halo needs working memory for one tile at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from tim3d.grid import Triple
from tim3d.kernels.image.phase_model import Grey

EDGE = 512


def by_tiles(function: Callable[[Grey], Grey], grey: Grey, halo: Triple, edge: int = EDGE) -> Grey:
    """Values of a function for slices, tile by tile along y and x; all slices at once.

    Parameters
    ----------
    function : callable
        Values of a box, in the type of the grey values. Those within the halo of a border that is
        not the border of the slices need not be right.
    grey : array (z, y, x)
        Grey values.
    halo : (z, y, x)
        Voxels around a tile that its values depend on.
    edge : int
        Edge of a tile.

    Examples
    --------
    >>> from tim3d.kernels.image.denoise import median
    >>> grey = np.arange(60, dtype=np.float32).reshape(1, 6, 10)
    >>> found = by_tiles(lambda box: median(box, (0, 1, 1)), grey, (0, 1, 1), edge=4)
    >>> bool((found == median(grey, (0, 1, 1))).all())
    True
    """
    out = np.empty(grey.shape, grey.dtype)
    _, rows, columns = grey.shape
    for y, x in product(range(0, rows, edge), range(0, columns, edge)):
        top, left = max(0, y - halo[1]), max(0, x - halo[2])
        box = grey[:, top : y + edge + halo[1], left : x + edge + halo[2]]
        values = function(box)
        inner = values[:, y - top : y - top + edge, x - left : x - left + edge]
        out[:, y : y + edge, x : x + edge] = inner
    return out


def tile_voxels(shape: Triple, halo: Triple, edge: int = EDGE) -> int:
    """Voxels of the largest box that a tile is computed from.

    >>> tile_voxels((4, 100, 5000), (0, 8, 8))
    211200
    """
    rows, columns = (min(n, edge + 2 * h) for n, h in zip(shape[1:], halo[1:], strict=True))
    return shape[0] * rows * columns
