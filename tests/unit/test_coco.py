"""Masks of COCO JSON: polygons and run lengths, drawn where their pixels lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tim3d.errors import InputError
from tim3d.sources.coco import bits_of

SHAPE = (6, 9)


def packed(runs: list[int]) -> str:
    """Runs as COCO packs them, written from its description."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            part, value = value & 0x1F, value >> 5
            more = value != -1 if part & 0x10 else value != 0
            text += chr((part | (0x20 if more else 0)) + 48)
    return text


def runs_of(bits: np.ndarray) -> list[int]:
    flat = np.concatenate([[False], bits.ravel(order="F"), [not bits.ravel(order="F")[-1]]])
    ends = np.flatnonzero(np.diff(flat))
    return [int(n) for n in np.diff(np.concatenate([[0], ends]))]


@given(st.integers(0, 2**54 - 1))
def test_runs_are_read_back(number):
    bits = np.array([number >> n & 1 for n in range(54)], bool).reshape(SHAPE)
    runs = runs_of(bits)
    for counts in (runs, packed(runs)):
        found = bits_of({"size": list(SHAPE), "counts": counts}, SHAPE)
        assert (found == bits).all()


def test_long_runs_are_unpacked():
    bits = np.zeros((300, 500), bool)
    bits[40:260, 30:400] = True
    counts = packed(runs_of(bits))
    assert (bits_of({"size": [300, 500], "counts": counts}, (300, 500)) == bits).all()


@given(st.integers(3, 12), st.floats(0, 6.3), st.floats(2, 30))
def test_a_polygon_holds_the_pixels_whose_centres_lie_in_it(sides, turn, radius):
    angle = turn + 2 * np.pi * np.arange(sides) / sides
    corners = np.stack([35.3 + radius * np.cos(angle), 20.1 + radius * np.sin(angle)], axis=1)
    found = bits_of([corners.ravel().tolist()], (40, 70))
    y, x = np.indices((40, 70)) + 0.5
    after = np.roll(corners, -1, axis=0)
    sides_of = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(corners, after, strict=True)
    ]
    nearest = np.min(sides_of, axis=0)
    sure = np.abs(nearest) > 1e-9
    assert (found == (nearest > 0))[sure].all()


def written(path: Path, annotations: list[dict[str, Any]], sizes=((6, 9), (6, 9))) -> Path:
    images = [{"id": 7 + n, "height": h, "width": w} for n, (h, w) in enumerate(sizes)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


def box(image: int, x: int, y: int, size: int, **more: Any) -> dict[str, Any]:
    corners = [x, y, x + size, y, x + size, y + size, x, y + size]
    return {"image_id": image, "category_id": 1, "segmentation": [corners], **more}


def test_masks_become_numbers_of_objects(tmp_path):
    path = written(
        tmp_path / "masks.json",
        [box(7, 0, 0, 5), box(8, 2, 1, 3, score=0.9), box(7, 1, 1, 2), box(8, 2, 1, 2, score=0.8)],
    )
    sample = str(tmp_path / "a.zarr")
    tim3d.ingest(
        path, sample, voxel_size={"z": 10, "y": 5, "x": 5}, field="cells", accept=["saturated", "blank"],
        options=tim3d.Options(progress=False),
    )  # fmt: skip
    cells = tim3d.open_field(sample, "cells").values
    expected = np.zeros((2, *SHAPE), np.uint16)
    expected[0, :5, :5] = 1
    expected[0, 1:3, 1:3] = 2  # of equal scores the smallest lies above
    expected[1, 1:4, 2:5] = 1  # the better one hides the other
    assert (cells == expected).all()


@pytest.mark.parametrize(
    ("annotations", "sizes", "said"),
    [
        ([box(9, 0, 0, 3)], ((6, 9),), "annotation 1 has no image"),
        ([box(7, 0, 0, 3)], ((6, 9), (6, 8)), "images of 2 sizes"),
        ([{"image_id": 7, "segmentation": []}], ((6, 9),), "no image or no segmentation"),
        ([{"image_id": 7, "segmentation": {"size": [6, 9], "counts": [3]}}], ((6, 9),), "add up"),
        ([{"image_id": 7, "segmentation": {"size": [9, 6], "counts": [54]}}], ((6, 9),), "size"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, annotations, sizes, said):
    path = written(tmp_path / "odd.json", annotations, sizes)
    with pytest.raises(InputError, match=said):
        tim3d.ingest(
            path, str(tmp_path / "a.zarr"), voxel_size={"z": 1, "y": 1, "x": 1}, accept=["blank", "saturated"],
            options=tim3d.Options(progress=False),
        )  # fmt: skip
    assert not (tmp_path / "a.zarr").exists()
