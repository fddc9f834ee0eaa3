"""The benchmark of mixed voxels runs: extrapolation is right where mixing along six faces is not."""

from __future__ import annotations

import pytest

from benchmarks import mixing


def test_slanted_layers_are_extrapolated_and_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    mixing.main(["--sizes", "16", "--contrasts", "10"])
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[3:]]
    errors = {name.strip(): abs(float(error)) for name, error in rows}
    for where in ("layers at 45°, along", "layers at 63°, normal", "layers at 63°, along"):
        assert errors[f"{where}: both, extrapolated"] < 1
        assert errors[f"{where}: mixed, on the coarse level"] > errors[f"{where}: every voxel"] > 2
    assert errors["layers at 0°, normal: mixed, on the coarse level"] < 0.01
