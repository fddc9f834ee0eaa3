"""Open a source from a path, pattern, list of files or URL."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from numpy.typing import DTypeLike

from tim3d.credentials import refuse_credentials
from tim3d.errors import InputError
from tim3d.sources.base import Source, reading
from tim3d.sources.conversion import Conversion, fitted
from tim3d.sources.formats import Format, format_of
from tim3d.sources.holes import MissingChunks, check_policy
from tim3d.sources.image_files import IMAGE_SUFFIXES, is_image, is_tiff, kind_of
from tim3d.sources.planned import planned_stack
from tim3d.sources.stacks import open_paged_tiff, open_slices
from tim3d.sources.volumes import open_raw
from tim3d.sources.wanted import Order, Picks, Wanted
from tim3d.sources.zarr_array import is_zarr, open_zarr
from tim3d.typed import Pick

log = logging.getLogger(__name__)


def open_source(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Source,
    *,
    dataset: str | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    order: Order = "C",
    missing_chunks: MissingChunks = "refuse",
    scene: Pick | None = None,
    time: Pick | None = None,
    channel: Pick | None = None,
    level: Pick | None = None,
    convert: Conversion = "exact",
) -> Source:
    """Open a volume on disk as a `Source`; headers are read and checked, voxels are not.

    Files are known by their content. Only voxels of a type that tim3d does not keep are read once,
    to see whether their values fit. The source's `remarks` are logged as warnings.

    Parameters
    ----------
    spec : path, pattern, URL, sequence of paths, or Source
        A folder of TIFF, PNG, JPEG or BMP slices, a glob pattern, a list of files, one file of any
        format of docs/ingest.md, or a zarr by path or URL. An open source is returned as it is.
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
    scene, time, channel, level : int or str, optional
        Number from 0, or name, of the image, time, channel and level to read. What a file has one
        of need not be chosen; the level is 0, the full resolution, by default.
    convert : {"exact", "shift", "float32", "objects"}
        What becomes of values of other types than uint8, uint16 and float32; see
        `tim3d.sources.conversion.fitted`.

    Raises
    ------
    ArgumentError
        If an option does not apply to this kind of source, the source does not have what is chosen,
        a raw file lacks an option, or a URL contains credentials.
    InputError
        If nothing is found, something must be chosen, or the data cannot be used; see
        docs/ingest.md.
    MissingExtraError
        If a package that reads the format is not installed.

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
    picks = Picks(scene, time, channel, level)
    wanted = Wanted(dataset, shape, dtype, order, missing_chunks, picks)
    if not isinstance(spec, Source) and (planned := planned_stack(spec)) is not None:
        _refuse_all(wanted, "a folder of slices")
        return planned
    if isinstance(spec, Source):
        _refuse_all(wanted, "a source")
        source = fitted(spec, convert)
    else:
        found = _opened([spec] if isinstance(spec, str | os.PathLike) else spec, wanted)
        source = fitted(found, convert)
    filled = (
        [f"{source.filled} chunks of {source.label} are not there and are filled"]
        if source.filled
        else []
    )
    for remark in (*filled, *source.remarks):
        log.warning("%s", remark)
    return source


@dataclass(frozen=True)
class Reading:
    """How a source is opened: the options of `open_source`, as the verbs take them."""

    dataset: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    missing_chunks: MissingChunks = "refuse"
    scene: Pick | None = None
    time: Pick | None = None
    channel: Pick | None = None
    level: Pick | None = None
    convert: Conversion = "exact"

    def open(self, spec: str | os.PathLike[str] | Sequence[str] | Source) -> Source:
        """Open a source in this way."""
        return open_source(spec, **{one.name: getattr(self, one.name) for one in fields(self)})

    def chosen(self) -> dict[str, str]:
        """Choices that were made, for the record."""
        picks = {name: getattr(self, name) for name in ("scene", "time", "channel", "level")}
        made = {name: str(pick) for name, pick in picks.items() if pick is not None}
        return made if self.convert == "exact" else made | {"convert": self.convert}


def _refuse_all(wanted: Wanted, kind: str) -> None:
    wanted.refuse(kind, dataset=True, raw=True, chunks=True)
    wanted.refuse_picks(kind)


def _opened(specs: Sequence[str | os.PathLike[str]], wanted: Wanted) -> Source:
    if len(specs) == 1:  # as typed: a Path would change a URL
        return _open_one(os.fspath(specs[0]), wanted)
    wanted.refuse("a list of files", dataset=True, raw=True, chunks=True)
    return _open_listed([Path(item) for item in specs], wanted)


def _open_one(text: str, wanted: Wanted) -> Source:
    if "://" in text:
        refuse_credentials(text)
        wanted.refuse("a zarr URL", raw=True)
        return open_zarr(text, wanted)
    path = Path(text).expanduser()
    if _is_dir(path):
        return _open_folder(path, wanted)
    if path.exists():
        return _open_file(path, wanted)
    if not any(c in text for c in "*?["):
        raise InputError(
            f"no such file or folder: {path}; check the spelling (working folder: {Path.cwd()})"
        )
    return _open_pattern(path, wanted)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)[:80]!r} cannot be a path: {error}") from error


def _open_folder(path: Path, wanted: Wanted) -> Source:
    known = format_of(path)
    if known is not None:
        return _open_known(path, known, wanted)
    wanted.refuse("a folder of slices", dataset=True, raw=True, chunks=True)
    files = sorted(item for item in path.iterdir() if not item.is_dir())
    images = _present([item for item in files if is_image(item)])
    if not images:
        raise InputError(
            f"no image in folder {path}: it holds {_census(path)}; expected {', '.join(IMAGE_SUFFIXES)} "
            f"files, a zarr or an N5. Give the folder that holds the slices, or a pattern such as '{path}/*/*.tif'"
        )
    return _open_images(_without_previews(images), wanted)


def _without_previews(images: list[Path]) -> list[Path]:
    """The images without JPEG and BMP, if there are others: these are previews of them."""
    kinds = {path: kind_of(path) for path in images}
    full = [path for path, kind in kinds.items() if kind is not None and not kind.preview]
    return full or images


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


def _open_pattern(path: Path, wanted: Wanted) -> Source:
    every = _present(_glob(path))
    found = [item for item in every if item.is_file() or is_zarr(item)]
    if len(found) == 1:
        return _open_one(str(found[0]), wanted)
    wanted.refuse("a pattern", dataset=True, raw=True, chunks=True)
    images = [item for item in found if is_image(item)]
    if not images:
        volumes = [item for item in found if format_of(item) is not None]
        if volumes:
            raise InputError(
                f"pattern '{path}' matches {len(found)} volumes, for example {volumes[0].name}; tim3d reads one: give "
                "one file, and each of the others its own sample"
            )
        raise InputError(
            f"pattern '{path}' matches {len(found)} files and no image ({', '.join(IMAGE_SUFFIXES)}); "
            "check the folder and put the pattern in quotes"
        )
    return _open_images(images, wanted)


def _glob(path: Path) -> list[Path]:
    fixed = Path(path.anchor)
    return sorted(fixed.glob(str(path.relative_to(fixed))))


def _open_listed(paths: Sequence[Path], wanted: Wanted) -> Source:
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
    return _open_images(paths, wanted)


def _open_images(paths: Sequence[Path], wanted: Wanted) -> Source:
    if len(paths) == 1 and is_tiff(paths[0]):
        return open_paged_tiff(paths[0], wanted.picks)
    return open_slices(paths, wanted.picks)


def _open_file(path: Path, wanted: Wanted) -> Source:
    _refuse_empty(path)
    described = wanted.shape is not None or wanted.dtype is not None
    known = None if is_image(path) else format_of(path)
    if known is not None and not (described and _is_named_only(path, known)):
        return _open_known(path, known, wanted)
    if is_image(path):
        wanted.refuse(f"a {path.suffix.lower()} file", dataset=True, raw=True, chunks=True)
        return _open_images([path], wanted)
    wanted.refuse(f"a {path.suffix.lower()} file", dataset=True, chunks=True)
    wanted.refuse_picks(f"{path} (a raw file)")
    with reading(path):
        return open_raw(path, wanted.shape, wanted.dtype, wanted.order)


def _refuse_empty(path: Path) -> None:
    with reading(path):
        empty = path.is_file() and not path.stat().st_size
    if empty:
        raise InputError(f"{path} is empty (0 bytes); copy it again from the microscope")


def _open_known(path: Path, known: Format, wanted: Wanted) -> Source:
    wanted.refuse(
        f"{known.name} ({path.name})", dataset=not known.arrays, raw=True, chunks=not known.chunks
    )
    return known.open(path, wanted)


def _is_named_only(path: Path, known: Format) -> bool:
    """Whether a file has the suffix of a format and not its content, so that it may be raw."""
    with reading(path), path.open("rb") as file:
        return not known.matches(file.read(4096), path)
