"""Spreads and errors of few values by hand: a sum of squares is divided by the degrees of freedom that are left."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tim3d.kernels.statistics import comparison, representative
from tim3d.stages.images.measure_images import described


def test_the_error_of_an_imprint_pools_the_planes_of_a_residue() -> None:
    planes = np.array([[0.1], [0.4], [0.3], [0.5], [0.2], [0.9]])
    found = comparison.imprint([planes], 2)
    # Means 0.2 and 0.6; squares 0.02 and 0.14 about them, 6 - 2 degrees of freedom, 3 planes each.
    assert found.profile.ravel() == pytest.approx([0.2, 0.6])
    assert found.span[0] == pytest.approx(0.4)
    assert found.error[0] == pytest.approx(math.sqrt(0.16 / 4 / 3))
    # Of two means about their own, one degree of freedom is left.
    assert found.ratio[0] == pytest.approx(math.sqrt(0.08) / math.sqrt(0.16 / 4 / 3))
    both = comparison.imprint([planes, planes + 0.2], 2)
    assert both.profile.ravel() == pytest.approx([0.3, 0.7])
    assert both.error[0] == pytest.approx(math.sqrt(0.32 / 10 / 6))


def test_the_error_of_a_seam_counts_faces_and_planes_elsewhere() -> None:
    found = comparison.seams([np.array([0.1, 0.3, 0.1, 0.1, 0.2, 0.5, 0.3])], 2, None)
    off = np.array([0.1, 0.1, 0.2, 0.3])
    ratio = 0.3 / off.mean()
    scatter = math.sqrt(((off - off.mean()) ** 2).sum() / 3) / off.mean()
    assert (found.ratio, found.faces) == (pytest.approx(ratio), 3)
    assert found.error == pytest.approx(scatter * math.sqrt(1 / 3 + ratio**2 / 4))


def test_the_spread_between_windows_is_that_of_a_sample() -> None:
    found = representative.spread(np.array([1.0, 2.0, 4.0, np.inf]))
    assert (found.count, found.excluded) == (3, 1)
    assert found.mean == pytest.approx(7 / 3)
    assert found.deviation == pytest.approx(math.sqrt(14 / 3 / 2))
    assert found.error == pytest.approx(found.deviation / math.sqrt(3))
    assert found.relative == pytest.approx(2 * found.deviation / found.mean)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_counts_to_both_sides(sign: int) -> None:
    """Windows that lie too low are as wrong as those that lie too high."""
    spreads = [
        representative.Spread(64, 0, 1.0 + sign * off, 0.01, 0.001) for off in (0.2, 0.05, 0.0)
    ]
    judged = representative.judge(spreads, 0.1)
    assert judged.within_bias == (False, True, True)
    assert judged.smallest == 1


def test_features_that_the_border_cuts_have_no_diameter() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:4, 2:5] = mask[8:12, 8:12] = mask[14:18, 20:26] = True  # 6, 16 and 24 pixels
    mask[0, 20:29] = True  # cut
    found = described(mask, (2.0, 3.0), 8)
    diameters = [math.sqrt(4 / math.pi * pixels * 6) for pixels in (6, 16, 24)]
    assert (found["features"], found["features_cut"]) == (4, 1)
    assert found["diameter_mean"] == pytest.approx(np.mean(diameters))
    assert found["diameter_median"] == pytest.approx(diameters[1])
    assert found["diameter_sd"] == pytest.approx(np.std(diameters, ddof=1))
    assert found["area_fraction"] == pytest.approx(55 / 600)
