"""A forest as arrays votes with the bits of scikit-learn, and refuses arrays that are none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tim3d.errors import InputError
from tim3d.kernels.statistics.forest import Forest, forest_of

ensemble = pytest.importorskip("sklearn.ensemble", reason="forests are trained by scikit-learn")


def trained(classes: int, seed: int = 0, rows: int = 400, **how: object):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 6)).astype(np.float32)
    x[:, 3] = np.round(x[:, 3] * 4) / 4  # many equal values, and thresholds between them
    y = np.digitize(x[:, 0] + x[:, 3] ** 2 + 0.3 * random.normal(size=rows), np.arange(classes - 1))
    return ensemble.RandomForestClassifier(20, random_state=seed, n_jobs=1, **how).fit(x, y), x


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(
    "how", [{}, {"max_depth": 4}, {"class_weight": "balanced", "min_samples_leaf": 3}]
)
def test_votes_are_those_of_scikit_learn_to_the_last_bit(classes: int, how: dict) -> None:
    forest, x = trained(classes, **how)
    ours = forest_of([one.tree_ for one in forest.estimators_])
    ours.check(6)
    fresh = np.random.default_rng(9).normal(size=(1001, 6)).astype(np.float32)
    fresh[:, 3] = np.round(fresh[:, 3] * 8) / 8
    for rows in (x, fresh, fresh[:1], fresh[:0]):
        found = ours.probabilities(rows)
        expected = forest.predict_proba(rows) if len(rows) else np.zeros((0, found.shape[1]))
        assert np.array_equal(found, expected)
        if len(rows):
            assert np.array_equal(forest.classes_[found.argmax(axis=1)], forest.predict(rows))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_labels_are_those_of_all_votes_though_not_all_trees_are_asked(classes: int) -> None:
    forest, _ = trained(classes)
    ours = forest_of([one.tree_ for one in forest.estimators_])
    tiles = np.random.default_rng(3).normal(size=(40, 6, 64)).astype(np.float32)
    assert np.array_equal(ours.labels(tiles), ours.votes(tiles).argmax(axis=2))
    even = dataclasses.replace(ours, share=np.full_like(ours.share, 1 / classes))
    assert not even.labels(tiles).any()  # equal votes go to the first class


@pytest.mark.parametrize("steps", range(4))
def test_a_value_at_a_threshold_goes_where_scikit_learn_sends_it(steps: int) -> None:
    """Thresholds in float64 between neighbouring float32 values, and values on both sides.

    The one in the middle is rounded up for half of the values, and down for the others.
    """
    low = np.float32(0.1)
    for _ in range(steps):
        low = np.nextafter(low, np.float32(1))
    high = np.nextafter(low, np.float32(1))
    x = np.repeat(np.array([[low], [high]], np.float32), 10, axis=0)
    y = np.repeat([0, 1], 10)
    forest = ensemble.RandomForestClassifier(5, random_state=0).fit(x, y)
    ours = forest_of([one.tree_ for one in forest.estimators_])
    rows = np.array([[np.nextafter(low, np.float32(0))], [low], [high]], np.float32)
    assert np.array_equal(ours.probabilities(rows), forest.predict_proba(rows))


def test_a_tree_of_one_leaf_is_a_forest() -> None:
    forest, x = trained(3, max_depth=1, min_samples_leaf=300)
    ours = forest_of([one.tree_ for one in forest.estimators_])
    ours.check(6)
    assert np.array_equal(ours.probabilities(x), forest.predict_proba(x))


def test_arrays_that_would_walk_out_are_refused() -> None:
    forest, _ = trained(2)
    ours = forest_of([one.tree_ for one in forest.estimators_])

    def changed(name: str, place: int, value: float) -> Forest:
        array = getattr(ours, name).copy()
        array[place] = value
        return dataclasses.replace(ours, **{name: array})

    for name, place, value in (
        ("child", 0, len(ours.child) - 1), ("child", 5, 0), ("feature", 0, 6), ("feature", 3, -1),
        ("root", 1, 0), ("root", -1, 10**6), ("share", 0, np.nan), ("child", 2, -1),
    ):  # fmt: skip
        with pytest.raises(InputError, match="not one"):
            changed(name, place, value).check(6)
