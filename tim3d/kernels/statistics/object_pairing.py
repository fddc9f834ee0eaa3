"""Agreement of objects by partners: the aggregated Jaccard index, and published ways to take a mean.

Each has its definition in its name or in its long name, as other programs call several of them "mIoU".

References
----------
Kumar et al., IEEE Trans. Med. Imaging 36 (2017) 1550 (aggregated Jaccard index).
DOI 10.1109/TMI.2017.2677499
Graham et al., Med. Image Anal. 58 (2019) 101563 (its variant with one partner for each object).
DOI 10.1016/j.media.2019.101563
Abebe et al., arXiv:2404.06638 (SAM-I-Am: means over masks).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics.object_agreement import Overlaps, Rows
from tim3d.lazy import csgraph, optimize, sparse

Floats = NDArray[np.float64]
# Overlaps below this IoU do not count in the means of SAM-I-Am.
LEAST_IOU = 0.05


def aggregated_jaccard(overlaps: Overlaps) -> float:
    """Shared voxels of partners over the voxels of all objects (AJI+), each object with one partner.

    Partners are those with the largest sum of IoU.

    >>> table = Overlaps.of(np.array([[1, 1, 9], [1, 0, 1], [0, 2, 5]]))
    >>> aggregated_jaccard(table)      # 9 of 10, and 5 more of an object without a partner
    0.6
    """
    true, found, shared, union = overlaps.pairs()
    chosen = partners(true, found, shared / union)
    both = int(shared[chosen].sum())
    alone = _voxels(overlaps.true, overlaps.shared, true[chosen])
    alone += _voxels(overlaps.found, overlaps.shared, found[chosen])
    either = int(union[chosen].sum()) + alone
    return both / either if either else 1.0


def partners(true: Rows, found: Rows, weight: Floats) -> Rows:
    """Rows of the pairs of the assignment with the largest sum of weights.

    Objects hang together through few others: each group is assigned by itself.
    """
    if not len(true):
        return np.zeros(0, np.int64)
    (_, a), (_, b) = (np.unique(one, return_inverse=True) for one in (true, found))
    count = int(a.max()) + 1
    size = count + int(b.max()) + 1
    graph = sparse.coo_array((np.ones(len(a)), (a, b + count)), shape=(size, size))
    group = csgraph.connected_components(graph, directed=False)[1][a]
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return np.sort(
        np.concatenate([part[_assigned(a[part], b[part], weight[part])] for part in parts])
    )


def _assigned(a: Rows, b: Rows, weight: Floats) -> Rows:
    (_, i), (_, j) = (np.unique(one, return_inverse=True) for one in (a, b))
    matrix = np.zeros((i.max() + 1, j.max() + 1))
    row = np.full(matrix.shape, -1)
    matrix[i, j], row[i, j] = weight, np.arange(len(weight))
    chosen = row[optimize.linear_sum_assignment(matrix, maximize=True)]
    return np.asarray(chosen[chosen >= 0], np.int64)


def _voxels(ids: Rows, shared: Rows, without: Rows) -> int:
    """Voxels of the objects, but for some of them."""
    return int(shared[(ids > 0) & ~np.isin(ids, without)].sum())


def mean_ious(overlaps: Overlaps) -> dict[str, float]:
    """Means over true objects of the IoU of their found ones, in three ways.

    `best_iou` takes the best found object of each true one, 0 if there is none. `mean_overlap_iou`
    takes the mean over all found objects with an IoU above 0.05, as SAM-I-Am's mIoU does, so that
    fragments lower it and large masks around an object do too. `stray_iou` is the mean IoU of those
    beside the best one, 0 where there is none other: SAM-I-Am's mFPR.

    >>> table = Overlaps.of(np.array([[1, 1, 6], [1, 2, 3], [1, 0, 1]]))
    >>> {name: round(value, 3) for name, value in mean_ious(table).items()}
    {'best_iou': 0.6, 'mean_overlap_iou': 0.45, 'stray_iou': 0.3}
    """
    true, _, shared, union = overlaps.pairs()
    iou = shared / union
    count = overlaps.objects()[0]
    best, mean, stray = np.zeros((3, max(count, 1)))
    order = np.lexsort((-iou, true))
    groups = np.split(iou[order], np.flatnonzero(np.diff(true[order])) + 1) if len(iou) else []
    for row, own in enumerate(groups):
        above = own[own > LEAST_IOU]
        best[row] = own[0]
        mean[row] = above.mean() if len(above) else 0.0
        stray[row] = above[1:].mean() if len(above) > 1 else 0.0
    return {
        "best_iou": float(best.mean()),
        "mean_overlap_iou": float(mean.mean()),
        "stray_iou": float(stray.mean()),
    }


def adjusted_rand_index(overlaps: Overlaps) -> float:
    """Share of pairs of voxels that both treat alike, less chance; the background is an object.

    >>> adjusted_rand_index(Overlaps.of(np.array([[0, 0, 2], [1, 1, 2]])))
    1.0
    """
    both = _pairs(overlaps.shared)
    true, found = (_pairs(_totals(ids, overlaps.shared)) for ids in (overlaps.true, overlaps.found))
    every = _pairs(np.array([overlaps.shared.sum()]))
    if not every:
        return 1.0
    chance, most = true * found / every, (true + found) / 2
    return (both - chance) / (most - chance) if most != chance else 1.0


def _totals(ids: Rows, shared: Rows) -> Rows:
    place = np.unique(ids, return_inverse=True)[1]
    totals = np.zeros(place.max(initial=-1) + 1, np.int64)
    np.add.at(totals, place, shared)
    return totals


def _pairs(voxels: Rows) -> int:
    """Pairs of voxels, as a whole number of any size."""
    return sum(int(n) * (int(n) - 1) // 2 for n in voxels)
