"""Prediction of a forest of decision trees, with the bits of scikit-learn's probabilities.

Rows go through the trees in tiles of 64. At a node one comparison tells for all 64 on which side they
are, and a tile follows both children with the rows that go there: rows that are alike, such as the
voxels of a small square, meet few nodes. Four trees are walked at once, as the nodes of one wait for
each other. Where only the most likely class is wanted, a row is left alone once the trees to come
cannot change it.

A forest is four arrays over the nodes of all trees, one tree after the other: the feature that a
node looks at, its threshold, the first of its two children, and the share of each class. A row goes
to the first child if its feature is not above the threshold. The second child follows the first;
a leaf is its own first child and its threshold is infinite, so that no row leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.kernels.statistics.lanes import LANES, above, lowest

Floats: TypeAlias = NDArray[np.float32]
# Most levels of a tree.
DEEPEST = 256
# Trees that a tile is sent through at once: while one node is compared, the next is fetched.
TOGETHER = 4
# Nodes that wait with rows of a tile: in a tree each has a row of its own, and one more is written to.
WAITING = 2 * TOGETHER * LANES
# Bits of a packed node: its feature, and the places from it to its first child. The threshold follows.
FEATURE_BITS, STEP_BITS = 10, 22
# How far sums may be off by rounding where rows are taken for decided.
ROUNDING = 1e-6


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
            and features <= 2**FEATURE_BITS
            and (self.child - places < 2**STEP_BITS).all()
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
        tiles = np.zeros((-(-len(rows) // LANES), rows.shape[1], LANES), np.float32)
        for number, tile in enumerate(tiles):
            some = rows[number * LANES : (number + 1) * LANES]
            tile[:, : len(some)] = some.T
        found = self.votes(tiles)
        return found.reshape(-1, found.shape[2])[: len(rows)]

    def votes(self, tiles: Floats) -> NDArray[np.float64]:
        """Mean share of each class over the trees.

        Parameters
        ----------
        tiles : (tiles, features, 64) float32
            Features by row, without nan.

        Returns
        -------
        (tiles, 64, classes) float64
            Of every row.
        """
        found = self._sums(tiles, decides=False)
        found /= len(self.root) - 1
        return found

    def labels(self, tiles: Floats) -> NDArray[np.uint8]:
        """Class of the highest vote, the first of equal ones.

        Parameters
        ----------
        tiles : (tiles, features, 64) float32
            Features by row, without nan.

        Returns
        -------
        (tiles, 64) uint8
            That of `votes`, found from as few trees as decide it.
        """
        return np.asarray(self._sums(tiles, decides=True).argmax(axis=2), np.uint8)

    def _sums(self, tiles: Floats, *, decides: bool) -> NDArray[np.float64]:
        found = np.zeros((len(tiles), LANES, self.share.shape[1]))
        root = self.root.astype(np.uint32)
        _walk(
            np.ascontiguousarray(tiles), self._packed, self.share, root, self._open, decides, found
        )
        return found

    @cached_property
    def _packed(self) -> NDArray[np.uint64]:
        """Nodes: threshold, places to the first child (0 at a leaf), and feature, in 64 bits."""
        step = (self.child - np.arange(len(self.child))).astype(np.uint64)
        threshold = self.threshold.astype(np.float32).view(np.uint32).astype(np.uint64)
        found: NDArray[np.uint64] = self.feature.astype(np.uint64) | step << np.uint64(FEATURE_BITS)
        return found | threshold << np.uint64(FEATURE_BITS + STEP_BITS)

    @cached_property
    def _open(self) -> NDArray[np.float64]:
        """How far the trees from each one on can move two classes apart, or together."""
        apart = self.share.max(axis=1) - self.share.min(axis=1)
        each = np.maximum.reduceat(apart, self.root[:-1])
        found: NDArray[np.float64] = np.append(np.cumsum(each[::-1])[::-1], 0.0)
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
def _walk(tiles, packed, share, root, still_open, decides, found):  # type: ignore[no-untyped-def]
    """Add the shares of the leaves, some trees at once for a tile of rows at a time.

    Nodes with rows wait in a ring, so that the work on one does not wait for that on another.
    """
    flat, size = tiles.reshape(-1), np.uint64(tiles.shape[1] * tiles.shape[2])
    ring = np.empty(WAITING, np.uint64), np.empty(WAITING, np.uint64)
    ends = np.empty(TOGETHER, np.uint64)
    leaves = np.empty(TOGETHER * LANES, np.uint64), np.empty(TOGETHER * LANES, np.uint64)
    for tile in range(tiles.shape[0]):
        left = ~np.uint64(0)
        for tree in range(0, root.size - 1, TOGETHER):
            # Nothing is decided before the trees that were asked outweigh those to come.
            if decides and still_open[0] > 2 * still_open[tree]:
                left = _undecided(found[tile], left, still_open[tree])
                if left == 0:
                    break
            trees = root[tree : min(tree + TOGETHER, root.size - 1)]
            _through(flat, np.uint64(tile) * size, packed, trees, left, ring, leaves, ends)
            _add(leaves, ends[: trees.size], share, found[tile])


@nb.njit(nogil=True, cache=True)
def _through(flat, base, packed, trees, left, ring, leaves, ends):  # type: ignore[no-untyped-def]
    """Send the rows of a mask through some trees, and note the leaves of each with their rows.

    Places are unsigned: signed ones would be tested. The upper half of a node that waits is its tree.
    """
    one, around, half = np.uint64(1), np.uint64(WAITING - 1), np.uint64(32)
    (nodes, masks), (leaf, rows) = ring, leaves
    for place in range(trees.size):
        ends[place] = np.uint64(place * LANES)
        nodes[place], masks[place] = np.uint64(trees[place]) | np.uint64(place) << half, left
    head, tail = np.uint64(0), np.uint64(trees.size)
    while head != tail:
        entry, mask = nodes[head & around], masks[head & around]
        head += one
        word = packed[entry & np.uint64(2**32 - 1)]
        step = (word >> np.uint64(FEATURE_BITS)) & np.uint64(2**STEP_BITS - 1)
        if step == 0:
            end = ends[entry >> half]
            leaf[end], rows[end] = entry & np.uint64(2**32 - 1), mask
            ends[entry >> half] = end + one
            continue
        place = base + (word & np.uint64(2**FEATURE_BITS - 1)) * np.uint64(LANES)
        is_above = above(flat, place, np.uint32(word >> np.uint64(FEATURE_BITS + STEP_BITS)))
        first, second = mask & ~is_above, mask & is_above
        nodes[tail & around], masks[tail & around] = entry + step, first
        tail += np.uint64(first != 0)
        nodes[tail & around], masks[tail & around] = entry + step + one, second
        tail += np.uint64(second != 0)


@nb.njit(nogil=True, cache=True)
def _add(leaves, ends, share, found):  # type: ignore[no-untyped-def]
    """Add the shares of the leaves, tree by tree: sums in another order would have other last bits."""
    leaf, rows = leaves
    for tree in range(ends.size):
        for place in range(tree * LANES, ends[tree]):
            node = leaf[place]
            for c in range(0, share.shape[1] - 1, 2):
                _add_pair(found, c, share[node, c], share[node, c + 1], rows[place])
            if share.shape[1] % 2:
                _add_one(found, share.shape[1] - 1, share[node, share.shape[1] - 1], rows[place])


@nb.njit(nogil=True, cache=True)
def _add_pair(found, c, value, next_value, mask):  # type: ignore[no-untyped-def]
    """Add the shares of two classes to the rows of a mask: two at once, without reading them again."""
    while mask:
        lane = lowest(mask)
        mask &= mask - np.uint64(1)
        found[lane, c] += value
        found[lane, c + 1] += next_value


@nb.njit(nogil=True, cache=True)
def _add_one(found, c, value, mask):  # type: ignore[no-untyped-def]
    while mask:
        lane = lowest(mask)
        mask &= mask - np.uint64(1)
        found[lane, c] += value


@nb.njit(nogil=True, cache=True)
def _undecided(sums, mask, still_open):  # type: ignore[no-untyped-def]
    """Rows of a mask whose highest sum can still be reached by another class."""
    kept, rest = np.uint64(0), mask
    while rest:
        lane = lowest(rest)
        rest &= rest - np.uint64(1)
        most, next_most = sums[lane, 0], -1.0
        for c in range(1, sums.shape[1]):
            value = sums[lane, c]
            next_most = max(next_most, min(most, value))
            most = max(most, value)
        if most - next_most <= still_open + ROUNDING:
            kept |= np.uint64(1) << lane
    return kept
