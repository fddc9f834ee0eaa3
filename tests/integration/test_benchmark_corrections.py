"""The benchmark of corrections runs, tiny, so that it cannot rot."""

from __future__ import annotations

import pytest

from benchmarks import corrections


@pytest.mark.long
def test_defects_print_a_row_for_each_way_and_severity(capsys: pytest.CaptureFixture[str]) -> None:
    corrections.main(["defects", "brightness", "--shape", "4,32,40"])
    out = capsys.readouterr().out
    for name in ("without the defect", "0.05: uncorrected", "0.2: brightness", "none: skimage"):
        assert f"| {name}" in out


@pytest.mark.long
def test_tilt_prints_a_row_for_each_angle(capsys: pytest.CaptureFixture[str]) -> None:
    corrections.main(["tilt", "--shape", "4,40,40"])
    out = capsys.readouterr().out
    assert out.count("resampled") == 3
