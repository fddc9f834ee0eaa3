"""The recipe of prompts from a checkpoint to a taught network, as a user runs it, with a tiny random SAM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.promptable import saved_folder
from tim3d import Options, Phases
from tim3d.cli.main import main
from tim3d.storage import store

RECIPE = Path(__file__).parents[2] / "pipelines" / "prompted.toml"
SHAPE = (6, 48, 64)
SHORT = (
    "fine_tune.steps=4", "fine_tune.every=2", "train.epochs=1", "train.steps=2", "train.batch=2",
    # A random network expects little of its masks.
    "by_prompts.masks=objects:iou=0,stability=0,smallest=4,largest=1500",
)  # fmt: skip


@pytest.mark.long
def test_the_recipe_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng, (rows, columns) = np.random.default_rng(0), np.indices(SHAPE[1:])
    truth = np.zeros(SHAPE, bool)
    for plane in truth:
        for x in (16, 46):
            plane |= np.hypot(rows - rng.integers(14, 34), columns - x) <= 8
    drawn = truth * (np.arange(SHAPE[0]) < 3)[:, None, None]
    fields = {"raw": np.where(truth, 200, 60) + rng.integers(-9, 10, SHAPE), "annotation": drawn}
    for name, values in fields.items():
        np.save("v.npy", values.astype(np.uint8))
        phases = Phases(none=0, grain=1) if name == "annotation" else None
        tim3d.ingest(
            "v.npy", "piece.zarr", voxel_size={"z": 10, "y": 5, "x": 5}, field=name, phases=phases,
            options=Options(progress=False),
        )  # fmt: skip
    saved_folder("sam", tmp_path / "sam")
    tim3d.import_network("sam", "sam.safetensors")
    given = [word for one in ("sample=piece.zarr", *SHORT) for word in ("--set", one)]
    assert main(["run", str(RECIPE), *given, "--plan"]) == 0
    assert not Path("tuned.safetensors").exists()
    assert main(["run", str(RECIPE), *given]) == 0
    assert {"by_prompts", "by_prompts_objects", "phase"} <= set(store.fields("piece.zarr"))
    labels = tim3d.open_field("piece.zarr", "by_prompts")
    assert labels.attrs["flag_meanings"] == "background object"
    assert 0 < float((labels.values == 1).mean()) < 1
    assert Path("taught.safetensors").exists()
    before = Path("taught.safetensors").stat().st_mtime_ns
    assert main(["run", str(RECIPE), *given]) == 0  # nothing is left to do
    assert Path("taught.safetensors").stat().st_mtime_ns == before
