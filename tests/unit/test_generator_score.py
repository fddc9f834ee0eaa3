"""The score by which networks are chosen, of layers whose statistics are known."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.statistics.generator_score import Lines, Target


def test_the_score_counts_a_tenth_of_the_surface() -> None:
    """Two layers across z: along z a third of the neighbours are of each phase, and a third differ."""
    layers = np.repeat([0, 0, 1, 1], 16).reshape(4, 4, 4).astype(np.uint8)
    nothing = Target((0, 1), Lines(np.zeros((3, 2, 2)), np.full((3, 2), 1.0)))
    found = nothing.errors([layers, layers])
    assert found["fraction_error"] == pytest.approx(0.5)
    assert found["s2_error"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert found["surface_error"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found["score"] == pytest.approx(0.5 + 4 / 9 + 0.1 * 8 / 9)
    # The mean over volumes is judged: what is too much in one makes up for what another lacks.
    half = Target((0, 1), Lines(np.full((3, 2, 2), 0.5), np.full((3, 2), 1e-9)))
    whole = [np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), np.uint8)]
    assert half.errors(whole)["fraction_error"] == pytest.approx(0.0)
