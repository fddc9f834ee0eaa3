"""The benchmark of stitched inference runs, tiny."""

from __future__ import annotations

import pytest

from benchmarks import inference


@pytest.mark.long
def test_the_table_has_a_row_for_every_way_of_laying_windows(capsys):
    inference.main(["--slices", "2", "--edge", "64", "--repeats", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.endswith("% |")]
    assert [row.split(" | ")[0] for row in rows] == [
        "| whole slices",
        "| windows 32, crop, halo 8",
        "| windows 32, blend, overlap 16",
    ]
    assert all(float(row.split(" | ")[2]) > 0 for row in rows)
