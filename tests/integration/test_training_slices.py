"""Slices of several samples teach one network, others judge it, and labels that it has seen do not calibrate it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.traced import traced_peak
from tim3d.cli.main import main
from tim3d.errors import ArgumentError
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.crops import Slices, together
from tim3d.models.segmentation.training_record import Learnt, learnt_from

pytestmark = pytest.mark.usefixtures("forked_workers")
QUIET = tim3d.Options(progress=False)
TINY: dict[str, Any] = {
    "labels": "truth", "depth": 2, "decoder_channels": (8, 4), "epochs": 1, "steps": 2, "batch": 2, "crop": 16,
    "progress": False,
}  # fmt: skip
TWO = tim3d.Phases(pore=0, solid=1)


def made(folder: Path, name: str, shape: tuple[int, int, int], seed: int, edge: float = 10) -> str:
    """A sample of a grey value that tells the phases apart, but for some noise."""
    random, url = np.random.default_rng(seed), str(folder / f"{name}.zarr")
    truth = (np.indices(shape).sum(axis=0) // 5 % 2).astype(np.uint8)
    grey = (60 + 100 * truth + random.normal(0, 20, shape)).clip(0, 255).astype(np.uint8)
    for field, values, phases in (("raw", grey, None), ("truth", truth, TWO)):
        np.save(folder / "v.npy", values)
        tim3d.ingest(
            folder / "v.npy", url, field=field, phases=phases, voxel_size=dict.fromkeys("zyx", edge),
            shard=(4, 16, 16), options=QUIET,
        )  # fmt: skip
    return url


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("two")
    return made(folder, "a", (9, 26, 24), 1), made(folder, "b", (7, 20, 33), 2)


def sources(model: Path) -> tuple[Learnt, ...]:
    return learnt_from(checkpoint.describe(model).training)


@pytest.mark.long
@pytest.mark.parametrize("dimensions", [2, 3])
def test_slices_of_two_samples_are_learnt_from_and_others_judge(
    two: tuple[str, str], tmp_path: Path, dimensions: int
) -> None:
    first, second = two
    path = tmp_path / "m.safetensors"
    chosen = {
        "slices": slice(0, 5),
        "also": {second: slice(2, 6)},
        "validate": {"": slice(6, 9), second: slice(0, 2)},
    }
    tim3d.train(first, path, **TINY, dimensions=dimensions, **chosen)  # type: ignore[arg-type]
    one, other = sources(path)
    assert (one.learnt, one.judging) == ((0, 1, 2, 3, 4), (6, 7, 8))
    assert (other.learnt, other.judging) == ((2, 3, 4, 5), (0, 1))
    about = checkpoint.describe(path).training
    assert (about["training_slices"], about["validation_slices"]) == (9, 5)
    before = path.read_bytes()
    tim3d.train(first, path, **TINY, dimensions=dimensions, **chosen)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_the_shell_names_samples_with_their_slices(
    two: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(Path(two[0]).parent)
    line = [
        "train",
        "a.zarr",
        str(tmp_path / "m.safetensors"),
        "--labels",
        "truth",
        "--also",
        "b.zarr=0:3",
    ]
    assert main([*line, "--validate", "7:9,b.zarr=5:7", "--crop", "16", "--plan"]) == 0
    assert "10 slices of 26x24 of 2 samples, judged by 4 others" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.long
def test_joined_slices_are_held_once_beside_their_parts() -> None:
    """As the plan counts them: slices of other sizes are mirrored one part at a time."""
    scale = np.ones((1, 1), np.float32)
    parts = [
        Slices(np.zeros((1, 1, 99, n), np.uint8), np.zeros((1, 99, n), np.uint8), scale, scale)
        for n in range(100, 130)
    ]
    made = together(parts)
    assert traced_peak(lambda: together(parts)) < 1.5 * (made.images.nbytes + made.labels.nbytes)


def test_without_named_ones_the_last_slices_of_all_judge(
    two: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    tim3d.train(two[0], path, **TINY, also={two[1]: slice(None)})
    one, other = sources(path)
    assert (len(one.learnt), one.judging) == (9, ())
    assert (other.learnt, other.judging) == ((0, 1, 2, 3), (4, 5, 6))


@pytest.mark.long
def test_folds_are_networks_of_their_own_judged_by_what_they_have_not_seen(
    two: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.safetensors"
    with caplog.at_level(logging.INFO, "tim3d"):
        tim3d.train(two[0], path, **TINY, folds=2)
    folds = [tmp_path / f"m_fold_{n}_of_2.safetensors" for n in (1, 2)]
    ((one,), (other,)) = map(sources, folds)
    assert (one.judging, other.judging) == ((0, 1, 2, 3, 4), (5, 6, 7, 8))
    assert (one.learnt, other.learnt) == (other.judging, one.judging)
    scores = [checkpoint.describe(each).training["best_val_iou"] for each in folds]
    about = checkpoint.describe(path).training
    assert about["fold_iou"] == scores
    assert "mean IoU of 2 folds" in caplog.text
    for each in folds:
        each.unlink()
    tim3d.train(two[0], path, **TINY, folds=2)
    assert not any(each.exists() for each in folds)  # the file holds the scores


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slices": slice(0, 7), "validate": {"": slice(5, 9)}}, "slices 5 to 6 of"),
        ({"also": {"COPY": slice(0, 3)}}, "hold the same grey values, and slices 0 to 2"),
        ({"validate": {"COPY": slice(0, 3)}}, "hold the same grey values"),
        ({"also": {"SELF": slice(0, 3)}}, "--slices"),
        ({"also": {"COARSE": slice(None)}}, "20 x 20 x 20 nm"),
        ({"validate": {"": slice(20, 30)}}, "--validate 20:30"),
        ({"validate": {"": slice(None)}}, "0 slices are left"),
        ({"folds": 10}, "--folds 10"),
        ({"folds": 1}, "--folds 1"),
    ],
)
def test_what_judges_is_not_learnt_from(
    two: tuple[str, str], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    copy, coarse = str(tmp_path / "copy.zarr"), str(tmp_path / "coarse.zarr")
    if "COPY" in str(change):
        shutil.copytree(two[0], copy)
    if "COARSE" in str(change):
        coarse = made(tmp_path, "coarse", (4, 20, 20), 3, edge=20)
    named = {"COPY": copy, "SELF": two[0], "COARSE": coarse}
    for name in ("also", "validate"):
        if name in change:
            change = change | {name: {named.get(k, k): v for k, v in change[name].items()}}
    with pytest.raises(ArgumentError, match=words):
        tim3d.train(two[0], tmp_path / "m.safetensors", **TINY, **change)
    assert not (tmp_path / "m.safetensors").exists()


@pytest.fixture(scope="module")
def dropping(two: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with dropout that learnt from slices 0 to 4 of the first sample."""
    path = tmp_path_factory.mktemp("dropping") / "m.safetensors"
    validate = {"": slice(5, 7)}
    return tim3d.train(two[0], path, **TINY, slices=slice(0, 5), validate=validate, dropout=0.5)


@pytest.mark.long
@pytest.mark.parametrize("windows", [{}, {"window": (16, 16), "halo": 4}])
def test_no_block_shows_in_passes_with_dropout(
    two: tuple[str, str], dropping: Path, tmp_path: Path, windows: dict[str, Any]
) -> None:
    url = str(tmp_path / "a.zarr")
    shutil.copytree(two[0], url)
    how = {"model": dropping, "uncertainty": "dropout", "passes": 3, **windows}
    found = {}
    for name, block, more in (
        ("whole", (12, 32, 32), {}), ("parts", (4, 16, 16), {}), ("batches", (4, 32, 32), {"batch": 3}),
        ("other", (12, 32, 32), {"seed": 1}),
    ):  # fmt: skip
        tim3d.segment(
            url, out=name, **how, **more, options=tim3d.Options(progress=False, block=block)
        )
        maps = ("", "_mutual_information", "_probability_solid")
        found[name] = [tim3d.open_field(url, f"{name}{one}").values for one in maps]
    assert all(np.array_equal(a, b) for a, b in zip(found["whole"], found["parts"], strict=True))
    near = np.abs(found["whole"][2].astype(int) - found["batches"][2])
    assert near.max() <= 2  # another batch rounds otherwise; the same channels are dropped
    assert found["whole"][1].max() > 0
    assert not np.array_equal(found["whole"][2], found["other"][2])


def test_passes_of_a_network_without_dropout_are_refused(
    two: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    tim3d.train(two[0], path, **TINY)
    with pytest.raises(ArgumentError, match=r"--dropout 0\.2"):
        tim3d.segment(two[0], model=path, uncertainty="dropout", out="x", options=QUIET)
    with pytest.raises(ArgumentError, match="--passes changes nothing"):
        tim3d.segment(two[0], model=path, uncertainty="views", passes=3, out="x", options=QUIET)


@pytest.mark.long
def test_labels_that_were_learnt_do_not_calibrate(
    two: tuple[str, str], dropping: Path, tmp_path: Path
) -> None:
    url = str(tmp_path / "copy.zarr")
    shutil.copytree(two[0], url)
    tim3d.segment(url, model=dropping, uncertainty="dropout", passes=2, options=QUIET)
    with pytest.raises(ArgumentError, match=r"learnt from slices 0 to 4 of 'truth'.* --slices 5:9"):
        tim3d.calibrate(url, options=QUIET)
    tim3d.calibrate(url, slices=slice(5, 9), options=QUIET)
