"""Two trainings never write into one place: the second is refused, a dead one's lock is taken over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import tim3d
from tests.micrographs import blobs
from tests.processes import holder_of
from tim3d.cli.main import main
from tim3d.kernels.generation.architecture import PRESETS, Architecture

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
QUIET = tim3d.Options(progress=False)
SMALL = Architecture("small", "transposed", (8, 32, 16, 2), (2, 2, 3), (16, 32))

# A file that begins like a model: another kind of file is never replaced.
THEIRS = b"\0" * 8 + b'{"__metadata__":{"sha256":"theirs'


def network(folder: Path) -> tuple[list[str], Path]:
    """A command that trains a network, and the file that it writes."""
    labels = np.repeat(blobs(32, 1.2)[None], 4, axis=0).astype(np.uint8)
    size, sample = {"z": 10, "y": 10, "x": 10}, str(folder / "a.zarr")
    for name, values, phases in (
        ("raw", 200 * labels, None),
        ("truth", labels, tim3d.Phases(pore=0, solid=1)),
    ):
        np.save(folder / f"{name}.npy", values)
        tim3d.ingest(
            folder / f"{name}.npy",
            sample,
            voxel_size=size,
            field=name,
            phases=phases,
            options=QUIET,
        )
    small = ["--depth", "2", "--epochs", "1", "--steps", "1", "--batch", "1", "--crop", "32"]
    model = folder / "unet.safetensors"
    return ["train", sample, str(model), "--labels", "truth", *small, "--quiet"], model


def generator(folder: Path) -> tuple[list[str], Path]:
    """A command that trains a generator, and the file that it writes."""
    tifffile.imwrite(folder / "image.tif", blobs(96, 1.2) * 255)
    small = [
        "--preset",
        "small",
        "--steps",
        "1",
        "--every",
        "1",
        "--batch",
        "1",
        "--slices",
        "1",
        "--critic-steps",
        "1",
    ]
    asked = [
        "--phases",
        "pore=0,solid=255",
        "--pixel-size",
        "10",
        "--device",
        "cpu",
        "--out",
        str(folder / "out"),
    ]
    return [
        "train-generator",
        str(folder / "image.tif"),
        *asked,
        *small,
        "--quiet",
    ], folder / "out" / "generator.safetensors"


@pytest.mark.long
@pytest.mark.parametrize("training", [network, generator])
def test_a_second_training_is_refused_and_a_dead_one_holds_nothing(
    training: Callable[[Path], tuple[list[str], Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(PRESETS, "small", SMALL)
    command, model = training(tmp_path)
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(THEIRS)
    with holder_of(model) as other:
        assert main([*command, "--overwrite"]) == 4
        assert f"{model} is being written by process {other.pid}" in capsys.readouterr().err
        assert model.read_bytes() == THEIRS
        other.kill()
        other.wait()
        assert main([*command, "--overwrite"]) == 0
    assert model.read_bytes() != THEIRS
    assert not Path(f"{model}.runs").exists()


@pytest.mark.parametrize(("rank", "first"), [(None, True), ("0", True), ("1", False)])
def test_one_of_the_processes_of_a_training_holds_its_lock(
    rank: str | None, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tim3d.models.common.distributed import is_first

    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_first() == first
