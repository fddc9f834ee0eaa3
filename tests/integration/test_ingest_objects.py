"""Numbers of objects of other programs: read as they are, never averaged, and not judged as grey values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import tim3d
from tim3d import Options, Phases
from tim3d.errors import ArgumentError, InputError
from tim3d.storage import store

QUIET = Options(progress=False)
SIZE = {"z": 10.0, "y": 5.0, "x": 5.0}
# Objects of some slices only, most of it 0: as grey values blank and saturated.
DRAWN = np.zeros((4, 40, 80), np.uint32)
DRAWN[0, 2:8, 3:9], DRAWN[0, 3:9, 12:19], DRAWN[3, 5:11, 1:6] = 1, 7, 250


def ingested(folder: Path, values: np.ndarray, **how: Any) -> tuple[str, np.ndarray]:
    np.save(folder / "drawn.npy", values)
    sample = str(folder / "a.zarr")
    given: dict[str, Any] = {"voxel_size": SIZE, "convert": "objects", "options": QUIET, **how}
    found = tim3d.ingest(folder / "drawn.npy", sample, field="drawn", **given)
    return sample, np.asarray(found)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "int64"])
def test_whole_numbers_of_any_type_are_the_same_objects(dtype: str, tmp_path: Path) -> None:
    sample, found = ingested(tmp_path, DRAWN.astype(dtype))
    assert found.dtype == np.uint32
    assert np.array_equal(found, DRAWN)
    field = store.complete_field(sample, "drawn")
    assert field.may_number
    # A coarser level holds numbers that are there, and none between them.
    coarse = np.asarray(store.open_field(sample, "drawn", 1))
    assert coarse.size < found.size
    assert set(np.unique(coarse)) <= {0, 1, 7, 250}


def test_numbers_of_more_than_16_bits_are_kept(tmp_path: Path) -> None:
    _, found = ingested(tmp_path, 70_000 * DRAWN)
    assert found.max() == 17_500_000


def test_slices_at_uneven_positions_are_not_averaged(tmp_path: Path) -> None:
    for z, plane in zip((0, 10, 20, 34), DRAWN, strict=True):
        tifffile.imwrite(tmp_path / f"s_z={z}nm.tif", plane.astype(np.uint16))
    found = tim3d.ingest(
        str(tmp_path / "*.tif"), str(tmp_path / "a.zarr"), field="drawn", convert="objects", options=QUIET,
        voxel_size={"y": 5.0, "x": 5.0},
    )  # fmt: skip
    assert len(found) == 4
    assert set(np.unique(found)) == {0, 1, 7, 250}


def test_coco_holds_nothing_but_objects(tmp_path: Path) -> None:
    box = [2.0, 2.0, 8.0, 2.0, 8.0, 6.0, 2.0, 6.0]
    images = [{"id": n, "height": 12, "width": 20} for n in (1, 2)]
    masks = [{"image_id": 1, "segmentation": [box]}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": masks}))
    sample = str(tmp_path / "a.zarr")
    found = tim3d.ingest(tmp_path / "m.json", sample, field="cells", voxel_size=SIZE, options=QUIET)
    assert found.dtype == np.uint32
    assert (int((found[0] == 1).sum()), int(found[1].max())) == (24, 0)


def test_what_are_no_numbers_of_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="numbers of objects are whole"):
        ingested(tmp_path, DRAWN.astype(np.float32))
    with pytest.raises(InputError, match="numbers of objects are 0 to 4294967295"):
        ingested(tmp_path, DRAWN.astype(np.int64) - 1)
    with pytest.raises(ArgumentError, match="leave out --phases"):
        ingested(tmp_path, DRAWN.astype(np.uint8), phases=Phases(none=0, cell=1))
    some, (rows, columns) = np.zeros((6, 64, 80), np.uint16), np.indices((64, 80))
    for number, (y, x) in enumerate(((y, x) for y in (14, 36, 54) for x in (12, 36, 62)), 1):
        some[[0, 1, 5], :, :] += number * (np.hypot(rows - y, columns - x) <= 7).astype(np.uint16)
    with pytest.raises(InputError, match="numbers of objects with --convert objects"):
        ingested(tmp_path, some.astype(np.uint16), convert="exact")
