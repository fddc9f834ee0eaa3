"""Images to paint on come from where a segmentation is least certain, and what is painted goes back."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import tim3d
from tim3d import Options, Phases
from tim3d.cli.main import main
from tim3d.cli.parsing import verb
from tim3d.errors import ArgumentError, InputError, MixedRunError, Tim3dError
from tim3d.storage import store

SHAPE = (12, 40, 48)
SIZE = {"z": 20.0, "y": 5.0, "x": 5.0}
QUIET = Options(progress=False)
STROKES = Phases(unlabelled=0, pore=1, solid=2)
# Where the segmentation is not certain: part (z, row, column) of 16 x 16 pixels.
DOUBT = [(1, 0, 0), (2, 0, 0), (6, 1, 2), (10, 2, 1)]


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Grey values, strokes, and labels whose probabilities are even in four parts of slices."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    grey = random.integers(0, 255, SHAPE).astype(np.uint8)
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[3, 10, 4:20], strokes[10, 33:35, 20:30] = 1, 2
    sure = np.full(SHAPE, 255, np.uint8)
    for n, (z, row, column) in enumerate(DOUBT):
        sure[z, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 130 + 10 * n
    fields: dict[str, tuple[np.ndarray, Phases | None]] = {
        "raw": (grey, None), "strokes": (strokes, STROKES),
        "phase": ((grey > 100).astype(np.uint8), Phases(pore=0, solid=1)),
        "phase_probability_pore": (sure, None), "phase_probability_solid": (255 - sure, None),
    }  # fmt: skip
    for name, (values, phases) in fields.items():
        tifffile.imwrite("v.tif", values)
        accept = ["blank"] if "probability" in name else []
        tim3d.ingest(
            "v.tif", "s.zarr", field=name, phases=phases, voxel_size=SIZE, shard=(4, 16, 16), accept=accept,
            options=QUIET,
        )  # fmt: skip
    return "s.zarr"


def paint_on(folder: str, file: str, change: Any) -> None:
    path = Path(folder, "labels", file)
    labels = tifffile.imread(path)
    change(labels)
    tifffile.imwrite(path, labels)


def files(folder: str) -> list[str]:
    return [one["file"] for one in json.loads(Path(folder, "painting.json").read_text())["images"]]


def test_the_least_certain_parts_come_first_and_lie_apart(sample: str) -> None:
    tim3d.paint(sample, "next", count=3, size=(16, 16))
    # Slices 1 and 2 are alike; of the two the less certain part is taken.
    expected = [DOUBT[0], DOUBT[2], DOUBT[3]]
    assert files("next") == [f"z{z:05d}_y{16 * r:05d}_x{16 * c:05d}.tif" for z, r, c in expected]
    z, row, column = expected[2]
    grey = store.open_field(sample, "raw").values
    image = tifffile.imread(Path("next", "grey", files("next")[2]))
    rows = slice(16 * row, 16 * row + 16)
    assert np.array_equal(image, grey[z, rows, 16 * column : 16 * column + 16])
    labels = tifffile.imread(Path("next", "labels", files("next")[2]))
    assert labels.shape == image.shape
    assert not labels.any()
    with tifffile.TiffFile(Path("next", "grey", files("next")[2])) as tif:
        x = tif.pages[0].tags["XResolution"].value
        assert x[0] / x[1] == pytest.approx(1000 / SIZE["x"])


def test_what_is_painted_lies_where_it_was_seen_and_all_else_is_as_before(sample: str) -> None:
    tim3d.paint(sample, "next", labels="strokes", count=2, size=(16, 16))
    file = files("next")[1]
    paint_on("next", file, lambda labels: labels.__setitem__((slice(2, 4), slice(5, 9)), 2))
    found = tim3d.take_painted(sample, "next", options=QUIET).values
    expected = store.open_field(sample, "strokes").values.copy()
    z, y, x = json.loads(Path("next/painting.json").read_text())["images"][1]["start"]
    expected[z, y + 2 : y + 4, x + 5 : x + 9] = 2
    assert np.array_equal(found, expected)
    for block in ((4, 16, 16), (12, 16, 48)):
        how = Options(progress=False, overwrite=True, block=block)
        assert np.array_equal(tim3d.take_painted(sample, "next", options=how).values, expected)
    assert store.read_field(sample, "painted").phases == STROKES


@pytest.mark.parametrize("name", ["raw", "strokes"])
def test_labels_are_outdated_when_what_was_painted_on_was_replaced(sample: str, name: str) -> None:
    tim3d.paint(sample, "next", labels="strokes", count=1, size=(16, 16))
    paint_on("next", files("next")[0], lambda labels: labels.fill(1))
    tim3d.take_painted(sample, "next", options=QUIET)
    assert store.outdated(sample, "painted") == ""
    tifffile.imwrite("v.tif", np.random.default_rng(9).integers(0, 3, SHAPE).astype(np.uint8))
    tim3d.ingest(
        "v.tif", sample, field=name, voxel_size=SIZE, shard=(4, 16, 16), accept=["saturated"],
        phases=STROKES if name == "strokes" else None,
        options=Options(progress=False, overwrite=True),
    )  # fmt: skip
    assert store.outdated(sample, "painted") == name
    with pytest.raises(MixedRunError, match="is not the field from which the images"):
        tim3d.take_painted(sample, "next", options=QUIET)


def test_a_folder_is_gone_on_with(sample: str) -> None:
    tim3d.paint(sample, "next", count=1, size=(16, 16))
    first = files("next")[0]
    paint_on("next", first, lambda labels: labels.fill(1))
    tim3d.take_painted(sample, "next", options=QUIET)
    tim3d.paint(sample, "next", count=2, size=(16, 16))
    assert len(files("next")) == 3
    assert files("next")[0] == first
    assert tifffile.imread(Path("next", "labels", first)).min() == 1
    paint_on("next", files("next")[2], lambda labels: labels.fill(2))
    found = tim3d.take_painted(sample, "next", options=QUIET).values
    assert ((found == 1).sum(), (found == 2).sum()) == (256, 128)  # the last rows of a slice are 8
    pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")
    tim3d.train_strokes(sample, "m.safetensors", labels="painted", scales=[5.0, 10.0], trees=3)


def test_images_of_another_field_size_or_value_are_refused_and_nothing_is_written(
    sample: str,
) -> None:
    tim3d.paint(sample, "next", labels="strokes", count=1, size=(16, 16))
    with pytest.raises(InputError, match="none of the 1 images"):
        tim3d.take_painted(sample, "next", options=QUIET)
    file = files("next")[0]
    paint_on("next", file, lambda labels: labels.__setitem__((0, 0), 7))
    with pytest.raises(InputError, match="holds the values 7"):
        tim3d.take_painted(sample, "next", options=QUIET)
    tifffile.imwrite(Path("next", "labels", file), np.ones((16, 15), np.uint8))
    with pytest.raises(InputError, match="16 x 15 pixels"):
        tim3d.take_painted(sample, "next", options=QUIET)
    tifffile.imwrite(Path("next", "labels", file), np.ones((16, 16), np.uint8))
    tifffile.imwrite("v.tif", np.zeros(SHAPE, np.uint8) + np.arange(48, dtype=np.uint8))
    tim3d.ingest(
        "v.tif", sample, voxel_size=SIZE, shard=(4, 16, 16), accept=["duplicates"],
        options=Options(progress=False, overwrite=True),
    )  # fmt: skip
    with pytest.raises(MixedRunError, match="not the field from which"):
        tim3d.take_painted(sample, "next", options=QUIET)
    with pytest.raises(MixedRunError, match="images of other fields"):
        tim3d.paint(sample, "next", labels="strokes", count=1, size=(16, 16))
    assert "painted" not in store.fields(sample)


def test_a_segmentation_without_probabilities_and_a_folder_of_other_files_are_refused(
    sample: str,
) -> None:
    with pytest.raises(ArgumentError, match="--probabilities"):
        tim3d.paint(sample, "next", by="strokes")
    with pytest.raises(ArgumentError, match="at least 1 image"):
        tim3d.paint(sample, "next", count=0)
    Path("mine").mkdir()
    Path("mine", "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="holds other files"):
        tim3d.paint(sample, "mine")
    with pytest.raises(ArgumentError, match="was not made by tim3d"):
        tim3d.take_painted(sample, "mine")


CHANGES: dict[str, Any] = {
    "field": "other", "by": "strokes", "labels": "phase", "count": 1, "size": (8, 16),
}  # fmt: skip


def test_every_parameter_of_paint_gives_other_images_or_is_refused(sample: str) -> None:
    """The sample and the folder say where."""
    assert set(CHANGES) | {"sample", "folder"} == set(inspect.signature(verb("paint")).parameters)
    assert {"sample", "folder", "out", "options"} == set(
        inspect.signature(verb("take_painted")).parameters
    )
    tim3d.ingest(
        "v.tif",
        sample,
        field="other",
        voxel_size=SIZE,
        shard=(4, 16, 16),
        accept=["blank"],
        options=QUIET,
    )

    def images(folder: str, **changed: Any) -> Any:
        try:
            tim3d.paint(sample, folder, **{"count": 2, "size": (16, 16), **changed})
        except Tim3dError as error:
            return str(error)
        each = [Path(folder, where, one) for where in ("grey", "labels") for one in files(folder)]
        return [one.read_bytes() for one in each], files(folder)

    first = images("first")
    assert len(first[1]) == 2
    for number, (name, value) in enumerate(CHANGES.items()):
        assert images(f"n{number}", **{name: value}) != first


def test_the_shell_paints_and_takes(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["paint", sample, "next", "--count", "2", "--size", "16,16"]
    assert main([*asked, "--plan"]) == 0
    assert "up to 2 images of 16 x 16 pixels" in capsys.readouterr().out
    assert not Path("next").exists()
    assert main(asked) == 0
    assert main(["take-painted", sample, "next"]) == 3
    assert "paint on them" in capsys.readouterr().err
    paint_on("next", files("next")[0], lambda labels: labels.fill(2))
    assert main(["take-painted", sample, "next", "--plan"]) == 0
    assert main(["take-painted", sample, "next", "--quiet"]) == 0
    assert (store.open_field(sample, "painted").values == 2).sum() == 256
    assert main(["take-painted", sample, "next", "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out
