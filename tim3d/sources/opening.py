"""Open a source from a path, pattern, list of files or URL."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import DTypeLike

from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError, InputError
from tim3d.sources.base import Source, reading
from tim3d.sources.hdf5 import is_hdf5, open_hdf5
from tim3d.sources.holes import MissingChunks, check_policy
from tim3d.sources.image_files import IMAGE_SUFFIXES, is_image, is_tiff
from tim3d.sources.planned import planned_stack
from tim3d.sources.stacks import open_paged_tiff, open_slices
from tim3d.sources.volumes import Order, open_npy, open_raw
from tim3d.sources.zarr_array import is_zarr, open_zarr

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Options of `open_source`: everything besides the location of the source."""

    dataset: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: DTypeLike | None = None
    order: Order = "C"
    missing_chunks: MissingChunks = "refuse"

    def refuse(
        self, kind: str, *, dataset: bool = False, raw: bool = False, chunks: bool = False
    ) -> None:
        """Raise `ArgumentError` if an option is set that does not apply to a kind of source."""
        if dataset and self.dataset is not None:
            raise ArgumentError(
                f"--dataset {self.dataset} names an array inside HDF5 or zarr; {kind} has none: leave it out"
            )
        if raw and (self.shape is not None or self.dtype is not None):
            raise ArgumentError(
                f"--shape and --dtype describe a raw file; {kind} contains them: leave them out"
            )
        if chunks and self.missing_chunks != "refuse":
            raise ArgumentError(
                f"--missing-chunks is about HDF5 and zarr; {kind} has no chunks: leave it out"
            )


def open_source(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Source,
    *,
    dataset: str | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    order: Order = "C",
    missing_chunks: MissingChunks = "refuse",
) -> Source:
    """Open a volume on disk as a `Source`; headers are read and checked, voxels are not.

    The source's `remarks` are logged as warnings.

    Parameters
    ----------
    spec : path, pattern, URL, sequence of paths, or Source
        A folder of TIFF or PNG slices, a glob pattern, a list of files, one TIFF, BigTIFF, PNG,
        .npy, HDF5 or raw file, or a zarr by path or URL. An open source is returned as it is.
    dataset : str, optional
        Name of the array inside an HDF5 file or a zarr group.
    shape : (z, y, x), optional
        Number of voxels of a raw file along each axis.
    dtype : dtype, optional
        Type of a voxel of a raw file, with its byte order: uint8, uint16, >u2, float32.
    order : {"C", "F"}
        Order of the voxels of a raw file: C has x running fastest, F has z running fastest.
    missing_chunks : {"refuse", "fill"}
        Whether missing chunks of HDF5 or zarr are an error or are read as the fill value.

    Raises
    ------
    ArgumentError
        If an option does not apply to this kind of source, a raw file lacks one, or a URL contains
        credentials.
    InputError
        If nothing is found, or the data cannot be used; see docs/ingest.md.
    MissingExtraError
        If the compression of a TIFF needs imagecodecs.

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
    check_policy(missing_chunks)
    wanted = Wanted(dataset, shape, dtype, order, missing_chunks)
    if not isinstance(spec, Source) and (planned := planned_stack(spec)) is not None:
        wanted.refuse("a folder of slices", dataset=True, raw=True, chunks=True)
        return planned
    if isinstance(spec, Source):
        wanted.refuse("a source", dataset=True, raw=True, chunks=True)
        source = spec
    else:
        source = _opened([spec] if isinstance(spec, str | os.PathLike) else spec, wanted)
    filled = (
        [f"{source.filled} chunks of {source.label} are not there and are filled"]
        if source.filled
        else []
    )
    for remark in (*filled, *source.remarks):
        log.warning("%s", remark)
    return source


def _opened(specs: Sequence[str | os.PathLike[str]], wanted: Wanted) -> Source:
    if len(specs) == 1:  # as typed: a Path would change a URL
        return _open_one(os.fspath(specs[0]), wanted)
    wanted.refuse("a list of files", dataset=True, raw=True, chunks=True)
    return _open_listed([Path(item) for item in specs])


def _open_one(text: str, wanted: Wanted) -> Source:
    if "://" in text:
        refuse_credentials(text)
        wanted.refuse("a zarr URL", raw=True)
        return open_zarr(text, wanted.dataset, wanted.missing_chunks)
    path = Path(text).expanduser()
    if _is_dir(path):
        return _open_folder(path, wanted)
    if path.exists():
        return _open_file(path, wanted)
    if not any(c in text for c in "*?["):
        raise InputError(
            f"no such file or folder: {path}; check the spelling (working folder: {Path.cwd()})"
        )
    wanted.refuse("a pattern", dataset=True, raw=True, chunks=True)
    return _open_pattern(path)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)[:80]!r} cannot be a path: {error}") from error


def _open_folder(path: Path, wanted: Wanted) -> Source:
    if is_zarr(path):
        wanted.refuse("a zarr", raw=True)
        return open_zarr(str(path), wanted.dataset, wanted.missing_chunks)
    wanted.refuse("a folder of slices", dataset=True, raw=True, chunks=True)
    images = _present([item for item in path.iterdir() if is_image(item) and not item.is_dir()])
    if not images:
        raise InputError(
            f"no image in folder {path}: it holds {_census(path)}; expected {', '.join(IMAGE_SUFFIXES)} "
            f"files or a zarr. Give the folder that holds the slices, or a pattern such as '{path}/*/*.tif'"
        )
    return _open_images(images)


def _present(paths: list[Path]) -> list[Path]:
    """Return the files, or raise if one is a dangling link: that is a missing slice."""
    lost = sorted(path for path in paths if path.is_symlink() and not path.exists())
    if lost:
        raise InputError(
            f"{lost[0]} is a link to {lost[0].readlink()}, which is not there ({len(lost)} of {len(paths)} files); "
            "fetch what it stands for, or remove the link if the slice is to be left out"
        )
    return paths


def _census(path: Path) -> str:
    kinds = Counter(
        "folder" if item.is_dir() else item.suffix or "no suffix" for item in path.iterdir()
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"


def _open_pattern(path: Path) -> Source:
    every = _present(_glob(path))
    found = [item for item in every if item.is_file() or is_zarr(item)]
    images = [item for item in found if is_image(item)]
    if len(found) == 1:
        return _open_one(str(found[0]), Wanted())
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
            raise InputError(
                f"{path} is not an image ({', '.join(IMAGE_SUFFIXES)}); leave it out of the list"
            )
    return _open_images(paths)


def _open_images(paths: Sequence[Path]) -> Source:
    if len(paths) == 1 and is_tiff(paths[0]):
        return open_paged_tiff(paths[0])
    return open_slices(paths)


def _open_file(path: Path, wanted: Wanted) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".npy" or suffix in IMAGE_SUFFIXES:
        wanted.refuse(f"a {suffix} file", dataset=True, raw=True, chunks=True)
        return open_npy(path) if suffix == ".npy" else _open_images([path])
    with reading(path):
        hdf5 = is_hdf5(path)
    if hdf5:
        wanted.refuse("an HDF5 file", raw=True)
        return open_hdf5(path, wanted.dataset, wanted.missing_chunks)
    wanted.refuse(f"a {suffix} file", dataset=True, chunks=True)
    with reading(path):
        return open_raw(path, wanted.shape, wanted.dtype, wanted.order)
