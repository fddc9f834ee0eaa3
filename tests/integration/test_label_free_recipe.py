"""The recipe of labels from a simulated structure, as a user runs it, at a small size and for one epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.conftest import ROOT
from tim3d.cli.main import main
from tim3d.storage import store

pytest.importorskip("sklearn", reason="likeness needs scikit-learn: pip install 'tim3d[likeness]'")
RECIPE = str(ROOT / "pipelines" / "label_free.toml")
SMALL = (
    "simulate.shape=[16,96,96]", "generate.shape=[40,80,80]", "likeness.crop=16", "likeness.relabellings=20",
    "train.epochs=1", "train.steps=4", "train.crop=32",
)  # fmt: skip
MADE = Path("demo/label_free")
CU, STRUCTURE = str(MADE / "cu.zarr"), str(MADE / "structure.zarr")
# The second network of the head of the recipe.
NEXT = (
    "train.field=like_stack", f"train.model={MADE}/stack.safetensors", f"segment.model={MADE}/stack.safetensors",
    "segment.out=by_stack", "evaluate.field=by_stack", "measure.field=by_stack",
)  # fmt: skip


def typed(*settings: str) -> list[str]:
    return ["run", RECIPE, *(word for one in (*SMALL, *settings) for word in ("--set", one))]


@pytest.mark.long
def test_the_recipe_runs_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*typed(), "--plan"]) == 0
    assert not list(tmp_path.iterdir())
    assert main(typed()) == 0
    # Each rung: its histogram ends at that of the stack.
    found = tim3d.open_dataset(STRUCTURE, "likeness")
    assert [*found["field"].values] == ["raw", "like_spectrum", "like_stack"]
    apart = found["value"].sel(quantity="histogram_distance").values
    assert np.isfinite(apart).all()
    assert apart[2] < min(apart[:2])
    assert "Likeness to a real stack" in (MADE / "likeness.html").read_text()
    assert (MADE / "report.html").stat().st_size > 10_000
    assert set(tim3d.open_field(CU, "phase").attrs["flag_meanings"].split()) == {"pore", "solid"}
    # Nothing is left to do; a second network leaves all that is there as it is.
    capsys.readouterr()
    network = MADE / "network.safetensors"
    before = network.stat().st_mtime_ns, store.node_attributes(CU, "phase")
    for settings in ((), NEXT):
        assert main(typed(*settings)) == 0
        assert (network.stat().st_mtime_ns, store.node_attributes(CU, "phase")) == before
    assert {"phase", "by_stack", "by_otsu", "truth"} <= set(store.fields(CU))
    assert (MADE / "stack.safetensors").exists()
