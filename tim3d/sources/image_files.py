"""Header and pixels of one TIFF or PNG file."""

from __future__ import annotations

import io
import itertools
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL.PngImagePlugin import PngImageFile
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from tim3d.errors import InputError
from tim3d.sources.base import Voxels, reading, stored_dtype
from tim3d.sources.metadata import Calibration, imagej_labels, tiff_calibration, whole_number
from tim3d.sources.tiff_planes import (
    DEFLATE_LIMIT,
    piece_bytes,
    refuse_other_planes,
    refuse_promises,
    refuse_undecodable,
    refuse_volume_in_a_page,
    shaped_metadata,
)

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
PNG_SUFFIXES = (".png",)
IMAGE_SUFFIXES = TIFF_SUFFIXES + PNG_SUFFIXES
SAME_MEANING = (
    "grey values of a volume need one meaning. Invert those that differ, for example in ImageJ: Edit > Invert LUT, "
    "Edit > Invert"
)


@dataclass(frozen=True, slots=True)
class Header:
    """Header of an image file: pages, their shape (y, x) and stored dtype, labels, calibration.

    `offset` is the byte at which the pixels of all pages start, if they are one uncompressed run of
    `disk_dtype`, otherwise None; `indices` are the positions in the file of the pages that are
    slices; with a `palette`, pixels are indices of colours; `piece_bytes` is the memory of a
    decoded strip or tile; with `white_is_zero`, the lowest grey value is white.
    """

    pages: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    labels: tuple[str, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    offset: int | None = None
    disk_dtype: str = ""
    indices: tuple[int, ...] = (0,)
    palette: bool = False
    piece_bytes: int = 0
    white_is_zero: bool = False


def is_tiff(path: Path) -> bool:
    """Return whether the name has the suffix of a TIFF."""
    return path.suffix.lower() in TIFF_SUFFIXES


def is_image(path: Path) -> bool:
    """Return whether the name has the suffix of a TIFF or PNG, and does not start with a dot."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_header(path: Path, *, calibrate: bool = True, colours: bool = False) -> Header:
    """Read the header of a TIFF or PNG file, without its pixels.

    Parameters
    ----------
    path : Path
        A TIFF or PNG, distinguished by its suffix.
    calibrate : bool
        Whether to read the voxel size as well.
    colours : bool
        Whether to accept red, green and blue of 8 bits.

    Raises
    ------
    InputError
        If the file cannot be read, is shorter than its header states, has channels that are not
        accepted, pages of different sizes, or a dtype other than uint8, uint16 and float32.
    MissingExtraError
        If its compression needs imagecodecs.
    """
    return _tiff_header(path, calibrate, colours) if is_tiff(path) else _png_header(path, colours)


def read_image(path: Path) -> Voxels:
    """Read the pixels of a file that holds one slice: (y, x), or (y, x, 3) in colour."""
    if not is_tiff(path):
        return _png_pixels(path)
    with opened_tiff(path) as tif:
        return np.asarray(next(page for _, page in image_pages(tif)).asarray())


def read_pages(path: Path, indices: Sequence[int]) -> Voxels:
    """Read pages of a TIFF by their position in the file, as (pages, y, x); decode no others."""
    with opened_tiff(path) as tif:
        return np.stack([np.asarray(tif.pages[i].asarray()) for i in indices])


@contextmanager
def opened_tiff(path: Path) -> Iterator[TiffFile]:
    """Open a TIFF; any error inside the context becomes an `InputError` that names the file."""
    with reading(path), TiffFile(path) as tif:
        yield tif


def image_pages(tif: TiffFile) -> Iterator[tuple[int, TiffPage]]:
    """Yield position and page of each slice; thumbnails, marked as reduced images, are skipped."""
    # tifffile may return frames, pages without tags, which lack the attributes that are checked
    # here.
    tif.pages.useframes = False
    for i, page in enumerate(tif.pages):
        if isinstance(page, TiffPage) and not page.is_reduced:
            yield i, page


def _tiff_header(path: Path, calibrate: bool, colours: bool) -> Header:
    with opened_tiff(path) as tif:
        placed = list(image_pages(tif))
        pages = [page for _, page in placed]
        if not pages:
            raise InputError(
                f"{path} holds no image; it is truncated or was never finished: copy it again"
            )
        _refuse_broken_chain(path, tif)
        refuse_volume_in_a_page(path, pages[0])
        if not (colours and _is_rgb(pages[0])):
            _refuse_colours(path, pages[0])
        refuse_other_planes(path, tif, pages)
        _refuse_mixed_pages(path, pages)
        _refuse_unreadable(path, tif, pages)
        y, x = pages[0].shape[:2]
        offset, count = _contiguous_run(tif, pages)
        return Header(
            pages=count,
            shape=(y, x),
            dtype=stored_dtype(pages[0].dtype or np.dtype("V"), str(path)),
            labels=imagej_labels(tif),
            calibration=tiff_calibration(tif) if calibrate else Calibration(),
            offset=offset,
            disk_dtype=f"{tif.byteorder}{np.dtype(pages[0].dtype).char}"
            if offset is not None
            else "",
            indices=tuple(i for i, _ in placed),
            piece_bytes=piece_bytes(pages[0]),
            white_is_zero=_is_white_zero(pages[0]),
        )


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


def _contiguous_run(tif: TiffFile, pages: list[TiffPage]) -> tuple[int | None, int]:
    """Offset in bytes of the contiguous run of all slices, None if there is none; their number.

    Some files have a single page header for all slices: the number is then only in the description.
    """
    images = _declared_images(tif, pages[0])
    if len(pages) == 1 and images > 1 and pages[0].is_contiguous:
        return pages[0].dataoffsets[0], images
    size = pages[0].nbytes
    if not all(page.is_contiguous for page in pages) or pages[0].dtype == np.bool_:
        return None, len(pages)
    starts = [page.dataoffsets[0] for page in pages]
    even = all(b - a == size for a, b in itertools.pairwise(starts))
    return (starts[0] if even else None), len(pages)


def _declared_images(tif: TiffFile, page: TiffPage) -> int:
    """Number of slices according to the description.

    ImageJ writes stacks over 4 GiB with one header; tifffile does so with `truncate`.
    """
    shaped = shaped_metadata(page)
    if shaped.get("truncated"):
        return int(math.prod(shaped["shape"]) // page.size)
    return whole_number((tif.imagej_metadata or {}).get("images", 1))


_PNG_CHANNELS = {
    0: "grey",
    2: "3 channels (RGB)",
    3: "palette",
    4: "2 channels (grey and alpha)",
    6: "4 channels (RGBA)",
}


def _png_header(path: Path, colours: bool) -> Header:
    with reading(path):
        with path.open("rb") as file:
            start = file.read(26)
        if start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
            raise ValueError("it does not start like a PNG")
        x, y, depth, colour = struct.unpack(">IIBB", start[16:26])
    if colour not in (0, 3) and not (colours and colour == 2 and depth == 8):
        raise colour_error(path, _PNG_CHANNELS.get(colour, f"colour type {colour}"))
    _refuse_png_promises(path, x, y, depth)
    if colour == 0 and depth not in (1, 8, 16):
        raise InputError(
            f"{path} has {depth} bits a pixel; expected 1, 8 or 16. Save it as 8-bit grey first"
        )
    origin = "PNG palette indices, no metadata" if colour == 3 else "PNG, no metadata"
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    return Header(1, (y, x), dtype, calibration=Calibration(origin=origin), palette=colour == 3)


def _refuse_png_promises(path: Path, x: int, y: int, depth: int) -> None:
    size = path.stat().st_size
    if x * y * depth // 8 > DEFLATE_LIMIT * size:
        raise InputError(
            f"{path} promises {y} x {x} pixels, and {size} bytes cannot hold more than a part of them: it is truncated "
            "or damaged; copy it again from the microscope, or leave it out"
        )


def _png_pixels(path: Path) -> Voxels:
    # Image.open rejects large images as a decompression bomb; 20000 x 20000 pixels is a usual slice
    # here. Read from memory: for a damaged chunk, Pillow requests as many bytes as the chunk's
    # length states.
    with reading(path), PngImageFile(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image)


def colour_error(path: Path, seen: str) -> InputError:
    """Return the error for an image with more than one channel."""
    return InputError(
        f"{path} has {seen}; expected one grey channel. Write grey copies into another folder: cd {path.parent}; "
        'mkdir grey; python -c "import sys; from PIL import Image; '
        f"[Image.open(f).convert('L').save('grey/' + f) for f in sys.argv[1:]]\" *{path.suffix}"
    )
