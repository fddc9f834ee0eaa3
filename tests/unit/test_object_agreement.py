"""Objects against true ones: from the definitions, against scikit-image and a full assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from skimage.metrics import variation_of_information

from tim3d.kernels.morphology.overlaps import added, overlaps
from tim3d.kernels.statistics import object_agreement as scores
from tim3d.kernels.statistics import object_pairing as pairing

fields = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.uint32, shape, elements=st.integers(0, 4))] * 2)
)


def table_of(true, found):
    return scores.Overlaps.of(overlaps(true, found))


def ious(true, found):
    """IoU of every true with every found object."""
    ids = [[n for n in np.unique(one) if n] for one in (true, found)]
    matrix = np.zeros((len(ids[0]), len(ids[1])))
    for i, a in enumerate(ids[0]):
        for j, b in enumerate(ids[1]):
            matrix[i, j] = ((true == a) & (found == b)).sum() / ((true == a) | (found == b)).sum()
    return matrix


@given(fields)
def test_overlaps_are_counted_voxel_by_voxel(pair):
    true, found = pair
    for a, b, voxels in overlaps(true, found).tolist():
        assert voxels == ((true == a) & (found == b)).sum()
    assert overlaps(true, found)[:, 2].sum() == true.size
    cut = true.shape[2] // 2
    parts = [overlaps(true[..., s], found[..., s]) for s in (slice(cut, None), slice(0, cut))]
    assert np.array_equal(added(parts), overlaps(true, found))


def test_numbers_of_all_32_bits_are_told_apart():
    high = np.array([[[2**32 - 1, 2**31, 1]]], np.uint32)
    assert overlaps(high, np.ones_like(high)).tolist() == [
        [1, 1, 1],
        [2**31, 1, 1],
        [2**32 - 1, 1, 1],
    ]


@given(fields)
def test_matches_are_those_of_the_best_assignment(pair):
    matrix, table = ious(*pair), table_of(*pair)
    accuracy = scores.segmentation_accuracy(table)
    for level, found in zip(scores.TWENTIETHS, accuracy, strict=True):
        enough = matrix >= level / 20 - 1e-12
        rows, columns = linear_sum_assignment(enough, maximize=True)
        tp = int(enough[rows, columns].sum())
        whole = sum(matrix.shape) - tp
        assert found == pytest.approx(tp / whole if whole else 1.0)


@given(fields)
def test_panoptic_quality_follows_its_definition(pair):
    matrix = ious(*pair)
    kept = matrix[matrix > 0.5]
    fp, fn = matrix.shape[1] - len(kept), matrix.shape[0] - len(kept)
    denominator = len(kept) + fp / 2 + fn / 2
    found = scores.panoptic_quality(table_of(*pair))
    assert found["panoptic_quality"] == pytest.approx(
        kept.sum() / denominator if denominator else 1.0
    )
    assert found["panoptic_quality"] == pytest.approx(found["matched_iou"] * found["object_f1"])


@given(fields)
def test_variation_of_information_is_that_of_scikit_image(pair):
    true, found = pair
    ours = scores.variation_of_information(table_of(true, found))
    if not true.any():
        assert set(ours.values()) == {0.0}
        return
    inside = true > 0
    split, merge = variation_of_information(true[inside], found[inside])
    assert ours["vi_split"] == pytest.approx(split, abs=1e-12)
    assert ours["vi_merge"] == pytest.approx(merge, abs=1e-12)


@given(fields)
def test_the_adapted_rand_error_counts_pairs_of_voxels(pair):
    inside = pair[0] > 0
    true, found = pair[0][inside], pair[1][inside]
    alike = [one[:, None] == one[None] for one in (true, found)]
    both, t, f = (alike[0] & alike[1]).sum(), alike[0].sum(), alike[1].sum()
    ours = scores.adapted_rand_error(table_of(*pair))
    assert ours["adapted_rand_error"] == pytest.approx(1 - 2 * both / (t + f) if t + f else 0.0)


def test_an_equal_field_is_perfect_whatever_its_numbers():
    true = np.arange(24, dtype=np.uint32).reshape(2, 3, 4) // 5
    table = table_of(true, np.where(true, true + 70, 0).astype(np.uint32))
    assert scores.segmentation_accuracy(table).tolist() == [1.0] * 10
    assert scores.panoptic_quality(table)["panoptic_quality"] == 1.0
    assert scores.adapted_rand_error(table)["adapted_rand_error"] == 0.0
    assert set(scores.variation_of_information(table).values()) == {0.0}


@given(fields)
def test_partners_are_those_of_a_full_assignment(pair):
    true, found = pair
    matrix, table = ious(true, found), table_of(true, found)
    best = matrix[linear_sum_assignment(matrix, maximize=True)].sum()
    a, b, shared, union = table.pairs()
    chosen = pairing.partners(a, b, shared / union)
    assert (shared / union)[chosen].sum() == pytest.approx(best)
    assert len(np.unique(a[chosen])) == len(np.unique(b[chosen])) == len(chosen)
    either = union[chosen].sum() + np.sum((true > 0) & ~np.isin(true, a[chosen]))
    either += np.sum((found > 0) & ~np.isin(found, b[chosen]))
    expected = shared[chosen].sum() / either if either else 1.0
    assert pairing.aggregated_jaccard(table) == pytest.approx(expected)


@given(fields)
def test_means_over_masks_are_those_of_the_definition(pair):
    matrix = ious(*pair)
    if not len(matrix):
        return
    above = [[v for v in row if v > 0.05] for row in matrix]
    means = pairing.mean_ious(table_of(*pair))
    best = [max(row, default=0.0) for row in matrix]
    assert means["best_iou"] == pytest.approx(np.mean(best))
    assert means["mean_overlap_iou"] == pytest.approx(np.mean([np.mean(v or [0.0]) for v in above]))
    strays = [np.mean(sorted(v)[:-1] or [0.0]) for v in above]
    assert means["stray_iou"] == pytest.approx(np.mean(strays))


@given(fields)
def test_the_adjusted_rand_index_is_that_of_scikit_learn(pair):
    metrics = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    expected = metrics.adjusted_rand_score(pair[0].ravel(), pair[1].ravel())
    assert pairing.adjusted_rand_index(table_of(*pair)) == pytest.approx(expected)
