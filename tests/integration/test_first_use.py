"""Slips of a first use: each is refused before any work, in one line that says what to type."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.recipes import until
from tim3d.cli.main import main
from tim3d.plotting import profiles

SIZE = {"z": 20, "y": 10, "x": 10}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a volume and a sample made of it, with a field `phase`."""
    folder = tmp_path_factory.mktemp("first_use")
    np.save(
        folder / "v.npy", np.random.default_rng(0).integers(0, 255, (16, 32, 32)).astype(np.uint8)
    )
    sample = str(folder / "a.zarr")
    tim3d.ingest(str(folder / "v.npy"), sample, voxel_size=SIZE, shard=(16, 16, 16))
    tim3d.segment(sample, method="otsu", phases=tim3d.Phases(pore=0, solid=1))
    tim3d.measure(sample)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


SLIPS = [
    # what was typed, exit code, what the line says
    ("measure a.zar", 3, r"did you mean 'a\.zarr'"),
    ("measure a.zarr/phase", 3, r"lies in the sample .*a\.zarr.* --field phase"),
    ("measure a.zarr/phase/s0", 3, r"--field phase"),
    ("ingest v.npy a.zarr/b.zarr --voxel-size 20,10,10", 3, "no sample lies in another"),
    ("ingest v.npy b.zarr --voxel-size 20,10,10 --workers 2", 2, "add --cluster local"),
    (
        "ingest v.npy b.zarr --voxel-size 20,10,10 --cluster tcp://127.0.0.1:1 --workers 2",
        2,
        "its own workers",
    ),
    ("ingest v.npy b.zarr --voxel-size 20,10,10 --plan --threads 2", 2, "add --cluster local"),
    ("measure a.zarr --field pase", 4, "did you mean 'phase'"),
    ("--quiet measure a.zarr", 2, "--quiet stands before the command, and options stand after it"),
    ("describe a.zarr a.zarr", 2, r"sample 'a\.zarr' is given twice: give it once"),
    ("describe a.zarr ./a.zarr/ --plan", 2, "is given twice"),
    ("table a.zarr ./a.zarr", 3, r"sample '\./a\.zarr' is given twice"),
    (
        "solve a.zarr --conductivity solid=400,pore=1 --interface solid:pore=-1",
        2,
        "interface solid:pore is -1; a conductance per area must be positive",
    ),
    ("report a.zarr .", 2, "is a folder"),
    ("report a.html a.zarr", 2, "The sample comes first"),
    ("report a.zarr b.pdf", 2, r"tim3d report a.zarr b\.html"),
    ("report a.zarr a.html --truth trth", 4, "ingest MASKS a.zarr --field trth --phases"),
    ("describe a.zarr --csv b.xlsx", 2, r"--csv b\.csv"),
    (
        "describe a.zarr --x 0:105",
        2,
        "x = 105 nm cuts a voxel; the nearest face of a voxel is at 100 nm",
    ),
    (
        "solve a.zarr --conductivity solid=400,por=1",
        2,
        r"no phase 'por' \(did you mean 'pore'\?\).* pore=VALUE,solid=",
    ),
    (
        "ingest v.npy a.zarr --field phase --voxel-size 20,10,10",
        4,
        "different parameters: ingest did not make it. Replace",
    ),
    ("segment a.zarr --methd otsu", 2, "did you mean '--method'"),
]


@pytest.mark.parametrize(("typed", "code", "said"), SLIPS, ids=[typed for typed, _, _ in SLIPS])
def test_a_slip_is_one_line_and_changes_nothing(
    typed: str,
    code: int,
    said: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    before = contents(home)
    try:
        ended = main(typed.split())
    except SystemExit as end:
        ended = int(end.code or 0)
    line = capfd.readouterr().err.strip()
    assert ended == code
    assert len(line.splitlines()) == 1
    assert re.search(said, line), line
    assert contents(home) == before


def test_an_option_without_a_near_one_gets_no_suggestion(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import-generator", "a.pt", "b", "--voxel-size", "1,1,1", "--out", "x"])
    assert "did you mean" not in capfd.readouterr().err


def test_all_profiles_of_a_figure_have_one_unit() -> None:
    planes = {"z": 100.0 * np.arange(10), "y": 500.0 * np.arange(10), "x": 500.0 * np.arange(10)}
    shares = {f"phase_fraction_{axis}": (("phase", axis), np.full((1, 10), 0.5)) for axis in planes}
    found = xr.Dataset(shares, coords={**planes, "phase": ["pore"]})
    assert [ax.get_xlabel() for ax in profiles(found).axes] == ["z (µm)", "y (µm)", "x (µm)"]


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_is_one_line_also_with_workers(tmp_path: Path) -> None:
    typed = "generate g.zarr --kind field --shape 256,384,384 --voxel-size 10,10,10 --fractions pore=0.4,solid=0.6"
    command = [
        sys.executable,
        "-m",
        "tim3d.cli.main",
        *typed.split(),
        "--correlation-nm",
        "80",
        "--cluster",
        "local",
    ]
    run = subprocess.Popen(
        [*command, "--workers", "2", "--quiet"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    until((tmp_path / "g.zarr.runs" / "phase").is_dir, "the first block")
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate(timeout=240)[1]
    assert run.returncode == 130
    assert said == "tim3d: interrupted; run the same command again to go on\n"


def test_samples_are_not_alike_by_their_folder_and_ending(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    for typed in ("silver.zarr", str(home / "silver.zarr")):
        assert main(["measure", typed]) == 3
        said = capfd.readouterr().err
        assert "did you mean" not in said
        assert "Make one" in said


def test_a_mistyped_name_is_not_offered_as_one_to_be_made(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["measure", "a.zarr", "--field", "pase"]) == 4
    said = capfd.readouterr().err
    assert (
        said
        == "tim3d: no field 'pase' in a.zarr (did you mean 'phase'?); its fields are phase, raw\n"
    )
    assert main(["measure", "a.zar"]) == 3
    assert "Make one" not in capfd.readouterr().err
    assert main(["measure", "a.zarr", "--field", "electrolyte"]) == 4
    assert "Make it: tim3d segment a.zarr" in capfd.readouterr().err


def test_a_field_that_differs_is_said_to_differ_in_what(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    segment = ["segment", "a.zarr", "--method", "otsu", "--phases"]
    for typed, said in (
        (["ingest", "v.npy", "a.zarr", "--voxel-size", "40,10,10"],
         "voxel size (z, y, x) was 20 x 10 x 10 nm, now 40 x 10 x 10 nm"),
        ([*segment, "pore=0,gold=1"], "phases were pore=0,solid=1, now pore=0,gold=1"),
        (["segment", "a.zarr", "--method", "fixed", "--thresholds", "7", "--phases", "pore=0,solid=1"],
         "method was otsu, now fixed, thresholds was "),
    ):  # fmt: skip
        assert main(typed) == 4
        assert said in capfd.readouterr().err


def test_steps_are_shown_as_they_are_typed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["prepare", "a.zarr", "crop:bar=4", "fill", "--out", "cut", "--quiet"]) == 0
    assert main(["clean", "a.zarr", "holes:solid", "--out", "whole", "--quiet"]) == 0
    capfd.readouterr()
    for typed, made in (
        (["prepare", "a.zarr", "crop:bar=5", "fill", "--out", "cut"],
         "tim3d prepare a.zarr crop:bar=4 fill --out cut"),
        (["clean", "a.zarr", "open:solid,radius_nm=30", "--out", "whole"],
         "tim3d clean a.zarr holes:solid --out whole"),
    ):  # fmt: skip
        assert main(typed) == 4
        said = capfd.readouterr().err
        assert f"it was made by  {made} " in said
        assert "{" not in said
