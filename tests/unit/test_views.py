"""Views of a volume: the way back gives the same bits, and boxes go with their voxels."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.grid import Box
from tim3d.kernels.windows.views import views


@pytest.mark.parametrize("view", views(square=True), ids=lambda view: view.name or "plain")
def test_a_view_and_its_way_back(view) -> None:
    shape = (2, 5, 7)
    values = np.random.default_rng(0).random(shape)
    box = Box((0, 1, 2), (2, 4, 7))
    seen = view.of(values)
    assert seen.shape == view.shape(shape)
    assert (view.back(seen) == values).all()
    assert (view.back(seen[view.box(box, shape).slices]) == values[box.slices]).all()
    assert view.box_back(view.box(box, shape), shape) == box


def test_the_eight_views_differ() -> None:
    values = np.arange(12).reshape(1, 3, 4)
    assert (
        len({view.of(values).tobytes() + bytes(view.shape(values.shape)) for view in views(True)})
        == 8
    )
