"""Meaning of the pages of a TIFF: slices of one volume, or channels, times and separate images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TIFF, TiffFile, TiffPage

from tim3d.errors import InputError, MissingExtraError
from tim3d.sources.metadata import ome_images, whole_number

# Axes of tifffile that count slices: z, or axes that the writer did not name.
_SLICES = frozenset("ZIQYX")
_CALLED = {
    "C": "channels",
    "T": "times",
    "S": "samples",
    "R": "views",
    "P": "positions",
    "A": "angles",
}
# Formats with several kinds of stacks whose own metadata tifffile reads.
_VENDORS = (
    "lsm",
    "micromanager",
    "stk",
    "fluoview",
    "scanimage",
    "nih",
    "andor",
    "mmstack",
    "metaseries",
)
# Bit depths that numpy reads without another package.
_PLAIN_BITS = frozenset({1, 8, 16, 32, 64})
# Largest expansion that deflate can reach on decompression.
DEFLATE_LIMIT = 1032
_DEFLATE = frozenset({8, 32946})


def refuse_other_planes(path: Path, tif: TiffFile, pages: Sequence[TiffPage]) -> None:
    """Raise unless the pages of a file are the slices of one volume, according to its metadata.

    Parameters
    ----------
    path : Path
        The file.
    tif : TiffFile
        The open file.
    pages : sequence of TiffPage
        Its pages without thumbnails.

    Raises
    ------
    InputError
        If they are not; the message names what the pages are.
    """
    for axes, sizes in _volumes(tif, pages):
        others = [
            f"{n} {_CALLED.get(a, f'along {a}')}"
            for a, n in zip(axes, sizes, strict=False)
            if _is_other(a, n)
        ]
        stacked = sum(n > 1 for n in sizes) > 3
        if others or stacked:
            seen = " and ".join(others) or f"{' x '.join(map(str, sizes))} planes"
            raise InputError(
                f"{path} holds {seen}, shape {tuple(sizes)}; tim3d reads one volume, one page a slice. Save the volume "
                "you want as a file of its own. If all pages are slices, say so in ImageJ: Image > Properties, slices "
                f"{len(pages)}, channels 1, frames 1"
            )
    images = _image_count(tif, pages)
    if images > 1:
        raise InputError(
            f"{path} holds {images} images of several slices; save the one you want as a file of its own"
        )


def _is_other(axis: str, length: int) -> bool:
    return length > 1 and axis not in _SLICES


def _volumes(tif: TiffFile, pages: Sequence[TiffPage]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield letters and lengths of the axes of each volume in a file, as far as recorded."""
    held: Mapping[str, Any] = tif.imagej_metadata or {}
    if held:
        sizes = [whole_number(held.get(name, 1)) for name in ("frames", "slices", "channels")]
        yield "TZC", tuple(sizes)
    elif tif.is_ome:
        for image in ome_images(pages[0].description)[:1]:
            # In a set of files, each describes the planes of the whole set: count only its own.
            if len(pages) > image.slices:
                yield "TZC", (image.times, image.slices, image.channels)
    elif any(getattr(tif, f"is_{vendor}", False) for vendor in _VENDORS):
        yield from ((series.axes, series.shape) for series in tif.series[:1])
    else:
        yield from _shaped(pages)


def _shaped(pages: Sequence[TiffPage]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield axes and shapes that tifffile wrote into the first page of each array."""
    for page in pages:
        held = shaped_metadata(page)
        if held:
            sizes = tuple(held["shape"])
            yield str(held.get("axes") or "Q" * len(sizes)), sizes


def shaped_metadata(page: TiffPage) -> dict[str, Any]:
    """Metadata that tifffile wrote into the first page of an array; empty if absent or damaged."""
    texts = (str(getattr(page, name, "")) for name in ("description", "description1"))
    text = next((text for text in texts if text.startswith('{"shape":')), "{}")
    try:
        held: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    shape = held.get("shape")
    good = isinstance(shape, list) and shape and all(isinstance(n, int) and n > 0 for n in shape)
    return held if good else {}


def _image_count(tif: TiffFile, pages: Sequence[TiffPage]) -> int:
    if tif.is_ome:
        images = ome_images(pages[0].description)
        return len(images) if images and len(pages) > images[0].slices else 1
    if tif.imagej_metadata:
        return 1
    return sum(sum(n > 1 for n in sizes) > 2 for _, sizes in _shaped(pages))


def refuse_volume_in_a_page(path: Path, page: TiffPage) -> None:
    """Raise if a page is itself a volume.

    Parameters
    ----------
    path : Path
        The file.
    page : TiffPage
        The page.

    Raises
    ------
    InputError
        If it is; the message contains the command that writes its slices as pages of a new file.
    """
    if page.imagedepth > 1:
        raise InputError(
            f"{path}: a page holds a volume of {page.imagedepth} slices (ImageDepth); a page is one slice. Write it "
            f"again: python -c \"import tifffile; tifffile.imwrite('{path.stem}_pages.tif', "
            f"tifffile.imread('{path.name}'), photometric='minisblack')\""
        )


def refuse_undecodable(path: Path, page: TiffPage) -> None:
    """Raise if a page cannot be decoded with the packages that are installed.

    Parameters
    ----------
    path : Path
        The file.
    page : TiffPage
        The page.

    Raises
    ------
    MissingExtraError
        If it cannot; the message names what to install.
    """
    for code, known in (
        (page.compression, TIFF.DECOMPRESSORS),
        (page.predictor, TIFF.UNPREDICTORS),
    ):
        if code not in known:
            name = getattr(code, "name", code)
            raise MissingExtraError(
                f"{path} is compressed with {name}; to read it type  pip install 'tim3d[tiff]'"
            )
    if page.bitspersample not in _PLAIN_BITS and find_spec("imagecodecs") is None:
        raise MissingExtraError(
            f"{path} packs {page.bitspersample} bits a pixel; to read it type  pip install 'tim3d[tiff]'"
        )


def refuse_promises(path: Path, number: int, page: TiffPage) -> None:
    """Raise if the header of a page states more pixels than its bytes can hold.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        Index of the page.
    page : TiffPage
        The page.

    Raises
    ------
    InputError
        If it does; the message contains both numbers.
    """
    most = {1: 1} | dict.fromkeys(_DEFLATE, DEFLATE_LIMIT)
    factor, stored = most.get(int(page.compression)), sum(page.databytecounts)
    promised = math.prod(page.shape) * page.bitspersample // 8
    if factor is not None and promised > factor * stored:
        raise InputError(
            f"{path} is truncated or damaged: page {number} promises {page.shape} pixels, and its {stored} bytes "
            "cannot hold more than a part of them; copy it again from the microscope, or leave it out"
        )


def piece_bytes(page: TiffPage) -> int:
    """Memory of a decoded strip or tile, in bytes."""
    return math.prod(page.chunks) * np.dtype(page.dtype).itemsize
