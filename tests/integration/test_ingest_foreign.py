"""Files of others through the command line: one line, an exit code, and nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

import tim3d
from tim3d import Options
from tim3d.cli.main import main
from tim3d.errors import MixedRunError
from tim3d.storage import store

QUIET = Options(progress=False)
SIZE = {"z": 1.0, "y": 1.0, "x": 1.0}
TYPED = ["--voxel-size", "1,1,1", "--quiet"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    voxels = np.random.default_rng(0).integers(1, 255, (6, 20, 20)).astype(np.uint8)
    zarr.create_array("scan.zarr", data=voxels, chunks=(2, 10, 10), zarr_format=2)
    np.save("scan.npy", voxels)
    return tmp_path


def refused(capfd: pytest.CaptureFixture[str], code: int, *line: str) -> str:
    assert main([*line]) == code
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    return said


def test_missing_chunks_are_refused_then_filled_and_recorded(
    work: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    gone = work / "scan.zarr" / "1.0.0"
    gone.unlink()
    said = refused(capfd, 3, "ingest", "scan.zarr", "s.zarr", *TYPED)
    assert "1 of 12 chunks are not there, the first is 1.0.0" in said
    assert not Path("s.zarr").exists()
    assert main(["ingest", "scan.zarr", "s.zarr", *TYPED, "--missing-chunks", "fill"]) == 0
    assert "1 chunks of scan.zarr are not there and are filled" in caplog.text
    assert int((tim3d.open_field("s.zarr", "raw").values == 0).sum()) == 200
    assert store.node_attributes("s.zarr", "raw")["parameters"]["filled_chunks"] == 1


def test_another_number_of_filled_chunks_is_another_source(work: Path) -> None:
    for name in ("1.0.0", "1.0.1"):
        (work / "scan.zarr" / name).unlink()
        if name == "1.0.0":
            tim3d.ingest(
                "scan.zarr", "s.zarr", voxel_size=SIZE, missing_chunks="fill", options=QUIET
            )
    with pytest.raises(MixedRunError, match="filled_chunks was 1, now 2"):
        tim3d.ingest("scan.zarr", "s.zarr", voxel_size=SIZE, missing_chunks="fill", options=QUIET)


def test_what_one_slice_promises_must_fit_into_the_memory(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shape = (1, 10**7, 10**7)
    zarr.create_array("slice.zarr", shape=shape, chunks=(1, 1000, 1000), dtype="u1")
    zarr.create_array("chunk.zarr", shape=(4, 4, 4), chunks=(10**4, 10**5, 10**5), dtype="u1")
    for name in ("slice.zarr", "chunk.zarr"):
        said = refused(capfd, 5, "ingest", name, "s.zarr", *TYPED, "--missing-chunks", "fill")
        assert "to read one slice takes" in said
        assert not Path("s.zarr").exists()


@pytest.mark.parametrize("name", ["../../out", "a/b", "", ".", "-x", "a" * 200, "a\n"])
def test_a_field_is_called_so_that_it_is_a_folder_of_its_own(
    name: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(capfd, 2, "ingest", "scan.npy", "s.zarr", *TYPED, f"--field={name}")
    assert "a field cannot be called" in said
    assert not Path("s.zarr").exists()


def test_a_name_that_no_file_system_takes_is_one_line(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder, length in (
        ("x" * 300, 300),
        ("ä" * 150, 300),
        ("x" * 252, 257),
    ):  # the last with its ``.runs``
        for sample in (folder, f"{folder}/s.zarr") if length == 300 else (folder,):
            said = refused(capfd, 2, "ingest", "scan.npy", sample, *TYPED)
            assert f"a name of {length} bytes is too long for a file" in said
    refused(capfd, 2, "ingest", "x" * 300 + ".tif", "s.zarr", *TYPED)


@pytest.mark.parametrize("verb", ["show", "measure", "describe"])
def test_metadata_nested_too_deep_are_damaged(
    verb: str, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("deep.zarr").mkdir()
    nested = "[" * 200_000 + "]" * 200_000
    Path("deep.zarr/zarr.json").write_text(
        f'{{"zarr_format":3,"node_type":"group","attributes":{{"a":{nested}}}}}'
    )
    assert "deep.zarr/zarr.json is damaged" in refused(capfd, 4, verb, "deep.zarr")
    refused(capfd, 3, "ingest", "deep.zarr", "s.zarr", *TYPED)


@pytest.mark.parametrize("pick", ["time", "channel"])
def test_what_was_chosen_of_a_file_is_recorded_and_another_choice_is_another_source(
    work: Path, pick: str
) -> None:
    """Also where both hold the same voxels."""
    voxels = np.repeat(np.load("scan.npy")[:, None], 2, axis=1)
    order = {"time": np.moveaxis(voxels, 1, 0), "channel": voxels}[pick]
    axes = {"time": "TZYX", "channel": "ZCYX"}[pick]
    tifffile.imwrite("two.tif", order, imagej=True, metadata={"axes": axes})
    given: dict[str, Any] = {"voxel_size": SIZE, "options": QUIET}
    found = tim3d.ingest("two.tif", "s.zarr", **{pick: 1}, **given)
    assert np.array_equal(found.values, voxels[:, 0])
    assert store.node_attributes("s.zarr", "raw")["parameters"][pick] == "1"
    assert tim3d.ingest("two.tif", "s.zarr", **{pick: 1}, **given).identical(found)
    with pytest.raises(MixedRunError):
        tim3d.ingest("two.tif", "s.zarr", **{pick: 0}, **given)
