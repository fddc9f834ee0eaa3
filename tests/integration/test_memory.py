"""What a worker really needs stays below what the plan says, for every pass of every verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.generators import Network
from tim3d.kernels.generation.architecture import preset
from tim3d.models.generation.export import GeneratorDescription, save_generator
from tim3d.models.generation.slicegan import Generator

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 20, "y": 5, "x": 5}
PHASES = tim3d.Phases(pore=0, solid=1)


def peaks(sample: str) -> dict[str, tuple[int, int]]:
    """Measured and planned peak of every pass."""
    notes = [
        json.loads(path.read_text()) for path in Path(f"{sample}.runs").rglob("summary-*.json")
    ]
    return {note["name"]: (note["peak_bytes"], note["planned_peak_bytes"]) for note in notes}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_every_pass_stays_below_its_plan(tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, (128, 96, 96), dtype=np.uint8), 8, axis=1).repeat(
        8, axis=2
    )
    grey = 60 + 100 * truth + rng.integers(0, 30, truth.shape, dtype=np.uint8)
    np.save(tmp_path / "grey.npy", grey.astype(np.uint8))
    np.save(tmp_path / "labels.npy", truth)
    del grey, truth
    sample = str(tmp_path / "a.zarr")
    model = tiny_checkpoint(tmp_path / "net.safetensors")
    with tim3d.cluster("local", workers=workers) if workers else tim3d.cluster("serial"):
        tim3d.ingest(tmp_path / "grey.npy", sample, voxel_size=SIZE, options=QUIET)
        tim3d.ingest(
            tmp_path / "labels.npy",
            sample,
            voxel_size=SIZE,
            field="truth",
            phases=PHASES,
            options=QUIET,
        )
        tim3d.annotate(sample, options=QUIET)
        tim3d.segment(
            sample, method="otsu", phases=PHASES, out="otsu", blur="binomial", options=QUIET
        )
        tim3d.segment(
            sample, model=model, window=(256, 256), halo=32, probabilities=True, options=QUIET
        )
        tim3d.measure(sample, field="truth", options=QUIET)
        tim3d.evaluate(sample, field="otsu", options=QUIET)
    above = {name: pair for name, pair in peaks(sample).items() if pair[0] > pair[1]}
    assert not above


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tile"), [("demo", 256), ("paper", 128), ("demo-resize", 128)])
def test_generated_volumes_stay_below_their_plan(tmp_path: Path, name: str, tile: int) -> None:
    """A worker of its own, whose memory holds nothing else; no worker needs 2 GiB."""
    architecture, sample = preset(name), str(tmp_path / "a.zarr")
    about = GeneratorDescription(architecture, (1.0, 1.0, 1.0), PHASES)
    weights = tmp_path / "gen.safetensors"
    save_generator(weights, Generator(architecture).eval(), about)
    shape = (tile, tile, 2 * tile)
    with tim3d.cluster("local", workers=1):
        tim3d.generate(
            sample, Network(weights, seed=1, tile=tile, device="cpu"), shape=shape, options=QUIET
        )
    found = peaks(sample)
    assert {name: pair for name, pair in found.items() if pair[0] > pair[1]} == {}
    assert found["phase/s0"][1] < 2**31
