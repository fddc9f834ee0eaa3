"""Clusters by certificates: the same bits, nobody else is let in, and nothing listens to other machines."""

from __future__ import annotations

import datetime
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.works import number_pass, truth
from tim3d.cli.main import main
from tim3d.engine import cluster, run, run_collective
from tim3d.engine.clusters import tls
from tim3d.errors import ArgumentError, DeviceError, InputError
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

pytest.importorskip(
    "cryptography", reason="certificates need cryptography: pip install 'tim3d[tls]'"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tls.certificates(tmp_path_factory.mktemp("tls") / "own")


def test_an_encrypted_run_has_the_same_bits(folder: Path, tmp_path: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    with cluster("local", workers=2, tls=folder) as on:
        workers = on.client.scheduler_info(n_workers=-1)["workers"]
        assert {one.partition("://")[0] for one in (on.client.scheduler.address, *workers)} == {
            "tls"
        }
        run(number_pass(sample), progress=False)
        assert sorted(run_collective(rank_of, 2)) == [0, 1]
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


def rank_of(seat: Any) -> int:
    return int(seat.rank)


@pytest.mark.long
def test_without_the_certificate_nobody_takes_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tls.certificates(tmp_path / "other")
    with cluster("local", workers=1, tls=folder) as on:
        address = on.client.scheduler.address
        known = set(on.client.scheduler_info(n_workers=-1)["workers"])
        with cluster(address, tls=folder) as remote:
            assert remote.workers == 1
        monkeypatch.setattr("tim3d.engine.clusters.cluster.ANSWER_SECONDS", 2.0)
        for refused in ({}, {"tls": other}):
            with pytest.raises(
                DeviceError, match=r"no dask scheduler answers at tls.*certificates"
            ):
                cluster(address, **refused).__enter__()
        with pytest.raises(DeviceError, match="no dask scheduler answers"):
            cluster(address.replace("tls", "tcp")).__enter__()
        for said in ([], certificate_arguments(other)):
            assert worker_ends(address, said) != 0
        assert set(on.client.scheduler_info(n_workers=-1)["workers"]) == known


def certificate_arguments(folder: Path) -> list[str]:
    certificate = str(folder / tls.CERTIFICATE)
    return [
        "--tls-ca-file",
        certificate,
        "--tls-cert",
        certificate,
        "--tls-key",
        str(folder / tls.KEY),
    ]


def worker_ends(address: str, arguments: list[str]) -> int:
    """Exit code of a worker that gives up on a scheduler."""
    command = [
        sys.executable,
        "-m",
        "dask",
        "worker",
        address,
        "--no-nanny",
        "--no-dashboard",
        *arguments,
    ]
    command += ["--death-timeout", "2"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_an_open_scheduler_with_certificates_is_a_contradiction() -> None:
    with pytest.raises(ArgumentError, match="is not encrypted"):
        cluster("tcp://127.0.0.1:8786", tls="t").__enter__()
    with pytest.raises(ArgumentError, match="leave --tls out"):
        cluster("serial", tls="t").__enter__()


@pytest.mark.parametrize("encrypted", [False, True])
def test_nothing_listens_to_other_machines(folder: Path, encrypted: bool) -> None:
    """Scheduler, workers, nannies and their dashboards."""
    before = listening()
    with cluster("local", workers=2, tls=folder if encrypted else None):
        ports = listening() - before
    assert (
        len(ports) >= 2 + 1 + 2 * 2
    )  # scheduler and dashboard, nannies in this process; two workers with theirs
    assert {host for host, _ in ports} == {"127.0.0.1"}


def listening() -> set[tuple[str, int]]:
    here = psutil.Process()
    found = (
        one
        for process in (here, *here.children(recursive=True))
        for one in process.net_connections("inet")
    )
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def test_the_key_is_private_and_never_replaced(folder: Path) -> None:
    assert stat.S_IMODE((folder / tls.KEY).stat().st_mode) == 0o600
    key = (folder / tls.KEY).read_bytes()
    with pytest.raises(ArgumentError, match=r"holds certificate\.pem already"):
        tls.certificates(folder)
    assert (folder / tls.KEY).read_bytes() == key


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_a_mounted_key_may_be_read_by_its_group_and_by_nobody_else(tmp_path: Path) -> None:
    made = tls.certificates(tmp_path / "c")
    os.chown(made / tls.KEY, 12345, 12345)
    (made / tls.KEY).chmod(0o640)
    assert tls.security(made).require_encryption
    (made / tls.KEY).chmod(0o644)
    with pytest.raises(InputError, match="can be read by others"):
        tls.security(made)


def test_certificates_are_made_where_there_are_none(tmp_path: Path) -> None:
    assert tls.own_or_new(tmp_path / "new").require_encryption
    key = (tmp_path / "new" / tls.KEY).read_bytes()
    tls.own_or_new(tmp_path / "new")
    assert (tmp_path / "new" / tls.KEY).read_bytes() == key


def test_what_is_wrong_with_certificates_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"no certificate\.pem in .* tim3d certificates"):
        tls.security(tmp_path)
    good, other = tls.certificates(tmp_path / "good"), tls.certificates(tmp_path / "other")
    (good / tls.KEY).chmod(0o644)
    with pytest.raises(InputError, match=r"can be read by others\. Type: chmod 600"):
        tls.security(good)
    (good / tls.KEY).write_bytes((other / tls.KEY).read_bytes())
    (good / tls.KEY).chmod(0o600)
    with pytest.raises(InputError, match=r"cannot be used .*KEY_VALUES_MISMATCH"):
        tls.security(good)

    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return later

    monkeypatch.setattr(datetime, "datetime", Later)
    with pytest.raises(InputError, match=r"were valid until 20\d\d-"):
        tls.security(other)


@pytest.mark.long
def test_the_shell_makes_them_and_says_how_to_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tim3d.engine.clusters.cluster.ANSWER_SECONDS", 1.0)
    assert main(["certificates", str(tmp_path / "c")]) == 0
    said = capsys.readouterr().out
    assert f"--tls-key {tmp_path}/c/key.pem" in said
    assert "BEGIN" not in said
    assert main(["certificates", str(tmp_path / "c")]) == 2
    assert main(["doctor", "--cluster", "tls://127.0.0.1:1", "--tls", str(tmp_path / "c")]) == 7
