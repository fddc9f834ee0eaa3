"""Materials of masks: vectors of texture, clusters of them, and a vote of the pieces of each mask.

References
----------
SAM-I-Am (2024). DOI 10.48550/arXiv.2404.06638
Arthur, Vassilvitskii, Proc. SODA (2007) 1027 (first centres of k-means)
Rousseeuw, J. Comput. Appl. Math. 20 (1987) 53 (silhouettes). DOI 10.1016/0377-0427(87)90125-7
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from tim3d.kernels.masks.mask_set import Mask
from tim3d.lazy import ndimage, spatial

Maps = NDArray[np.float32]
Vectors = NDArray[np.float64]
# Scales in pixels of the maps of texture.
SCALES = (1.0, 2.0, 4.0)
# Chips by which the number of clusters is chosen, at most.
MOST = 2000
RESTARTS = 4


@dataclass(frozen=True)
class Chipping:
    """How an image is cut into chips.

    Parameters
    ----------
    edge : int
        Pixels of the edge of a chip, on a grid that begins at the first pixel of the image.
    share : float
        Share of a chip that lies in a mask to which it belongs.
    most : int
        Chips of a mask, at most: drawn at random.
    seed : int
        Seed of all that is random.
    """

    edge: int = 60
    share: float = 0.9
    most: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Materials:
    """Clusters of masks.

    Parameters
    ----------
    cluster : array (masks,) of int
        Cluster of each mask, from 0 in the order of the mean of the first map.
    clusters : int
        How many there are.
    without_chip : int
        Masks that hold no whole chip and were judged by their own pixels.
    """

    cluster: NDArray[np.int64]
    clusters: int
    without_chip: int


def texture_maps(grey: NDArray[np.float32]) -> Maps:
    """Maps (map, y, x) of an image: grey, and its gradient and spread at some scales.

    The first map is the grey value.
    """
    maps = [grey]
    for scale in SCALES:
        smooth = ndimage.gaussian_filter(grey, scale)
        square = ndimage.gaussian_filter(grey * grey, scale)
        maps.append(scale * ndimage.gaussian_gradient_magnitude(grey, scale))
        maps.append(np.sqrt(np.maximum(square - smooth * smooth, 0)))
    return np.stack(maps).astype(np.float32)


def chips_of(mask: Mask, shape: tuple[int, int], how: Chipping) -> list[tuple[slice, slice]]:
    """Chips of the grid of which at least the share lies in the mask; cut ones at the border too."""
    found = []
    for y in range(mask.start[0] // how.edge * how.edge, mask.box[0].stop, how.edge):
        for x in range(mask.start[1] // how.edge * how.edge, mask.box[1].stop, how.edge):
            rows = slice(y, min(y + how.edge, shape[0]))
            columns = slice(x, min(x + how.edge, shape[1]))
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            if _inside(mask, rows, columns) >= how.share * pixels:
                found.append((rows, columns))
    return found


def _inside(mask: Mask, rows: slice, columns: slice) -> int:
    y, x = mask.start
    part = mask.bits[
        max(rows.start - y, 0) : max(rows.stop - y, 0),
        max(columns.start - x, 0) : max(columns.stop - x, 0),
    ]
    return int(part.sum())


def materials(
    masks: Sequence[Mask], maps: Maps, clusters: int | None, most: int, how: Chipping
) -> Materials:
    """Clusters of masks by the texture of their chips, and the vote of the chips of each mask.

    A vector of a chip is the mean of every map over it, less the mean over all chips, over their
    deviation. A mask that holds no chip is judged by the mean over its own pixels, and so joins
    the cluster whose centre is nearest.

    Parameters
    ----------
    masks : sequence of Mask
        Masks of one image.
    maps : array (map, y, x)
        Maps of texture, of which the first orders the clusters.
    clusters : int, optional
        Number of clusters (default: that of the highest silhouette, up to `most`).
    most : int
        Clusters that are tried.
    how : Chipping
        How the image is cut into chips.
    """
    rng = np.random.default_rng(how.seed)
    owners, vectors, lone = [], [], []
    for number, mask in enumerate(masks):
        chips = chips_of(mask, maps.shape[1:], how)
        if not chips:
            lone.append(number)
            chips_vectors = [maps[:, *mask.box][:, mask.bits].mean(axis=1)]
        else:
            drawn = sorted(rng.permutation(len(chips))[: how.most])
            chips_vectors = [maps[:, *chips[n]].mean(axis=(1, 2)) for n in drawn]
        vectors += chips_vectors
        owners += [number] * len(chips_vectors)
    owner, raw = np.array(owners), np.array(vectors, np.float64)
    spread = raw.std(axis=0)
    scaled = (raw - raw.mean(axis=0)) / np.where(spread > 0, spread, 1)
    fitted = ~np.isin(owner, lone) if len(lone) < len(masks) else np.ones(len(owner), bool)
    centres = _centres(scaled[fitted], clusters, most, how.seed)
    nearest = _nearest(scaled, centres)
    votes = np.zeros((len(masks), len(centres)), np.int64)
    np.add.at(votes, (owner, nearest), 1)
    return Materials(_by_grey(votes.argmax(axis=1), nearest, raw[:, 0]), len(centres), len(lone))


def _by_grey(
    cluster: NDArray[np.int64], of_chip: NDArray[np.int64], grey: Vectors
) -> NDArray[np.int64]:
    """Number clusters by the mean grey of their chips, from dark to bright."""
    count = int(of_chip.max()) + 1
    totals, chips = np.bincount(of_chip, grey, count), np.bincount(of_chip, minlength=count)
    means = np.where(chips > 0, totals / np.maximum(chips, 1), np.inf)
    rank = np.empty(count, np.int64)
    rank[np.argsort(means, kind="stable")] = np.arange(count)
    return np.asarray(rank[cluster])


def _centres(vectors: Vectors, clusters: int | None, most: int, seed: int) -> Vectors:
    distinct = len(np.unique(vectors, axis=0))
    if clusters is not None:
        return _fit(vectors, min(clusters, distinct), seed)
    tried = [_fit(vectors, k, seed) for k in range(2, min(most, distinct - 1) + 1)]
    if not tried:
        return _fit(vectors, 1, seed)
    scores = [silhouette(vectors, _nearest(vectors, centres), seed) for centres in tried]
    return tried[int(np.argmax(scores))]


def _fit(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Centres of the best of some seeded runs of k-means."""
    runs = []
    for restart in range(RESTARTS):
        rng = np.random.default_rng([seed, count, restart])
        centres, _ = kmeans2(vectors, count, iter=50, minit="++", missing="warn", seed=rng)
        runs.append(centres)
    inertia = [np.square(vectors - c[_nearest(vectors, c)]).sum() for c in runs]
    return np.asarray(runs[int(np.argmin(inertia))])


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    squares = np.stack([np.square(vectors - one).sum(axis=1) for one in centres], axis=1)
    return np.asarray(squares.argmin(axis=1))


def silhouette(vectors: Vectors, cluster: NDArray[np.int64], seed: int = 0) -> float:
    """Mean silhouette of clusters, over at most 2000 drawn vectors; -1 for one cluster.

    >>> vectors = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> round(silhouette(vectors, np.array([0, 0, 1, 1])), 2)
    0.98
    """
    if len(vectors) > MOST:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:MOST])
        vectors, cluster = vectors[drawn], cluster[drawn]
    names, cluster, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return -1.0
    distance = spatial.distance.cdist(vectors, vectors)
    sums = np.stack([distance[:, cluster == k].sum(axis=1) for k in range(len(names))], axis=1)
    own = np.arange(len(vectors)), cluster
    within = sums[own] / np.maximum(counts[cluster] - 1, 1)
    means = sums / counts
    means[own] = np.inf
    apart = means.min(axis=1)
    score = (apart - within) / np.maximum(np.maximum(apart, within), 1e-300)
    return float(np.where(counts[cluster] > 1, score, 0).mean())
