"""Numbers of objects of single images against true ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError


def written(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir()
    for name, numbers in images.items():
        tifffile.imwrite(folder / f"{name}.tif", numbers)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One of two objects found; one found in two parts; something where nothing is."""
    a, b, c = np.zeros((8, 12), np.uint16), np.zeros((6, 10), np.uint8), np.zeros((5, 5), np.uint16)
    a[1:4, 1:5], a[5:7, 6:10], b[1:3, :] = 1, 2, 7
    found_a, found_b, found_c = np.where(a == 1, 300, 0).astype(np.uint16), b.copy(), c.copy()
    found_b[:, 6:], found_c[0, 0] = np.where(b[:, 6:], 9, 0), 4
    truth = written(tmp_path / "truth", a=a, b=b, c=c)
    return written(tmp_path / "found", a=found_a, b=found_b, c=found_c), truth


def test_scores_by_image_in_the_mean_and_pooled(folders: tuple[Path, Path]) -> None:
    found = tim3d.evaluate_images(*folders, objects=True)
    assert found.objects.values.tolist() == [1, 2, 1]
    assert found.true_objects.values.tolist() == [2, 1, 0]
    # a: one match of IoU 1, one object missed. b: one match of IoU .6, one stray part.
    quality = [1 / 1.5, 0.6 / 1.5]
    np.testing.assert_allclose(found.panoptic_quality, [*quality, np.nan])
    assert float(found.mean_panoptic_quality) == pytest.approx(np.mean(quality))
    # Two matches; one true object missed, two found ones too many.
    assert float(found.pooled_panoptic_quality) == pytest.approx(1.6 / (2 + 0.5 + 1))
    assert int(found.pooled_true_objects) == 3
    at_half = found.pooled_segmentation_accuracy.sel(threshold=0.5)
    assert float(at_half) == pytest.approx(2 / 5)
    assert found.segmentation_accuracy.dims == ("image", "threshold")


def test_a_baseline_is_judged_as_if_it_were_alone(folders: tuple[Path, Path]) -> None:
    found, truth = folders
    again = shutil.copytree(truth, truth.with_name("again"))
    both = tim3d.evaluate_images(found, truth, objects=True, baseline=again)
    alone = tim3d.evaluate_images(again, truth, objects=True)
    assert float(both.baseline_pooled_panoptic_quality) == 1
    assert both.baseline_panoptic_quality.equals(alone.panoptic_quality)
    assert both.attrs["baseline_fields"] == [str(again)]


def test_the_shell_writes_a_row_for_each_image(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    typed = ["evaluate-images", *map(str, folders), "--objects", "--csv", str(table)]
    assert main([*typed, "--plan"]) == 0
    assert "objects of 3 images" in capsys.readouterr().out
    again = shutil.copytree(folders[1], tmp_path / "again")
    for _ in range(2):
        figure = ["--figure", str(tmp_path / "a.png")]
        assert main([*typed, "--baseline", str(again), *figure]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "0.5333" in said  # the mean of the images that have objects
    assert "0.4571" in said  # of all objects
    rows = table.read_text().splitlines()
    assert len(rows) == 4
    assert "panoptic_quality" in rows[0]
    assert "threshold" not in rows[0]


def test_what_does_not_fit_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    found, truth = folders
    two = tim3d.Phases(pore=0, solid=1)
    with pytest.raises(ArgumentError, match="--phases changes nothing"):
        tim3d.evaluate_images(found, truth, objects=True, phases=two)
    for name, value in {"tolerance": 1.0, "resamples": 0, "level": 0.5, "seed": 1}.items():
        with pytest.raises(ArgumentError, match=f"--{name} changes nothing"):
            tim3d.evaluate_images(found, truth, objects=True, **{name: value})
    nothing = np.zeros((4, 4), np.uint8)
    empty = written(tmp_path / "empty", a=nothing)
    with pytest.raises(InputError, match="no object"):
        tim3d.evaluate_images(shutil.copytree(empty, tmp_path / "bare"), empty, objects=True)
    with pytest.raises(InputError, match="of one image"):
        tim3d.evaluate_images(empty, truth, objects=True)
    floats = written(tmp_path / "floats", a=np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="without --objects"):
        tim3d.evaluate_images(floats, empty, objects=True)
    wide = written(tmp_path / "wide", a=np.full((4, 4), 2**32 + 1))
    with pytest.raises(InputError, match="from 0 to 4294967295"):
        tim3d.evaluate_images(wide, empty, objects=True)
