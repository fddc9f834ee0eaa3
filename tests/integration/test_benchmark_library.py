"""The benchmark of a library runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import library
from tests.micrographs import blobs

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")


@pytest.mark.slow
def test_micrographs_become_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "alloy.npy", blobs(96, 2.0))
    given = [str(tmp_path / "images"), str(tmp_path / "out")]
    library.main([*given, "--steps", "1", "--volumes", "1", "--edge", "32"])
    shown = capsys.readouterr().out
    assert "alloy" in shown
    assert "within MicroLib's 90 % quantile" in shown
    assert (tmp_path / "out" / "library.html").is_file()
