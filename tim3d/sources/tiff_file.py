"""Header and pixels of one TIFF file."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from tim3d.errors import InputError
from tim3d.sources.base import WHITE_IS_ZERO, Voxels, reading, stored_dtype
from tim3d.sources.image_header import PALETTE, SAME_MEANING, UPRIGHT, Header, Turn, colour_error
from tim3d.sources.metadata import Calibration, imagej_labels, tiff_calibration
from tim3d.sources.tiff_meaning import (
    lossy_remark,
    missing_value,
    palette_is_grey,
    refuse_other_meaning,
)
from tim3d.sources.tiff_planes import (
    Chosen,
    chosen_planes,
    declared_images,
    piece_bytes,
    refuse_promises,
    refuse_undecodable,
    refuse_volume_in_a_page,
)
from tim3d.sources.vendor_bars import data_bar
from tim3d.sources.wanted import Picks

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tiff_header(
    path: Path, *, calibrate: bool = True, colours: bool = False, picks: Picks | None = None
) -> Header:
    """Read the header of a TIFF, without its pixels; see `tim3d.sources.image_files.read_header`."""
    with opened_tiff(path) as tif:
        placed = list(image_pages(tif))
        if not placed:
            raise InputError(
                f"{path} holds no image; it is truncated or was never finished: copy it again"
            )
        _refuse_broken_chain(path, tif)
        first = placed[0][1]
        refuse_volume_in_a_page(path, first)
        if not (colours and _is_rgb(first)):
            _refuse_colours(path, first)
        chosen = chosen_planes(path, tif, [page for _, page in placed], picks or Picks())
        pages = _pages(placed, chosen)
        _refuse_mixed_pages(path, pages)
        _refuse_unreadable(path, tif, pages)
        calibration = tiff_calibration(tif, chosen.voxel_size_nm) if calibrate else Calibration()
        return _described(path, tif, placed, pages, chosen, calibration)


def _described(
    path: Path,
    tif: TiffFile,
    placed: list[tuple[int, TiffPage]],
    pages: list[TiffPage],
    chosen: Chosen,
    calibration: Calibration,
) -> Header:
    page, labels = pages[0], imagej_labels(tif)
    turn = _turn(path, tif, page)
    if turn.swaps:
        calibration = calibration.turned()
    offset, run = _contiguous_run(tif, placed, chosen)
    whole = len(chosen.planes) == len(placed) or run is not None
    palette = page.photometric == PHOTOMETRIC.PALETTE
    remarks = _remarks(page, turn, palette) + calibration.remarks + chosen.remarks
    return Header(
        pages=len(chosen.planes),
        shape=turn.shape(*page.shape[:2]),
        dtype=stored_dtype(page.dtype or np.dtype("V"), str(path)),
        labels=labels if whole else (),
        calibration=calibration.reduced(chosen.reduction),
        offset=offset,
        disk_dtype=f"{tif.byteorder}{np.dtype(page.dtype).char}" if offset is not None else "",
        indices=run if run is not None else tuple(placed[i][0] for i in chosen.planes),
        first_page=placed[min(chosen.planes[0], len(placed) - 1)][0],
        level=chosen.level,
        turn=turn,
        positions_nm=chosen.positions_nm,
        palette=palette,
        piece_bytes=piece_bytes(page),
        white_is_zero=_is_white_zero(page),
        remarks=remarks,
        missing=missing_value(page),
    )


def _turn(path: Path, tif: TiffFile, page: TiffPage) -> Turn:
    tag = page.tags.get("Orientation")
    orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else UPRIGHT
    return Turn(data_bar(path, tif, page.shape[:2]), orientation)


def _remarks(page: TiffPage, turn: Turn, palette: bool) -> tuple[str, ...]:
    said = list(lossy_remark(page))
    if turn.bar:
        said.append(
            f"the lowest {turn.bar} rows of each file are the microscope's data bar and are left out"
        )
    if turn.orientation != UPRIGHT:
        said.append(f"images are turned upright (Orientation {turn.orientation})")
    if palette and not palette_is_grey(page):
        said.append(PALETTE)
    return (*said, *((WHITE_IS_ZERO,) if _is_white_zero(page) else ()))


def _pages(placed: list[tuple[int, TiffPage]], chosen: Chosen) -> list[TiffPage]:
    """Pages that are read; one if all slices lie behind one header."""
    if len(placed) == 1 and not chosen.level:
        return [placed[0][1]]
    pages = [placed[i][1] for i in chosen.planes]
    return [_smaller(page, chosen.level) for page in pages]


def _smaller(page: TiffPage, level: int) -> Any:
    if not level:
        return page
    smaller = page.pages[level - 1] if page.pages is not None else page
    return smaller.aspage() if hasattr(smaller, "aspage") else smaller


def tiff_pixels(path: Path) -> Voxels:
    """Read the pixels of a TIFF that holds one slice."""
    with opened_tiff(path) as tif:
        return np.asarray(next(page for _, page in image_pages(tif)).asarray())


def read_pages(path: Path, indices: Sequence[int], level: int = 0) -> Iterator[Voxels]:
    """Read pages of a TIFF by their position in the file, one after the other; decode no others."""
    with opened_tiff(path) as tif:
        for i in indices:
            page: Any = tif.pages[i]
            if level:
                page = _smaller(page.aspage(), level)
            yield np.asarray(page.asarray())


@contextmanager
def opened_tiff(path: Path) -> Iterator[TiffFile]:
    """Open a TIFF; any error inside the context becomes an `InputError` that names the file."""
    with reading(path), TiffFile(path) as tif:
        yield tif


def image_pages(tif: TiffFile) -> Iterator[tuple[int, TiffPage]]:
    """Yield position and page of each slice; thumbnails and masks are marked, and skipped."""
    # tifffile may return frames, pages without tags, which lack the attributes that are checked
    # here.
    tif.pages.useframes = False
    for i, page in enumerate(tif.pages):
        if isinstance(page, TiffPage) and not page.is_reduced and not page.is_mask:
            yield i, page


def _refuse_broken_chain(path: Path, tif: TiffFile) -> None:
    # tifffile stops at a page header beyond the end of the file and only logs it: slices would be
    # lost without an error. In a complete file the last header points to no other.
    layout, file, last = tif.tiff, tif.filehandle, tif.pages[-1]
    file.seek(last.offset)
    (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    file.seek(last.offset + layout.tagnosize + tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    if following:
        raise InputError(
            f"{path} is truncated: it goes on at byte {following} after {len(tif.pages)} pages, and has {file.size} "
            "bytes; copy it again from the microscope, or leave it out"
        )


def _is_rgb(page: TiffPage) -> bool:
    return len(page.shape) == 3 and page.shape[2] == 3 and page.dtype == np.uint8


def _refuse_colours(path: Path, page: TiffPage) -> None:
    if page.samplesperpixel > 1 or len(page.shape) != 2:
        raise colour_error(path, f"{page.samplesperpixel} channels, shape {page.shape}")
    refuse_other_meaning(path, page)


def _refuse_mixed_pages(path: Path, pages: list[TiffPage]) -> None:
    first = pages[0]
    for i, page in enumerate(pages):
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{path}: page {i} is {page.shape} {page.dtype}, page 0 is {first.shape} {first.dtype}; "
                "all pages of a volume need one size and type. Save those that belong together as a file of their own"
            )
        if _is_white_zero(page) != _is_white_zero(first):
            raise InputError(
                f"{path}: in page {i} 0 means {_zero(page)}, in page 0 {_zero(first)}; {SAME_MEANING}"
            )
        if page.tags.valueof("Orientation", 1) != first.tags.valueof("Orientation", 1):
            raise InputError(
                f"{path}: page {i} has another orientation than page 0; turn all pages upright and save a new file"
            )


def _is_white_zero(page: TiffPage) -> bool:
    return bool(page.photometric == PHOTOMETRIC.MINISWHITE)


def _zero(page: TiffPage) -> str:
    return "white" if _is_white_zero(page) else "black"


def _refuse_unreadable(path: Path, tif: TiffFile, pages: list[TiffPage]) -> None:
    refuse_undecodable(path, pages[0])
    size = tif.filehandle.size
    for i, page in enumerate(pages):
        needed = max(
            (a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0
        )
        if needed > size:
            raise InputError(
                f"{path} is truncated: page {i} ends at byte {needed}, the file has {size}; "
                "copy it again from the microscope, or leave it out"
            )
        refuse_promises(path, i, page)


def _contiguous_run(
    tif: TiffFile, placed: list[tuple[int, TiffPage]], chosen: Chosen
) -> tuple[int | None, tuple[int, ...] | None]:
    """Offset in bytes of the contiguous run of all slices, None if there is none; slices in it.

    Some files have a single page header for all slices: the number is then only in the description.
    """
    pages = [page for _, page in placed]
    images = declared_images(tif, pages[0])
    if len(pages) == 1 and images > 1 and pages[0].is_contiguous:
        return pages[0].dataoffsets[0], chosen.planes
    wanted = [] if chosen.level else [pages[i] for i in chosen.planes]
    plain = [page.is_contiguous and page.fillorder == 1 for page in wanted]
    if not plain or not all(plain) or wanted[0].dtype == np.bool_:
        return None, None
    size, starts = wanted[0].nbytes, [page.dataoffsets[0] for page in wanted]
    even = all(b - a == size for a, b in itertools.pairwise(starts))
    return (starts[0], tuple(range(len(wanted)))) if even else (None, None)
