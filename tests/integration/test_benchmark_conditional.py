"""The study of a diffusion and a conditional GAN runs, small, and repeats no training that was finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

from benchmarks import conditional_study

TINY = [
    "--minutes", "0.01", "--seeds", "1", "--edge", "64", "--crop", "32", "--drawn", "64", "--count", "1",
]  # fmt: skip


@pytest.mark.long
def test_the_tables_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--folder", str(tmp_path), *TINY]
    conditional_study.main(command)
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.startswith("| flow, seed 1 |")]
    assert len(rows) == 2 + 4 + 2  # the costs twice, four groups, learnt and held-out conditions
    assert sum(line.startswith("| cgan, seed 1 |") for line in shown.splitlines()) == len(rows)
    learnt = (tmp_path / "learnt.csv").read_text()
    assert len(learnt.splitlines()) == 1 + 18 - len(conditional_study.HELD_OUT)
    for one in conditional_study.conditions():
        assert (f"{one.name}.tif" in learnt) != one.is_held_out
        first, second = (
            tifffile.imread(tmp_path / name / f"{one.name}.tif") for name in ("learnt", "others")
        )
        assert not np.array_equal(first, second)
    with Image.open(tmp_path / "study.png") as image:
        assert image.size == (3 * 68, 9 * 68)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-1/generator.safetensors")}
    conditional_study.main(command)
    assert all(path.stat().st_mtime_ns == age for path, age in files.items())
    assert len(files) == 2
