"""Instances of an image from embeddings of its pixels: each pixel points to the middle of its object.

A pixel with a high seed value states where the middle is and how far pixels may point beside it.
Seeds are taken in descending order, of equal ones the first pixel. What points near enough to the
middle that a seed states is proposed as one object, and accepted if enough of it has no owner yet; it
then owns those pixels only. All lengths are in pixels of the volume.

References
----------
Neven, De Brabandere, Proesmans, Van Gool, CVPR (2019) 8829. DOI 10.1109/CVPR.2019.00904
"""

from __future__ import annotations

from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.uint32]

# Seeds and memberships of more than this count.
HALF = 0.5
# A proposal of which this share or less is free is a part of what was found before.
FREE = 0.5


def instances_of(seed: Floats, middle: Floats, spread: Floats, least: int) -> Ids:
    """Number the objects of an image, from 1 in the order in which they were found.

    Parameters
    ----------
    seed : (y, x) float32
        How well a pixel knows the middle of its object, 0 to 1.
    middle : (2, y, x) float32
        Row and column of the middle of its object, by each pixel.
    spread : (2, y, x) float32
        Weights of squared distances from the middle along y and x: a pixel that points d beside it is
        a member if exp(-sum(spread * d**2)) is above a half.
    least : int
        Least number of pixels of an object.

    Examples
    --------
    >>> seed = np.array([[0.9, 0.8, 0.1, 0.7]], np.float32)
    >>> middle = np.array([[[0, 0, 0, 0]], [[0.5, 0.5, 2, 3]]], np.float32)
    >>> instances_of(seed, middle, np.ones((2, 1, 4), np.float32), 1).tolist()
    [[1, 1, 0, 2]]
    """
    place = np.flatnonzero(seed.ravel() > HALF)
    score = seed.ravel()[place]
    y, x = (one.ravel()[place].astype(np.float64) for one in middle)
    weights = spread.reshape(2, -1)[:, place].astype(np.float64)
    along = np.argsort(x, kind="stable")  # members lie within a range of columns
    rank = np.empty(len(place), np.int64)
    rank[along] = np.arange(len(place))
    seeds = rank[np.lexsort((place, -score))]
    owner = _grow(y[along], x[along], weights[:, along], seeds, least)
    found = np.zeros(seed.size, np.uint32)
    found[place[along]] = owner
    return found.reshape(seed.shape)


@nb.njit(nogil=True, cache=True)
def _grow(y, x, weights, seeds, least):  # type: ignore[no-untyped-def]
    """Owner of each pixel; pixels are in the order of the columns that they point to."""
    owner, taken = np.zeros(x.size, np.uint32), np.zeros(x.size, np.bool_)
    members = np.empty(x.size, np.int64)
    reach, count = np.log(2.0), 0
    for seed in seeds:
        if taken[seed]:
            continue
        taken[seed] = True
        wy, wx = weights[0, seed], weights[1, seed]
        far = np.sqrt(reach / wx) if wx > 0 else np.inf
        low, high = (
            np.searchsorted(x, x[seed] - far),
            np.searchsorted(x, x[seed] + far, side="right"),
        )
        size = free = 0
        for one in range(low, high):
            dy, dx = y[one] - y[seed], x[one] - x[seed]
            if wy * dy * dy + wx * dx * dx < reach:
                members[size] = one
                size += 1
                free += not taken[one] or one == seed
        if free >= least and free > FREE * size:
            count += 1
            for one in members[:size]:
                if not taken[one] or one == seed:
                    owner[one] = count
        for one in members[:size]:
            taken[one] = True
    return owner


def mutual_information(mean: Floats, entropy: Floats) -> Floats:
    """Mutual information in nat: entropy of the mean probability less the mean entropy of passes.

    >>> mutual_information(np.array([0.5], np.float32), np.array([0], np.float32)).round(3).tolist()
    [0.6930000185966492]
    """
    return np.asarray(np.maximum(binary_entropy(mean) - entropy, 0), np.float32)


def binary_entropy(share: Floats) -> Floats:
    """Entropy of one of two outcomes, in nat; 0 where it is certain.

    >>> binary_entropy(np.array([0, 0.5], np.float32)).round(3).tolist()
    [0.0, 0.6930000185966492]
    """
    tiny = np.finfo(np.float32).tiny
    one, two = np.maximum(share, tiny), np.maximum(1 - share, tiny)
    # Subtracted from 0, as a certain outcome would have the entropy -0.
    return np.asarray(0 - (share * np.log(one) + (1 - share) * np.log(two)), np.float32)
