"""Agreement of objects with true ones, from one contingency table.

The table has the voxels that each true object shares with each found one; 0 is the background of
either. It adds up over blocks, and every number here follows from it alone.

References
----------
Kirillov et al., CVPR (2019) 9404 (panoptic quality). DOI 10.1109/CVPR.2019.00963
Arganda-Carreras et al., Front. Neuroanat. 9 (2015) 142 (adapted Rand error, variation of
information). DOI 10.3389/fnana.2015.00142
Archit et al., Nat. Methods 22 (2025) 579 (mean segmentation accuracy). DOI 10.1038/s41592-024-02580-4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]

# Thresholds of the intersection over union, in twentieths: 0.5, 0.55, ... 0.95.
TWENTIETHS = tuple(range(10, 20))


@dataclass(frozen=True, eq=False)
class Overlaps:
    """A contingency table with the sums of its rows and columns.

    Parameters
    ----------
    true, found : (n,) int64
        Number of the true and of the found object of each entry, 0 for none.
    shared : (n,) int64
        Voxels that they share.
    """

    true: Rows
    found: Rows
    shared: Rows

    @classmethod
    def of(cls, table: Rows) -> Overlaps:
        """Table of rows (true, found, voxels), each pair once."""
        return cls(table[:, 0], table[:, 1], table[:, 2])

    def objects(self) -> tuple[int, int]:
        """Number of true and of found objects."""
        return len(np.unique(self.true[self.true > 0])), len(np.unique(self.found[self.found > 0]))

    def unions(self) -> Rows:
        """Voxels of either object of each entry."""
        return _sums(self.true, self.shared) + _sums(self.found, self.shared) - self.shared

    def foreground(self) -> Overlaps:
        """Entries on true objects: the true background is left out."""
        kept = self.true > 0
        return Overlaps(self.true[kept], self.found[kept], self.shared[kept])

    def pairs(self) -> tuple[Rows, Rows, Rows, Rows]:
        """True object, found object, shared voxels and voxels of either, without background."""
        kept = (self.true > 0) & (self.found > 0)
        return self.true[kept], self.found[kept], self.shared[kept], self.unions()[kept]


def _totals(keys: Rows, voxels: Rows) -> tuple[Rows, Rows]:
    """Sum of the voxels of each key, and the place among them of the key of each entry."""
    there, place = np.unique(keys, return_inverse=True)
    totals = np.zeros(len(there), np.int64)
    np.add.at(totals, place, voxels)
    return totals, place


def _sums(keys: Rows, voxels: Rows) -> Rows:
    """Sum over all entries with the same key, for each entry."""
    totals, place = _totals(keys, voxels)
    return totals[place]


def matches(overlaps: Overlaps, twentieths: int) -> int:
    """Largest number of pairs of one true and one found object that overlap enough.

    Parameters
    ----------
    overlaps : Overlaps
        The table.
    twentieths : int
        Least intersection over union, in twentieths; 10 or more.

    Notes
    -----
    Above a half an object has one partner at most. At a half exactly it may have two, each of them
    half of it: then one of them counts. Objects that share a partner form a star, whose
    largest matching is one pair, so that objects with a partner on either side less the pairs is
    the number of matches.

    Examples
    --------
    >>> halves = Overlaps.of(np.array([[1, 1, 5], [1, 2, 5], [2, 3, 4]]))
    >>> matches(halves, 10), matches(halves, 11)
    (2, 1)
    """
    true, found, shared, union = overlaps.pairs()
    enough = 20 * shared >= twentieths * union
    partners = len(np.unique(true[enough])) + len(np.unique(found[enough]))
    return partners - int(np.count_nonzero(enough))


def segmentation_accuracy(overlaps: Overlaps) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) of objects at each threshold of `TWENTIETHS`, 1 without any object."""
    true, found = overlaps.objects()
    hits = [matches(overlaps, level) for level in TWENTIETHS]
    return np.array([_ratio(tp, true + found - tp) for tp in hits])


def panoptic_quality(overlaps: Overlaps) -> dict[str, float]:
    """Sum of the IoU of matched objects / (TP + FP/2 + FN/2), and its two factors.

    Objects match where their intersection over union is above a half.

    >>> found = panoptic_quality(Overlaps.of(np.array([[1, 1, 9], [1, 0, 1], [0, 2, 5]])))
    >>> {name: round(value, 4) for name, value in found.items()}
    {'panoptic_quality': 0.6, 'matched_iou': 0.9, 'object_f1': 0.6667}
    """
    _, _, shared, union = overlaps.pairs()
    matched = 2 * shared > union
    tp, total = int(np.count_nonzero(matched)), sum(overlaps.objects())
    iou = float(np.sum(shared[matched] / union[matched]))
    return {
        "panoptic_quality": _ratio(2 * iou, total),
        "matched_iou": _ratio(iou, tp) if tp or not total else 0.0,
        "object_f1": _ratio(2 * tp, total),
    }


def adapted_rand_error(overlaps: Overlaps) -> dict[str, float]:
    """1 - F of pairs of voxels, and their precision and recall, on true objects only.

    With n the shared voxels, t those of true and f those of found objects: precision is
    sum n^2 / sum f^2 (low where objects are merged), recall sum n^2 / sum t^2 (low where they are
    split), and the error 1 - 2 sum n^2 / (sum t^2 + sum f^2).

    >>> adapted_rand_error(Overlaps.of(np.array([[1, 1, 2], [1, 2, 2]])))["rand_recall"]
    0.5
    """
    inside = overlaps.foreground()
    both = _squares(inside.shared)
    true = _squares(_totals(inside.true, inside.shared)[0])
    found = _squares(_totals(inside.found, inside.shared)[0])
    return {
        "adapted_rand_error": 1 - _ratio(2 * both, true + found),
        "rand_precision": _ratio(both, found),
        "rand_recall": _ratio(both, true),
    }


def variation_of_information(overlaps: Overlaps) -> dict[str, float]:
    """Conditional entropies in bit, on true objects only: of splits and of merges.

    `vi_split` is H(found | true), `vi_merge` H(true | found); the variation is their sum.

    >>> variation_of_information(Overlaps.of(np.array([[1, 1, 2], [1, 2, 2]])))
    {'vi_split': 1.0, 'vi_merge': 0.0}
    """
    inside = overlaps.foreground()
    whole = int(inside.shared.sum())
    if not whole:
        return {"vi_split": 0.0, "vi_merge": 0.0}
    share = inside.shared / whole
    of_true = _sums(inside.true, inside.shared) / inside.shared
    of_found = _sums(inside.found, inside.shared) / inside.shared
    return {
        "vi_split": float(np.sum(share * np.log2(of_true))),
        "vi_merge": float(np.sum(share * np.log2(of_found))),
    }


def _squares(voxels: Rows) -> int:
    """Sum of squares, as a whole number of any size: that of a large volume leaves 64 bits."""
    return sum(int(n) ** 2 for n in voxels)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
