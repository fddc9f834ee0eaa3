"""Annotate, train and segment through the store: what is learnt, what is refused, what is not done twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.segmentation import checkpoint
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

QUIET = tim3d.Options(progress=False)
TINY = {
    "depth": 2,
    "decoder_channels": (8, 4),
    "epochs": 2,
    "steps": 2,
    "batch": 2,
    "crop": 32,
    "progress": False,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack")
    tim3d.simulate(folder, shape=(20, 64, 64), correlation_nm=100, progress=False)
    return folder


@pytest.fixture(scope="module")
def whole(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack and its truth as a sample."""
    made = str(tmp_path_factory.mktemp("whole") / "sample.zarr")
    tim3d.ingest(stack / "slices", made, voxel_size={"z": 20}, shard=(8, 32, 32), options=QUIET)
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        stack / "truth",
        made,
        voxel_size={"z": 20},
        field="truth",
        phases=phases,
        shard=(8, 32, 32),
        options=QUIET,
    )
    return Path(made).parent


@pytest.fixture
def sample(whole: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "sample.zarr")


def error_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str]:
    """Exit code and the one line on standard error."""
    capsys.readouterr()
    code = main([*arguments, "--quiet"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_labels_without_a_pen_beat_the_threshold(sample: str) -> None:
    tim3d.annotate(sample, options=QUIET)
    tim3d.segment(
        sample, method="otsu", phases=tim3d.Phases(pore=0, solid=1), out="otsu", options=QUIET
    )
    merge = {"shine_through": "pore"}
    hybrid = tim3d.evaluate(sample, field="annotation", merge=merge, options=QUIET)
    otsu = tim3d.evaluate(sample, field="otsu", options=QUIET)
    assert float(hybrid.iou_macro) > float(otsu.iou_macro)


def test_annotation_does_not_depend_on_the_blocks(sample: str, two_workers: str) -> None:
    tim3d.annotate(sample, options=QUIET)
    first = np.asarray(store.field_array(sample, "annotation")[:])
    other = tim3d.Options(progress=False, block=(24, 64, 64), overwrite=True)
    with tim3d.cluster(two_workers):
        tim3d.annotate(sample, options=other)
    np.testing.assert_array_equal(store.field_array(sample, "annotation")[:], first)


@pytest.mark.long
def test_a_finished_training_is_not_done_again_and_another_is_refused(
    sample: str, stack: Path, tmp_path: Path
) -> None:
    model = tmp_path / "unet.safetensors"
    tim3d.train(sample, model, labels="truth", **TINY)  # type: ignore[arg-type]
    before = (model.read_bytes(), model.stat().st_mtime_ns)
    tim3d.train(sample, model, labels="truth", **TINY)  # type: ignore[arg-type]
    assert (model.read_bytes(), model.stat().st_mtime_ns) == before
    other = f"{tmp_path}/other-spacing.zarr"
    tim3d.ingest(stack / "slices", other, voxel_size={"z": 40}, shard=(8, 32, 32), options=QUIET)
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        stack / "truth", other, voxel_size={"z": 40}, field="truth", phases=phases, options=QUIET
    )
    with pytest.raises(MixedRunError, match="another training"):  # the same voxels of another size
        tim3d.train(other, model, labels="truth", **TINY)  # type: ignore[arg-type]
    with pytest.raises(MixedRunError, match=r"another training.*--overwrite"):
        tim3d.train(sample, model, labels="truth", **{**TINY, "seed": 1})  # type: ignore[arg-type]
    tim3d.train(sample, model, labels="truth", overwrite=True, **{**TINY, "seed": 1})  # type: ignore[arg-type]
    assert checkpoint.describe(model).training["seed"] == 1


@pytest.mark.long
def test_a_model_knows_its_sample(sample: str, tmp_path: Path) -> None:
    model = tmp_path / "unet.safetensors"
    tim3d.train(sample, model, labels="truth", slices=slice(2, 18), every=2, context=1, **TINY)  # type: ignore[arg-type]
    about = checkpoint.describe(model)
    assert about.spec.classes == ("pore", "solid")
    assert about.spec.in_channels == 3
    assert about.spacing_nm == store.read_field(sample, "raw").spacing_nm
    voxels = np.asarray(store.field_array(sample, "raw")[:])
    assert about.normalisation.mean[0] == pytest.approx(voxels.mean())
    assert about.normalisation.std[0] == pytest.approx(voxels.std())
    labels = tim3d.segment(sample, model=model, options=QUIET)
    assert set(np.unique(labels.values)) <= {0, 1}


def test_training_slices_are_those_of_the_store(sample: str) -> None:
    from tim3d.stages.segmentation import training_sources as train

    grey = store.read_field(sample, "raw")
    voxels = np.asarray(store.field_array(sample, "raw")[:])
    images = train.read_images(sample, grey, [0, 7, 19], context=1)
    expected = [voxels[[1, 0, 1]], voxels[[6, 7, 8]], voxels[[18, 19, 18]]]
    np.testing.assert_array_equal(images, np.stack(expected))


def test_a_network_with_other_classes_is_refused(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_checkpoint(tmp_path / "three.safetensors", classes=("pore", "solid", "resin"))
    code, line = error_line(
        capsys, ["segment", sample, "--model", str(model), "--phases", "pore=0,solid=1"]
    )
    assert code == CheckpointError.exit_code == 3
    assert "has 3 classes (pore, solid, resin), and 2 phases are named (pore, solid)" in line
    assert "phase" not in store.nodes(sample)


def test_a_changed_byte_is_refused(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_checkpoint(tmp_path / "net.safetensors")
    data = bytearray(model.read_bytes())
    data[-5] ^= 1
    model.write_bytes(data)
    code, line = error_line(capsys, ["segment", sample, "--model", str(model)])
    assert code == 3
    assert "is damaged" in line
    assert "phase" not in store.nodes(sample)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "nowhere.safetensors"], 3, "cannot read the checkpoint nowhere.safetensors"),
        ([], 2, "needs either a network"),
        (["--method", "otsu"], 2, "thresholds need names for the phases"),
        (
            ["--method", "otsu", "--phases", "a=0,b=1,c=2"],
            2,
            "otsu gives 2 classes, and 3 phases are named",
        ),
        (["--method", "fixed", "--phases", "a=0,b=1"], 2, "--thresholds go with --method fixed"),
    ],
)
def test_bad_arguments_of_segment(
    sample: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    seen, line = error_line(capsys, ["segment", sample, *arguments])
    assert (seen, message in line) == (code, True), line
    assert "phase" not in store.nodes(sample)


def test_windows_must_fit_the_network(sample: str, tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "net.safetensors")
    with pytest.raises(
        ArgumentError,
        match="halo 6 along y is not a multiple of the network's total stride 4; use 8",
    ):
        tim3d.segment(sample, model=model, window=(32, 32), halo=6, options=QUIET)
    with pytest.raises(ArgumentError, match="whole slices have no seams"):
        tim3d.segment(sample, model=model, mode="blend", options=QUIET)
    with pytest.raises(ArgumentError, match="--merge names 'resin'"):
        tim3d.segment(sample, model=model, merge={"resin": "pore"}, options=QUIET)


@pytest.mark.long
def test_a_plan_knows_the_memory_of_the_network(sample: str, tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "net.safetensors")
    with tim3d.cluster("local", workers=1):
        plans = tim3d.segment.plan(sample, model=model)
        assert "phase" not in store.nodes(sample)
        tim3d.segment(sample, model=model, options=QUIET)
    assert isinstance(plans, list)
    runs = Path(f"{sample}.runs/phase/s0")
    import json

    (summary,) = (json.loads(p.read_text()) for p in runs.rglob("summary-*.json"))
    assert summary["peak_bytes"] <= summary["planned_peak_bytes"]


def test_three_phases_by_thresholds_and_blur(sample: str) -> None:
    grey = np.asarray(store.field_array(sample, "raw")[:])
    phases = tim3d.Phases(dark=3, middle=5, bright=9)
    fixed = tim3d.segment(
        sample, method="fixed", thresholds=[80, 140], phases=phases, options=QUIET
    )
    np.testing.assert_array_equal(
        fixed.values, np.asarray([3, 5, 9])[np.digitize(grey, [80, 140], right=True)]
    )
    flipped = tim3d.segment(
        sample,
        method="fixed",
        thresholds=[80, 140],
        phases=phases,
        polarity="bright",
        out="flipped",
        options=QUIET,
    )
    np.testing.assert_array_equal(
        flipped.values, np.asarray([9, 5, 3])[np.digitize(grey, [80, 140], right=True)]
    )
    for out, block in (("a", (8, 32, 32)), ("b", (24, 64, 64))):
        options = tim3d.Options(progress=False, block=block)
        tim3d.segment(
            sample, method="multi-otsu", phases=phases, blur="binomial", out=out, options=options
        )
    np.testing.assert_array_equal(
        store.field_array(sample, "a")[:], store.field_array(sample, "b")[:]
    )


PREDICTED, TRUE = tim3d.Phases(pore=2, filler=7, solid=4), tim3d.Phases(solid=0, pore=1, filler=5)


@pytest.fixture
def compared(tmp_path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """A sample of two label fields with other codes, and the places of their phases among the names of the truth."""
    rng, size = np.random.default_rng(0), {"z": 2, "y": 1, "x": 1}
    true = rng.integers(0, 3, (6, 9, 8))
    predicted = np.where(rng.random(true.shape) < 0.7, true, rng.integers(0, 3, true.shape))
    for name, places, phases in (("phase", predicted, PREDICTED), ("truth", true, TRUE)):
        codes = np.array([phases[one] for one in TRUE.names], np.uint8)
        np.save(tmp_path / "labels.npy", codes[places])
        url = str(tmp_path / "s.zarr")
        tim3d.ingest(
            tmp_path / "labels.npy",
            url,
            voxel_size=size,
            field=name,
            phases=phases,
            shard=(4, 8, 8),
            options=QUIET,
        )
    return url, predicted, true


def counted(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.array(
        [[int(((true == i) & (predicted == j)).sum()) for j in range(3)] for i in range(3)]
    )


@pytest.mark.parametrize(
    "slices", [slice(None), slice(1, 3), slice(4, None), slice(0, 1), slice(-2, None)]
)
def test_an_evaluation_of_slices_is_that_of_those_slices(
    compared: tuple[str, np.ndarray, np.ndarray], slices: slice
) -> None:
    url, predicted, true = compared
    found = tim3d.evaluate(url, slices=slices, options=QUIET)
    assert found.truth.values.tolist() == found.predicted.values.tolist() == list(TRUE.names)
    np.testing.assert_array_equal(found.confusion.values, counted(predicted[slices], true[slices]))
    assert float(found.accuracy) == pytest.approx((predicted[slices] == true[slices]).mean())
    if slices != slice(None):
        assert float(found.accuracy) != float(tim3d.evaluate(url, options=QUIET).accuracy)


@pytest.mark.parametrize("phase", TRUE.names)
def test_an_evaluation_speaks_of_every_phase(
    compared: tuple[str, np.ndarray, np.ndarray], phase: str
) -> None:
    url, predicted, true = compared
    place = TRUE.names.index(phase)
    p, t = predicted == place, true == place
    hit, false, missed = (p & t).sum(), (p & ~t).sum(), (~p & t).sum()
    found = tim3d.evaluate(url, options=QUIET).sel(phase=phase)
    assert float(found.iou) == pytest.approx(hit / (hit + false + missed))
    assert float(found.dice) == pytest.approx(2 * hit / (2 * hit + false + missed))
    assert float(found.precision) == pytest.approx(hit / (hit + false))
    assert float(found.recall) == pytest.approx(hit / (hit + missed))


@pytest.mark.long
def test_a_merged_class_has_the_code_of_what_it_counts_as(sample: str, tmp_path: Path) -> None:
    net = tiny_checkpoint(tmp_path / "net.safetensors", ("void", "rim", "solid"))
    apart = tim3d.segment(
        sample, model=net, phases=tim3d.Phases(void=9, rim=5, solid=3), out="apart", options=QUIET
    ).values  # fmt: skip
    assert set(np.unique(apart)) == {3, 5, 9}
    for merged, into, code in (
        ("rim", "solid", 3),
        ("rim", "void", 9),
        ("solid", "void", 9),
        ("void", "solid", 3),
    ):
        names = {"void": 9, "rim": 5, "solid": 3}
        phases = tim3d.Phases(**{name: number for name, number in names.items() if name != merged})
        found = tim3d.segment(
            sample,
            model=net,
            merge={merged: into},
            phases=phases,
            out=f"{merged}_{into}",
            options=QUIET,
        )
        np.testing.assert_array_equal(found.values, np.where(apart == names[merged], code, apart))


def test_the_same_thresholds_with_the_other_polarity_are_another_field(sample: str) -> None:
    dark = {
        "method": "fixed",
        "thresholds": [100],
        "phases": tim3d.Phases(pore=0, solid=1),
        "options": QUIET,
    }
    first = tim3d.segment(sample, **dark).values
    with pytest.raises(MixedRunError, match="polarity"):
        tim3d.segment(sample, polarity="bright", **dark)
    np.testing.assert_array_equal(tim3d.open_field(sample, "phase").values, first)


@pytest.mark.parametrize("method", ["otsu", "multi-otsu"])
def test_every_voxel_up_to_a_threshold_is_darker_however_many_greys_there_are(
    tmp_path: Path, method: str
) -> None:
    """More than 256 grey values, and more than multi-Otsu tells apart: groups of them are cut after their last."""
    modes = np.random.default_rng(3).choice([9000.0, 30000.0, 52000.0], (6, 40, 40))
    grey = (modes + np.random.default_rng(4).normal(0, 2500, modes.shape)).astype(np.uint16)
    assert len(np.unique(grey)) > 4096
    np.save(tmp_path / "grey.npy", grey)
    url = str(tmp_path / "s.zarr")
    tim3d.ingest(
        tmp_path / "grey.npy",
        url,
        voxel_size={"z": 1, "y": 1, "x": 1},
        shard=(4, 16, 16),
        options=QUIET,
    )
    names = (
        tim3d.Phases(pore=0, solid=1)
        if method == "otsu"
        else tim3d.Phases(pore=0, matrix=1, solid=2)
    )
    labels = tim3d.segment(url, method=method, phases=names, options=QUIET).values
    cuts = store.node_attributes(url, "phase")["parameters"]["thresholds"]
    np.testing.assert_array_equal(labels, np.digitize(grey, cuts, right=True))
    for code, cut in enumerate(cuts):
        assert (
            grey[labels == code].max() == cut
        )  # a grey value that occurs, the last of the darker ones


def test_the_verb_trains_as_the_kernel_says_it_does_by_default() -> None:
    import dataclasses
    import inspect

    from tim3d.models.segmentation.training import TrainingOptions
    from tim3d.stages.segmentation.train import CROPS

    verb = inspect.signature(tim3d.train).parameters
    shared = [f for f in dataclasses.fields(TrainingOptions) if f.name in verb]
    assert len(shared) > 8
    # What is left out follows from the kernel; the edge of a crop is another one for boxes of voxels.
    given = {f.name: verb[f.name].default for f in shared} | {"crop": CROPS[2]}
    said = {name: value for name, value in given.items() if value is not None}
    assert said == {f.name: f.default for f in shared if f.name in said}
    assert set(given) - set(said) == {"loss", "class_weights"}
