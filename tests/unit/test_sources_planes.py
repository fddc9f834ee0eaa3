"""Planes of a TIFF that are no slices, and files that are no stack, are found before anything is read."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tim3d.errors import InputError
from tim3d.sources import open_source

VOLUME = np.random.default_rng(0).integers(0, 200, (5, 16, 20)).astype(np.uint8)
PAIR = np.stack([VOLUME, 255 - VOLUME])


@pytest.mark.parametrize(
    "kind", [{"ome": True}, {"photometric": "minisblack"}], ids=["ome", "tifffile"]
)
@pytest.mark.parametrize(
    ("axes", "what"), [("CZYX", "2 channels"), ("TZYX", "2 times"), ("ZCYX", "2 channels")]
)
def test_channels_and_times_are_no_slices(
    kind: dict[str, object], axes: str, what: str, tmp_path: Path
):
    stored = np.swapaxes(PAIR, 0, 1) if axes == "ZCYX" else PAIR
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata={"axes": axes}, **kind)
    with pytest.raises(InputError, match=f"holds {what}.*tim3d reads one volume"):
        open_source(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ((2, 5, 1), "2 times"),
        ((1, 5, 2), "2 channels"),
        ((5, 1, 1), "5 times"),
        ((2, 1, 5), "2 times and 5"),
    ],
)
def test_frames_and_channels_of_imagej_are_no_slices(
    shape: tuple[int, int, int], what: str, tmp_path: Path
):
    hyperstack = np.zeros((*shape, 16, 20), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", hyperstack, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(
        InputError, match=f"holds {what}.*Image > Properties, slices {math.prod(shape)}"
    ):
        open_source(tmp_path / "a.tif")


def test_four_axes_without_names_and_two_volumes_are_no_stack(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", PAIR, photometric="minisblack")
    with pytest.raises(InputError, match="2 x 5 planes"):
        open_source(tmp_path / "a.tif")
    for name, ome in (("b.tif", False), ("c.ome.tif", True)):
        with tifffile.TiffWriter(tmp_path / name, ome=ome) as tif:
            for volume in PAIR:
                tif.write(volume, photometric="minisblack", metadata={"axes": "ZYX"})
        with pytest.raises(InputError, match=r"holds 2 scenes.*--scene 0"):
            open_source(tmp_path / name)
        np.testing.assert_array_equal(open_source(tmp_path / name, scene=1).read(0, 5), PAIR[1])


def test_pages_written_one_by_one_are_slices(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for plane in VOLUME:
            tif.write(plane, photometric="minisblack")
    np.testing.assert_array_equal(open_source(tmp_path / "a.tif").read(0, 5), VOLUME)


def test_ome_tells_the_voxel_size(tmp_path: Path):
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 4,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 5,
        "PhysicalSizeYUnit": "nm",
    }
    metadata |= {"PhysicalSizeZ": 0.02, "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", VOLUME, ome=True, metadata=metadata)
    source = open_source(tmp_path / "a.ome.tif")
    assert source.voxel_size_nm == (20.0, 5.0, 4.0)
    assert source.origin == "OME metadata"


def test_a_page_that_is_a_volume_is_called_so_and_nothing_is_overwritten(tmp_path: Path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((16, 32, 32), np.uint8), volumetric=True, tile=(16, 16, 16)
    )
    with pytest.raises(InputError, match=r"a volume of 16 slices .*imwrite\('a_pages\.tif'"):
        open_source(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((16, 32, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"mkdir grey; .*save\('grey/' \+ f \+ '.png'\)"):
        open_source(tmp_path / "c.tif")


def test_white_and_black_as_zero_do_not_mix(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for z, photometric in enumerate(["miniswhite", "miniswhite", "minisblack"]):
        tifffile.imwrite(tmp_path / f"{z}.tif", VOLUME[z], photometric=photometric)
    with pytest.raises(InputError, match=r"2\.tif: 0 means black, in 0\.tif white"):
        open_source(tmp_path)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as tif:
        for z, photometric in enumerate(["minisblack", "miniswhite"]):
            tif.write(VOLUME[z], photometric=photometric)
    with pytest.raises(InputError, match="in page 1 0 means white, in page 0 black"):
        open_source(tmp_path / "pages.tif")
    with caplog.at_level(logging.WARNING):
        assert open_source(str(tmp_path / "[01].tif")).remarks
    assert "0 means white" in caplog.text


def stack(folder: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(folder / name, np.full((4, 5), i, np.uint8))
    return folder


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            [f"s_{i:04d}_{d}.tif" for i in (1, 2, 3) for d in ("ESB", "SE2")],
            "both have the number 1.*'s_.*SE2",
        ),
        (["s1.tif", "s01.tif", "s2.tif"], "both have the number 1"),
        (["s_1.tif", "s_1_copy.tif", "s_2.tif", "s_3.tif"], "both have the number 1"),
        (
            [f"tile{t}_{i:03d}.tif" for t in (0, 1) for i in range(3)],
            "names count two things, 2 x 3",
        ),
    ],
)
def test_two_images_of_one_number_are_no_stack(names: list[str], match: str, tmp_path: Path):
    with pytest.raises(InputError, match=match):
        open_source(stack(tmp_path, names))


@pytest.mark.parametrize(
    ("numbers", "jumps"),
    [((1, 2, 3, 7, 8), 1), ((10, 20, 30), 0), ((2, 4, 10, 12, 20), 2), ((5,), 0)],
)
def test_gaps_in_the_numbers_are_said(
    numbers: tuple[int, ...], jumps: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        source = open_source(stack(tmp_path, [f"s_{i:04d}.tif" for i in numbers]))
    assert len(source.remarks) == jumps == caplog.text.count("numbers of slices jump")
    assert source.shape[0] == len(numbers)


def test_the_same_numbers_in_two_folders_and_dates_beside_numbers_are_fine(tmp_path: Path):
    stack(tmp_path, [f"day{d}/s{i}.tif" for d in (2, 10) for i in (1, 2)])
    assert open_source(f"{tmp_path}/day*/*.tif").remarks == ()
    (tmp_path / "dated").mkdir()
    stack(tmp_path / "dated", [f"2020010{1 + i // 2}_{i}.tif" for i in range(5)])
    assert open_source(tmp_path / "dated").remarks == ()


def test_negative_numbers_come_first_and_a_dash_between_words_is_no_sign(tmp_path: Path):
    (tmp_path / "signed").mkdir()
    source = open_source(stack(tmp_path / "signed", ["z_-2.tif", "z_-1.tif", "z_0.tif", "z_1.tif"]))
    assert source.read(0, 4)[:, 0, 0].tolist() == [0, 1, 2, 3]
    (tmp_path / "dashed").mkdir()
    source = open_source(stack(tmp_path / "dashed", [f"scan-{i}.tif" for i in (1, 2, 10)]))
    assert source.read(0, 3)[:, 0, 0].tolist() == [0, 1, 2]


def test_a_link_to_nothing_is_a_missing_slice(tmp_path: Path):
    stack(tmp_path, [f"{i}.tif" for i in range(4)])
    (tmp_path / "2.tif").unlink()
    (tmp_path / "2.tif").symlink_to("annex/objects/not-fetched.tif")
    for spec in (tmp_path, f"{tmp_path}/*.tif"):
        with pytest.raises(
            InputError,
            match=r"2\.tif is a link to annex/objects/not-fetched\.tif, which is not there",
        ):
            open_source(spec)


@pytest.mark.parametrize(
    ("corrected", "angle", "known"),
    [("no", 0.907571, False), ("yes", 0.907571, True), ("no", 0.0, True)],
)
def test_rows_of_a_tilted_face_are_not_those_of_the_screen(
    corrected: str, angle: float, known: bool, tmp_path: Path
):
    text = (
        f"[Beam]\r\nScan=EScan\r\nBeam=EBeam\r\n[EBeam]\r\nTiltCorrectionIsOn={corrected}\r\nTiltCorrectionAngle={angle}\r\n"
        f"[EScan]\r\nPixelWidth=5e-009\r\nPixelHeight=5e-009\r\n[Stage]\r\nStageT={angle}\r\n"
    )
    tifffile.imwrite(
        tmp_path / "a.tif", VOLUME[0], extratags=[(34682, "s", 0, "[User]\r\n" + text, True)]
    )
    source = open_source(tmp_path / "a.tif")
    assert source.voxel_size_nm == (None, 5.0 if known else None, 5.0)
    assert known or f"{5 / math.sin(angle):.4g} nm apart on the face" in source.origin
