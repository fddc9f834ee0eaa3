"""Whatever byte of a finished sample is changed: each reader refuses it in one line, or says what it said before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import flips


def test_changed_bytes_of_voxels_results_and_markers_are_refused_or_change_no_answer(tmp_path: Path) -> None:
    found, wrong = flips.try_flips(tmp_path, 14, seed=2, of=("chunk", "marker", "run"))
    assert wrong == []
    assert found["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_changed_bytes_are_refused_or_change_no_answer(tmp_path: Path) -> None:
    _, wrong = flips.try_flips(tmp_path, 200, seed=3)
    assert wrong == []
