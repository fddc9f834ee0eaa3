"""A target that cannot be written is found before the work, by every verb that writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.errors import WriteError
from tim3d.storage.files import refuse_unwritable

SIZE = ["--voxel-size", "10,10,10"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stack, its sample, and a folder that cannot be written."""
    monkeypatch.chdir(tmp_path)
    grey = np.random.default_rng(0).integers(1, 255, (4, 32, 32)).astype(np.uint8)
    np.save("a.npy", grey)
    assert main(["ingest", "a.npy", "a.zarr", *SIZE, "--quiet"]) == 0
    segment = ["segment", "a.zarr", "--method", "otsu", "--phases", "pore=0,solid=1", "--quiet"]
    assert main(segment) == 0
    Path("closed").mkdir()
    closed = {str(tmp_path / "closed"), str(tmp_path / "a.zarr"), str(tmp_path / "a.zarr.runs")}
    allowed = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, *mode, **how: str(path) not in closed and allowed(path, *mode, **how),
    )
    return tmp_path


INTO_A_FOLDER = [
    "ingest a.npy closed/b.zarr --voxel-size 10,10,10",
    "report a.zarr closed/a.html",
    "describe a.zarr --csv closed/a.csv",
    "export a.zarr phase closed/a.tif",
    "export a.zarr phase closed/a.stl --phases solid",
    "inspect a.npy --json closed/a.json",
    "segment-images . closed/masks --method otsu --phases pore=0,solid=1",
    "prepare a.zarr fill --only-tables --tables closed/tables",
    "table a.zarr --csv closed/t.csv",
    "relate t.csv --target y --csv closed/r.csv",
]
INTO_THE_SAMPLE = [
    "ingest a.npy a.zarr --field other --voxel-size 10,10,10",
    "prepare a.zarr crop:bar=4",
    "segment a.zarr --method otsu --phases pore=0,solid=1 --out other",
    "clean a.zarr holes:solid",
    "label a.zarr",
    "distance a.zarr",
    "study a.zarr --quantity phase_fraction --phase solid --windows 2,4",
]


@pytest.mark.parametrize("typed", [*INTO_A_FOLDER, *INTO_THE_SAMPLE])
def test_it_is_one_line_before_anything_is_read_or_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: str
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("work was begun")

    np.savetxt("t.csv", np.arange(40).reshape(20, 2), "%d", ",", header="x,y", comments="")
    monkeypatch.setattr("tim3d.stages.inspection.audit.look", refused)
    before = sorted(map(str, folder.rglob("*")))
    assert main([*typed.split(), "--quiet"]) == 4
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "cannot write to" in said
    assert "permission denied" in said
    assert sorted(map(str, folder.rglob("*"))) == before


def test_an_answer_that_is_there_is_given_all_the_same(folder: Path) -> None:
    quiet = tim3d.Options(progress=False)
    segmented: Callable[..., Any] = tim3d.segment
    found = segmented("a.zarr", method="otsu", phases=tim3d.Phases(pore=0, solid=1), options=quiet)
    assert found.name == "phase"


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unwritable(tmp_path / "new" / "newer")
    refuse_unwritable("s3://bucket/a.zarr")
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path) != closed)
    with pytest.raises(WriteError, match="permission denied"):
        refuse_unwritable(closed / "new" / "newer")
