"""A classifier from strokes: learnt from a few voxels, the same file and labels for any blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.models.segmentation.model_file import read_model, write_model
from tim3d.models.segmentation.stroke_forest import forest_in
from tim3d.phases import Phases
from tim3d.stages.shared.field import Options
from tim3d.storage import store

pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")
pytest.importorskip("torch", reason="model files are written by torch")
QUIET = Options(progress=False)
SHAPE, SIZE = (10, 40, 36), {"z": 10, "y": 5, "x": 5}
STROKES = Phases(unlabelled=0, fine=1, coarse=2)
SMALL = {"scales": [5.0, 10.0, 20.0], "trees": 12}


def volume() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey values of two textures with one mean, their truth (1, 2), and three strokes of each."""
    random = np.random.default_rng(0)
    truth = np.ones(SHAPE, np.uint8)
    truth[:, :, 18:] = 2
    fine, coarse = random.normal(size=SHAPE), ndimage.gaussian_filter(random.normal(size=SHAPE), 2)
    grey = np.where(truth == 1, fine, coarse / coarse.std())
    strokes = np.zeros(SHAPE, np.uint8)
    for z, y in ((2, 6), (4, 20), (7, 31)):
        strokes[z, y, 3:15], strokes[z, y, 21:33] = 1, 2
    return np.clip(128 + 35 * grey, 0, 255).astype(np.uint8), truth, strokes


def sample_in(folder: Path, name: str = "s.zarr", shard: tuple[int, int, int] = (4, 16, 16)) -> str:
    url = str(folder / name)
    for field, values in zip(("raw", "truth", "strokes"), volume(), strict=True):
        phases = None if field == "raw" else STROKES
        tifffile.imwrite(folder / "v.tif", values)
        tim3d.ingest(
            folder / "v.tif", url, field=field, phases=phases, voxel_size=SIZE, shard=shard, options=QUIET
        )  # fmt: skip
    return url


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("strokes")
    url = sample_in(folder)
    return url, tim3d.train_strokes(url, folder / "m.safetensors", **SMALL)


def test_strokes_teach_textures_that_no_threshold_tells_apart(trained: tuple[str, Path]) -> None:
    url, model = trained
    tim3d.segment(url, model=model, options=QUIET)
    tim3d.segment(url, method="otsu", phases=Phases(fine=1, coarse=2), out="otsu", options=QUIET)
    found = tim3d.evaluate(url, baseline="otsu", options=QUIET)
    assert float(found.iou_macro) > 0.8 > 0.5 > float(found.baseline_iou_macro)
    about = read_model(model).description
    assert about["training"]["voxels"] == [36, 36]
    assert about["training"]["out_of_bag"] > 0.9


@pytest.mark.long
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("block", [(4, 16, 16), (4, 48, 16), (12, 16, 48)])
def test_no_block_shows_in_labels_and_probabilities(
    trained: tuple[str, Path], tmp_path: Path, planar: bool, block: tuple[int, int, int]
) -> None:
    url, _ = trained
    model = tim3d.train_strokes(url, tmp_path / "m.safetensors", planar=planar, **SMALL)
    asked = {"model": model, "probabilities": True, "out": "b"}
    again = {"progress": False, "overwrite": True}
    whole = tim3d.segment(url, **asked, options=Options(block=(12, 48, 48), **again)).values
    sure = store.open_field(url, "b_probability_coarse").values
    parts = tim3d.segment(url, **asked, options=Options(block=block, **again)).values
    assert np.array_equal(whole, parts)
    assert np.array_equal(sure, store.open_field(url, "b_probability_coarse").values)
    clear = abs(sure - 127.5) > 1  # the class coarse has the code 1, and a tie goes to the first
    assert np.array_equal(whole[clear] == 1, sure[clear] > 127)


def test_the_file_does_not_depend_on_the_shards(trained: tuple[str, Path], tmp_path: Path) -> None:
    _, model = trained
    other = sample_in(tmp_path, shard=(8, 48, 24))
    again = tim3d.train_strokes(other, tmp_path / "m.safetensors", **SMALL)
    assert again.read_bytes() == model.read_bytes()
    few = {"most": 20, **SMALL}
    files = [
        tim3d.train_strokes(url, tmp_path / f"{n}.safetensors", **few).read_bytes()
        for n, url in enumerate((trained[0], other))
    ]
    assert files[0] == files[1] != model.read_bytes()


def test_the_same_training_is_kept_and_another_refused(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    url, model = trained
    before = model.stat().st_mtime_ns
    tim3d.train_strokes(url, model, **SMALL)
    assert model.stat().st_mtime_ns == before
    with pytest.raises(MixedRunError, match="holds another training"):
        tim3d.train_strokes(url, model, **{**SMALL, "trees": 13})
    with pytest.raises(MixedRunError, match="holds another training"):
        tim3d.train_strokes(url, model, labels="truth", **SMALL)
    scales = ["--scales", "5,10,20", "--trees", "12"]
    assert main(["train-strokes", url, str(model), *scales, "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out


def test_images_are_segmented_by_a_planar_forest(trained: tuple[str, Path], tmp_path: Path) -> None:
    url, model = trained
    (tmp_path / "images").mkdir()
    grey, truth, _ = volume()
    tifffile.imwrite(tmp_path / "images" / "a.tif", grey[5])
    with pytest.raises(CheckpointError, match="--planar"):
        tim3d.segment_images(tmp_path / "images", tmp_path / "masks", model=model)
    flat = tim3d.train_strokes(url, tmp_path / "flat.safetensors", planar=True, **SMALL)
    with pytest.raises(ArgumentError, match="--device changes nothing"):
        tim3d.segment_images(tmp_path / "images", tmp_path / "masks", model=flat, device="cpu")
    tim3d.segment_images(
        tmp_path / "images",
        tmp_path / "masks",
        model=flat,
        phases=Phases(fine=1, coarse=2),
        format="tif",
    )
    found = tifffile.imread(tmp_path / "masks" / "a.tif")
    assert (found == truth[5]).mean() > 0.7


def test_bad_strokes_and_files_are_refused_in_one_line(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    url, model = trained
    target = tmp_path / "m.safetensors"
    tifffile.imwrite(tmp_path / "one.tif", np.where(volume()[2] == 1, 1, 0).astype(np.uint8))
    tim3d.ingest(
        tmp_path / "one.tif",
        url,
        field="one",
        phases=STROKES,
        voxel_size=SIZE,
        shard=(4, 16, 16),
        options=QUIET,
    )
    with pytest.raises(InputError, match="no stroke of coarse"):
        tim3d.train_strokes(url, target, labels="one")
    with pytest.raises(ArgumentError, match="not ascending"):
        tim3d.train_strokes(url, target, scales=[10.0, 5.0])
    with pytest.raises(ArgumentError, match="--trees 0"):
        tim3d.train_strokes(url, target, trees=0)
    with pytest.raises(ArgumentError, match="--batch changes nothing"):
        tim3d.segment(url, model=model, batch=2)
    file = read_model(model)
    tensors = file.tensors()
    tensors["child"][0] = 10**6
    write_model(target, "strokes", tensors, file.description)
    with pytest.raises(CheckpointError, match="holds no forest"):
        forest_in(read_model(target))
    write_model(target, "strokes", file.tensors(), {"classes": ["a"]})
    with pytest.raises(CheckpointError, match="does not describe"):
        tim3d.segment(url, model=target)
