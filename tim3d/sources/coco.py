"""Masks of other tools as COCO JSON: polygons and run lengths become numbers of objects, slice by slice.

References
----------
Lin et al., ECCV (2014) (COCO). DOI 10.48550/arXiv.1405.0312
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.sources.base import Voxels, reading
from tim3d.sources.volumes import FileSource
from tim3d.sources.wanted import Wanted

Bits = NDArray[np.bool_]
# Objects of a slice, whose numbers are 16 bits.
MOST = 65535


def is_coco(start: bytes, path: Path) -> bool:
    """Whether a file is JSON with images and annotations, by its first bytes and its keys."""
    if not start.lstrip().startswith(b"{") or path.suffix.lower() != ".json":
        return False
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"images", "annotations"} <= set(found)


@dataclass(frozen=True, kw_only=True, repr=False)
class CocoFile(FileSource):
    """Masks of equally large images, which are slices in the order of the file.

    A voxel of several masks belongs to the one of the highest `score`, of equal ones to the
    smallest. Objects of a slice are numbered from 1 in the order of the file.
    """

    def load(self, z0: int, z1: int) -> Voxels:
        """Numbers of the objects of slices `z0` <= z < `z1`."""
        with reading(Path(self.path)):
            found = json.loads(Path(self.path).read_bytes())
            return np.stack([_slice(found, z, self.shape[1:]) for z in range(z0, z1)])


def open_coco(path: Path, wanted: Wanted) -> CocoFile:
    """Look at the images and at every annotation, without drawing one.

    Raises
    ------
    InputError
        If images differ in size or have more than 65535 annotations, or an annotation belongs to none or
        cannot be drawn.
    """
    with reading(path):
        found = json.loads(path.read_bytes())
        sizes = {(int(one["height"]), int(one["width"])) for one in found["images"]}
    if len(sizes) != 1:
        raise InputError(
            f"{path} has images of {len(sizes)} sizes ({sorted(sizes)[:3]}); slices have one. Give one file for each"
        )
    known = {one["id"] for one in found["images"]}
    for number, one in enumerate(found["annotations"]):
        if one.get("image_id") not in known or not one.get("segmentation"):
            raise InputError(
                f"{path}: annotation {number + 1} has no image or no segmentation: polygons, or counts and size"
            )
    _refuse_too_many(path, found["annotations"])
    remark = _overlaps(found["annotations"])
    (size,) = sizes
    return CocoFile(
        shape=(len(found["images"]), *size),
        dtype=np.dtype("uint16"),
        is_numbered=True,
        path=str(path),
        size=path.stat().st_size,
        piece_bytes=8 * path.stat().st_size + 8 * size[0] * size[1],
        remarks=(remark,) if remark else (),
    )


def _refuse_too_many(path: Path, annotations: Sequence[Mapping[str, Any]]) -> None:
    for image, masks in Counter(one["image_id"] for one in annotations).most_common(1):
        if masks > MOST:
            raise InputError(
                f"{path}: image {image} has {masks} masks, and {MOST} of a slice can be numbered. Cut the image"
            )


def _overlaps(annotations: Sequence[Mapping[str, Any]]) -> str:
    scored = sum("score" in one for one in annotations)
    if scored and scored < len(annotations):
        return f"{len(annotations) - scored} masks have no score and lie below those that have one"
    return ""


def _slice(found: Mapping[str, Any], z: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Numbers of the objects of an image."""
    image = found["images"][z]["id"]
    masks = [one for one in found["annotations"] if one["image_id"] == image]
    drawn = [bits_of(one["segmentation"], shape) for one in masks]
    scores = [float(one.get("score", -1)) for one in masks]
    rank = [
        (score, -int(bits.sum()), -number)
        for number, (score, bits) in enumerate(zip(scores, drawn, strict=True))
    ]
    numbers = np.zeros(shape, np.uint16)
    for number in sorted(range(len(masks)), key=rank.__getitem__):
        numbers[drawn[number]] = number + 1
    return numbers


def bits_of(segmentation: Any, shape: tuple[int, int]) -> Bits:
    """Mask (y, x) of a segmentation of COCO: polygons, or run lengths, packed or not.

    Examples
    --------
    >>> bits_of([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    >>> bits_of({"size": [2, 3], "counts": [2, 3, 1]}, (2, 3)).astype(int).tolist()
    [[0, 1, 1], [0, 1, 0]]
    """
    if isinstance(segmentation, Mapping):
        return _of_runs(segmentation, shape)
    bits = np.zeros(shape, bool)
    for polygon in segmentation:
        bits |= _of_polygon(np.asarray(polygon, np.float64).reshape(-1, 2), shape)
    return bits


def _of_runs(segmentation: Mapping[str, Any], shape: tuple[int, int]) -> Bits:
    """Runs of 0 and 1 in turn, down the columns."""
    if tuple(segmentation["size"]) != tuple(shape):
        raise InputError(f"a mask has the size {segmentation['size']}, its image {list(shape)}")
    counts = segmentation["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else [int(one) for one in counts]
    if min(runs, default=0) < 0 or sum(runs) != shape[0] * shape[1]:
        raise InputError(f"the runs of a mask add up to {sum(runs)} pixels of {list(shape)}")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(values.reshape(shape, order="F"))


def _unpacked(text: str) -> list[int]:
    """Runs of a packed text: five bits a letter, from the third run on less the one two before.

    >>> _unpacked("231")
    [2, 3, 1]
    """
    runs: list[int] = []
    letters = iter(text.encode("ascii"))
    for letter in letters:
        value, shift, part = 0, 0, letter - 48
        while True:
            value |= (part & 0x1F) << shift
            shift += 5
            if not part & 0x20:
                break
            part = next(letters) - 48
        if part & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def _of_polygon(corners: NDArray[np.float64], shape: tuple[int, int]) -> Bits:
    """Pixels whose centre, half a pixel from its corner, lies within a polygon (even-odd rule)."""
    flips = np.zeros((shape[0], shape[1] + 1), np.int64)
    rows = np.arange(shape[0]) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = np.flatnonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        if len(crossed):
            x = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            first = np.clip(np.ceil(x - 0.5), 0, shape[1]).astype(np.int64)
            np.add.at(flips, (crossed, first), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :-1] % 2 == 1)
