"""The benchmark of instances finds every sphere, and rules that join blocks find another number for other blocks."""

from __future__ import annotations

import pytest

from benchmarks import instances


@pytest.mark.long
def test_every_whole_sphere_is_found_with_its_volume(capsys: pytest.CaptureFixture[str]) -> None:
    instances.main(["spheres", "--edge", "96"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(rows) == 12
    for row in rows:
        assert abs(float(row[3])) <= 1.0
        assert abs(float(row[6])) <= 3.0


@pytest.mark.long
def test_other_rules_depend_on_the_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    instances.main(["stitching", "--edge", "96"])
    _, *rows = capsys.readouterr().out.splitlines()
    for kind in ("touching labels", "shrunk by a voxel"):
        counts = {row.split(": ")[1].split(",")[0] for row in rows if kind in row}
        assert len(counts) > 1
