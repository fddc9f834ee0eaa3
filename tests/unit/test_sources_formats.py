"""Every format reads back what was written, slice by slice, and tells shape and dtype without reading voxels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from tim3d.errors import ArgumentError, InputError
from tim3d.sources import Source, open_source, stacks
from tim3d.sources.positions import natural_key

Writer = Callable[[Path, np.ndarray], Source]


def volume(dtype: str, shape: tuple[int, int, int] = (5, 7, 9), seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def tiff_folder(folder: Path, voxels: np.ndarray) -> Source:
    for z, plane in enumerate(voxels):
        tifffile.imwrite(folder / f"slice_{z + 8}.tif", plane)
    return open_source(folder)


def tiff_pattern(folder: Path, voxels: np.ndarray) -> Source:
    tiff_folder(folder, voxels)
    return open_source(str(folder / "slice_*.tif"))


def tiff_list(folder: Path, voxels: np.ndarray) -> Source:
    tiff_folder(folder, voxels)
    return open_source(sorted(folder.iterdir()))


def png_folder(folder: Path, voxels: np.ndarray) -> Source:
    for z, plane in enumerate(voxels):
        Image.fromarray(plane).save(folder / f"s{z + 8}.png")
    return open_source(str(folder))


def paged(folder: Path, voxels: np.ndarray) -> Source:
    tifffile.imwrite(folder / "a.tif", voxels, photometric="minisblack")
    return open_source(folder / "a.tif")


def paged_big_endian(folder: Path, voxels: np.ndarray) -> Source:
    tifffile.imwrite(folder / "a.tif", voxels, photometric="minisblack", byteorder=">")
    return open_source(folder / "a.tif")


def paged_compressed(folder: Path, voxels: np.ndarray) -> Source:
    tifffile.imwrite(
        folder / "a.tif", voxels, photometric="minisblack", compression="zlib", predictor=False
    )
    return open_source(folder / "a.tif")


def big_tiff(folder: Path, voxels: np.ndarray) -> Source:
    tifffile.imwrite(folder / "a.btf", voxels, photometric="minisblack", bigtiff=True)
    return open_source(folder / "a.btf")


def imagej(folder: Path, voxels: np.ndarray) -> Source:
    tifffile.imwrite(folder / "a.tif", voxels, imagej=True, metadata={"axes": "ZYX"})
    return open_source(folder / "a.tif")


def with_thumbnail(folder: Path, voxels: np.ndarray) -> Source:
    with tifffile.TiffWriter(folder / "a.tif") as tif:
        for plane in voxels:
            tif.write(plane, photometric="minisblack")
            tif.write(plane[::2, ::2], photometric="minisblack", subfiletype=1)
    return open_source(folder / "a.tif")


def npy(folder: Path, voxels: np.ndarray) -> Source:
    np.save(folder / "a.npy", voxels)
    return open_source(folder / "a.npy")


def npy_fortran_swapped(folder: Path, voxels: np.ndarray) -> Source:
    np.save(folder / "a.npy", np.asfortranarray(voxels.astype(voxels.dtype.newbyteorder(">"))))
    return open_source(folder / "a.npy")


def raw(folder: Path, voxels: np.ndarray) -> Source:
    voxels.tofile(folder / "a.raw")
    return open_source(folder / "a.raw", shape=voxels.shape, dtype=voxels.dtype)


def raw_fortran_swapped(folder: Path, voxels: np.ndarray) -> Source:
    swapped = voxels.astype(voxels.dtype.newbyteorder(">"))
    (folder / "a.bin").write_bytes(swapped.tobytes(order="F"))
    return open_source(folder / "a.bin", shape=voxels.shape, dtype=swapped.dtype, order="F")


def hdf5_single(folder: Path, voxels: np.ndarray) -> Source:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("deep/stack", data=voxels, chunks=(2, 3, 4), compression="gzip")
        file["table"] = np.zeros((3, 2))
    return open_source(folder / "a.h5")


def hdf5_named(folder: Path, voxels: np.ndarray) -> Source:
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["other"] = voxels[:2]
        file["stack"] = voxels
    return open_source(folder / "a.hdf5", dataset="/stack")


def zarr_v2(folder: Path, voxels: np.ndarray) -> Source:
    zarr.create_array(folder / "a.zarr", data=voxels, chunks=(2, 4, 4), zarr_format=2)
    return open_source(folder / "a.zarr")


def zarr_v3(folder: Path, voxels: np.ndarray) -> Source:
    zarr.create_array(folder / "a.zarr", data=voxels, chunks=(2, 4, 4), zarr_format=3)
    return open_source(str(folder / "a.zarr"))


def zarr_url(folder: Path, voxels: np.ndarray) -> Source:
    zarr_v3(folder, voxels)
    return open_source(f"file://{folder}/a.zarr")


def zarr_group(folder: Path, voxels: np.ndarray) -> Source:
    group = zarr.open_group(folder / "a.zarr", mode="w")
    group.create_array("scan/voxels", data=voxels)
    group.create_array("z", data=np.zeros(3))
    return open_source(folder / "a.zarr")


def zarr_named(folder: Path, voxels: np.ndarray) -> Source:
    group = zarr.open_group(folder / "a.zarr", mode="w")
    group.create_array("one", data=voxels[:2])
    group.create_array("two", data=voxels)
    return open_source(folder / "a.zarr", dataset="two")


EVERY_DTYPE = [
    tiff_folder, tiff_pattern, tiff_list, paged, paged_big_endian, paged_compressed, big_tiff, imagej, with_thumbnail,
    npy, npy_fortran_swapped, raw, raw_fortran_swapped, hdf5_single, hdf5_named, zarr_v2, zarr_v3, zarr_url, zarr_group,
    zarr_named,
]  # fmt: skip
CASES = [(write, dtype) for write in EVERY_DTYPE for dtype in ("uint8", "uint16", "float32")]
CASES += [(png_folder, "uint8"), (png_folder, "uint16")]


@pytest.mark.parametrize(("write", "dtype"), CASES, ids=[f"{w.__name__}-{d}" for w, d in CASES])
def test_any_cut_reads_what_was_written(write: Writer, dtype: str, tmp_path: Path):
    voxels = volume(dtype)
    source = write(tmp_path, voxels)
    assert source.shape == voxels.shape
    assert source.dtype == np.dtype(dtype)
    for z0, z1 in [(0, 5), (0, 1), (2, 4), (4, 5)]:
        found = source.read(z0, z1)
        assert found.dtype == np.dtype(dtype)
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, voxels[z0:z1])


@pytest.mark.parametrize("write", [*EVERY_DTYPE, png_folder], ids=lambda w: w.__name__)
def test_a_source_travels_and_keeps_its_identity(write: Writer, tmp_path: Path):
    source = write(tmp_path, volume("uint8"))
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert hash(copy) == hash(source)
    assert copy.identity() == source.identity()
    np.testing.assert_array_equal(copy.read(1, 3), source.read(1, 3))


@pytest.mark.parametrize(
    "write",
    [tiff_folder, png_folder, paged, npy, raw, hdf5_single, zarr_v3],
    ids=lambda w: w.__name__,
)
def test_identity_follows_the_content_and_not_the_folder(write: Writer, tmp_path: Path):
    first = volume("uint8")
    changed_last = first.copy()
    changed_last[-1, 0, 0] ^= 1
    sources = []
    for name, voxels in [
        ("here", first),
        ("there", first),
        ("other", changed_last),
        ("short", first[:-1]),
    ]:
        (tmp_path / name).mkdir()
        sources.append(write(tmp_path / name, voxels).identity())
    assert sources[0] == sources[1]
    assert len(set(sources)) == 3
    assert len(sources[0]) == 64


@given(
    voxels=npst.arrays("uint16", npst.array_shapes(min_dims=3, max_dims=3, max_side=5)),
    cut=st.tuples(st.integers(0, 4), st.integers(1, 5)),
)
def test_odd_shapes_in_pages(
    voxels: np.ndarray, cut: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("odd") / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for plane in voxels:
            tif.write(plane, photometric="minisblack", metadata=None)
    source = open_source(path)
    z0 = min(cut[0], voxels.shape[0] - 1)
    z1 = min(max(cut[1], z0 + 1), voxels.shape[0])
    np.testing.assert_array_equal(source.read(z0, z1), voxels[z0:z1])


def test_slices_come_in_natural_order(tmp_path: Path):
    for name in (10, 9, 100, 1):
        tifffile.imwrite(tmp_path / f"slice_{name}.tif", np.full((2, 2), name, np.uint8))
    (tmp_path / "notes.txt").write_text("settings of the microscope")
    (tmp_path / "._slice_9.tif").write_bytes(b"left by a file browser")
    found = open_source(tmp_path).read(0, 4)[:, 0, 0]
    assert found.tolist() == [1, 9, 10, 100]


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=2))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]):
    names = [f"scan{n}_a.tif" for n in numbers]
    assert sorted(names, key=natural_key) == [f"scan{n}_a.tif" for n in sorted(numbers)]


@given(st.lists(st.text("aZ9.0_ =µz", max_size=6)))
def test_natural_order_takes_any_name(names: list[str]):
    backwards = list(reversed(names))
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_names_with_z_only_are_ordered_by_z(tmp_path: Path):
    for z in ("5.92", "5.9104", "10.1"):
        tifffile.imwrite(tmp_path / f"z={z}um.tif", np.zeros((2, 2), np.uint8))
    assert open_source(tmp_path).positions_nm == (5910.4, 5920.0, 10100.0)


def test_pattern_over_folders(tmp_path: Path):
    for day in (2, 10):
        (tmp_path / f"day{day}").mkdir()
        for z in (1, 2):
            tifffile.imwrite(
                tmp_path / f"day{day}" / f"s{z}.tif", np.full((2, 2), 10 * day + z, np.uint8)
            )
    source = open_source(str(tmp_path / "day*" / "*.tif"))
    assert source.read(0, 4)[:, 0, 0].tolist() == [21, 22, 101, 102]
    assert source.slice_name(3).endswith("day10/s2.tif")


def test_one_image_is_one_slice(tmp_path: Path):
    plane = volume("uint8")[0]
    tifffile.imwrite(tmp_path / "a.tif", plane)
    Image.fromarray(plane).save(tmp_path / "b.png")
    for name in ("a.tif", "b.png"):
        np.testing.assert_array_equal(open_source(tmp_path / name).read(0, 1), plane[np.newaxis])


def test_bool_becomes_uint8(tmp_path: Path):
    bits = volume("uint8") > 127
    np.save(tmp_path / "a.npy", bits)
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric="minisblack")
    (tmp_path / "png").mkdir()
    for z, plane in enumerate(bits):
        Image.fromarray(plane).save(tmp_path / "png" / f"{z}.png")
    for name in ("a.npy", "a.tif", "png"):
        source = open_source(tmp_path / name)
        assert source.dtype == np.uint8
        np.testing.assert_array_equal(source.read(0, 5), bits.astype(np.uint8))


def test_palette_png_gives_its_indices(tmp_path: Path):
    plane = volume("uint8")[0] % 3
    image = Image.fromarray(plane).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.putdata(plane.ravel().tolist())
    image.save(tmp_path / "labels.png")
    source = open_source(tmp_path / "labels.png")
    np.testing.assert_array_equal(source.read(0, 1)[0], plane)
    assert "palette" in source.origin


def test_large_png_is_no_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    source = png_folder(tmp_path, volume("uint8"))
    assert source.read(0, 5).shape == (5, 7, 9)


def test_imagej_stack_with_one_page_header(tmp_path: Path):
    voxels = volume("uint16")
    single, whole = tmp_path / "single.tif", tmp_path / "whole.tif"
    tifffile.imwrite(
        single, voxels[0], metadata=None, description="ImageJ=1.53\nimages=5\nslices=5\n"
    )
    with tifffile.TiffFile(single) as tif:
        offset = tif.pages.first.dataoffsets[0]
    whole.write_bytes(single.read_bytes()[:offset] + voxels.astype("<u2").tobytes())
    with tifffile.TiffFile(whole) as tif:
        assert len(tif.pages) == 1
        assert tif.byteorder == "<"
    np.testing.assert_array_equal(open_source(whole).read(1, 4), voxels[1:4])
    whole.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated: 5 slices end at byte"):
        open_source(whole)


def test_tifffile_stack_with_one_page_header(tmp_path: Path):
    voxels = volume("float32")
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="minisblack", truncate=True)
    np.testing.assert_array_equal(open_source(tmp_path / "a.tif").read(0, 5), voxels)


def test_only_the_slices_asked_for_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tiff_folder(tmp_path, volume("uint8"))
    opened: list[str] = []
    reader = stacks.read_image
    monkeypatch.setattr(
        stacks, "read_image", lambda path, kind: opened.append(path.name) or reader(path, kind)
    )
    source.read(1, 3)
    assert opened == ["slice_9.tif", "slice_10.tif"]


def test_reads_outside_the_volume_are_refused(tmp_path: Path):
    source = npy(tmp_path, volume("uint8"))
    for z0, z1 in [(0, 6), (-1, 2), (3, 3), (4, 2)]:
        with pytest.raises(ArgumentError, match="has slices 0 to 5"):
            source.read(z0, z1)


def test_options_of_another_kind_are_refused(tmp_path: Path):
    npy(tmp_path, volume("uint8"))
    tifffile.imwrite(tmp_path / "s.tif", volume("uint8")[0])
    with pytest.raises(ArgumentError, match="--shape and --dtype describe a raw file"):
        open_source(tmp_path / "a.npy", shape=(5, 7, 9), dtype="uint8")
    with pytest.raises(ArgumentError, match="leave it out"):
        open_source(tmp_path, dataset="stack")
    with pytest.raises(
        ArgumentError,
        match=r"for raw voxels without a header type .*--shape 1000,1024,1024 --dtype uint8",
    ):
        np.zeros(8).tofile(tmp_path / "b.raw") or open_source(tmp_path / "b.raw", dtype="uint8")
    with pytest.raises(ArgumentError, match="is not known"):
        open_source(tmp_path / "b.raw", dtype="unit8", shape=(2, 2, 2))
    with pytest.raises(ArgumentError, match="order is"):
        open_source(tmp_path / "b.raw", dtype="uint8", shape=(2, 2, 2), order="K")


def test_real_png_slices(data_dir: Path):
    source = open_source(data_dir / "flyem-fibsem" / "slices")
    assert source.shape == (250, 250, 250)
    assert source.dtype == np.uint8
    assert source.slice_name(0).endswith("iso.2600.png")
    assert source.slice_name(249).endswith("iso.2849.png")
    means = source.read(0, 250).mean(axis=(1, 2))
    assert means.min() == pytest.approx(121.7, abs=0.05)
    assert means.max() == pytest.approx(140.0, abs=0.05)


def test_a_relative_path_that_goes_up_is_a_path_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "scan").mkdir()
    tifffile.imwrite(tmp_path / "scan" / "slice_1.tif", np.ones((3, 4), np.uint8))
    monkeypatch.chdir(tmp_path / "here")
    assert open_source("../scan").shape == (1, 3, 4)
    assert open_source("../scan").identity() == open_source(tmp_path / "scan").identity()
