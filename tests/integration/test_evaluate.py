"""Segmentations beside the truth: against scikit-learn, in any blocks, with voxels that have no truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from sklearn import metrics

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError
from tim3d.phases import Phases
from tim3d.stages.shared.field import Options

QUIET = Options(progress=False)
SHAPE, SIZE = (9, 21, 17), {"z": 20, "y": 5, "x": 10}
PHASES, TRUE = Phases(pore=0, solid=1, ring=4), Phases(pore=3, solid=2, ring=0, unlabelled=9)
CODES = np.array(TRUE.codes)


def blobs(seed: int) -> np.ndarray:
    """Three classes 0, 1, 2 in smooth blobs."""
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    for axis in range(3):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    return np.searchsorted(np.quantile(noise, [0.4, 0.8]), noise).astype(np.uint8)


def made(folder: Path) -> tuple[str, dict[str, np.ndarray]]:
    """A sample with a truth, of which a part has none, labels, and a baseline; classes by name."""
    true = blobs(0)
    labels = np.where(np.random.default_rng(1).random(SHAPE) < 0.2, blobs(2), true)
    baseline = np.where(np.random.default_rng(3).random(SHAPE) < 0.4, blobs(4), true)
    codes = {"phase": np.take([0, 1, 4], labels), "other": np.take([0, 1, 4], baseline)}
    codes["truth"] = np.where(
        np.random.default_rng(5).random(SHAPE) < 0.3, 9, np.take([3, 2, 0], true)
    )
    codes["truth"][2] = 9
    url = str(folder / "s.zarr")
    for name, values in codes.items():
        tifffile.imwrite(folder / f"{name}.tif", values.astype(np.uint8))
        phases = TRUE if name == "truth" else PHASES
        tim3d.ingest(
            folder / f"{name}.tif", url, field=name, phases=phases, voxel_size=SIZE, shard=(4, 8, 8), options=QUIET
        )  # fmt: skip
    return url, {"truth": codes["truth"], "phase": labels, "other": baseline, "true": true}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, np.ndarray]]:
    return made(tmp_path_factory.mktemp("evaluated"))


def test_metrics_are_those_of_scikit_learn_on_voxels_with_a_truth(
    sample: tuple[str, dict[str, np.ndarray]],
) -> None:
    url, arrays = sample
    found = tim3d.evaluate(url, options=QUIET)
    known = arrays["truth"] != 9
    t, p = arrays["true"][known], arrays["phase"][known]
    order = [{"pore": 0, "solid": 1, "ring": 2}[n] for n in found.phase.values]
    assert found.phase.values.tolist() == ["ring", "solid", "pore"]  # by the codes of the truth
    assert found.attrs["voxels"] == known.sum()
    assert found.attrs["voxels_without_truth"] == (~known).sum()
    assert found.attrs["units_with_truth"] == SHAPE[0] - 1
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(t, p, labels=order))
    asked = {"labels": order, "average": None}
    np.testing.assert_allclose(found.iou, metrics.jaccard_score(t, p, **asked))
    np.testing.assert_allclose(found.dice, metrics.f1_score(t, p, **asked))
    np.testing.assert_allclose(found.precision, metrics.precision_score(t, p, **asked))
    np.testing.assert_allclose(found.recall, metrics.recall_score(t, p, **asked))
    assert float(found.accuracy) == pytest.approx(metrics.accuracy_score(t, p))
    assert float(found.iou_macro) == pytest.approx(metrics.jaccard_score(t, p, average="macro"))
    assert float(found.iou_micro) == pytest.approx(metrics.jaccard_score(t, p, average="micro"))
    shares = [(p == k).mean() - (t == k).mean() for k in order]
    np.testing.assert_allclose(found.fraction_error, shares)
    assert np.isnan(found.iou_z[2]).all()
    k = arrays["truth"][4] != 9
    right = (arrays["true"][4][k] == arrays["phase"][4][k]).mean()
    assert float(found.accuracy_z[4]) == pytest.approx(right)


@pytest.mark.parametrize("block", [(4, 8, 8), (4, 24, 8), (12, 8, 24)])
def test_no_block_shows(
    sample: tuple[str, dict[str, np.ndarray]], block: tuple[int, int, int]
) -> None:
    url, _ = sample
    whole = tim3d.evaluate(url, baseline="other", tolerance=20, options=QUIET)
    again = Options(block=block, progress=False, overwrite=True)
    parts = tim3d.evaluate(url, baseline="other", tolerance=20, options=again)
    assert parts.equals(whole)


@pytest.mark.long
def test_the_baseline_otsu_is_made_of_the_grey_field_and_the_phases_of_the_truth(
    tmp_path: Path,
) -> None:
    url, true = str(tmp_path / "s.zarr"), (blobs(0) > 0).astype(np.uint8)
    grey = np.rint(60 + 90 * true + np.random.default_rng(0).normal(0, 20, SHAPE)).astype(np.uint8)
    two = Phases(pore=0, solid=1)
    for name, values in {"grey": grey, "truth": true}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
        phases = two if name == "truth" else None
        tim3d.ingest(
            tmp_path / f"{name}.tif", url, field=name, phases=phases, voxel_size=SIZE, shard=(4, 8, 8), options=QUIET
        )  # fmt: skip
    tim3d.segment(url, method="fixed", thresholds=[80.0], phases=two, field="grey", options=QUIET)
    plan = tim3d.plan("evaluate", url, baseline="otsu", options=QUIET)
    assert [one.name for one in plan] == ["grey_histogram", "grey_otsu/s0", "evaluate"]
    how: dict[str, Any] = {
        "tolerance": 20, "resamples": 150, "level": 0.5, "run": 2, "seed": 3, "slices": slice(1, 9),
    }  # fmt: skip
    found = tim3d.evaluate(url, baseline="otsu", **how, options=QUIET)
    tim3d.segment(url, method="otsu", phases=two, field="grey", out="by_hand", options=QUIET)
    by_hand = tim3d.evaluate(url, baseline="by_hand", **how, options=QUIET)
    # What is asked for is handed on behind the making of the baseline.
    for name, values in by_hand.data_vars.items():
        np.testing.assert_array_equal(found[name], values, err_msg=str(name))
    for name in ("level", "resamples", "seed", "run", "tolerance_nm", "slices"):
        assert str(found.attrs.get(name)) == str(by_hand.attrs.get(name))
    assert found.attrs["baseline_fields"] == ["grey_otsu"]
    assert (
        float(found.baseline_iou_macro)
        == float(by_hand.baseline_iou_macro)
        > float(found.iou_macro)
    )
    assert tim3d.plan("evaluate", url, baseline="otsu", **how, options=QUIET) == []
    for field, objects in (("truth", "true_objects"), ("phase", "objects")):
        tim3d.label(url, field=field, keep=True, component=objects, options=QUIET)
    with pytest.raises(ArgumentError, match="is of labels"):
        tim3d.evaluate(url, field="objects", truth="true_objects", baseline="otsu", options=QUIET)


@pytest.mark.long
def test_several_baselines_are_judged_as_if_each_were_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, true = str(tmp_path / "s.zarr"), (blobs(0) > 0).astype(np.uint8)
    grey = np.rint(60 + 90 * true + np.random.default_rng(0).normal(0, 20, SHAPE)).astype(np.uint8)
    two = Phases(pore=0, solid=1)
    for name, values in {"grey": grey, "truth": true}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
        phases = two if name == "truth" else None
        tim3d.ingest(
            tmp_path / f"{name}.tif", url, field=name, phases=phases, voxel_size=SIZE, shard=(4, 8, 8), options=QUIET
        )  # fmt: skip
    for name, level in (("phase", 80.0), ("third", 100.0)):
        tim3d.segment(
            url, method="fixed", thresholds=[level], phases=two, field="grey", out=name, options=QUIET
        )  # fmt: skip
    three = ("otsu", "adaptive", "third")
    plan = [one.name for one in tim3d.plan("evaluate", url, baseline=three, options=QUIET)]
    assert plan == ["grey_histogram", "grey_otsu/s0", "grey_adaptive/s0", "evaluate"]
    assert (
        main(["evaluate", url, "--baseline", ",".join(three), "--figure", str(tmp_path / "f.png")])
        == 0
    )
    shown = capsys.readouterr().out
    assert all(f"{one} (baseline)" in shown for one in ("grey_otsu", "grey_adaptive", "third"))
    found = tim3d.evaluate(url, baseline=three, options=QUIET)
    assert found.attrs["baseline_fields"] == ["grey_otsu", "grey_adaptive", "third"]
    for prefix, end, name in (
        ("baseline_", "", "grey_otsu"), ("baseline_2_", "_2", "grey_adaptive"), ("baseline_3_", "_3", "third"),
    ):  # fmt: skip
        alone = tim3d.evaluate(url, baseline=name, options=QUIET)
        for metric in ("iou", "iou_macro", "accuracy_z", "iou_low", "boundary_f1_macro_high"):
            np.testing.assert_array_equal(found[prefix + metric], alone[f"baseline_{metric}"])
        for metric in ("iou_macro_gain", "accuracy_gain"):
            for limit in ("", "_low", "_high"):
                assert float(found[f"{metric}{end}{limit}"]) == float(alone[f"{metric}{limit}"])
    assert tim3d.plan("evaluate", url, baseline=three, options=QUIET) == []
    for name in ("phase", "third", "truth"):
        tim3d.label(url, field=name, keep=True, component=f"{name}_o", options=QUIET)
    tim3d.label(url, field="truth", keep=True, component="again_o", options=QUIET)
    pieces = tim3d.evaluate(
        url, field="phase_o", truth="truth_o", baseline=("third_o", "again_o"), options=QUIET
    )
    assert float(pieces.baseline_2_panoptic_quality) == 1 > float(pieces.panoptic_quality)
    # Names of fields may hold the commas at which the shell parts them.
    tim3d.label(url, field="third", keep=True, component="third_depth=1,phase=a", options=QUIET)
    given = {"field": "phase_o", "truth": "truth_o", "options": QUIET}
    parted = tim3d.evaluate(url, baseline=["third_depth=1", "phase=a", "again_o"], **given)
    assert parted.attrs["baseline_fields"] == ["third_depth=1,phase=a", "again_o"]
    assert float(parted.baseline_panoptic_quality) == float(pieces.baseline_panoptic_quality)
    with pytest.raises(ArgumentError, match="each once"):
        tim3d.evaluate(url, baseline=("third", "third"), options=QUIET)


def test_a_baseline_is_judged_as_if_it_were_alone(
    sample: tuple[str, dict[str, np.ndarray]],
) -> None:
    url, _ = sample
    both = tim3d.evaluate(url, baseline="other", options=QUIET)
    alone = tim3d.evaluate(url, field="other", options=QUIET)
    for name in ("iou", "boundary_f1", "iou_macro", "accuracy_z", "boundary_f1_chance"):
        np.testing.assert_array_equal(both[f"baseline_{name}"], alone[name])
    gain = float(both.iou_macro - both.baseline_iou_macro)
    assert float(both.iou_macro_gain) == pytest.approx(gain)
    assert 0 < float(both.iou_macro_gain_low) < gain < float(both.iou_macro_gain_high)
    assert (both.iou_low <= both.iou).all()
    assert (both.iou <= both.iou_high).all()


def test_the_boundary_counts_within_a_length_in_nm(
    sample: tuple[str, dict[str, np.ndarray]],
) -> None:
    """With a tolerance above the size of the slice every boundary agrees, and chance does too."""
    url, _ = sample
    usual, near, far = (
        tim3d.evaluate(url, tolerance=t, resamples=0, options=QUIET) for t in (None, 4.0, 400.0)
    )
    assert usual.attrs["tolerance_nm"] == 20
    assert (near.boundary_f1 < usual.boundary_f1).all()
    assert (far.boundary_f1 == 1).all()
    assert (far.boundary_f1_chance == 1).all()
    assert (near.boundary_f1_chance < near.boundary_f1).all()
    assert not [n for n in near.data_vars if str(n).endswith("_low")]


@pytest.mark.long
def test_objects_are_compared_by_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "o.zarr")
    true = np.zeros((6, 16, 16), np.uint16)
    true[1:5, 2:6, 2:14], true[1:5, 9:13, 2:14] = 500, 7
    split = (true > 0).astype(np.uint8)
    split[:, :, 7] = 0
    tifffile.imwrite(tmp_path / "t.tif", true)
    tifffile.imwrite(tmp_path / "s.tif", split)
    tim3d.ingest(
        tmp_path / "t.tif", url, field="truth", voxel_size=SIZE, shard=(2, 8, 8), options=QUIET
    )
    tim3d.ingest(
        tmp_path / "s.tif", url, field="phase", phases=Phases(void=0, grain=1), voxel_size=SIZE, shard=(2, 8, 8),
        options=QUIET,
    )  # fmt: skip
    tim3d.label(url, phases=["grain"], keep=True, component="grains", options=QUIET)
    found = tim3d.evaluate(url, field="grains", options=QUIET)
    assert (int(found.true_objects), int(found.objects)) == (2, 4)
    # Of 12 columns the parts have 5, 1 (missing) and 6: the larger part overlaps by exactly a half.
    np.testing.assert_array_equal(found.segmentation_accuracy, [2 / 4, *[0.0] * 9])
    assert float(found.panoptic_quality) == 0
    assert float(found.vi_merge) == pytest.approx(2 * 1 / 12 / 2 * 2 * 0.5)
    blocks = Options(block=(2, 8, 8), progress=False, overwrite=True)
    assert tim3d.evaluate(url, field="grains", options=blocks).equals(found)
    with pytest.raises(ArgumentError, match="--tolerance is of labels"):
        tim3d.evaluate(url, field="grains", tolerance=5.0)
    with pytest.raises(ArgumentError, match="holds numbers of objects, and 'phase' does not"):
        tim3d.evaluate(url, field="grains", truth="phase")
    # Slices 3 to 5 as a sample of their own.
    part = str(tmp_path / "part.zarr")
    for name in ("truth", "grains"):
        np.save(tmp_path / "p.npy", np.asarray(tim3d.open_field(url, name))[3:])
        tim3d.ingest(
            tmp_path / "p.npy", part, field=name, voxel_size=SIZE, convert="objects", options=QUIET
        )
    alone, of_slices = (
        tim3d.evaluate(part, field="grains", options=QUIET),
        tim3d.evaluate(url, field="grains", slices=slice(3, 6), options=blocks),
    )
    assert of_slices.drop_attrs().equals(alone.drop_attrs())
    assert list(of_slices.attrs["slices"]) == [3, 6]
    assert not of_slices.equals(found)
    figure = tmp_path / "f.png"
    assert main(["evaluate", url, "--field", "grains", "--figure", str(figure)]) == 0
    assert "adapted_rand_error" in capsys.readouterr().out
    assert figure.stat().st_size


def test_the_shell_prints_a_table_and_draws(
    sample: tuple[str, dict[str, np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = sample
    figure = tmp_path / "e.png"
    assert main(["evaluate", url, "--baseline", "other", "--figure", str(figure)]) == 0
    out = capsys.readouterr().out
    assert "boundary_f1_chance" in out
    assert "without a truth are left out" in out
    assert "iou_macro minus that of the baseline" in out
    assert figure.stat().st_size


def test_a_truth_without_a_voxel_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "n.zarr")
    for name, phases in (("phase", Phases(a=0, b=1)), ("truth", Phases(a=0, b=1, unlabelled=5))):
        values = np.full((2, 8, 8), phases.codes[-1], np.uint8)
        tifffile.imwrite(tmp_path / "v.tif", values)
        tim3d.ingest(
            tmp_path / "v.tif", url, field=name, phases=phases, voxel_size=SIZE, options=QUIET
        )
    with pytest.raises(InputError, match="no voxel has a truth"):
        tim3d.evaluate(url, options=QUIET)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"resamples": 5}, "--resamples 5 is too few"),
        ({"run": 0}, "--run 0 is not"),
        ({"run": 9}, "--run 9 leaves"),
        ({"level": 1.0}, "--level 1.0 is not between"),
        ({"tolerance": 0.0}, "--tolerance 0 is not a length"),
        ({"merge": {"rim": "pore"}}, "--merge names rim"),
    ],
)
def test_what_makes_no_sense_is_refused(
    sample: tuple[str, dict[str, np.ndarray]], asked: dict[str, object], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        tim3d.evaluate(sample[0], **asked)
