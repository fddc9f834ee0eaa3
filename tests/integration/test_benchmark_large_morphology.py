"""The benchmark of a gigavoxel of morphology runs, tiny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from benchmarks import large_morphology


def test_three_phases_are_made_slab_by_slab_and_do_not_repeat(tmp_path: Path) -> None:
    large_morphology.make_labels(tmp_path / "a.npy", (60, 160, 150))
    labels = np.load(tmp_path / "a.npy")
    assert np.bincount(labels.ravel()) / labels.size == pytest.approx((0.42, 0.40, 0.18), abs=0.1)
    (period, _), (_, other) = large_morphology.PERIODS[0][1:], large_morphology.PERIODS[1][1:]
    assert (labels[:, period:] != labels[:, :-period]).mean() > 0.2
    assert (labels[..., other:] != labels[..., :-other]).mean() > 0.2


def test_a_voxel_that_differs_shows_in_the_digests(tmp_path: Path) -> None:
    values = zarr.create_array(tmp_path / "a.zarr/s0/a", data=np.zeros((40, 3, 3), np.uint8))
    before = large_morphology.digests(str(tmp_path / "a.zarr"))
    assert list(before) == ["s0/a"]
    values[39, 2, 2] = 1
    assert large_morphology.digests(str(tmp_path / "a.zarr")) != before


@pytest.mark.slow
def test_every_command_has_a_row_with_its_memory_below_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "distance,label,thickness,particles,skeleton,curvature,active_boundary"
    large_morphology.main([str(tmp_path), "--shape", "24,40,40", "--only", asked])
    out = capsys.readouterr().out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 7
    assert all(0 < float(row[4]) < float(row[5].removesuffix(" |")) for row in rows)
    assert "ABOVE" not in out
