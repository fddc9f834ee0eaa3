"""Slips of a new user: each is one line that says what to type in the shell, with an exit code, and changes nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import tim3d
from tim3d.cli.main import main
from tim3d.errors import InputError
from tim3d.sources.base import reading

SIZE = ["--voxel-size", "20,10,10"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices, a folder of pictures, and a sample of both with labels of two phases, measured."""
    made = tmp_path_factory.mktemp("slips")
    grey = np.random.default_rng(0).integers(0, 255, (8, 32, 32)).astype(np.uint8)
    for name in ("slices", "pictures"):
        (made / name).mkdir()
    for z, plane in enumerate(grey):
        tifffile.imwrite(made / f"slices/s_{z}.tif", plane)
        Image.fromarray(plane).save(made / f"pictures/{z}.png")
    before = Path.cwd()
    os.chdir(made)
    try:
        for command in (
            ["ingest", "slices", "a.zarr", *SIZE, "--shard", "4,16,16"],
            ["segment", "a.zarr", "--method", "otsu", "--phases", "pore=0,solid=1"],
            [
                "segment",
                "a.zarr",
                "--method",
                "otsu",
                "--phases",
                "bright=0,dark=1",
                "--out",
                "names",
            ],
            ["measure", "a.zarr", "--descriptors", "phase_fraction", "--block", "8,32,32"],
        ):
            assert main([*command, "--quiet"]) == 0
    finally:
        os.chdir(before)
    return made


# What is typed, the exit code, and what the line must hold.
SLIPS: list[tuple[str, int, list[str]]] = [
    ("segmnt a.zarr", 2, ["did you mean 'segment'?"]),
    ("meassure a.zarr", 2, ["did you mean 'measure'?"]),
    ("table", 2, ["samples is missing", "tim3d table --help"]),
    ("ingest", 2, ["source, sample are missing"]),
    ("table no.zarr", 3, ["no.zarr"]),
    ("relate no.csv --target a", 3, ["no table at no.csv", "a row for each sample"]),
    ("relate a.zarr --target cost", 2, ["--target: no column 'cost'", "there are phase_fraction."]),
    ("relate no.csv --target a --derive alpha=x:y", 2, ["no formula 'x'", "there are bruggeman"]),
    ("export a.zarr out.tif", 2, ["out is missing", "tim3d export --help"]),
    ("ingest slices b.zarr --out phase", 2, ["--field"]),
    ("ingest slices b.zarr --voxelsize 20,10,10", 2, ["did you mean '--voxel-size'?"]),
    ("ingest slices b.zarr --voxel-size 20,10,10 --voxel-size 20,5,5", 2, ["--voxel-size", "twice"]),
    ("ingest slices b.zarr --voxel-size z=20,y=10,z=10,x=10", 2, ["'z' is given twice"]),
    ("ingest slices b.zarr --voxel-size 20,10,10 --shard 4,0,16", 2, ["--shard"]),
    ("ingest slices/s_0.tif slices/s_1.tif --voxel-size 20,10,10", 3, ["s_1.tif is a file", "comes last"]),
    ("ingest slices", 2, ["sample is missing"]),
    ("ingest a.zarr slices --voxel-size 20,10,10", 2, ["tim3d ingest slices a.zarr"]),
    ("ingest slices pictures --voxel-size 20,10,10", 4, ["8 .png", "pictures.zarr"]),
    ("ingest slices a.zarr --voxel-size 20,10,10 --dataset x", 2, ["folder of slices"]),
    ("measure pictures", 3, ["8 .png", "tim3d ingest pictures pictures.zarr"]),
    ("train pictures m.safetensors", 3, ["tim3d ingest pictures pictures.zarr"]),
    ("validate pictures", 3, ["tim3d ingest pictures pictures.zarr"]),
    ("show nope.zarr", 3, ["no sample at nope.zarr"]),
    ("status nope.zarr", 3, ["no sample at nope.zarr"]),
    ("train a.zarr m.safetensors --labels truth", 4, ["tim3d ingest MASKS a.zarr --field truth --phases"]),
    ("train a.zarr m.safetensors", 4, ["tim3d annotate a.zarr --out annotation"]),
    ("train a.zarr nodir/m.safetensors --labels phase", 2, ["mkdir -p nodir"]),
    ("evaluate a.zarr", 4, ["tim3d ingest MASKS a.zarr --field truth --phases pore=0,solid=1 --voxel-size"]),
    ("evaluate a.zarr --truth names", 2, ["--merge pore=bright,solid=bright"]),
    ("segment a.zarr", 2, ["--model", "--method otsu"]),
    ("segment a.zarr --method otsu --phases pore=0,copper=1,binder=2", 2, ["--method multi-otsu"]),
    ("segment a.zarr --method otsu --phases pore=5,solid=2", 2, ["two ways", "pore=2,solid=5", "solid=2,pore=5"]),
    ("segment a.zarr --method fixed --thresholds 300 --phases pore=0,solid=1", 2, ["uint8", "0 to 255"]),
    ("segment a.zarr --method fixed --thresholds 170,85 --phases a=0,b=1,c=2", 2, ["are not ascending"]),
    ("annotate a.zarr --threshold 300", 2, ["uint8", "0 to 255"]),
    ("annotate a.zarr --superpixel-threshold -1", 2, ["uint8", "0 to 255"]),
    ("solve a.zarr", 2, ["--conductivity copper=400,pore=0.026"]),
    ("solve a.zarr --conductivity pore=0,solid=0", 2, ["--conductivity pore=1,solid=0"]),
    ("solve a.zarr --conductivity pore=1", 2, ["--conductivity pore=1.0,solid=VALUE"]),
    ("solve a.zarr --conductivity pore=1,solid=1 --contact 1,2,3", 2, ["3 contacts are given"]),
    ("solve a.zarr --conductivity pore=1,solid=1 --axis z,z", 2, ["'z' is given twice"]),
    ("measure a.zarr --descriptors tortuosity", 2, ["tortuosity_factor or geodesic_tortuosity"]),
    ("measure a.zarr --descriptors pore_size_distribution", 2, ["tim3d thickness SAMPLE"]),
    ("measure a.zarr --descriptors phase_fracton", 2, ["did you mean 'phase_fraction'?"]),
    ("study a.zarr --quantity tortuosity --windows 8,16", 2, ["factor or geodesic_tortuosity"]),
    ("study a.zarr --windows 8,16", 2, ["--quantity phase_fraction"]),
    ("study a.zarr --quantity phase_fraction --phase pore --windows 8,16 --figure nodir/s.png", 2, ["mkdir -p nodir"]),
    ("describe a.zarr --z 0:5000", 2, ["ends at 160 nm"]),
    ("describe a.zarr --z 0:90", 2, ["cuts a voxel", "at 80 nm"]),
    ("describe a.zarr --z 0:7.5 --unit voxels", 2, ["z = 7.5 voxels cuts a voxel"]),
    ("describe a.zarr --windows z=-5", 2, ["a window of -5 nm along z", "a length above 0"]),
    ("describe a.zarr --z -10:10", 2, ["--z has no value", "--z=-1"]),
    ("describe a.zarr --windows z=50", 2, ["a window of 50 nm along z", "the nearest is 40"]),
    ("describe a.zarr --step z=20", 2, ["give --windows too"]),
    ("describe a.zarr --windows 50", 2, ["--windows '50' cannot be read", "z=200,y=200"]),
    ("describe a.zarr --csv nodir/t.csv", 2, ["mkdir -p nodir"]),
    ("report a.zarr x.pdf", 2, ["tim3d report a.zarr x.html"]),
    ("report a.zarr nodir/x.html", 2, ["mkdir -p nodir"]),
    ("import-generator my_unet.pth g.safetensors --voxel-size 1,1,1", 3, ["NAME_Gen.pt", "tim3d train"]),
    ("generate b.zarr --kind overlapping --shape 8,8,8 --voxel-size 1,1,1 --loading 0.3 --diameter-nm 4 "
     "--phases filler=0,matrix=1 --device cpu", 2, ["--device"]),
    ("generate b.zarr --kind overlapping --shape 8,8,8 --voxel-size 1,1,1 --loading 0.3 --diameter-nm 4 "
     "--phases matrix=1,filler=0", 2, ["two ways", "the matrix"]),
    ("inspect slices --voxel-size z=-1,y=1,x=1", 3, ["-1 nm", "--voxel-size z=10,y=5,x=5"]),
    ("inspect slices --voxel-size 0.01,1,1", 2, ["less than an atom", "type 10"]),
    ("prepare a.zarr median --out ../x", 2, ["a field cannot be called '../x"]),
    ("label a.zarr --out ../x", 2, ["a field cannot be called '../x"]),
    ("segment a.zarr --method otsu --phases a=0,b=1 --out ../x", 2, ["cannot be called '../x"]),
    ("prepare a.zarr crop:z=0:100", 2, ["8 voxels along z", "z=0:8"]),
    ("report a.zarr r.html --field nope", 4, ["no field 'nope'", "names"]),
    ("report a.zarr r.html --raw nope", 4, ["no field 'nope'", "names"]),
    ("segment-images pictures /proc/m --method otsu --phases a=0,b=1", 4, ["cannot write to /proc/m"]),
    ("plot a.zarr /proc/m", 4, ["cannot write to /proc/m"]),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "code", "says"), SLIPS, ids=[typed for typed, _, _ in SLIPS])
def test_a_slip_is_one_line_that_says_what_to_type(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
    says: list[str],
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    capsys.readouterr()
    try:
        left = main([*typed.split(), "--quiet"])
    except SystemExit as stop:
        left = int(str(stop.code))
    out, err = capsys.readouterr()
    assert (left, out) == (code, ""), err
    assert err.startswith("tim3d: ")
    assert err.count("\n") == 1
    for text in says:
        assert text in err
    assert sorted(folder.rglob("*")) == before


def test_a_phase_without_a_voxel_is_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    with caplog.at_level(logging.INFO, "tim3d"):
        tim3d.segment(
            "a.zarr", method="fixed", thresholds=[255], phases=tim3d.Phases(pore=0, solid=1), out="all",
            options=tim3d.Options(progress=False),
        )  # fmt: skip
    assert "all: pore 1.0000, solid 0.0000" in caplog.messages
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "no voxel of 'all' is solid" in warned[0]


def test_an_object_store_that_refuses_is_one_line() -> None:
    class DeniedError(Exception):
        """Of a store: pages of its insides."""

    DeniedError.__module__ = "obstore.exceptions"
    with (
        pytest.raises(InputError, match="AWS_ACCESS_KEY_ID") as caught,
        reading("s3://bucket/scan"),
    ):
        raise DeniedError("no credentials\n\nDebug source:\nConfigValue {\n ...")
    assert "\n" not in str(caught.value)
    assert "microscope" not in str(caught.value)
