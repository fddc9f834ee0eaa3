"""Gatan DigitalMicrograph files (DM3, DM4): the largest image in the tree of tags."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import Layout, layout_by_name
from tim3d.sources.base import Source, VoxelSize, reading
from tim3d.sources.units import positive_nm
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

_VERSIONS = (3, 4)
# Types of a tag's value: letters of struct, and of numpy in the type of an image.
_SIMPLE = {
    2: "h",
    3: "i",
    4: "H",
    5: "I",
    6: "f",
    7: "d",
    8: "B",
    9: "b",
    10: "b",
    11: "q",
    12: "Q",
}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_IMAGES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
_COLOUR = 23
_DEEPEST, _MOST_TAGS = 64, 10**6


@dataclass(frozen=True)
class _Run:
    """Array of numbers in the file: where it begins, how many, and the letter of their type."""

    offset: int
    count: int
    letter: str


class _Tags:
    """Tree of tags; arrays are kept as their places in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, file.seek(0, 2)
        file.seek(0)
        self.version = self._big("i")
        self.word = "i" if self.version == _VERSIONS[0] else "q"
        self._big(self.word)
        self.order = "<" if self._big("i") else ">"
        self.left = _MOST_TAGS

    def root(self) -> dict[str, Any]:
        """The whole tree."""
        return self._group(0)

    def _big(self, letter: str) -> int:
        found: int = struct.unpack(f">{letter}", self.file.read(struct.calcsize(f">{letter}")))[0]
        return found

    def _group(self, depth: int) -> dict[str, Any]:
        self.file.read(2)
        count, found = self._big(self.word), {}
        self.left -= count
        if depth > _DEEPEST or self.left < 0 or count < 0:
            raise ValueError("its tags are nested too deeply, or too many")
        for i in range(count):
            kind, length = struct.unpack(">BH", self.file.read(3))
            name = self.file.read(length).decode("latin-1") or str(i)
            if self.version == _VERSIONS[1]:
                self._big("q")
            found[name] = self._group(depth + 1) if kind == _ARRAY else self._value()
        return found

    def _value(self) -> Any:
        if self.file.read(4) != b"%%%%":
            raise ValueError("a tag is damaged")
        info = [self._big(self.word) for _ in range(min(self._big(self.word), 1000))]
        if info[0] in _SIMPLE and len(info) == 1:
            return self._one(_SIMPLE[info[0]])
        if info[0] == _ARRAY:
            return self._array(info[1:])
        self.file.seek(self._bytes(info), 1)
        return None

    def _one(self, letter: str) -> Any:
        return struct.unpack(self.order + letter, self.file.read(struct.calcsize("=" + letter)))[0]

    def _array(self, info: list[int]) -> _Run | str:
        count, each = info[-1], self._bytes(info[:-1])
        start = self.file.tell()
        if count < 0 or start + count * each > self.size:
            raise ValueError("it is cut off within an array")
        self.file.seek(count * each, 1)
        run = _Run(start, count, _SIMPLE.get(info[0], "V"))
        return self._text(run) if run.letter == "H" and count < 256 else run

    def _text(self, run: _Run) -> str:
        behind = self.file.tell()
        self.file.seek(run.offset)
        text = self.file.read(2 * run.count).decode(
            "utf-16-le" if self.order == "<" else "utf-16-be", "replace"
        )
        self.file.seek(behind)
        return text

    def _bytes(self, info: list[int]) -> int:
        """Bytes of a value of a type."""
        if info[0] in _SIMPLE:
            return struct.calcsize("=" + _SIMPLE[info[0]])
        if info[0] == _STRING:
            return 2 * info[1]
        if info[0] == _STRUCT:
            return sum(self._bytes([kind]) for kind in info[4::2])
        raise ValueError(f"a tag has the unknown type {info[0]}")


def is_dm(start: bytes) -> bool:
    """Return whether a file starts like DM3 or DM4."""
    if len(start) < 16:
        return False
    version = int.from_bytes(start[:4], "big")
    at = 8 if version == _VERSIONS[0] else 12
    return version in _VERSIONS and start[at : at + 4] in (b"\0\0\0\1", b"\0\0\0\0")


def open_dm(path: Path, wanted: Wanted) -> Source:
    """Open the image of a DM3 or DM4 file; thumbnails are left out.

    Raises
    ------
    InputError
        If it holds several images, colours or complex numbers.
    """
    with reading(path), path.open("rb") as file:
        tags = _Tags(file)
        images = [
            one["ImageData"]
            for one in tags.root().get("ImageList", {}).values()
            if "ImageData" in one
        ]
        order = tags.order
        held = [image for image in images if image.get("DataType") != _COLOUR]
        if not held:
            raise ValueError("it holds no image of grey values")
        number = _number(path, held, wanted)
        image = held[number]
        run = image["Data"]
        stored = tuple(int(n) for n in image["Dimensions"].values())[::-1]
    kind = image.get("DataType")
    if kind not in _IMAGES or not isinstance(run, _Run):
        raise InputError(
            f"{path} holds numbers of DataType {kind}; save real numbers as a new file"
        )
    if math.prod(stored) > run.count:
        raise InputError(f"{path} promises {stored} voxels, and has {run.count}; copy it again")
    wanted.refuse_picks(str(path))
    sizes, origin = _voxel_size(image)
    return voxel_run(
        path,
        _layout(path, stored),
        stored=stored,
        disk_dtype=order + _IMAGES[kind],
        offset=run.offset,
        voxel_size_nm=sizes,
        origin=origin,
    )


def _number(path: Path, images: list[Any], wanted: Wanted) -> int:
    names = [str(tuple(image["Dimensions"].values())) for image in images]
    if (
        wanted.dataset is not None
        and wanted.dataset.isdigit()
        and int(wanted.dataset) < len(images)
    ):
        return int(wanted.dataset)
    if len(images) > 1 or wanted.dataset is not None:
        raise InputError(
            f"{path} holds {len(images)} images of {', '.join(names)} pixels; name one by its number: --dataset 0"
        )
    return 0


def _layout(path: Path, stored: tuple[int, ...]) -> Layout:
    return layout_by_name(stored, "tzyx"[-len(stored) :], str(path))


def _voxel_size(image: Any) -> tuple[VoxelSize, str]:
    steps = (image.get("Calibrations") or {}).get("Dimension", {}).values()
    lengths = [
        positive_nm(float(np.float64(str(step.get("Scale")))), str(step.get("Units") or ""))
        for step in steps
        if isinstance(step, dict)
    ]
    x, y, z = (*lengths, None, None, None)[:3]
    known = any(length is not None for length in (x, y, z))
    return (z, y, x), "DigitalMicrograph tags" if known else "DigitalMicrograph, no lengths"
