"""Voxel sizes come out of the tags that instruments write, in nm, and what is typed wins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError, InputError
from tim3d.sources import open_source, resolve_voxel_size
from tim3d.sources.units import length_nm, unit_name

PLANE = np.zeros((6, 8), np.uint8)
ZEISS, SFEG, HELIOS, FIBICS = 34118, 34680, 34682, 51023


def write(path: Path, tag: int, text: str) -> Path:
    tifffile.imwrite(path, PLANE, extratags=[(tag, "s", 0, text, True)])
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.582 nm\r\n", 5.582),
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 558.2 pm\r\n", 0.5582),
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 1.25 µm\r\n", 1250.0),
        ("AP_PIXEL_SIZE\r\nPixel Size = 7.5 nm\r\n", 7.5 * 1024 / 8),
        (
            "AP_PIXEL_SIZE\r\nPixel Size = 7.5 nm\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 960 nm\r\n",
            960.0,
        ),
    ],
)
def test_zeiss(text: str, expected: float, tmp_path: Path):
    data = ("\r\n0\r\n" + text).encode("cp1252")
    tifffile.imwrite(tmp_path / "a.tif", PLANE, extratags=[(ZEISS, "s", 0, data, True)])
    source = open_source(tmp_path / "a.tif")
    assert source.voxel_size_nm == (None, expected, expected)
    assert "Zeiss" in source.origin


@pytest.mark.parametrize("tag", [SFEG, HELIOS])
@pytest.mark.parametrize(
    "text",
    [
        "[Scan]\r\nPixelWidth=3.5e-009\r\nPixelHeight=4.375e-009\r\n",
        "[Beam]\r\nScan=EScan\r\n[IScan]\r\nPixelWidth=1e-9\r\nPixelHeight=1e-9\r\n"
        "[EScan]\r\nPixelWidth=3.5e-9\r\nPixelHeight=4.375e-9\r\n",
    ],
)
def test_fei(tag: int, text: str, tmp_path: Path):
    source = open_source(write(tmp_path / "a.tif", tag, text))
    assert source.voxel_size_nm == (None, 4.375, 3.5)
    assert "FEI" in source.origin


@pytest.mark.parametrize(
    "scan",
    [
        '<FOV_X units="um">0.032</FOV_X><FOV_Y units="um">0.03</FOV_Y>',
        "<Ux>0.004</Ux><Uy>0</Uy><Vx>0</Vx><Vy>-0.005</Vy>",
        "<Ux>0.0024</Ux><Uy>0.0032</Uy><Vx>0.004</Vx><Vy>-0.003</Vy>",
        '<FOV_X units="nm">32</FOV_X><FOV_Y units="nm">30</FOV_Y>',
    ],
)
def test_fibics_atlas(scan: str, tmp_path: Path):
    text = (
        '<?xml version="1.0" encoding="iso-8859-1"?><Fibics version="1.0"><Image><Width>8</Width><Height>6</Height>'
        f"</Image><Scan>{scan}</Scan></Fibics>"
    )
    source = open_source(write(tmp_path / "a.tif", FIBICS, text))
    assert source.voxel_size_nm == pytest.approx((None, 5.0, 4.0))
    assert "Fibics" in source.origin


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("nm", 1), ("um", 1e3), ("micron", 1e3), ("\\u00B5m", 1e3), ("mm", 1e6), ("cm", 1e7)],
)
def test_imagej(unit: str, factor: float, tmp_path: Path):
    pixels = (0.2 * factor / 1.0, 0.25 * factor / 1.0)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((3, 6, 8), np.uint8), imagej=True, resolution=pixels,
        metadata={"axes": "ZYX", "unit": unit, "spacing": 10 / factor},
    )  # fmt: skip
    source = open_source(tmp_path / "a.tif")
    assert source.voxel_size_nm == pytest.approx((10.0, 4.0, 5.0), rel=1e-6)
    assert "ImageJ" in source.origin


def test_damaged_or_missing_metadata_is_no_error(tmp_path: Path):
    texts = [
        (FIBICS, "<Fibics><Scan>"),
        (FIBICS, "<Fibics/>"),
        (HELIOS, "[Scan]\r\nPixelWidth=0\r\n"),
        (ZEISS, "\r\n0\r\n"),
    ]
    for i, (tag, text) in enumerate(texts):
        source = open_source(write(tmp_path / f"{i}.tif", tag, text))
        assert source.voxel_size_nm == (None, None, None)
        assert source.origin == "no metadata"


def test_dots_per_inch_are_not_a_pixel_size(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, resolution=(72, 72), resolutionunit="INCH")
    assert open_source(tmp_path / "a.tif").voxel_size_nm == (None, None, None)


def test_first_and_last_slice_must_agree(tmp_path: Path):
    for z, size in enumerate((5.0, 5.0, 5.2)):
        write(
            tmp_path / f"{z}.tif", HELIOS, f"[Scan]\r\nPixelWidth={size}e-9\r\nPixelHeight=5e-9\r\n"
        )
    source = open_source(tmp_path)
    assert source.voxel_size_nm == (None, None, None)
    assert "disagree" in source.origin
    assert open_source([tmp_path / "0.tif", tmp_path / "1.tif"]).voxel_size_nm == (None, 5.0, 5.0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_full_resolution_and_voxel_size(version: str, tmp_path: Path):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("raw/s0/raw", data=voxels)
    group.create_array("raw/s1/raw", data=voxels[:, ::2, ::2].copy())
    scales = {"s0/raw": [0.02, 5, 5], "s1/raw": [0.02, 10, 10]}
    image = {
        "axes": [
            {"name": axis, "type": "space", "unit": "micrometer" if axis == "z" else "nanometer"}
            for axis in "zyx"
        ],
        "datasets": [
            {"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for path, scale in scales.items()
        ],
    }
    attributes = {"multiscales": [image]}
    group["raw"].attrs.update(
        attributes if version == "0.4" else {"ome": {"version": "0.5", **attributes}}
    )
    source = open_source(tmp_path / "a.zarr", dataset="raw")
    assert source.voxel_size_nm == (20.0, 5.0, 5.0)
    np.testing.assert_array_equal(source.read(0, 2), voxels)


def plain(tmp_path: Path, tag_text: str = "[Scan]\r\nPixelWidth=5e-9\r\nPixelHeight=4e-9\r\n"):
    return open_source(write(tmp_path / "a.tif", HELIOS, tag_text))


def test_given_wins_over_metadata_axis_by_axis(tmp_path: Path):
    source = plain(tmp_path)
    assert resolve_voxel_size({"z": 10.0}, "nm", source) == (10.0, 4.0, 5.0)
    assert resolve_voxel_size({"z": 0.01, "y": 0.007}, "um", source) == (10.0, 7.0, 5.0)
    assert resolve_voxel_size({"z": 10, "x": None, "y": None}, "nm", source) == (10.0, 4.0, 5.0)
    assert resolve_voxel_size({"z": 100, "y": 50, "x": 52}, "angstrom", source) == (10.0, 5.0, 5.2)


def test_missing_axis_says_which_and_what_to_type(tmp_path: Path):
    source = plain(tmp_path)
    for nothing in (None, {}, {"z": None}, {"y": 3.0}):
        with pytest.raises(InputError, match=r"along z is not known.*--voxel-size z=10"):
            resolve_voxel_size(nothing, "nm", source)


@pytest.mark.parametrize("bad", [0.0, -5.0, math.nan, math.inf])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_lengths_that_are_no_lengths(bad: float, axis: str, tmp_path: Path):
    with pytest.raises(InputError, match=f"along {axis} is .*must be a positive number"):
        resolve_voxel_size({"z": 1.0, "y": 1.0, "x": 1.0, axis: bad}, "nm", plain(tmp_path))


def test_unknown_units_and_axes(tmp_path: Path):
    source = plain(tmp_path)
    for unit in ("pixel", "nmm", ""):
        with pytest.raises(ArgumentError, match=r"unit .* is not known; write one of"):
            resolve_voxel_size({"z": 1.0}, unit, source)
        with pytest.raises(ArgumentError, match="is not known"):
            resolve_voxel_size(None, unit, source)
    with pytest.raises(ArgumentError, match="axis 'w'"):
        resolve_voxel_size({"w": 1.0}, "nm", source)
    with pytest.raises(ArgumentError, match="is not a number"):
        resolve_voxel_size({"z": "thin"}, "nm", source)  # type: ignore[dict-item]


def test_every_spelling_of_a_unit():
    same = {
        "um": ["um", "µm", "μm", "micron", "Microns", "micrometer", " UM ", "\\u00B5m"],
        "nm": ["nm", "nanometer", "nanometre"],
        "angstrom": ["angstrom", "Å", "\u212b", "A"],
        "mm": ["mm", "millimeter"],
        "m": ["m", "meter"],
    }
    for name, spellings in same.items():
        assert {unit_name(text) for text in spellings} == {name}
    assert unit_name("pixels") is None


@given(st.decimals("0.0001", 1000, places=4))
def test_lengths_are_rounded_once(value):
    assert length_nm(str(value), "um") == float(value * 1000)


@pytest.mark.parametrize(
    ("z_um", "expected"),
    [
        ([0, 0.02, 0.05, 0.06], (0.0, 20.0, 50.0, 60.0)),
        ([0, 0.02, 0.04, 0.06], None),  # even, as PhysicalSizeZ says
        ([0, 0.03, 0.06, 0.09], (0.0, 30.0, 60.0, 90.0)),  # PhysicalSizeZ says otherwise
        ([1, 1, 1, 1], None),  # where the stage is, and not the slices
    ],
)
def test_positions_of_ome_planes_are_those_of_the_slices(
    z_um: list[float], expected: tuple[float, ...] | None, tmp_path: Path
):
    planes = {"PositionZ": z_um, "PositionZUnit": ["µm"] * 4}
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 20, "PhysicalSizeZUnit": "nm", "Plane": planes}
    stack = np.zeros((4, 6, 8), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack, ome=True, metadata=metadata, photometric="minisblack"
    )
    found = open_source(tmp_path / "a.ome.tif").positions_nm
    assert found == (expected and pytest.approx(expected))


def test_positions_of_a_channel_are_its_own(tmp_path: Path):
    """Each of two channels of two times has been scanned at its own positions."""
    places = [round(0.02 * z + 0.001 * z * z * (one + 1), 6) for one in range(4) for z in range(5)]
    planes = {"PositionZ": places, "PositionZUnit": ["µm"] * 20}
    metadata = {"axes": "TCZYX", "PhysicalSizeZ": 20, "PhysicalSizeZUnit": "nm", "Plane": planes}
    stack = np.zeros((2, 2, 5, 6, 8), np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata=metadata, photometric="minisblack")
    for time in range(2):
        for channel in range(2):
            first = 5 * (2 * time + channel)
            found = open_source(path, time=time, channel=channel).positions_nm
            assert found == pytest.approx([1000 * z for z in places[first : first + 5]])
