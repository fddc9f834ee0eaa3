"""Bad input: one clear error that names the file, what was expected and what to do."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from tim3d.errors import InputError, MissingExtraError
from tim3d.sources import open_source, png_file

PLANE = np.arange(48, dtype=np.uint8).reshape(6, 8)


def refused(match: str):
    return pytest.raises(InputError, match=match)


def cut_to(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_empty_folder(tmp_path: Path):
    with refused(r"no image in folder .*it holds nothing; expected .tif"):
        open_source(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    with refused(r"it holds 1 .txt, 1 folder"):
        open_source(tmp_path)


def test_pattern_without_a_match(tmp_path: Path):
    with refused(r"matches 0 files"):
        open_source(str(tmp_path / "*.tif"))


def test_no_such_path(tmp_path: Path):
    with refused(r"no such file or folder: .*scan"):
        open_source(tmp_path / "scan")
    with refused(r"no such file or folder: .*scan"):
        open_source(tmp_path / "scan", dataset="raw")
    with refused("no such file: .*b.tif"):
        tifffile.imwrite(tmp_path / "a.tif", PLANE)
        open_source([tmp_path / "a.tif", tmp_path / "b.tif"])
    with refused("list of files is empty"):
        open_source([])
    with refused("listed twice"):
        open_source([tmp_path / "a.tif", tmp_path / "a.tif"])


def test_list_with_another_kind_of_file(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    (tmp_path / "b.txt").write_text("x")
    with refused(r"b\.txt is not an image"):
        open_source([tmp_path / "a.tif", tmp_path / "b.txt"])


def test_slices_of_different_sizes_name_the_first_that_differs(tmp_path: Path):
    for z in range(12):
        tifffile.imwrite(tmp_path / f"s{z}.tif", PLANE[:5] if z in (9, 11) else PLANE)
    with refused(r"s9\.tif has size \(5, 8\), s0\.tif has \(6, 8\)"):
        open_source(tmp_path)


def test_slices_of_different_dtypes(tmp_path: Path):
    tifffile.imwrite(tmp_path / "s0.tif", PLANE)
    tifffile.imwrite(tmp_path / "s1.tif", PLANE.astype(np.uint16))
    with refused(r"s1\.tif has type uint16, s0\.tif has uint8"):
        open_source(tmp_path)


def test_tiff_and_png_mixed(tmp_path: Path):
    tifffile.imwrite(tmp_path / "s0.tif", PLANE)
    Image.fromarray(PLANE).save(tmp_path / "s1.png")
    with refused(r"mixes 1 TIFF and 1 PNG files"):
        open_source(tmp_path)
    assert open_source(str(tmp_path / "*.tif")).shape == (1, 6, 8)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"rowsperstrip": 1}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize("share", [0.0, 0.005, 0.3, 0.9])
def test_truncated_tiff(options: dict[str, object], share: float, tmp_path: Path):
    voxels = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    for z in range(3):
        tifffile.imwrite(tmp_path / f"s{z}.tif", voxels, **options)
    cut_to(tmp_path / "s1.tif", share)
    with refused(r"s1\.tif.*(truncated|damaged)"):
        open_source(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.21, 0.5, 0.7, 0.99])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}]
)
def test_truncated_pages(options: dict[str, object], share: float, tmp_path: Path):
    voxels = np.random.default_rng(0).integers(0, 255, (5, 40, 60), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="minisblack", **options)
    cut_to(tmp_path / "a.tif", share)
    with refused(r"a\.tif"):
        open_source(tmp_path / "a.tif").read(0, 5)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_slice_truncated_after_opening(options: dict[str, object], tmp_path: Path):
    voxels = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    for z in range(3):
        tifffile.imwrite(tmp_path / f"s{z}.tif", voxels, **options)
    source = open_source(tmp_path)
    cut_to(tmp_path / "s1.tif", 0.6)
    assert source.read(0, 1).shape == (1, 40, 60)
    with refused(r"cannot read .*s1\.tif"):
        source.read(0, 2)


def test_slice_gone_or_changed_after_opening(tmp_path: Path):
    for z in range(3):
        tifffile.imwrite(tmp_path / f"s{z}.tif", PLANE)
    source = open_source(tmp_path)
    (tmp_path / "s1.tif").unlink()
    with refused(r"s1\.tif.*Check that it is still there"):
        source.read(1, 2)
    tifffile.imwrite(tmp_path / "s2.tif", PLANE[:3])
    with refused(r"s2\.tif is now \(3, 8\), it was \(6, 8\)"):
        source.read(2, 3)


@pytest.mark.parametrize("keep", [10, 20, 45, 1200, -100])
def test_truncated_png(keep: int, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    for z in range(2):
        Image.fromarray(noise).save(tmp_path / f"s{z}.png")
    (tmp_path / "s1.png").write_bytes((tmp_path / "s1.png").read_bytes()[:keep])
    with refused(r"cannot read .*s1\.png"):
        open_source(tmp_path).read(0, 2)


def test_file_that_is_not_what_its_name_says(tmp_path: Path):
    for name in ("a.tif", "a.png", "a.npy", "a.h5"):
        (tmp_path / name).write_bytes(zlib.compress(b"not an image at all" * 9))
        with refused(rf"cannot read .*{name}"):
            open_source(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "seen"), [("RGB", "3 channels"), ("RGBA", "4 channels"), ("LA", "2 channels")]
)
def test_colour_png_says_how_to_convert(mode: str, seen: str, tmp_path: Path):
    Image.fromarray(PLANE).convert(mode).save(tmp_path / "s0.png")
    with refused(rf"s0\.png has {seen}.*convert\('L'\)"):
        open_source(tmp_path)


def test_colour_tiff_and_interleaved_channels(tmp_path: Path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.stack([PLANE] * 3, axis=-1), photometric="rgb")
    with refused(r"rgb\.tif has 3 channels"):
        open_source(tmp_path / "rgb.tif")
    hyper = np.zeros((4, 2, 6, 8), np.uint8)
    tifffile.imwrite(tmp_path / "two.tif", hyper, imagej=True, metadata={"axes": "ZCYX"})
    with refused(r"two\.tif holds 2 channels"):
        open_source(tmp_path / "two.tif")


def test_grey_png_of_few_bits(tmp_path: Path):
    Image.fromarray(PLANE).save(tmp_path / "a.png", bits=8)
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[24] = 4
    (tmp_path / "a.png").write_bytes(bytes(content))
    with refused("has 4 bits a pixel; expected 1, 8 or 16"):
        open_source(tmp_path / "a.png")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_without_a_number_names_slice_and_count(bad: float, tmp_path: Path):
    voxels = np.zeros((4, 6, 8), np.float32)
    voxels[2, 1, 1:4] = bad
    for z, plane in enumerate(voxels):
        tifffile.imwrite(tmp_path / f"s{z}.tif", plane)
    source = open_source(tmp_path)
    assert source.read(0, 2).shape == (2, 6, 8)
    with refused(r"s2\.tif holds 3 values that are NaN or infinite.*nan_to_num"):
        source.read(1, 4)
    np.save(tmp_path / "a.npy", voxels)
    with refused(r"slice 2 of .*a\.npy holds 3 values"):
        open_source(tmp_path / "a.npy").read(1, 4)


def test_pages_of_different_sizes(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(PLANE)
        tif.write(PLANE[:3])
    with refused(r"page 1 is \(3, 8\) uint8, page 0 is \(6, 8\) uint8"):
        open_source(tmp_path / "a.tif")


def test_stack_of_files_with_pages(tmp_path: Path):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"s{z}.tif", np.stack([PLANE] * 3), photometric="minisblack")
    with refused(r"s0\.tif holds 3 pages; a stack of files needs one slice a file"):
        open_source(tmp_path)


@pytest.mark.parametrize(("tag", "code"), [("Predictor", 99), ("Compression", 32899)])
def test_a_compression_that_is_not_decoded_is_called_so(tag: str, code: int, tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE.astype(np.uint16), compression="zlib", predictor=2)
    assert open_source(tmp_path / "a.tif").shape == (1, 6, 8)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages.first.tags[tag].overwrite(code)
    with pytest.raises((InputError, MissingExtraError), match=r"a\.tif"):
        open_source(tmp_path / "a.tif").read(0, 1)


def test_a_decoder_that_fails_to_import_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def missing(path: Path) -> np.ndarray:
        raise ModuleNotFoundError("No module named 'compression'")

    Image.fromarray(PLANE).save(tmp_path / "a.png")
    source = open_source(tmp_path / "a.png")
    monkeypatch.setattr(png_file, "PngImageFile", missing)
    with pytest.raises(MissingExtraError, match="needs a package: No module named 'compression'"):
        source.read(0, 1)


def test_raw_with_the_wrong_number_of_bytes(tmp_path: Path):
    (tmp_path / "a.raw").write_bytes(bytes(96))
    with refused(r"has 96 bytes; shape \(3, 6, 8\) of uint8 needs 144.*would hold 2 slices"):
        open_source(tmp_path / "a.raw", shape=(3, 6, 8), dtype="uint8")
    with refused(r"needs 130\. Correct shape \(z, y, x\) or dtype$"):
        open_source(tmp_path / "a.raw", shape=(2, 5, 13), dtype="uint8")
    with refused("an axis is empty"):
        open_source(tmp_path / "a.raw", shape=(0, 6, 8), dtype="uint8")


def test_truncated_npy(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 60, 80), np.uint8))
    cut_to(tmp_path / "a.npy", 0.5)
    with refused(r"cannot read .*a\.npy"):
        open_source(tmp_path / "a.npy")


def test_hdf5_with_several_without_and_with_a_wrong_name(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((2, 3, 4), np.uint8)
        file["labels/truth"] = np.zeros((2, 3, 4), np.uint16)
    with refused(r"holds 2 data sets with three axes: labels/truth .*raw .*--dataset labels/truth"):
        open_source(tmp_path / "a.h5")
    with refused(r"has no data set 'grey'; it holds labels/truth"):
        open_source(tmp_path / "a.h5", dataset="grey")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["table"] = np.zeros((2, 3))
    with refused(r"no data set with three axes .*it holds table \(2, 3\) float64"):
        open_source(tmp_path / "b.h5")
    assert open_source(tmp_path / "b.h5", dataset="table").shape == (1, 2, 3)


def test_zarr_with_several_without_and_with_a_wrong_name(tmp_path: Path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    with refused("no data set with three axes .*it holds nothing"):
        open_source(tmp_path / "a.zarr")
    group.create_array("one", data=np.zeros((2, 3, 4), np.uint8))
    group.create_array("two", data=np.zeros((2, 3, 4), np.uint8))
    with refused(r"holds 2 data sets with three axes: one .*two"):
        open_source(tmp_path / "a.zarr")
    with refused(r"has no array 'three'; it holds one, two"):
        open_source(tmp_path / "a.zarr", dataset="three")


def test_no_zarr_at_a_url(tmp_path: Path):
    with refused(r"cannot read file://.*nothing\.zarr"):
        open_source(f"file://{tmp_path}/nothing.zarr")


@pytest.mark.parametrize(
    ("dtype", "value", "cure"),
    [
        ("float64", 0.1, "--convert float32"),
        ("int32", 70000, "--convert float32"),
        ("int16", -3, "--convert shift, which adds 32768 and loses nothing, or --convert float32"),
        ("complex64", 0, "real number"),
    ],
)
def test_values_that_would_change_are_refused_with_what_to_type(
    dtype: str, value: float, cure: str, tmp_path: Path
):
    voxels = np.zeros((2, 3, 4), dtype)
    voxels[1, 2] = value
    np.save(tmp_path / "a.npy", voxels)
    with refused(rf"a\.npy holds {dtype} values.*{cure}"):
        open_source(tmp_path / "a.npy")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stack"] = voxels
    with refused(dtype):
        open_source(tmp_path / "a.h5")


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3, 4), (0, 3, 4)])
def test_arrays_that_are_no_volume(shape: tuple[int, ...], tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with refused(r"axes without names, shape|axis is empty"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "start", "package"),
    [
        ("a.mrc", bytes(208) + b"MAP " + bytes(900), "mrcfile"),
        ("a.nrrd", b"NRRD0004\n", "nrrd"),
        ("a.nii", bytes(344) + b"n+1\0", "nibabel"),
    ],
)
def test_a_format_of_the_extra_says_what_to_install(
    name: str, start: bytes, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / name).write_bytes(start)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*{package}.*'tim3d\[formats\]'"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("shape", [(4000, 4000), (1, 10**6), (10**6, 1)])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_that_promises_more_than_it_can_hold_is_refused_before_it_is_read(
    shape: tuple[int, int], depth: int, tmp_path: Path
):
    """Deflate makes 1032 bytes of one at most, whatever the form of the image."""
    path = tmp_path / "a.png"
    Image.fromarray(PLANE.astype(f"u{depth // 8}")).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", *shape[::-1])
    path.write_bytes(data)
    with refused(rf"promises {shape[0]} x {shape[1]} pixels, and {len(data)} bytes cannot"):
        open_source(path)
