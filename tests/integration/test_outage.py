"""An object store that fails for a while costs time; one that stays away ends the run in one line and loses nothing."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import fsspec
import numpy as np
import pytest

import tim3d
from tests.recipes import until
from tests.servers import speak_to, stumbling
from tim3d.cli.main import main
from tim3d.engine import lock_sample
from tim3d.engine.state import lease, ledger
from tim3d.storage import files, store

# Longer than obstore tries by itself, nearly always: 3 s.
AWAY_SECONDS = 4.0
Through = Callable[[Callable[[str, str], str]], AbstractContextManager[None]]


@pytest.fixture
def through(s3_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Through:
    """Within it the clients of this process reach the bucket through a proxy that stumbles."""
    clients = type(files.file_system(bucket)[0])

    @contextlib.contextmanager
    def within(stumble: Callable[[str, str], str]) -> Iterator[None]:
        with stumbling(s3_endpoint, stumble) as proxy, pytest.MonkeyPatch.context() as patch:
            speak_to(proxy, patch)
            clients.clear_instance_cache()  # they remember the address that they were made with
            yield
        clients.clear_instance_cache()

    return within


def ingest(folder: Path, sample: str) -> list[str]:
    np.save(folder / "in.npy", np.arange(6144, dtype=np.uint16).reshape(24, 16, 16))
    return [
        "ingest",
        str(folder / "in.npy"),
        sample,
        "--voxel-size",
        "1,1,1",
        "--shard",
        "8,16,16",
        "--quiet",
    ]


@pytest.mark.long
def test_a_store_that_is_away_for_seconds_and_stumbles_costs_only_time(
    bucket: str, tmp_path: Path, through: Through
) -> None:
    number, fates, begun = itertools.count(), Counter[str](), list[float]()

    def stumble(method: str, path: str) -> str:
        begun.append(time.monotonic())
        away = begun[-1] < begun[0] + AWAY_SECONDS
        fates[fate := "refuse" if away or next(number) % 5 == 0 else "pass"] += 1
        return fate

    with through(stumble):
        assert main(ingest(tmp_path, f"{bucket}/a.zarr")) == 0
    assert time.monotonic() > begun[0] + AWAY_SECONDS
    assert fates["refuse"] > 0.2 * fates["pass"] > 10
    assert tim3d.validate(f"{bucket}/a.zarr", deep=True) == []
    found = store.field_array(f"{bucket}/a.zarr", "raw")[:]
    np.testing.assert_array_equal(found, np.load(tmp_path / "in.npy"))


@pytest.mark.long
def test_a_store_that_stays_away_is_one_line_and_finished_blocks_are_kept(
    bucket: str,
    tmp_path: Path,
    through: Through,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = files.RETRIES | {"retry_timeout": datetime.timedelta(seconds=1)}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"retry_config": patience})
    sample, away = f"{bucket}/a.zarr", []

    def stumble(method: str, path: str) -> str:
        if method == "PUT" and "/c/2/" in path:
            away.append(path)
        return "refuse" if away and "/c/" in path else "pass"

    with through(stumble):
        assert main(ingest(tmp_path, sample)) == 4
    said = capsys.readouterr().err
    assert said.startswith("tim3d: Generic S3 error: Error performing PUT ")
    assert "503 Service Unavailable" in said
    assert said.endswith(
        "Finished blocks are kept: when tim3d doctor URL finds the store fit, run the same command again\n"
    )
    assert said.count("\n") == 1
    before = {one: ledger.read(f"s3://{one}") for one in markers(sample)}
    assert len(before) == 2
    assert main(ingest(tmp_path, sample)) == 0
    assert {one: ledger.read(f"s3://{one}") for one in markers(sample)}.items() > before.items()
    assert tim3d.validate(sample, deep=True) == []


def markers(sample: str) -> list[str]:
    fs, path = files.file_system(f"{sample}.runs/raw/s0")
    return [one for one in fs.find(path) if "/done/" in one]


def test_a_lock_whose_making_was_answered_by_an_error_is_ours(
    bucket: str, through: Through
) -> None:
    lost: list[str] = []

    def stumble(method: str, path: str) -> str:
        if method != "PUT" or lost:
            return "pass"
        lost.append(path)
        return "lose"

    with through(stumble), lock_sample(f"{bucket}/a.zarr"):
        assert lost == ["/bucket/a.zarr.runs/lock"]
        assert ledger.read(f"{bucket}/a.zarr.runs/lock")
    assert ledger.read(f"{bucket}/a.zarr.runs/lock") is None


def test_a_lease_outlives_a_store_that_was_away(
    bucket: str, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = {"max_retries": 0}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"retry_config": patience})
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.1)
    fates, away = Counter[bool](), [False]

    def stumble(method: str, path: str) -> str:
        fates[away[0]] += 1
        return "refuse" if away[0] else "pass"

    with through(stumble), lock_sample(f"{bucket}/a.zarr"):
        away[0] = True
        until(lambda: fates[True] > 1, "the second request that is refused")
        away[0], before = False, fates[False]
        until(lambda: fates[False] > before + 2, "the renewal of the lease")
