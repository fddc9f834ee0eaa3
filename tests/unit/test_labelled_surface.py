"""The surface in labelled slices: pairs of neighbours along all directions, weighted as in the volume."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.morphology.boundary_bands import NONE
from tim3d.kernels.morphology.surface import DIRECTIONS, pair_areas
from tim3d.stages.uncertainty.labelled_surface import areas_between, areas_within

SPACING = (3.0, 1.0, 2.0)


def test_areas_are_those_of_unequal_labelled_pairs_one_by_one() -> None:
    random = np.random.default_rng(0)
    pair = random.choice(np.array([0, 1, 2, NONE], np.uint8), (2, 5, 4))
    within, between = np.zeros(3), np.zeros(3)
    for (dz, dy, dx), area in zip(DIRECTIONS, pair_areas(SPACING), strict=True):
        for z, y, x in np.ndindex(pair.shape):
            end = (z + dz, y + dy, x + dx)
            if not all(0 <= k < n for k, n in zip(end, pair.shape, strict=True)):
                continue
            one, other = pair[z, y, x], pair[end]
            if one != other and NONE not in (one, other):
                target = between if dz else within
                target[one] += area
                target[other] += area
    found = sum(areas_within(one, SPACING, 3) for one in pair)
    assert found == pytest.approx(within, rel=1e-12)
    assert areas_between(pair[0], pair[1], SPACING, 3) == pytest.approx(between, rel=1e-12)
