"""A damaged file of any format is read or refused in one line: no other error, no large allocation."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.examples import scaled
from tests.foreign import SHAPE, WRITERS, damage, look, look_as_picture
from tests.variants import TABLE, Variant

Writer = Callable[[Path], None]
# How often a file of each format, and of each variant, is damaged.
SEEDS = scaled(8), scaled(2)

# Damage of these may leave a smaller volume that is whole in itself: a chain of pages that ends
# sooner, the shape in an array's metadata.
SHORTER = {
    "tiff_pages",
    "tiff_deflate",
    "tiff_ome",
    "tiff_imagej",
    "big_tiff",
    "hdf5",
    "hdf5_chunked",
    "hdf5_virtual",
}
SHORTER |= {"zarr_2", "zarr_3", "zarr_sharded", "ome_zarr"}


def written(write: Writer, folder: Path) -> Path:
    write(folder / "a")
    spec = next(folder.iterdir())
    return spec / "all.h5" if (spec / "all.h5").exists() else spec


def damaged_and_looked_at(write: Writer, folder: Path, count: int) -> None:
    spec = written(write, folder)
    assert look(spec) == "read"
    for seed in range(count):
        path, before = damage(folder, random.Random(seed))
        seen = look(spec)
        allowed = seen in ("read", "refused") or (
            seen.startswith("read as") and write.__name__ in SHORTER
        )
        assert allowed, f"seed {seed}, {path.name}: {seen}"
        path.write_bytes(before)
    assert look(spec) == "read"


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_damage_is_read_or_refused_in_one_line(write: Writer, tmp_path: Path) -> None:
    damaged_and_looked_at(write, tmp_path, SEEDS[0])


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_much_damage_is_read_or_refused_in_one_line(write: Writer, tmp_path: Path) -> None:
    damaged_and_looked_at(write, tmp_path, 300)


def test_damaged_images_are_pictures_or_refused(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, SHAPE[1:]).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", grey, compression="zlib")
    np.save(tmp_path / "c.npy", grey)
    for seed in range(60):
        path, before = damage(tmp_path, random.Random(seed))
        assert look_as_picture(path) in ("read", "refused"), f"seed {seed}, {path.name}"
        path.write_bytes(before)


def png_bomb(path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 10**6, 10**6)
    path.write_bytes(data)


def tiff_bomb(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tif.pages.first.tags[tag].overwrite(2**31)


def npy_bomb(path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000), }"
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))


@pytest.mark.parametrize(
    ("bomb", "name"), [(png_bomb, "a.png"), (tiff_bomb, "a.tif"), (npy_bomb, "a.npy")]
)
def test_a_header_that_promises_more_than_the_file_can_hold_is_refused_at_opening(
    bomb: Writer, name: str, tmp_path: Path
) -> None:
    bomb(tmp_path / name)
    assert look(tmp_path / name) == "refused"
    assert look_as_picture(tmp_path / name) == "refused"


KINDS = {
    "OME-TIFF",
    "ImageJ",
    "MetaImage",
    "NRRD",
    "NIfTI",
    "OME-Zarr",
    "VTI",
    "N5",
    "Amira",
    "MRC",
}
KINDS |= {"Imaris", "JPEG", "BMP", "DigitalMicrograph", "Zeiss", "FEI"}
READ = [variant for variant in TABLE if not variant.refused and variant.kind in KINDS]


@pytest.mark.parametrize("variant", READ, ids=lambda v: f"{v.kind}-{v.what}".replace(" ", "_"))
def test_damage_of_a_variant_is_read_or_refused_in_one_line(
    variant: Variant, tmp_path: Path
) -> None:
    if any(find_spec(package) is None for package in variant.needs):
        pytest.skip(f"{variant.by} is not installed")
    spec = variant.write(tmp_path)
    for seed in range(SEEDS[1]):
        path, before = damage(tmp_path, random.Random(seed))
        seen = look(spec, variant.values.shape, variant.options)
        allowed = seen in ("read", "refused") or seen.startswith("read as")
        assert allowed, f"seed {seed}, {path.name}: {seen}"
        path.write_bytes(before)
    assert look(spec, variant.values.shape, variant.options) == "read"
