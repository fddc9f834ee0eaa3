"""A sample behind an S3 address is a sample like any other: the same bits, on workers, resumed, validated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.engine.state.ledger import Ledger
from tim3d.engine.state.status import status
from tim3d.errors import InputError, MissingExtraError
from tim3d.grid import Box, triple
from tim3d.maintenance import storage_check
from tim3d.maintenance.finding import Finding
from tim3d.maintenance.repair import repair
from tim3d.storage import files, store

QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)


def make(source: Path, sample: str) -> None:
    tim3d.ingest(
        source, sample, voxel_size={"z": 20, "y": 5, "x": 5}, shard=(16, 32, 32), options=QUIET
    )
    tim3d.segment(sample, method="otsu", phases=PHASES, options=QUIET)
    tim3d.measure(sample, options=QUIET)


@pytest.mark.long
def test_a_bucket_holds_the_same_sample_as_a_folder(bucket: str, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (17, 33, 20)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    local, remote = str(tmp_path / "a.zarr"), f"{bucket}/a.zarr"
    make(tmp_path / "grey.npy", local)
    with tim3d.cluster("local", workers=1):
        make(tmp_path / "grey.npy", remote)
    for name in ("raw", "phase"):
        np.testing.assert_array_equal(
            store.field_array(remote, name)[:], store.field_array(local, name)[:]
        )
    assert tim3d.describe(remote).equals(tim3d.describe(local))
    assert not tim3d.validate(remote, deep=True)


@pytest.mark.long
def test_an_unfinished_field_in_a_bucket_is_resumed(bucket: str, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.arange(40 * 8 * 8, dtype=np.uint16).reshape(40, 8, 8))
    sample = f"{bucket}/b.zarr"

    def ingest() -> None:
        tim3d.ingest(
            tmp_path / "grey.npy",
            sample,
            voxel_size={"z": 1, "y": 1, "x": 1},
            shard=(8, 8, 8),
            options=QUIET,
        )

    ingest()
    ledger = Ledger(sample, "raw/s0", store.node_attributes(sample, "raw")["fingerprint"])
    (before,) = {tuple(sorted(ledger.done()))}
    store.update_node(sample, "raw", status="writing")
    stamp = {index: ledger.record(index) for index in before}
    ledger_files = files.file_system(f"{ledger.folder}/done/3/0/0.json")
    ledger_files[0].rm_file(ledger_files[1])
    ingest()
    assert ledger.done() == set(before)
    again = {index for index in before if ledger.record(index) != stamp[index]}
    assert again <= {(3, 0, 0)}
    (raw,) = (one for one in status(sample).passes if one.name == "raw/s0")
    assert (raw.blocks, raw.done, raw.left) == (5, 5, 0)
    assert raw.last_age is not None
    assert raw.last_age < 300


@pytest.mark.long
def test_a_missing_object_is_computed_again(bucket: str, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.arange(16 * 8 * 8, dtype=np.uint16).reshape(16, 8, 8))
    sample, size = f"{bucket}/c.zarr", {"z": 1, "y": 1, "x": 1}
    tim3d.ingest(tmp_path / "grey.npy", sample, voxel_size=size, shard=(8, 8, 8), options=QUIET)
    fs, path = files.file_system(f"{sample}/raw/s0/raw/c/1/0/0")
    before = fs.cat_file(path)
    fs.rm_file(path)
    ((mended,), rest) = repair(sample)
    assert (mended.node, mended.blocks, rest) == ("raw", 1, [])
    tim3d.ingest(tmp_path / "grey.npy", sample, voxel_size=size, shard=(8, 8, 8), options=QUIET)
    assert fs.cat_file(path) == before
    assert not tim3d.validate(sample, deep=True)


def test_nothing_there_and_no_way_there_are_clear(bucket: str) -> None:
    with pytest.raises(InputError, match=r"no sample at s3://bucket/none\.zarr"):
        store.open_sample(f"{bucket}/none.zarr")
    with pytest.raises(MissingExtraError, match=r"cannot reach gopher://a.*tim3d\[s3\]"):
        store.open_sample("gopher://a")


@pytest.mark.long
def test_parts_of_a_shard_are_read_as_from_a_folder(bucket: str, tmp_path: Path) -> None:
    """Who wants some chunks of a shard reads the end of the object first: their places stand there."""
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 255, (70, 150, 140)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    sample = f"{bucket}/a.zarr"
    shard = (128, 128, 128)
    tim3d.ingest(
        tmp_path / "grey.npy",
        sample,
        voxel_size={"z": 9, "y": 5, "x": 5},
        shard=shard,
        options=QUIET,
    )
    array = store.field_array(sample, "raw")
    assert tuple(array.chunks) < tuple(array.shards or ())
    for _ in range(12):
        start = [int(rng.integers(0, n)) for n in grey.shape]
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, grey.shape, strict=True)]
        box = Box(triple(start), triple(stop))
        np.testing.assert_array_equal(store.read_box(array, box), grey[box.slices])


@pytest.mark.parametrize(("start", "end"), [(None, None), (2, 5), (None, 4), (3, None), (-4, None)])
def test_any_range_of_an_object_is_read(bucket: str, start: int | None, end: int | None) -> None:
    fs, root = files.file_system(f"{bucket}/object")
    fs.pipe_file(root, b"0123456789")
    assert fs.cat_file(root, start=start, end=end) == b"0123456789"[start:end]


def test_the_end_of_an_object_is_read_where_no_range_counts_from_it(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, root = files.file_system(f"{bucket}/object")
    fs.pipe_file(root, b"0123456789")
    monkeypatch.setattr("tim3d.storage.object_store.WITHOUT_SUFFIX", ("s3",))
    assert [fs.cat_file(root, start=start) for start in (-4, -99)] == [b"6789", b"0123456789"]


def test_the_doctor_looks_at_a_bucket_and_leaves_nothing_there(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_check, "OBJECT_MIB", 1)
    found = {one.what: one for one in storage_check.place(f"{bucket}/lab")}
    assert found["store"].seen.startswith("1 MiB written at ")
    assert found["lock"] == Finding("ok", "lock", "one of two clients gets it")
    assert not [one for one in files.file_system(bucket)[0].find("bucket") if "doctor" in one]


def test_a_bucket_that_is_not_there_is_one_line(bucket: str) -> None:
    (found,) = storage_check.place("s3://no-such-bucket/lab")
    assert (found.state, found.what) == ("fail", "store")
    assert "404" in found.seen
    assert "\n" not in found.seen


def test_a_store_that_ignores_conditions_is_told_from_one_that_does_not(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore = pytest.importorskip("obstore")
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, key, data, mode: put(store, key, data))
    monkeypatch.setattr(storage_check, "OBJECT_MIB", 1)
    lock = list(storage_check.place(bucket))[-1]
    assert (lock.state, lock.what) == ("warn", "lock")
    assert "gave one lock to two clients" in lock.seen
