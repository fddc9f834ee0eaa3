"""A network of volumes is trained, resumed and used like one of slices, and no block shows in its labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.nets import tiny_checkpoint_3d
from tim3d.engine import Plan
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.unet_3d import UNet3DSpec, steps_for
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

QUIET = tim3d.Options(progress=False)
TINY: dict[str, Any] = {
    "dimensions": 3, "depth": 2, "decoder_channels": (4, 2), "epochs": 2, "steps": 2, "batch": 2, "crop": 16,
    "labels": "truth", "progress": False,
}  # fmt: skip
LAYOUTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "crop": {"window": (8, 16, 16), "halo": 4},
    "blend": {"window": (8, 16, 16), "halo": 4, "mode": "blend"},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stack with its truth; its shape divides by nothing, its voxels are twice as long in z."""
    folder = tmp_path_factory.mktemp("stack")
    tim3d.simulate(folder, shape=(21, 45, 37), correlation_nm=60, progress=False)
    made = str(tmp_path_factory.mktemp("whole") / "sample.zarr")
    shared: dict[str, Any] = {"voxel_size": {"z": 20, "y": 10, "x": 10}, "shard": (8, 16, 16)}
    shared |= {"options": QUIET}
    np.save(folder / "grey.npy", grey_of(folder / "slices"))
    np.save(folder / "truth.npy", grey_of(folder / "truth"))
    tim3d.ingest(folder / "grey.npy", made, **shared)
    two = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(folder / "truth.npy", made, field="truth", phases=two, **shared)
    return Path(made)


def grey_of(folder: Path) -> np.ndarray:
    """Slices of a folder as one array."""
    import tifffile

    return np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif*"))])


@pytest.fixture
def sample(whole: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(whole, tmp_path / whole.name)
    return str(tmp_path / whole.name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint_3d(tmp_path_factory.mktemp("net") / "net.safetensors")


@pytest.mark.long
@pytest.mark.parametrize(
    "layout", ["crop", *(pytest.param(one, marks=pytest.mark.long) for one in ("whole", "blend"))]
)
def test_every_block_gives_the_same_labels_and_probabilities(
    sample: str, model: Path, layout: str
) -> None:
    names = ["phase", "phase_probability_pore", "phase_probability_solid"]
    found = []
    for block in ((24, 48, 48), (8, 16, 32), (16, 32, 16)):
        options = tim3d.Options(block=block, progress=False, overwrite=True)
        tim3d.segment(sample, model=model, probabilities=True, options=options, **LAYOUTS[layout])
        found.append([np.asarray(store.field_array(sample, name)[:]) for name in names])
    for other in found[1:]:
        for one, again in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, again)
    assert len(np.unique(found[0][0])) == 2


@pytest.mark.long
def test_workers_give_the_same_labels(sample: str, model: Path, two_workers: str) -> None:
    layout = LAYOUTS["crop"]
    tim3d.segment(sample, model=model, options=QUIET, **layout)
    small = tim3d.Options(block=(8, 16, 16), progress=False)
    with tim3d.cluster(two_workers):
        tim3d.segment(sample, model=model, out="again", options=small, **layout)
    first, again = (np.asarray(store.field_array(sample, name)[:]) for name in ("phase", "again"))
    np.testing.assert_array_equal(first, again)


def test_a_training_is_recorded_repeated_and_told_from_others(sample: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    tim3d.train(sample, path, **TINY)
    about = checkpoint.describe(path)
    assert about.kind == "unet-3d"
    assert about.spec == UNet3DSpec(
        ("pore", "solid"), steps_for((20.0, 10.0, 10.0), 2), (2, 4, 8), "batch"
    )
    before = path.read_bytes()
    tim3d.train(sample, path, **TINY)
    assert path.read_bytes() == before
    tim3d.train(sample, tmp_path / "second.safetensors", **TINY)
    assert (tmp_path / "second.safetensors").read_bytes() == before
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.train(sample, path, **TINY | {"every": 2})
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.train(sample, path, **TINY | {"dimensions": 2, "crop": 16})


def test_a_killed_training_ends_with_the_same_bytes(sample: str, tmp_path: Path) -> None:
    """A state after one of two epochs is where a killed training goes on."""
    from tim3d.models.common.training_run import Schedule, carry_out
    from tim3d.models.segmentation.crops import Augmentation
    from tim3d.models.segmentation.crops_3d import prepare_stack
    from tim3d.models.segmentation.training_3d import UNet3DTraining
    from tim3d.models.segmentation.training_options import TrainingOptions

    grey, truth = (np.asarray(store.field_array(sample, name)[:]) for name in ("raw", "truth"))
    scale = checkpoint.Normalisation("volume", (120.0,), (50.0,))
    stack = prepare_stack(grey, truth, 2, scale)
    spec = UNet3DSpec(("pore", "solid"), ((1, 2, 2),), (2, 4))
    options = TrainingOptions(2, 2, 2, 16, augmentation=Augmentation(), device="cpu")
    training = UNet3DTraining(stack, spec, options, scale, (20.0, 10.0, 10.0))
    training.carry_out(tmp_path / "whole.safetensors")
    state = tmp_path / "cut.safetensors.state"
    half = Schedule(1, 1, patience=options.patience, unit="epoch")
    carry_out(training, tmp_path / "cut.safetensors", half, state=state, device="cpu")
    assert state.exists()
    training.carry_out(tmp_path / "cut.safetensors")
    whole, cut = (tmp_path / f"{name}.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    assert not state.exists()


def test_slices_that_are_left_out_are_seen_but_not_learnt(sample: str, tmp_path: Path) -> None:
    """Every fourth slice is labelled: the last of them are held out."""
    path = tmp_path / "net.safetensors"
    tim3d.train(sample, path, **TINY | {"every": 4})
    record = checkpoint.describe(path).training
    assert (record["training_slices"], record["validation_slices"]) == (5, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"context": 1}, "--context changes nothing with --dimensions 3"),
        ({"encoder": "resnet34"}, "--encoder changes nothing with --dimensions 3"),
        ({"architecture": "Linknet"}, "--architecture changes nothing"),
        ({"decoder_channels": (8, 4, 2)}, "depth 2 needs 2 decoder channels"),
        ({"depth": 0, "decoder_channels": None}, "depth 0 needs"),
    ],
)
def test_what_a_network_of_volumes_has_not_is_refused(
    sample: str, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        tim3d.train(sample, tmp_path / "net.safetensors", **TINY | given)
    assert not (tmp_path / "net.safetensors").exists()


def test_windows_must_fit_the_network(sample: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="sees boxes, not windows of"):
        tim3d.segment(sample, model=model, window=(16, 16), options=QUIET)
    with pytest.raises(ArgumentError, match="window 7 along z is not a multiple"):
        tim3d.segment(sample, model=model, window=(7, 16, 16), halo=4, options=QUIET)
    from tests.nets import tiny_checkpoint

    flat = tiny_checkpoint(tmp_path / "flat.safetensors")
    with pytest.raises(ArgumentError, match="a network of slices sees windows y,x"):
        tim3d.segment(sample, model=flat, window=(8, 16, 16), options=QUIET)


def test_a_single_image_has_no_volume(model: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "one.png")
    with pytest.raises(CheckpointError, match="looks at volumes, and a single image is none"):
        tim3d.segment_images(tmp_path / "one.png", tmp_path / "out", model=model)


def test_the_plan_knows_the_memory_of_boxes(sample: str, model: Path) -> None:
    with tim3d.cluster("serial"):
        small, large = (
            tim3d.plan("segment", sample, model=model, window=window, halo=4)[0]
            for window in ((8, 16, 16), (16, 64, 64))
        )
    assert isinstance(small, Plan)
    assert isinstance(large, Plan)
    assert small.peak_bytes < large.peak_bytes
