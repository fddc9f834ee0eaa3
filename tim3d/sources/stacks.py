"""Stacks of image files with one slice per file, and image files with many slices."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.base import Source, Voxels, reading
from tim3d.sources.image_files import kind_of, read_header, read_image
from tim3d.sources.image_header import SAME_MEANING, Header, Turn
from tim3d.sources.metadata import Calibration
from tim3d.sources.numbering import check_numbers
from tim3d.sources.positions import natural_key, positions_of
from tim3d.sources.tiff_file import read_pages
from tim3d.sources.wanted import Picks


@dataclass(frozen=True, kw_only=True, repr=False)
class SliceStack(Source):
    """One image file per slice: `names` in `folder`, in order, and `sizes` in bytes.

    `kind` is the name of their kind, `turn` what is done with each image, `page` the position of
    the page that is chosen in each file, if it is not the only one, and `level` its level.
    """

    folder: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    kind: str = "TIFF"
    turn: Turn = field(default_factory=Turn)
    page: int | None = None
    level: int = 0

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{len(self.names)} slices in {self.folder}"

    def slice_name(self, z: int) -> str:
        """Path of the file of slice `z`."""
        return str(Path(self.folder, self.names[z]))

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        chosen = () if self.page is None else (self.page, self.level)
        return (self.names, self.sizes, *chosen)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        found = np.empty((z1 - z0, *self.shape[1:]), self.dtype)
        for z in range(z0, z1):
            page = self.turn.apply(self._stored(Path(self.slice_name(z))))
            if page.shape != self.shape[1:]:
                raise InputError(
                    f"{self.slice_name(z)} is now {page.shape}, it was {self.shape[1:]} when opened"
                )
            found[z - z0] = page
        return found

    def _stored(self, path: Path) -> Voxels:
        if self.page is None:
            return read_image(path, self.kind)
        return next(read_pages(path, [self.page], self.level))


@dataclass(frozen=True, kw_only=True, repr=False)
class PagedTiff(Source):
    """TIFF with one page per slice: `offset`, `indices`, `level` and `turn` as in `Header`.

    `stored` is the shape of a page in the file, `size` that of the file in bytes.
    """

    path: str
    size: int
    stored: tuple[int, int]
    offset: int | None = None
    disk_dtype: str = ""
    indices: tuple[int, ...] = ()
    level: int = 0
    turn: Turn = field(default_factory=Turn)

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return self.path

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (Path(self.path).name, self.size, self.indices, self.level)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        found = np.empty((z1 - z0, *self.shape[1:]), self.dtype)
        for z, page in enumerate(self._pages(self.indices[z0:z1])):
            if page.shape != self.stored:
                raise InputError(
                    f"{self.slice_name(z0 + z)} is now {page.shape}, it was {self.stored} when opened"
                )
            found[z] = self.turn.apply(page)
        return found

    def _pages(self, indices: Sequence[int]) -> Iterator[Voxels]:
        if self.offset is None:
            yield from read_pages(Path(self.path), indices, self.level)
            return
        plane, item = math.prod(self.stored), np.dtype(self.disk_dtype).itemsize
        with reading(self.path), Path(self.path).open("rb") as file:
            for i in indices:
                file.seek(self.offset + i * plane * item)
                yield np.fromfile(file, self.disk_dtype, plane).reshape(self.stored)


def open_paged_tiff(path: Path, picks: Picks | None = None) -> PagedTiff:
    """Open a multi-page TIFF, one page per slice; a single page is a volume of one slice."""
    header = read_header(path, picks=picks)
    size = path.stat().st_size
    _refuse_short(path, header, size)
    names = header.labels if len(header.labels) == header.pages else ()
    return PagedTiff(
        shape=(header.pages, *header.shape),
        dtype=header.dtype,
        voxel_size_nm=header.calibration.voxel_size_nm,
        origin=header.calibration.origin,
        positions_nm=header.positions_nm or positions_of(names),
        piece_bytes=0 if header.offset is not None else header.piece_bytes,
        remarks=header.remarks,
        missing=header.missing,
        path=str(path),
        size=size,
        stored=header.stored,
        offset=header.offset,
        disk_dtype=header.disk_dtype,
        indices=header.indices,
        level=header.level,
        turn=header.turn,
    )


def _refuse_short(path: Path, header: Header, size: int) -> None:
    if header.offset is None:
        return
    last = max(header.indices) + 1
    needed = last * math.prod(header.stored) * np.dtype(header.disk_dtype).itemsize
    if header.offset + needed > size:
        raise InputError(
            f"{path} is truncated: {last} slices end at byte {header.offset + needed}, the file has {size}; "
            "copy it again from the microscope, or leave it out"
        )


def open_slices(paths: Sequence[Path], picks: Picks | None = None) -> SliceStack:
    """Open a stack of image files, sorted in the natural order of their names.

    All headers are read, but no pixels: size and dtype of all files must agree. The voxel size is
    taken from the first and the last file, if they agree. z positions come from the file names,
    otherwise from the labels that ImageJ stores in the files.

    Raises
    ------
    InputError
        If kinds of images are mixed, a file is unreadable or holds several slices, or sizes or dtypes
        differ.
    """
    kind = _only_kind(paths)
    paths = [path.absolute() for path in paths]
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    paths = sorted(paths, key=lambda path: natural_key(path.relative_to(folder).as_posix()))
    ends = (0, len(paths) - 1)
    headers = [read_header(path, calibrate=i in ends, picks=picks) for i, path in enumerate(paths)]
    for path, header in zip(paths, headers, strict=True):
        _refuse_different(path, header, paths[0], headers[0])
    calibration = _agreed(headers[0].calibration, headers[-1].calibration)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return SliceStack(
        shape=(len(paths), *headers[0].shape),
        dtype=headers[0].dtype,
        voxel_size_nm=calibration.voxel_size_nm,
        origin=calibration.origin,
        positions_nm=_positions(names, headers),
        piece_bytes=max(header.piece_bytes for header in headers),
        remarks=(*check_numbers(names), *_remarks(headers)),
        folder=str(folder),
        names=tuple(names),
        sizes=tuple(path.stat().st_size for path in paths),
        missing=headers[0].missing,
        kind=kind,
        turn=headers[0].turn,
        page=headers[0].first_page if picks is not None and picks != Picks() else None,
        level=headers[0].level,
    )


def _only_kind(paths: Sequence[Path]) -> str:
    """Name of the kind of all files; raise if there are several."""
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        kind = kind_of(path)
        found.setdefault(kind.name if kind else "other", []).append(path)
    if len(found) > 1:
        counts = " and ".join(f"{len(members)} {name}" for name, members in found.items())
        names = " and ".join(members[0].name for members in found.values())
        first = min(paths)
        raise InputError(
            f"{first.parent} mixes {counts} files, for example {names}; name the slices with a pattern such as "
            f"'{first.parent}/*{first.suffix}'"
        )
    return next(iter(found))


def _refuse_different(path: Path, header: Header, first_path: Path, first: Header) -> None:
    if header.pages != 1:
        raise InputError(
            f"{path} holds {header.pages} pages; a stack of files needs one slice a file. "
            "Give that file alone to read its pages"
        )
    if header.white_is_zero != first.white_is_zero:
        other = "white" if first.white_is_zero else "black"
        own = "white" if header.white_is_zero else "black"
        raise InputError(f"{path}: 0 means {own}, in {first_path.name} {other}; {SAME_MEANING}")
    for what, seen, expected in (
        ("size", header.shape, first.shape),
        ("type", header.dtype, first.dtype),
        ("orientation", header.turn.orientation, first.turn.orientation),
        ("rows of data bar", header.turn.bar, first.turn.bar),
        ("value of missing data", header.missing, first.missing),
        ("page", header.first_page, first.first_page),
    ):
        if seen != expected:
            raise InputError(
                f"{path} has {what} {seen}, {first_path.name} has {expected}; all slices need the same (y, x) "
                "and type. Crop or convert it, or leave it out"
            )


def _remarks(headers: Sequence[Header]) -> tuple[str, ...]:
    """Warnings of the headers of all slices, each once."""
    return tuple(dict.fromkeys(said for header in headers for said in header.remarks))


def _agreed(first: Calibration, last: Calibration) -> Calibration:
    if first.agrees(last):
        return first
    return replace(
        Calibration(),
        origin=f"first and last slice disagree: {first.voxel_size_nm} and {last.voxel_size_nm} nm ({first.origin})",
    )


def _positions(names: Sequence[str], headers: Sequence[Header]) -> tuple[float, ...] | None:
    from_names = positions_of(names)
    if from_names is not None:
        return from_names
    labels = [
        header.labels[0] if header.labels else name
        for name, header in zip(names, headers, strict=True)
    ]
    return positions_of(labels)
