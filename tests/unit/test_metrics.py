from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics import metrics

labels = st.integers(1, 4).flatmap(
    lambda k: st.tuples(
        st.just(k),
        *[hnp.arrays(np.uint8, st.just((3, 4, 5)), elements=st.integers(0, k - 1))] * 2,
    )
)


@given(labels)
def test_every_metric_from_its_set_definition(case):
    classes, truth, predicted = case
    matrix = metrics.confusion(truth, predicted, classes)
    assert matrix.sum() == truth.size
    hits = [((truth == k) & (predicted == k)).sum() for k in range(classes)]
    unions = [((truth == k) | (predicted == k)).sum() for k in range(classes)]
    ious = [h / u if u else 1.0 for h, u in zip(hits, unions, strict=True)]
    assert metrics.iou_macro(matrix) == pytest.approx(np.mean(ious))
    assert metrics.iou_micro(matrix) == pytest.approx(sum(hits) / sum(unions))
    assert metrics.accuracy(matrix) == pytest.approx((truth == predicted).mean())
    for k in range(classes):
        t, p = (truth == k).sum(), (predicted == k).sum()
        nothing = 1.0 if t == p == 0 else 0.0
        assert metrics.iou_foreground(matrix, k) == pytest.approx(ious[k])
        assert metrics.dice(matrix, k) == pytest.approx(2 * hits[k] / (t + p) if t + p else 1.0)
        assert metrics.precision(matrix, k) == pytest.approx(hits[k] / p if p else nothing)
        assert metrics.recall(matrix, k) == pytest.approx(hits[k] / t if t else nothing)


@given(labels, st.integers(0, 3))
def test_matrices_of_blocks_add_up(case, cut):
    classes, truth, predicted = case
    whole = metrics.confusion(truth, predicted, classes)
    parts = [
        metrics.confusion(truth[s], predicted[s], classes)
        for s in (slice(0, cut), slice(cut, None))
    ]
    assert np.array_equal(sum(parts), whole)


def test_rows_are_truth_and_columns_prediction():
    matrix = metrics.confusion(
        np.array([True, True, False]), np.array([1, 0, 0], np.int32), classes=3
    )
    assert matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_a_class_empty_in_both_scores_one():
    matrix = metrics.confusion(np.zeros(5, np.uint8), np.zeros(5, np.uint8), classes=2)
    assert set(metrics.scores(matrix).values()) == {1.0}


@pytest.mark.parametrize(("truth", "predicted"), [(0, 1), (1, 0)])
def test_a_class_empty_in_one_scores_zero(truth, predicted):
    matrix = metrics.confusion(
        np.full(5, truth, np.uint8), np.full(5, predicted, np.uint8), classes=2
    )
    assert set(metrics.scores(matrix).values()) == {0.0}


def test_nothing_at_all_scores_one():
    assert set(metrics.scores(np.zeros((2, 2), np.int64)).values()) == {1.0}


def test_the_three_ious_differ():
    matrix = np.array([[90, 5], [2, 3]])
    found = metrics.scores(matrix)
    assert found["iou_foreground"] == pytest.approx(3 / 10)
    assert found["iou_macro"] == pytest.approx((3 / 10 + 90 / 97) / 2)
    assert found["iou_micro"] == pytest.approx(93 / 107)
    assert found["iou_micro"] == pytest.approx(found["accuracy"] / (2 - found["accuracy"]))


def test_mean_over_images_is_not_pooled():
    images = [np.array([[9, 0], [0, 1]]), np.array([[0, 5], [0, 5]])]
    assert metrics.mean_over_images(images)["recall"] == 1.0
    assert metrics.mean_over_images(images)["precision"] == pytest.approx(0.75)
    assert metrics.precision(sum(images)) == pytest.approx(6 / 11)
    with pytest.raises(ArgumentError, match="no image"):
        metrics.mean_over_images([])


def test_bad_input_is_named():
    good = np.array([0, 1])
    with pytest.raises(InputError, match="shape"):
        metrics.confusion(good, np.array([0, 1, 1]), 2)
    with pytest.raises(InputError, match=r"prediction has labels 0 to 2; 2 classes are 0 to 1"):
        metrics.confusion(good, np.array([0, 2]), 2)
    with pytest.raises(InputError, match=r"truth has labels -1"):
        metrics.confusion(np.array([-1, 1]), good, 2)
    with pytest.raises(InputError, match="whole numbers"):
        metrics.confusion(good.astype(float), good, 2)
    with pytest.raises(ArgumentError, match="square"):
        metrics.accuracy(np.ones((2, 3), np.int64))
    with pytest.raises(ArgumentError, match="class 5"):
        metrics.dice(np.eye(2, dtype=np.int64), 5)
