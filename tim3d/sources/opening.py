"""From what a user types to a source."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from numpy.typing import DTypeLike

from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError, InputError
from tim3d.sources.base import Source
from tim3d.sources.images import IMAGE_SUFFIXES, is_image, is_tiff
from tim3d.sources.planned import planned_stack
from tim3d.sources.slices import open_paged_tiff, open_slices
from tim3d.sources.volumes import Order, open_hdf5, open_npy, open_raw
from tim3d.sources.zarr_array import is_zarr, open_zarr

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")


def open_source(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    dataset: str | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    order: Order = "C",
) -> Source:
    """A volume on disk as a `Source`; headers are read and checked, voxels are not.

    Parameters
    ----------
    spec : path, pattern, URL, or sequence of paths
        A folder of TIFF or PNG slices, a glob pattern, a list of files, one TIFF, BigTIFF, PNG, .npy, HDF5 or raw
        file, or a zarr by path or URL.
    dataset : str, optional
        Name of the array inside an HDF5 file or a zarr group.
    shape : (z, y, x), optional
        Of a raw file.
    dtype : dtype, optional
        Of a raw file, with its byte order: uint8, uint16, >u2, float32.
    order : {"C", "F"}
        Of a raw file: C has x running fastest, F has z running fastest.

    Raises
    ------
    ArgumentError
        If an option does not belong to this kind of source, a raw file lacks one, or a URL carries credentials.
    InputError
        If nothing is found, or what is found cannot be used; see docs/ingest.md.
    MissingExtraError
        If a TIFF is compressed in a way that needs imagecodecs.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "scan.npy")
    >>> np.save(path, np.zeros((4, 5, 6), np.uint8))
    >>> source = open_source(path)
    >>> source.shape, source.read(1, 3).shape
    ((4, 5, 6), (2, 5, 6))
    >>> folder.cleanup()
    """
    raw = shape is not None or dtype is not None
    if (planned := planned_stack(spec)) is not None:
        _refuse_options("a folder of slices", dataset, raw)
        return planned
    if not isinstance(spec, str | os.PathLike):
        if len(spec) == 1:  # as the shell gives it; a path would spoil a URL
            return open_source(spec[0], dataset=dataset, shape=shape, dtype=dtype, order=order)
        _refuse_options("a list of files", dataset, raw)
        return _open_listed([Path(item) for item in spec])
    text = os.fspath(spec)
    if "://" in text:
        refuse_credentials(text)
        _refuse_options("a zarr URL", None, raw)
        return open_zarr(text, dataset)
    path = Path(text).expanduser()
    if path.is_dir():
        return _open_folder(path, dataset, raw)
    if path.exists():
        return _open_file(path, dataset, shape, dtype, order)
    if not any(c in text for c in "*?["):
        raise InputError(f"no such file or folder: {path}; check the spelling (working folder: {Path.cwd()})")
    _refuse_options("a pattern", dataset, raw)
    return _open_pattern(path)


def _refuse_options(kind: str, dataset: str | None, raw: bool) -> None:
    if dataset is not None:
        raise ArgumentError(f"dataset={dataset!r} names an array inside HDF5 or zarr; {kind} has none: leave it out")
    if raw:
        raise ArgumentError(f"shape and dtype describe a raw file; {kind} tells its own: leave them out")


def _open_folder(path: Path, dataset: str | None, raw: bool) -> Source:
    if is_zarr(path):
        _refuse_options("a zarr", None, raw)
        return open_zarr(str(path), dataset)
    _refuse_options("a folder of slices", dataset, raw)
    images = [item for item in path.iterdir() if is_image(item) and item.is_file()]
    if not images:
        raise InputError(
            f"no image in folder {path}: it holds {_census(path)}; expected {', '.join(IMAGE_SUFFIXES)} "
            f"files or a zarr. Give the folder that holds the slices, or a pattern such as '{path}/*/*.tif'"
        )
    return _open_images(images)


def _census(path: Path) -> str:
    kinds = Counter("folder" if item.is_dir() else item.suffix or "no suffix" for item in path.iterdir())
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"


def _open_pattern(path: Path) -> Source:
    found = [item for item in _glob(path) if item.is_file() or is_zarr(item)]
    images = [item for item in found if is_image(item)]
    if len(found) == 1:
        return open_source(found[0])
    if not images:
        raise InputError(
            f"pattern '{path}' matches {len(found)} files and no image ({', '.join(IMAGE_SUFFIXES)}); "
            "check the folder and put the pattern in quotes"
        )
    return _open_images(images)


def _glob(path: Path) -> list[Path]:
    fixed = Path(path.anchor)
    return list(fixed.glob(str(path.relative_to(fixed))))


def _open_listed(paths: Sequence[Path]) -> Source:
    if not paths:
        raise InputError("the list of files is empty; name at least one file")
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file: {path} (one of {len(paths)} listed)")
    if len(set(paths)) < len(paths):
        twice = next(path for path, count in Counter(paths).items() if count > 1)
        raise InputError(f"{twice} is listed twice; name every slice once")
    for path in paths:
        if not is_image(path):
            raise InputError(f"{path} is not an image ({', '.join(IMAGE_SUFFIXES)}); leave it out of the list")
    return _open_images(paths)


def _open_images(paths: Sequence[Path]) -> Source:
    if len(paths) == 1 and is_tiff(paths[0]):
        return open_paged_tiff(paths[0])
    return open_slices(paths)


def _open_file(
    path: Path, dataset: str | None, shape: tuple[int, ...] | None, dtype: DTypeLike | None, order: Order
) -> Source:
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        _refuse_options("an HDF5 file", None, shape is not None or dtype is not None)
        return open_hdf5(path, dataset)
    known = suffix == ".npy" or suffix in IMAGE_SUFFIXES
    _refuse_options(f"a {suffix} file", dataset, known and (shape is not None or dtype is not None))
    if suffix == ".npy":
        return open_npy(path)
    return _open_images([path]) if known else open_raw(path, shape, dtype, order)
