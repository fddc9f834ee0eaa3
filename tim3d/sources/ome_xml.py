"""OME-XML of a TIFF: sizes, order of planes, channels, voxel size and positions of each image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tim3d.errors import InputError
from tim3d.sources.base import VoxelSize
from tim3d.sources.units import positive_nm, unit_name

# Number of a plane that lies in another file.
ELSEWHERE = -1
_MOST_PLANES = 10**7


@dataclass(frozen=True)
class OmeImage:
    """Image of an OME-TIFF: its planes along T, C and Z, their places in the file, lengths in nm.

    `pages` holds the number of the page of each plane, z fastest, then channel, then time;
    `z_nm` the position of each plane, or None.
    """

    name: str
    slices: int
    channels: tuple[str, ...]
    times: int
    pages: tuple[int, ...]
    voxel_size_nm: VoxelSize
    z_nm: tuple[float | None, ...] = ()


def xml_root(value: object) -> ElementTree.Element | None:
    """Root of a text or of bytes that are XML, otherwise None."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return None
    try:
        return ElementTree.fromstring(text.strip("\0 \r\n"))
    except ElementTree.ParseError:
        return None


def whole_number(value: object) -> int:
    """Return a number of slices, channels or times, or 1 where a file states something else."""
    try:
        return max(1, int(str(value)))
    except ValueError:
        return 1


def ome_images(description: str, path: Path, count: int) -> list[OmeImage]:
    """Images described in the XML of an OME-TIFF of `count` pages; an empty list if it cannot be read.

    Raises
    ------
    InputError
        If the description lies in another file, or says that z counts something else as well.
    """
    root = xml_root(description)
    if root is None:
        return []
    companion = root.find("./{*}BinaryOnly")
    if companion is not None and count > 1:
        raise InputError(
            f"{path} is described in another file, {companion.get('MetadataFile')}, which tim3d does not read; export "
            "it again as one OME-TIFF"
        )
    if count > 1 and "ModuloAlong" in description:
        raise InputError(
            f"{path} counts something else along its planes as well (ModuloAlong); save one volume as a new file"
        )
    return [_image(image, pixels, root, path) for image, pixels in _pixels(root)]


def _pixels(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, ElementTree.Element]]:
    for image in root.iterfind("./{*}Image"):
        pixels = image.find("./{*}Pixels")
        if pixels is not None:
            yield image, pixels


def _image(
    image: ElementTree.Element,
    pixels: ElementTree.Element,
    root: ElementTree.Element,
    path: Path,
) -> OmeImage:
    slices, times = (whole_number(pixels.get(f"Size{axis}", "1")) for axis in "ZT")
    held = pixels.findall("./{*}Channel")
    samples = whole_number(held[0].get("SamplesPerPixel", "1")) if held else 1
    channels = max(1, whole_number(pixels.get("SizeC", "1")) // samples)
    if slices * times * channels > _MOST_PLANES:
        raise InputError(
            f"{path} promises {slices * times * channels} planes; its metadata are damaged"
        )
    names = tuple(one.get("Name", "") for one in held)
    dz, dy, dx = (_physical_nm(pixels, axis) for axis in "ZYX")
    return OmeImage(
        image.get("Name", ""),
        slices,
        names if len(names) == channels else ("",) * channels,
        times,
        _pages(pixels, root, path, (times, channels, slices)),
        (dz, dy, dx),
        _positions(pixels, (times, channels, slices)),
    )


def _physical_nm(pixels: ElementTree.Element, axis: str) -> float | None:
    try:
        return positive_nm(
            float(pixels.get(f"PhysicalSize{axis}", "")),
            pixels.get(f"PhysicalSize{axis}Unit", "um"),
        )
    except ValueError:
        return None


def _pages(
    pixels: ElementTree.Element,
    root: ElementTree.Element,
    path: Path,
    sizes: tuple[int, int, int],
) -> tuple[int, ...]:
    """Number of the page of each plane: from `TiffData`, otherwise in the order of the dimensions."""
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    by_letter = dict(zip("TCZ", sizes, strict=True))
    total = math.prod(sizes)
    found = dict.fromkeys(range(total), ELSEWHERE)
    blocks = pixels.findall("./{*}TiffData")
    for block in blocks or [ElementTree.Element("TiffData")]:
        page, planes = _block(block, total)
        own = _is_own(block, root, path)
        start = _rank({axis: _first(block, axis) for axis in "TCZ"}, order, by_letter)
        for step in range(planes):
            place = _place(start + step, order, by_letter)
            if own and place in found:
                found[place] = page + step
    return tuple(found.values())


def _block(block: ElementTree.Element, total: int) -> tuple[int, int]:
    """First page and number of planes of a block."""
    planes = block.get("PlaneCount", "1" if block.get("IFD") is not None else str(total))
    return int(block.get("IFD", "0")), min(int(planes), total)


def _first(block: ElementTree.Element, axis: str) -> int:
    return int(block.get(f"First{axis}", "0"))


def _rank(place: dict[str, int], order: str, sizes: dict[str, int]) -> int:
    """Number of a plane in the order of the dimensions, the fastest first."""
    rank, step = 0, 1
    for axis in order:
        rank += place[axis] * step
        step *= sizes[axis]
    return rank


def _place(rank: int, order: str, sizes: dict[str, int]) -> int:
    """Place of a plane in the order T, C, Z, z fastest."""
    place = {}
    for axis in order:
        rank, place[axis] = divmod(rank, sizes[axis])
    return (place["T"] * sizes["C"] + place["C"]) * sizes["Z"] + place["Z"] if not rank else -1


def _is_own(block: ElementTree.Element, root: ElementTree.Element, path: Path) -> bool:
    held = block.find("./{*}UUID")
    if held is None:
        return True
    same = bool(root.get("UUID")) and (held.text or "").strip() == root.get("UUID")
    return same or held.get("FileName") in (None, "", path.name)


def _positions(
    pixels: ElementTree.Element, sizes: tuple[int, int, int]
) -> tuple[float | None, ...]:
    """z of each plane in nm; None where none is given in a unit of length."""
    times, channels, slices = sizes
    found: list[float | None] = [None] * math.prod(sizes)
    for plane in pixels.iterfind("./{*}Plane"):
        t, c, z = (int(plane.get(f"The{axis}", "-1")) for axis in "TCZ")
        unit, text = plane.get("PositionZUnit", ""), plane.get("PositionZ", "")
        if unit_name(unit) is None or not (
            0 <= t < times and 0 <= c < channels and 0 <= z < slices
        ):
            continue
        value = float(text or "nan")
        sign = -1.0 if value < 0 else 1.0
        length = positive_nm(abs(value), unit) if value else 0.0
        if length is not None:
            found[(t * channels + c) * slices + z] = sign * length
    return tuple(found)
