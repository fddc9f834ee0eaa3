"""Header and pixels of one PNG file."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from tim3d.errors import InputError
from tim3d.sources.base import Voxels, reading
from tim3d.sources.image_header import PALETTE, Header, colour_error
from tim3d.sources.metadata import Calibration
from tim3d.sources.tiff_planes import DEFLATE_LIMIT

PNG_SUFFIXES = (".png",)
PNG_MAGICS = (b"\x89PNG\r\n\x1a\n",)
_CHANNELS = {
    0: "grey",
    2: "3 channels (RGB)",
    3: "palette",
    4: "2 channels (grey and alpha)",
    6: "4 channels (RGBA)",
}
# Chunks that say that pixels mean something else, or that there are several images.
_OTHER_MEANING = {
    b"acTL": "several images (animation)",
    b"eXIf": "an orientation or other Exif data",
}
_MOST_CHUNKS = 200


def png_header(path: Path, *, colours: bool = False) -> Header:
    """Read the header of a PNG, without its pixels.

    Raises
    ------
    InputError
        If it is damaged, in colour, animated, has a transparent grey value or few bits a pixel.
    """
    with reading(path):
        with path.open("rb") as file:
            start = file.read(33)
            if start[:8] != PNG_MAGICS[0] or start[12:16] != b"IHDR":
                raise ValueError("it does not start like a PNG")
            chunks = set(_chunks(file))
        x, y, depth, colour = struct.unpack(">IIBB", start[16:26])
    if colour not in (0, 3) and not (colours and colour == 2 and depth == 8):
        raise colour_error(path, _CHANNELS.get(colour, f"colour type {colour}"))
    _refuse_promises(path, x, y, depth)
    _refuse_other_meaning(path, chunks, colour)
    if colour == 0 and depth not in (1, 8, 16):
        raise InputError(
            f"{path} has {depth} bits a pixel; expected 1, 8 or 16. Save it as 8-bit grey first"
        )
    palette = colour == 3
    origin = "PNG palette indices, no metadata" if palette else "PNG, no metadata"
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    said = (PALETTE,) if palette else ()
    return Header(
        1, (y, x), dtype, calibration=Calibration(origin=origin), palette=palette, remarks=said
    )


def png_pixels(path: Path) -> Voxels:
    """Read the pixels of a PNG: (y, x), or (y, x, 3) in colour."""
    # Image.open rejects large images as a decompression bomb; 20000 x 20000 pixels is a usual slice
    # here. Read from memory: for a damaged chunk, Pillow requests as many bytes as the chunk's
    # length states.
    with reading(path), PngImageFile(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Names of the chunks before the pixels."""
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return
        yield head[4:]
        file.seek(struct.unpack(">I", head[:4])[0] + 4, 1)


def _refuse_other_meaning(path: Path, chunks: set[bytes], colour: int) -> None:
    seen = [said for chunk, said in _OTHER_MEANING.items() if chunk in chunks]
    if colour == 0 and b"tRNS" in chunks:
        seen.append("a grey value that stands for transparent pixels")
    if seen:
        raise InputError(
            f"{path} holds {seen[0]}; save plain grey images into another folder and give that one"
        )


def _refuse_promises(path: Path, x: int, y: int, depth: int) -> None:
    size = path.stat().st_size
    if x * y * depth // 8 > DEFLATE_LIMIT * size:
        raise InputError(
            f"{path} promises {y} x {x} pixels, and {size} bytes cannot hold more than a part of them: it is truncated "
            "or damaged; copy it again from the microscope, or leave it out"
        )
