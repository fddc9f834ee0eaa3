"""Small valid files of every format that is read, and random damage to them."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from PIL import Image

from tim3d.errors import Tim3dError
from tim3d.sources import open_source
from tim3d.sources.base import Voxels
from tim3d.sources.grey_image import read_picture

SHAPE = (5, 24, 28)
MOST_BYTES = 2**26  # of memory, for a file of kilobytes


def voxels(kind: str = "uint8") -> Voxels:
    rng = np.random.default_rng(5)
    return rng.integers(1, 250, SHAPE).astype(kind)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def png(path: Path) -> None:
    for z, plane in enumerate(voxels()):
        Image.fromarray(plane).save((path if z else _folder(path)) / f"s{z}.png")


def tiff(path: Path) -> None:
    for z, plane in enumerate(voxels("uint16")):
        tifffile.imwrite((path if z else _folder(path)) / f"s{z}.tif", plane)


def tiff_pages(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), voxels(), photometric="minisblack")


def tiff_deflate(path: Path) -> None:
    tifffile.imwrite(
        path.with_suffix(".tif"),
        voxels(),
        photometric="minisblack",
        compression="zlib",
        tile=(16, 16),
    )


def tiff_ome(path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 5.0, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(path.with_suffix(".tif"), voxels(), ome=True, metadata=metadata)


def tiff_imagej(path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.02, "unit": "um"}
    tifffile.imwrite(
        path.with_suffix(".tif"), voxels(), imagej=True, resolution=(100, 100), metadata=metadata
    )


def big_tiff(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), voxels(), photometric="minisblack", bigtiff=True)


def npy(path: Path) -> None:
    np.save(path.with_suffix(".npy"), voxels("float32"))


def hdf5(path: Path) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["v"] = voxels()
        file["link"] = h5py.SoftLink("/v")


def hdf5_chunked(path: Path) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file.create_dataset(
            "deep/v", data=voxels(), chunks=(2, 12, 14), compression="gzip", fletcher32=True
        )


def hdf5_virtual(path: Path) -> None:
    _folder(path)
    layout = h5py.VirtualLayout(SHAPE, "u1")
    for z, plane in enumerate(voxels()):
        with h5py.File(path / f"part{z}.h5", "w") as file:
            file["v"] = plane
        layout[z] = h5py.VirtualSource(f"part{z}.h5", "v", SHAPE[1:])
    with h5py.File(path / "all.h5", "w") as file:
        file.create_virtual_dataset("v", layout)


def zarr_2(path: Path) -> None:
    zarr.create_array(path.with_suffix(".zarr"), data=voxels(), chunks=(2, 12, 14), zarr_format=2)


def zarr_3(path: Path) -> None:
    zarr.create_array(path.with_suffix(".zarr"), data=voxels(), chunks=(2, 12, 14))


def zarr_sharded(path: Path) -> None:
    zarr.create_array(
        path.with_suffix(".zarr"), data=voxels(), chunks=(1, 12, 14), shards=(2, 24, 28)
    )


def ome_zarr(path: Path) -> None:
    group = zarr.open_group(path.with_suffix(".zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=SHAPE, chunks=SHAPE, dtype="u1")[:] = voxels()
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [20, 5, 4]}]
    group.attrs["multiscales"] = [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    ]


WRITERS: list[Callable[[Path], None]] = [
    png, tiff, tiff_pages, tiff_deflate, tiff_ome, tiff_imagej, big_tiff, npy, hdf5, hdf5_chunked, hdf5_virtual, zarr_2,
    zarr_3, zarr_sharded, ome_zarr,
]  # fmt: skip


def _bit(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _early_bit(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(min(len(data), 256))] ^= 1 << rng.randrange(8)


def _bytes(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    for i in range(at, min(at + rng.choice((1, 2, 4, 8)), len(data))):
        data[i] = rng.choice((0, 0xFF, 0x7F, rng.randrange(256)))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _digit(data: bytearray, rng: random.Random) -> None:
    places = [found.start() for found in re.finditer(rb"[0-9]", bytes(data))]
    if places:
        at = rng.choice(places)
        data[at : at + 1] = rng.choice((b"0", b"9", b"7", b"99999", b"-1", b"1e9", b'"', b"null"))


DAMAGES = (_bit, _early_bit, _bytes, _cut, _digit)


def damage(folder: Path, rng: random.Random) -> tuple[Path, bytes]:
    """One random change of one file below a folder; the file, and what it held."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    before = path.read_bytes()
    data = bytearray(before)
    rng.choice(DAMAGES)(data, rng)
    path.write_bytes(data)
    return path, before


def look(
    spec: Path, shape: tuple[int, ...] = SHAPE, options: Mapping[str, Any] | None = None
) -> str:
    """What reading of a damaged source comes to: ``refused``, ``read`` or what is wrong with it."""
    tracemalloc.start()
    try:
        seen = _looked_at(spec, shape, options or {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return seen if peak < MOST_BYTES else f"{peak} bytes were allocated"


def _looked_at(spec: Path, shape: tuple[int, ...], options: Mapping[str, Any]) -> str:
    try:
        source = open_source(spec, **options)
        if source.slice_bytes + source.piece_bytes > MOST_BYTES:
            return "refused"  # an ingest says so before anything is read
        if source.shape != shape:
            return f"read as {source.shape}"
        source.read(0, source.shape[0])
        source.identity()
    except Tim3dError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 1500 else f"says {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def look_as_picture(spec: Path) -> str:
    """The same of a single image."""
    try:
        read_picture(spec)
    except Tim3dError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"
