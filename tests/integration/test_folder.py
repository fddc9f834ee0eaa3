"""A sample in a folder is read and written without zarr's threads: the same bytes, the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from tim3d.errors import StoreError
from tim3d.grid import Box
from tim3d.storage import documents, folder, schema, store
from tim3d.storage.folder import Folder
from tim3d.storage.schema import Field
from tim3d.storage.small_results import files_of
from tim3d.storage.strict_store import array_at, attributes_at, looked_at, values_at

SHAPE = (4, 8, 8)
RESULT = xr.Dataset(
    {
        "share": (("phase", "z"), np.arange(8.0).reshape(2, 4), {"units": "1"}),
        "count": ((), np.int64(7)),
        "flag": ("phase", np.array([True, False])),
        "number": ("phase", np.array([1, 2], np.uint8)),
    },
    {"phase": np.array(["pore", "solid"], dtype=object), "z": np.arange(4) * 10.0 + 5},
    {"about": "a test"},
)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    url = str(tmp_path / "a.zarr")
    store.create_sample(url)
    field = Field("raw", SHAPE, "uint8", (20.0, 5.0, 5.0), SHAPE, SHAPE)
    store.create_field(url, field, store.provenance("f" * 64, {}, {}))
    store.write_box(store.field_array(url, "raw", mode="r+"), Box.whole(SHAPE), np.ones(SHAPE))
    store.update_node(url, "raw", status="complete")
    store.write_dataset(url, "raw_numbers", RESULT, store.provenance("e" * 64, {}, {}))
    return url


def files(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_a_folder_holds_the_bytes_that_zarr_writes(tmp_path: Path) -> None:
    for name, target in (("ours", Folder(tmp_path / "ours")), ("theirs", str(tmp_path / "theirs"))):
        RESULT.to_zarr(target, mode="w", group="a", zarr_format=3, consolidated=False)
        root: Any = zarr.open_group(target, mode="r+", zarr_format=3)
        root.create_array("b", shape=(90, 90, 90), dtype="float32", chunks=(90, 90, 90))
        root["b"][:] = np.random.default_rng(0).random((90, 90, 90), np.float32)
        assert files(tmp_path / name)
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")


@pytest.mark.parametrize(
    "also",
    [
        {},
        {"word": ("phase", np.array(["a", "bé"], np.dtypes.StringDType()))},
        {"real": ((), np.float32(0.1)), "big": ("i", np.arange(3, dtype=">i4")), "nan": np.nan},
        {"turned": (("z", "i"), np.ones((3, 4)).T, {"n": np.int64(3), "a": np.arange(2.0)})},
        {"beside": ("z", np.arange(4.0), {"text": "µ", "none": None, "nan": np.nan})},
    ],
)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_result_has_the_bytes_that_xarray_writes(
    tmp_path: Path, also: dict[str, Any], labelled: bool
) -> None:
    result = (RESULT if labelled else RESULT.drop_vars("z")).assign(also)
    result = result.drop_attrs(deep=False)
    zstd = (ZstdCodec(**store.CODEC),)
    result.to_zarr(
        tmp_path,
        mode="w",
        group="a",
        zarr_format=3,
        consolidated=False,
        write_empty_chunks=True,
        encoding={name: {"compressors": zstd} for name in result.variables},
    )
    assert files_of(result, store.CODEC) == files(tmp_path / "a")


@pytest.mark.parametrize(
    "variable",
    [
        ("i", np.arange(2**14, dtype=float)),
        ("i", np.array([], float)),
        ("i", np.array(["a", 1], dtype=object)),
        ("i", np.array(["2026-01-01"], "datetime64[ns]")),
        ("i", np.array(["ab"])),
        ("i", np.ones(2), {"_FillValue": 1.0}),
        ("i", np.ones(2) * 1j),
    ],
)
def test_what_is_not_a_small_array_of_numbers_or_words_is_left_to_xarray(variable: Any) -> None:
    assert files_of(xr.Dataset({"a": variable}), store.CODEC) is None


def test_the_document_of_a_node_is_that_of_zarr(sample: str) -> None:
    place = Path(sample, "raw", "zarr.json")
    written = place.read_bytes()
    root: Any = zarr.open_group(sample, mode="r+", zarr_format=3)
    root["raw"].attrs.update(dict(root["raw"].attrs))
    assert place.read_bytes() == written


def test_what_is_read_is_what_zarr_reads(sample: str) -> None:
    plain: Any = zarr.open_group(sample, mode="r", zarr_format=3)
    ours = looked_at(folder.open_group(sample, read_only=True), sample)
    for path in ("raw/s0/raw", "raw/s0/z", "raw_numbers/phase", "raw_numbers/count"):
        assert str(array_at(ours, path).metadata) == str(plain[path].metadata)
        np.testing.assert_array_equal(array_at(ours, path)[...], plain[path][...])
    for path in ("raw/s0/x", "raw_numbers/z", "raw_numbers/number", "raw_numbers/phase"):
        found = values_at(ours, path)
        assert (found.dtype, found.tolist()) == (plain[path].dtype, plain[path][:].tolist())
    for path in ("raw", "raw/s0", "raw_numbers", "raw/s0/raw"):
        assert attributes_at(ours, path) == dict(plain[path].attrs)
    assert sorted(documents.names(sample) or ()) == sorted(name for name, _ in plain.members())
    assert store.nodes(sample) == ["raw", "raw_numbers"]


def test_a_damaged_coordinate_is_not_read(sample: str) -> None:
    chunk = Path(sample, "raw/s0/z/c/0")
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(StoreError, match="raw"):
        store.read_field(sample, "raw")
    chunk.unlink()
    with pytest.raises(StoreError, match="missing is not zero"):
        store.read_field(sample, "raw")


def test_a_changed_document_is_refused(sample: str) -> None:
    place = Path(sample, "raw/s0/z/zarr.json")
    document = json.loads(place.read_text())
    document["attributes"]["units"] = "um"
    place.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="raw/s0/z"):
        store.read_field(sample, "raw")


def test_nothing_is_written_into_a_sample_that_is_read(sample: str) -> None:
    group = folder.open_group(sample, read_only=True)
    with pytest.raises(ValueError, match="read-only"):
        group.create_group("new")
    assert schema.kind_of(dict(group.attrs), True, "field") != "field"
    assert store.nodes(sample) == ["raw", "raw_numbers"]


def test_a_writer_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        folder.write(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_coroutine_that_waits_is_not_taken_for_one_that_does_not() -> None:
    import asyncio

    with pytest.raises(RuntimeError):
        folder.at_once(asyncio.sleep(1))
