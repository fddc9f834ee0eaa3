"""Counts per plane and the reading of codes and cores."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.morphology.phase_mask import clamped, plane_counts


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plane_counts_equal_numpy(axis: int) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7), dtype=np.uint8)
    core = Box((1, 0, 2), (5, 4, 7))
    others = tuple(a for a in range(3) if a != axis)
    expected = np.isin(labels[core.slices], (1, 3)).sum(axis=others)
    assert np.array_equal(plane_counts(labels, (1, 3), axis, core), expected)


def test_a_wrong_axis_is_refused() -> None:
    with pytest.raises(ArgumentError, match="axis is 3"):
        plane_counts(np.zeros((2, 2, 2), np.uint8), [0], 3)


def test_clamped_indices_repeat_the_border() -> None:
    assert clamped(2, 4, 3, 5).tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
