"""The tables of phantoms and of chunkings are made, small; errors fall as they should."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from benchmarks import chunkings, phantoms


def test_an_error_that_falls_with_the_square_has_the_order_2() -> None:
    falling = np.array([[16.0, 16.4, 15.6], [4.1, 4.0, 3.9], [1.0, 1.05, 0.95]])
    assert phantoms.order(falling, [6, 12, 24]) == pytest.approx(2)
    scattered = np.array([[0.2, -0.1, 0.1], [0.1, -0.2, 0.1]])
    assert math.isnan(phantoms.order(scattered, [6, 12]))


@pytest.mark.long
def test_the_ball_and_the_tube_come_nearer_to_their_closed_forms() -> None:
    tight = {
        "ball": {"volume": 0.01, "surface (Crofton)": 0.02, "S2 at r = 1": 0.02, "mean chord": 0.02},
        "tube": {"r_max, neck": 0.1, "percolation radius, no neck": 0.1},
    }  # fmt: skip
    for name, bounds in tight.items():
        one = phantoms.PHANTOMS[name]
        found = phantoms.errors(one, [4, 8], 2)
        assert set(found) == set(one.truths)
        for quantity, bound in bounds.items():
            assert abs(found[quantity][-1].mean()) < bound, quantity
        thin = np.abs(found["mean distance"].mean(axis=1))
        assert thin[1] < 0.6 * thin[0]


@pytest.mark.long
def test_every_phantom_has_a_row_for_each_quantity(capsys: pytest.CaptureFixture[str]) -> None:
    phantoms.main(["--voxels", "3,4", "--seeds", "2"])
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 + sum(len(one.truths) for one in phantoms.PHANTOMS.values())
    assert "| phantom | quantity | closed form | n = 3 | n = 4 | ± | order |" in out


@pytest.mark.slow
def test_chunkings_differ_and_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, (6, 6, 6)).repeat(5, 0).repeat(5, 1).repeat(5, 2) * 127
    tifffile.imwrite(tmp_path / "threephase-100.tiff", values.astype(np.uint8))
    cut = chunkings.chunkings(28)
    assert len({str(block) for block in cut}) == len(cut) == 5
    monkeypatch.setattr(chunkings, "chunkings", lambda edge: cut[:2])
    chunkings.main([str(tmp_path), "--volumes", "threephase-100", "--edge", "28"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| three")]
    assert {row.split("`")[1] for row in rows} >= {
        "component", "phase_distance", "phase_thickness", "phase_descriptors", "phase_components",
        "phase_porosimetry_phase=pore", "phase_geodesic_phases=pore",
    }  # fmt: skip
    assert all(row.endswith("| to the last bit |") for row in rows)


def test_a_difference_is_seen() -> None:
    one = xr.Dataset({"a": ("x", [1.0, 2.0, np.nan]), "n": ("x", [1, 2, 3])})
    assert chunkings.difference(one, one.copy(deep=True)) == 0
    other = one.assign(a=("x", [1.0, 2.0 + 2e-9, np.nan]))
    assert chunkings.difference(one, other) == pytest.approx(1e-9)
    assert chunkings.difference(one, one.assign(n=("x", [1, 2, 4]))) == math.inf
    assert chunkings.difference(one, one.drop_vars("n")) == math.inf
    assert chunkings.row("v", "n", 5, [0.0, 1e-9]) == "| v | `n` | 5 | within 1.0e-09 |"
