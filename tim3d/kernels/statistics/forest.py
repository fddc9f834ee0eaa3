"""Prediction of a forest of decision trees, with the bits of scikit-learn's probabilities.

A forest is four arrays over the nodes of all trees, one tree after the other: the feature that a
node looks at, its threshold, the first of its two children, and the share of each class. A row goes
to the first child if its feature is not above the threshold. The second child follows the first;
a leaf is its own first child and its threshold is infinite, so that no row leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError

Floats: TypeAlias = NDArray[np.float32]
# Rows that go through the trees together: their features stay in the cache.
TOGETHER = 1024
# Most nodes that wait for their rows: one on each level of a tree.
DEEPEST = 256


@dataclass(frozen=True, eq=False)
class Forest:
    """Forest as arrays.

    Parameters
    ----------
    feature : (nodes,) int32
        Number of the feature that a node looks at.
    threshold : (nodes,) float32
        Largest value that goes to the first child.
    child : (nodes,) int32
        Number of the first child.
    share : (nodes, classes) float64
        Share of each class among what a node was trained on.
    root : (trees + 1,) int32
        First node of each tree, and the number of nodes.
    """

    feature: NDArray[np.int32]
    threshold: Floats
    child: NDArray[np.int32]
    share: NDArray[np.float64]
    root: NDArray[np.int32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def check(self, features: int) -> None:
        """Raise `InputError` unless every walk stays inside the arrays and ends."""
        nodes, trees = len(self.feature), len(self.root) - 1
        sizes = (len(self.threshold), len(self.child), len(self.share), int(self.root[-1]))
        places = np.arange(nodes)
        leaf = self.child == places
        inside = (self.child >= places) & (self.child + ~leaf < nodes)
        order = np.diff(self.root) > 0
        same_tree = np.searchsorted(self.root, self.child, "right") == np.searchsorted(
            self.root, places, "right"
        )
        if not (
            trees > 0
            and set(sizes) == {nodes}
            and order.all()
            and (inside & same_tree).all()
            and ((self.feature >= 0) & (self.feature < features)).all()
            and np.isinf(self.threshold[leaf]).all()
            and np.isfinite(self.share).all()
            and _levels(self.child) < DEEPEST
        ):
            raise InputError("the forest is not one: its nodes do not form trees of these features")

    def probabilities(self, rows: Floats) -> NDArray[np.float64]:
        """Mean share of each class over the trees.

        Parameters
        ----------
        rows : (n, features) float32
            Features, without nan.

        Returns
        -------
        (n, classes) float64
            Equal to `predict_proba` of the scikit-learn forest to the last bit.
        """
        found = np.zeros((len(rows), self.share.shape[1]))
        places = (one.astype(np.uint32) for one in (self.feature, self.child, self.root))
        feature, child, root = places
        _walk(
            np.ascontiguousarray(rows),
            feature,
            self.threshold,
            child,
            self.share,
            root,
            found,
        )
        found /= len(self.root) - 1
        return found


def _levels(child: NDArray[np.int32]) -> int:
    """Steps to the deepest leaf, of children that follow their parents."""
    level = [0] * len(child)
    for place, first in enumerate(child.tolist()):
        if first > place:
            level[first] = level[first + 1] = level[place] + 1
    return max(level, default=0)


def forest_of(trees: Sequence[Any]) -> Forest:
    """Arrays of the trees of a scikit-learn forest.

    Parameters
    ----------
    trees : sequence of sklearn.tree._tree.Tree
        `tree_` of each estimator.
    """
    parts = [_tree(one) for one in trees]
    sizes = np.array([len(part[0]) for part in parts])
    root = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    child = np.concatenate([p[2] + r for p, r in zip(parts, root, strict=False)]).astype(np.int32)
    return Forest(
        np.concatenate([p[0] for p in parts]).astype(np.int32),
        np.concatenate([p[1] for p in parts]),
        child,
        np.concatenate([p[3] for p in parts]),
        root,
    )


def _tree(tree: Any) -> tuple[NDArray[Any], Floats, NDArray[Any], NDArray[np.float64]]:
    """Nodes of a tree, level by level: the two children of a node follow each other."""
    order, at = [0], 0
    while at < len(order):
        left, right = tree.children_left[order[at]], tree.children_right[order[at]]
        order += [] if left < 0 else [int(left), int(right)]
        at += 1
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    left = tree.children_left[order]
    leaf = left < 0
    child = np.where(leaf, np.arange(len(order)), place[left])
    threshold = np.where(leaf, np.float32(np.inf), _floor(tree.threshold[order]))
    value = np.ascontiguousarray(tree.value[order, 0, :])
    return np.where(leaf, 0, tree.feature[order]), threshold, child, value


def _floor(thresholds: NDArray[np.float64]) -> Floats:
    """Largest float32 that is not above: float32 values compare with it as with the float64.

    >>> _floor(np.array([0.1, 0.5])).astype(float) <= [0.1, 0.5]
    array([ True,  True])
    """
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)


@nb.njit(nogil=True, cache=True)
def _walk(rows, feature, threshold, child, share, root, found):  # type: ignore[no-untyped-def]
    """Add the shares of the leaves, tree by tree for some rows at a time.

    At a node its rows are parted into those of the first child and those of the second, so that a
    row makes as many steps as its own leaf is deep, and no step waits for another. Places are
    unsigned: signed ones would be tested for counting from the end at every step.
    """
    n, features = rows.shape
    columns = np.empty((features, TOGETHER), np.float32)
    own, aside = np.empty(TOGETHER, np.uint32), np.empty(TOGETHER, np.uint32)
    nodes, lows, highs = (
        np.empty(DEEPEST, np.uint32),
        np.empty(DEEPEST, np.int64),
        np.empty(DEEPEST, np.int64),
    )
    for first in range(0, n, TOGETHER):
        count = min(TOGETHER, n - first)
        for v in range(count):
            own[v] = v
            for f in range(features):
                columns[f, v] = rows[first + v, f]
        for tree in range(root.size - 1):
            nodes[0], lows[0], highs[0] = root[tree], 0, count
            waiting = 1
            while waiting:
                waiting -= 1
                node, low, high = nodes[waiting], lows[waiting], highs[waiting]
                if child[node] == node:
                    _add(own[low:high], share[node], found[first : first + count])
                    continue
                middle = _parted(columns[feature[node]], threshold[node], own[low:high], aside)
                middle += low
                if middle < high:
                    nodes[waiting], lows[waiting], highs[waiting] = child[node] + 1, middle, high
                    waiting += 1
                if middle > low:
                    nodes[waiting], lows[waiting], highs[waiting] = child[node], low, middle
                    waiting += 1


@nb.njit(nogil=True, cache=True)
def _parted(values, level, own, aside):  # type: ignore[no-untyped-def]
    """Put rows whose value is not above a level before the others; how many they are."""
    below, above = np.uint64(0), np.uint64(0)
    for place in range(own.size):
        row = own[place]
        is_above = np.uint64(values[row] > level)
        own[below] = row
        aside[above] = row
        above += is_above
        below += np.uint64(1) - is_above
    for place in range(above):
        own[below + place] = aside[place]
    return np.int64(below)


@nb.njit(nogil=True, cache=True)
def _add(own, shares, found):  # type: ignore[no-untyped-def]
    for place in range(own.size):
        row = own[place]
        for c in range(shares.size):
            found[row, c] += shares[c]
