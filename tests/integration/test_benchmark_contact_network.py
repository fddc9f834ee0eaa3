"""The benchmark of a network for contacts runs, and sensitivities add up to 1."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from benchmarks import contact_network

pytestmark = pytest.mark.slow


def test_two_tables(capsys: pytest.CaptureFixture[str]) -> None:
    contact_network.main(["--train", "16", "--test", "2", "--steps", "4", "--seeds", "1"])
    shown = capsys.readouterr().out
    for name in ("law", "regression on law and pressure", "network, seed 0", "occlusion"):
        assert f"| {name} |" in shown


def test_the_shares_of_columns_are_those_of_the_whole_resistance() -> None:
    example = contact_network.solved(3)
    assert example.sensitivity.sum() == pytest.approx(1, abs=1e-4)
    inside = example.sensitivity[example.touching].mean()
    assert inside > 2 * example.sensitivity[~example.touching].mean()
    assert np.exp(example.log_area) == pytest.approx(example.touching.mean())
