"""Networks in the verb generate: blocks, workers and deaths change no bit; what is kept of them; bad input is named."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tim3d
from tests.generators import SPACING, TINY, field_of, giant, saved, tiny_generator
from tests.unit.test_official import written
from tests.works import dying_at
from tim3d.cli.main import main
from tim3d.engine import Ledger
from tim3d.errors import CheckpointError, MemoryPlanError, MixedRunError
from tim3d.grid import Box
from tim3d.models.generation.synthesis import NetworkField
from tim3d.stages.generation.generate import generate as shell_form
from tim3d.stages.generation.volume import GenerateWork
from tim3d.storage import store

SHAPE = (37, 45, 37)
SHARD = (16, 16, 16)
QUIET = tim3d.Options(progress=False)
KINDS = ["two phases", "three phases", "resize", "official resize"]


@pytest.fixture
def weights(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of the architecture that the test names (default: two phases)."""
    return saved(tmp_path, TINY[getattr(request, "param", "two phases")])[0]


def made(
    sample: Path, weights: Path, options: tim3d.Options = QUIET, verb: Any = shell_form, **more: Any
) -> Any:
    arguments = {"shape": SHAPE, "seed": 3, "shard": SHARD, "tile": 16, "device": "cpu", **more}
    return verb(str(sample), kind="network", weights=weights, options=options, **arguments)


def planned(*arguments: Any, **named: Any) -> Any:
    return made(*arguments, verb=shell_form.plan, **named)


def blocks(*edges: int, **more: Any) -> tim3d.Options:
    return tim3d.Options(progress=False, block=edges, **more)  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("weights", KINDS, indirect=True)
def test_any_blocks_give_the_giant_pass(tmp_path: Path, weights: Path, request: Any) -> None:
    whole = made(tmp_path / "whole.zarr", weights, blocks(48, 64, 64))
    parts = made(tmp_path / "parts.zarr", weights, blocks(32, 32, 16))
    assert np.array_equal(whole.values, parts.values)
    expected = 2 * giant(tiny_generator(TINY[request.node.callspec.params["weights"]]), SHAPE) + 1
    assert (whole.values != expected).sum() <= 1
    assert not np.array_equal(whole.values, made(tmp_path / "other.zarr", weights, seed=4).values)


@pytest.mark.long
def test_any_workers_give_the_same(tmp_path: Path, two_workers: str) -> None:
    files = {name: saved(tmp_path / name, TINY[name])[0] for name in KINDS}
    alone = {name: made(tmp_path / f"{name}.zarr", file).values for name, file in files.items()}
    with tim3d.cluster(two_workers):
        for name, file in files.items():
            shared = made(tmp_path / f"{name} shared.zarr", file, blocks(16, 32, 32))
            assert np.array_equal(alone[name], shared.values), name


def test_tiles_are_part_of_the_record_and_not_of_the_labels(tmp_path: Path, weights: Path) -> None:
    first, second = made(tmp_path / "a.zarr", weights), made(tmp_path / "b.zarr", weights, tile=24)
    assert (first.values != second.values).sum() <= 1
    with pytest.raises(MixedRunError, match="tile was 16, now 24"):
        made(tmp_path / "a.zarr", weights, tile=24)


def test_a_run_that_died_goes_on(tmp_path: Path, weights: Path) -> None:
    expected = made(tmp_path / "whole.zarr", weights).values
    sample = tmp_path / "a.zarr"
    with dying_at(GenerateWork, 5):
        made(sample, weights, blocks(16, 32, 32))
    (plan, *_) = planned(sample, weights, blocks(16, 32, 32))
    assert (plan.blocks, plan.left) == (12, 8)
    assert np.array_equal(made(sample, weights, blocks(16, 32, 32)).values, expected)
    assert planned(sample, weights) == []


# Runs the command line, and kills itself before the sixth block is written.
KILLED = """
import os, sys
from tim3d.cli.main import main
from tim3d.stages.generation import volume
write, calls = volume.GenerateWork.write, []
def dying(*arguments):
    calls.append(1)
    return write(*arguments) if len(calls) < 6 else os.kill(os.getpid(), 9)
volume.GenerateWork.write = dying
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_process_that_was_killed_is_followed_by_another(tmp_path: Path, weights: Path) -> None:
    """The real thing: SIGKILL between two blocks, then the command once more."""
    command = [
        sys.executable, "-m", "tim3d", "generate", str(tmp_path / "a.zarr"), "--kind", "network", "--weights",
        str(weights), "--shape", "37,45,37", "--seed", "3", "--shard", "16,16,16", "--tile", "16",
        "--block", "16,32,32", "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    died = subprocess.run(
        [sys.executable, "-c", KILLED, *command[3:]], env=environment, check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    expected = made(tmp_path / "calm.zarr", weights).values
    assert np.array_equal(store.open_field(str(tmp_path / "a.zarr"), "phase").values, expected)


def test_a_periodic_volume_continues_itself(tmp_path: Path, weights: Path) -> None:
    shape = (32, 48, 40)
    labels = made(tmp_path / "a.zarr", weights, shape=shape, periodic=True).values
    period = tuple(n // 8 for n in shape)
    field = field_of(saved(tmp_path, TINY["two phases"]), TINY["two phases"], shape, 16, period)  # type: ignore[arg-type]
    beyond = 2 * field.labels(Box((-8, -8, -8), (40, 56, 48))) + 1
    assert (beyond != np.pad(labels, 8, mode="wrap")).sum() <= 1
    assert not np.array_equal(labels, made(tmp_path / "b.zarr", weights, shape=shape).values)


def test_what_is_kept_of_a_volume(tmp_path: Path, weights: Path) -> None:
    sample = tmp_path / "a.zarr"
    labels = made(sample, weights)
    record = store.node_attributes(str(sample), "phase")
    told = record["parameters"]
    assert record["inputs"] == {"weights": saved(tmp_path, TINY["two phases"])[1]}
    assert told["architecture"]["channels"] == [5, 8, 6, 2]
    assert {k: told[k] for k in ("seed", "period", "precision", "tile", "device", "threads")} == {
        "seed": 3, "period": [0, 0, 0], "precision": "float32", "tile": 16, "device": "cpu", "threads": 1,
    }  # fmt: skip
    assert told["torch"] == torch.__version__
    assert store.complete_field(str(sample), "phase").phases == tim3d.Phases(phase0=1, phase1=3)
    assert tuple(float(labels[a][1] - labels[a][0]) for a in "zyx") == SPACING
    ledger = Ledger(str(sample), "phase/s0", record["fingerprint"])
    assert sum(ledger.record(i)["voxels"]["3"] for i in ledger.done()) == int(
        (labels.values == 3).sum()
    )
    moved = weights.rename(tmp_path / "moved.safetensors")
    assert np.array_equal(made(sample, moved).values, labels.values)


def test_a_volume_is_ready_to_measure(tmp_path: Path, weights: Path) -> None:
    sample = tmp_path / "a.zarr"
    labels = made(sample, weights).values
    found = tim3d.measure(str(sample), descriptors=["phase_fraction"], options=QUIET)
    assert float(found.phase_fraction.sel(phase="phase1")) == pytest.approx(
        (labels == 3).mean(), abs=1e-12
    )


@pytest.mark.parametrize("weights", ["grey"], indirect=True)
def test_grey_values_are_a_raw_field(tmp_path: Path, weights: Path) -> None:
    grey = made(tmp_path / "a.zarr", weights, blocks(16, 32, 32))
    assert grey.name == "raw"
    assert grey.dtype == np.uint8
    expected = giant(tiny_generator(TINY["grey"]), SHAPE)
    assert np.abs(grey.values.astype(int) - expected).max() <= 1
    assert np.array_equal(
        grey.values, made(tmp_path / "b.zarr", weights, blocks(48, 64, 64), out="raw").values
    )


@pytest.mark.parametrize("weights", ["colour"], indirect=True)
def test_colours_are_three_fields(tmp_path: Path, weights: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    assert made(tmp_path / "a.zarr", weights, blocks(16, 32, 32)).name == "raw_red"
    names = ("raw_red", "raw_green", "raw_blue")
    found = np.stack([store.open_field(sample, name).values for name in names])
    expected = giant(tiny_generator(TINY["colour"]), SHAPE)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len({values.tobytes() for values in found}) == 3


def test_a_changed_file_stops_a_run_that_was_planned_with_another(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = NetworkField.labels

    def changed(self: NetworkField, box: Box) -> np.ndarray:
        saved(tmp_path, TINY["two phases"], tiny_generator(TINY["two phases"], seed=9))
        return plain(self, box)

    monkeypatch.setattr(NetworkField, "labels", changed)
    with pytest.raises(CheckpointError, match="the run was planned with"):
        made(tmp_path / "a.zarr", weights, seed=77)
    assert not (tmp_path / "a.zarr").exists()


def test_the_plan_says_what_a_run_would_be(
    tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tim3d")
    (plan, *_) = planned(tmp_path / "a.zarr", weights)
    assert "tiny: transposed, 5-8-6-2 channels, 0.01 M parameters" in caplog.text
    assert (
        "a node every 8 voxels; a crop of 16 voxels from 4 nodes; n nodes give 8 n - 16 voxels"
        in caplog.text
    )
    assert "no dependence at 22 voxels or more" in caplog.text
    assert (
        "nothing is correlated beyond 264 nm along z, 220 nm along y, 176 nm along x" in caplog.text
    )
    assert "7x8x7 nodes of 5 channels; tiles of 16 voxels from 4 nodes an edge" in caplog.text
    assert plan.block == (48, 48, 48)
    assert not (tmp_path / "a.zarr").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path, weights: Path) -> None:
    with (
        tim3d.cluster("serial", memory_bytes=2**29),
        pytest.raises(MemoryPlanError, match=r"phase/s0 needs .* a worker has 0\.50 GiB"),
    ):
        made(tmp_path / "a.zarr", weights, shape=(2048, 2048, 2048), shard=None)
    assert not (tmp_path / "a.zarr").exists()


def test_blocks_that_cut_tiles_and_other_voxels_are_pointed_out(
    tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planned(tmp_path / "a.zarr", weights, blocks(16, 16, 16), tile=32)
    assert (
        "cut tiles of 32 voxels, which are then computed several times; use --block" in caplog.text
    )
    planned(tmp_path / "a.zarr", weights, blocks(16, 16, 16), voxel_size={"z": 12, "y": 5, "x": 8})
    assert "(12.0, 5.0, 8.0) nm are asked for (z, y, x): the structure is scaled" in caplog.text


WRONG = [
    (2, [], "--kind network needs --weights"),
    (3, ["--weights", "none.safetensors"], "cannot read the checkpoint"),
    (3, ["--weights", "README.md"], "is not a checkpoint of tim3d"),
    (2, ["--weights", "{}", "--loading", "0.3"], "--kind network has no use for --loading"),
    (2, ["--weights", "{}", "--tile", "20"], "multiples of 8 voxels; give for example --tile 16"),
    (
        2,
        ["--weights", "{}", "--periodic"],
        r"multiples of 8 voxels, not \(20, 30, 40\); give --shape 16,32,40",
    ),
    (
        2,
        ["--weights", "{}", "--precision", "float16", "--device", "cpu"],
        "float16 needs a CUDA device",
    ),
    (2, ["--weights", "{}", "--seed", "-1"], "--seed -1 is not between 0 and 2"),
    (2, ["--weights", "{}", "--voxel-size", "0,1,1"], "every edge must be a positive length"),
    (2, ["--weights", "{}", "--shape", "0,1,1"], "argument --shape: is given twice"),
]


@pytest.mark.parametrize(("code", "words", "says"), WRONG)
def test_bad_input_is_one_clear_error(
    tmp_path: Path, weights: Path, capsys: Any, code: int, words: list[str], says: str
) -> None:
    sample = tmp_path / "a.zarr"
    filled = [str(weights) if word == "{}" else word for word in words]
    found = _code(["generate", str(sample), "--kind", "network", "--shape", "20,30,40", *filled])
    text = capsys.readouterr().err
    assert found == code, text
    assert re.search(says, text), text
    assert "Traceback" not in text
    assert not sample.exists()


def _code(line: list[str]) -> int:
    try:
        return main(line)
    except SystemExit as end:  # of the parser
        return int(end.code or 0)


def test_an_official_resize_is_not_periodic_and_laws_need_a_voxel_size(
    tmp_path: Path, capsys: Any
) -> None:
    weights = saved(tmp_path, TINY["official resize"])[0]
    command = ["generate", str(tmp_path / "a.zarr"), "--shape", "24,24,24"]
    assert main([*command, "--kind", "network", "--weights", str(weights), "--periodic"]) == 2
    assert "not a whole number of voxels" in capsys.readouterr().err
    assert (
        main([*command, "--kind", "field", "--fractions", "a=0.5,b=0.5", "--correlation-nm", "50"])
        == 2
    )
    assert "--kind field needs --voxel-size" in capsys.readouterr().err


def test_an_official_checkpoint_becomes_a_volume(tmp_path: Path) -> None:
    checkpoint, _ = written(tmp_path, resizes=True)
    weights, sample = str(tmp_path / "gen.safetensors"), str(tmp_path / "a.zarr")
    words = ["import-generator", str(checkpoint), weights, "--voxel-size", "12,10,8", "--quiet"]
    assert main(words) == 2
    assert main([*words, "--phases", "pore=0,solid=1"]) == 0
    command = [
        "generate",
        sample,
        "--kind",
        "network",
        "--weights",
        weights,
        "--shape",
        "24,24,24",
        "--quiet",
    ]
    assert main(command) == 0
    record = store.node_attributes(sample, "phase")["parameters"]
    assert record["architecture"]["kind"] == "official-resize"
    assert record["whole"] == [5, 5, 5]
