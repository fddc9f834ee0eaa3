"""The benchmark of diffusion runs, small."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

from benchmarks import diffusion


@pytest.mark.long
def test_the_figures_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    diffusion.main(
        ["measure", "--network", "volumes", "--edge", "8", "--steps", "1", "--tile", "16"]
    )
    shown = capsys.readouterr().out
    assert shown.startswith("volumes mean, 8^3, ")
    assert "us a voxel and pass; peak " in shown
