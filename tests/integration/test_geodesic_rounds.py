"""A visit works in its neighbours' borders too: the same bits, in fewer rounds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi

import tim3d
from tim3d.kernels.geodesic.geodesic import distance
from tim3d.stages.geodesic import block_solver


def visits_of(text: str) -> dict[str, tuple[int, int]]:
    """Visits and rounds by kind, as the run tells them."""
    found = re.findall(r"/(\w+): (\d+) visits of \d+ blocks in (\d+) rounds", text)
    return {kind: (int(visits), int(rounds)) for kind, visits, rounds in found}


def test_deep_borders_give_the_same_bits_in_fewer_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    white = np.random.default_rng(3).standard_normal((60, 56, 40), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 2.0)
    labels = (smooth < np.quantile(smooth, 0.45)).astype(np.uint8)
    np.save(tmp_path / "phase.npy", labels)
    url, quiet = str(tmp_path / "a.zarr"), tim3d.Options(progress=False)
    tim3d.ingest(
        tmp_path / "phase.npy", url, voxel_size={"z": 1.0, "y": 1.0, "x": 1.0}, field="phase",
        phases=tim3d.Phases(solid=0, pore=1), shard=(30, 28, 40), options=quiet,
    )  # fmt: skip
    seeds = np.zeros_like(labels)
    seeds[0] = 1
    expected = np.nan_to_num(distance(labels, seeds), nan=-1.0)
    found = {}
    for depth in (2, 16):
        monkeypatch.setattr(block_solver, "DEPTH", depth)
        with caplog.at_level("INFO", "tim3d"):
            caplog.clear()
            options = tim3d.Options(progress=False, block=(30, 28, 40), overwrite=True)
            tim3d.geodesic(url, phases=["pore"], directions=["+z"], keep=True, options=options)
        np.testing.assert_array_equal(
            tim3d.open_field(url, "phase_geodesic_pore_z_up").values, expected
        )
        found[depth] = visits_of(caplog.text)
    assert found[16]["exact"][1] <= found[2]["exact"][1] / 2
    assert found[16]["exact"][0] < found[2]["exact"][0]
    assert found[16]["arrival"][1] <= found[2]["arrival"][1]
