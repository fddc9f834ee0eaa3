"""Statistics of grey values along the axes of a volume with voxels of three lengths, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.stages.comparison.grey_counts import greys_of

SPACING = (20.0, 5.0, 8.0)
LAGS = ((1, 2), (1, 3), (1, 4))


def test_steps_squares_and_planes_follow_their_definitions_along_every_axis() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 7, 9)).astype(np.uint8)
    found, values = greys_of(grey, LAGS, SPACING), grey.astype(float)
    assert found.shares == pytest.approx(np.bincount(grey.ravel(), minlength=256) / grey.size)
    for axis, lags in enumerate(LAGS):
        one = np.moveaxis(values, axis, 0)
        assert found.squares[axis] == pytest.approx(
            [np.mean((one[lag:] - one[:-lag]) ** 2) for lag in lags]
        )
        steps = np.abs(np.diff(one, axis=0))
        assert found.step[axis] == pytest.approx(steps.mean() / SPACING[axis])
        assert found.changes[axis] == pytest.approx(steps.mean((1, 2)))
        assert found.planes[axis][:, 0] == pytest.approx(one.mean((1, 2)) / 255)
