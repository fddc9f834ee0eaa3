"""Axes by their names, else by their order; what is no volume is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from tim3d.errors import InputError
from tim3d.sources import open_source

VOXELS = np.random.default_rng(0).integers(0, 200, (5, 16, 20)).astype(np.uint8)
STEPS = {"z": 20.0, "y": 5.0, "x": 4.0, "c": 1.0, "t": 1.0}


def ome_zarr(path: Path, voxels: np.ndarray, axes: str, **more: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=voxels.shape, chunks=voxels.shape, dtype=voxels.dtype)[:] = voxels
    named = [
        {"name": a} | ({} if a in "ct" else {"type": "space", "unit": "nanometer"}) for a in axes
    ]
    step = {"type": "scale", "scale": [STEPS[a] for a in axes]}
    levels = [{"path": "0", "coordinateTransformations": [step]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": named, "datasets": levels} | more]
    return path


@pytest.mark.parametrize(
    "axes", ["".join(order) for order in itertools.permutations("zyx")] + ["tczyx", "czxy", "zyxc"]
)
def test_any_order_of_named_axes_gives_the_same_volume(axes: str, tmp_path: Path):
    spatial = [a for a in axes if a in "zyx"]
    stored = VOXELS.transpose(["zyx".index(a) for a in spatial])
    shape = [1 if a in "ct" else VOXELS.shape["zyx".index(a)] for a in axes]
    stored = np.ascontiguousarray(stored).reshape(shape)
    source = open_source(ome_zarr(tmp_path / "ome.zarr", stored, axes))
    assert source.voxel_size_nm == (20.0, 5.0, 4.0)
    zarr.create_array(tmp_path / "named.zarr", data=stored, dimension_names=list(axes))
    xarray = zarr.create_array(tmp_path / "xarray.zarr", data=stored, zarr_format=2)
    xarray.attrs["_ARRAY_DIMENSIONS"] = list(axes)
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["v"] = stored
        for dimension, name in zip(file["v"].dims, axes, strict=True):
            dimension.label = name
    with h5py.File(tmp_path / "tags.h5", "w") as file:
        file["v"] = stored
        file["v"].attrs["axistags"] = json.dumps({"axes": [{"key": name} for name in axes]})
    for name in ("ome.zarr", "named.zarr", "xarray.zarr", "labels.h5", "tags.h5"):
        found = open_source(tmp_path / name)
        np.testing.assert_array_equal(found.read(1, 4), VOXELS[1:4], err_msg=name)
        assert found.read(0, 5).shape == VOXELS.shape


@pytest.mark.parametrize("axes", ["cyx", "tyx", "czyx"])
def test_several_channels_and_times_are_no_volume(axes: str, tmp_path: Path):
    voxels = VOXELS if len(axes) == 3 else np.stack([VOXELS, VOXELS])
    with pytest.raises(InputError, match=r"holds \d (channels|times).*tim3d reads one volume"):
        open_source(ome_zarr(tmp_path / "a.zarr", voxels, axes))


def test_scales_of_the_image_and_of_its_level_multiply(tmp_path: Path):
    whole = [{"type": "scale", "scale": [2.0, 2.0, 1.0]}]
    path = ome_zarr(tmp_path / "a.zarr", VOXELS, "zyx", coordinateTransformations=whole)
    assert open_source(path).voxel_size_nm == (40.0, 10.0, 4.0)


def test_a_level_keeps_the_size_that_its_image_tells_however_it_is_named(tmp_path: Path):
    ome_zarr(tmp_path / "v.zarr" / "recon" / "em", VOXELS, "zyx")
    zarr.open_group(tmp_path / "v.zarr", mode="a", zarr_format=2)
    spellings = [
        ("v.zarr", "recon/em/0"),
        ("v.zarr/recon/em", "0"),
        ("v.zarr/recon/em/0", None),
        ("v.zarr", "recon/em"),
    ]
    for place, dataset in spellings:
        assert open_source(tmp_path / place, dataset=dataset).voxel_size_nm == (20.0, 5.0, 4.0), (
            place,
            dataset,
        )
    assert open_source(f"file://{tmp_path}/v.zarr/recon/em/0").voxel_size_nm == (20.0, 5.0, 4.0)


def test_the_only_image_in_a_group_is_found(tmp_path: Path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    ome_zarr(tmp_path / "a.zarr" / "0", VOXELS[None, None], "tczyx")
    source = open_source(tmp_path / "a.zarr")
    assert source.voxel_size_nm == (20.0, 5.0, 4.0)
    np.testing.assert_array_equal(source.read(0, 5), VOXELS)


@pytest.mark.parametrize(
    "shape", [(1, 5, 16, 20), (5, 16, 20, 1), (1, 5, 16, 20, 1), (5, 1, 16, 20), (1, 1, 5, 16, 20)]
)
def test_axes_of_length_one_are_left_out(shape: tuple[int, ...], tmp_path: Path):
    np.save(tmp_path / "a.npy", VOXELS.reshape(shape))
    zarr.create_array(tmp_path / "a.zarr", data=VOXELS.reshape(shape))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = VOXELS.reshape(shape)
    for name in ("a.npy", "a.zarr", "a.h5"):
        np.testing.assert_array_equal(open_source(tmp_path / name).read(0, 5), VOXELS)


def test_one_slice_stays_one_slice(tmp_path: Path):
    np.save(tmp_path / "a.npy", VOXELS[:1, None])
    assert open_source(tmp_path / "a.npy").shape == (1, 16, 20)


@pytest.mark.parametrize("channels", [3, 4])
def test_an_image_in_colour_is_no_volume_and_hides_none(channels: int, tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((64, 48, channels), np.uint8))
    with pytest.raises(InputError, match="an image in colour, not a volume"):
        open_source(tmp_path / "a.npy")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["preview"] = np.zeros((64, 48, channels), np.uint8)
        file["volume"] = VOXELS[None]
    assert open_source(tmp_path / "b.h5").shape == VOXELS.shape


@pytest.mark.parametrize("name", ["scan.nxs", "scan.mat", "scan.ims", "scan"])
@pytest.mark.parametrize("userblock", [0, 512])
def test_hdf5_is_known_by_its_content(name: str, userblock: int, tmp_path: Path):
    with h5py.File(tmp_path / name, "w", userblock_size=userblock) as file:
        file["v"] = VOXELS
    np.testing.assert_array_equal(open_source(tmp_path / name).read(0, 5), VOXELS)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"ZISRAWFILE", "is Zeiss CZI.*bfconvert scan.dat"),
        (b"\x1f\x8b", "is gzip.*gunzip -k scan.dat"),
        (b"\0" * 128 + b"DICM", "is DICOM.*dcm2niix scan.dat"),
    ],
)
def test_a_file_without_a_known_name_is_called_what_it_is(start: bytes, said: str, tmp_path: Path):
    (tmp_path / "scan.dat").write_bytes(start + bytes(64))
    with pytest.raises(ValueError, match=said):
        open_source(tmp_path / "scan.dat")


@pytest.mark.parametrize(
    "names",
    [("row", "column", "slice"), ("y [nm]", "x [nm]", "z [nm]"), ("height", "Width", "depth")],
)
def test_other_words_for_the_axes_are_understood(names: tuple[str, ...], tmp_path: Path):
    stored = np.ascontiguousarray(VOXELS.transpose(1, 2, 0))
    zarr.create_array(tmp_path / "a.zarr", data=stored, dimension_names=list(names))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = stored
        for dimension, name in zip(file["v"].dims, names, strict=True):
            dimension.label = name
    for name in ("a.zarr", "a.h5"):
        np.testing.assert_array_equal(open_source(tmp_path / name).read(0, 5), VOXELS)
