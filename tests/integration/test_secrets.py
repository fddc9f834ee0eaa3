"""What opens a bucket is never written: not to the sample, its markers, reports, logs or the terminal."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.cli.console import report_error
from tim3d.cli.main import main
from tim3d.credentials import refuse_credentials, without_secrets
from tim3d.engine import Ledger
from tim3d.errors import ArgumentError
from tim3d.sources import open_source
from tim3d.storage import files

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY"
CARRIES = "carries credentials"
LEAKY = [
    f"s3://me:{SECRET}@bucket/a.zarr",
    f"https://me:{SECRET}@127.0.0.1/a.zarr",
    f"https://{SECRET}@127.0.0.1/a.zarr",
    f"https://127.0.0.1/a.zarr?X-Amz-Signature={SECRET}",
    f"https://127.0.0.1/a.zarr?sv=1&sig={SECRET}",
    f"az://box/a.zarr?account_key={SECRET}",
]
RECIPE = """
sample = "{sample}"
[cluster]
kind = "local"
workers = 1
[[step]]
verb = "ingest"
source = "grey.npy"
voxel_size = {{ z = 1, y = 1, x = 1 }}
[[step]]
verb = "segment"
method = "otsu"
phases = {{ pore = 0, solid = 1 }}
[[step]]
verb = "report"
out = "report.html"
"""


@pytest.mark.parametrize("url", LEAKY)
def test_a_url_with_credentials_is_refused_and_not_repeated(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("grey.npy", np.zeros((4, 4, 4), np.uint8))
    Path("r.toml").write_text(RECIPE.format(sample=url).replace("local", "serial"))
    kept = everything(tmp_path)
    for line in (["run", "r.toml"], ["ingest", "grey.npy", url, "--voxel-size", "1,1,1"],
                 ["ingest", url, "a.zarr", "--voxel-size", "1,1,1"], ["show", url], ["status", url],
                 ["validate", url], ["describe", url], ["run", "r.toml", "--part", "1/2"]):  # fmt: skip
        assert main(line) == 2, line
    said = "".join(capfd.readouterr())
    # What is not an object store is refused in a recipe before that: it names a place outside of
    # its folder.
    assert said.count(CARRIES) + said.count("leads out of") == 8
    assert SECRET not in said
    assert everything(tmp_path) == kept
    for call in (lambda: tim3d.validate(url), lambda: open_source(url)):
        with pytest.raises(ArgumentError, match=CARRIES):
            call()


def everything(folder: Path) -> bytes:
    return b"".join(
        str(p).encode() + p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    )


@pytest.mark.long
def test_a_run_on_a_bucket_writes_no_key_anywhere(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sample, markers, report and output of a whole recipe, and of a store that cannot be reached."""
    np.save(
        tmp_path / "grey.npy",
        np.random.default_rng(0).integers(0, 255, (8, 16, 16)).astype(np.uint8),
    )
    (tmp_path / "r.toml").write_text(RECIPE.format(sample=f"{bucket}/a.zarr"))
    keys = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": f"{SECRET}-session"}
    said = typed(tmp_path, keys, 0, "run", "r.toml")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    monkeypatch.chdir(tmp_path)
    for refused, code, line in (
        ({}, 0, ["run", "r.toml", "--plan"]),
        ({"AWS_ALLOW_HTTP": "false"}, 4, ["show", f"{bucket}/a.zarr"]),
    ):
        with pytest.MonkeyPatch.context() as patch, new_clients(bucket):
            for name, value in (keys | refused).items():
                patch.setenv(name, value)
            assert main(line) == code
    said += "".join(capfd.readouterr())
    fs, path = files.file_system(bucket)
    stored = b"".join(name.encode() + fs.cat_file(name) for name in fs.find(path))
    assert len(stored) > 8 * 16 * 16
    assert SECRET.encode() not in stored + everything(tmp_path) + said.encode()


@contextlib.contextmanager
def new_clients(bucket: str) -> Iterator[None]:
    """Within it clients are made anew: they remember the environment that they were made in."""
    clients = type(files.file_system(bucket)[0])
    clients.clear_instance_cache()
    yield
    clients.clear_instance_cache()


def typed(folder: Path, keys: dict[str, str], code: int, *line: str) -> str:
    """Output of a command in a process of its own that has the keys."""
    command = [sys.executable, "-m", "tim3d", *line]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_reasons_and_messages_have_stars_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    monkeypatch.setenv("SHORT_TOKEN", "test")  # a word that may stand anywhere
    text = f"test: 403 of https://me:pw@host/a?key={SECRET}"
    assert without_secrets(text) == "test: 403 of https://***@host/a?key=***"
    ledger = Ledger(str(tmp_path / "a.zarr"), "raw/s0", "f" * 64)
    ledger.mark_failed((0, 0, 0), text)
    assert SECRET.encode() not in everything(tmp_path)
    assert ledger.failed() == {(0, 0, 0): without_secrets(text)}


def test_a_fault_that_is_not_ours_is_told_whole_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with pytest.raises(OSError, match="403") as caught:
        raise OSError(f"403 for {SECRET}")
    assert report_error(caught.value) == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert said.endswith("OSError: 403 for ***\n")


def test_what_carries_nothing_passes() -> None:
    for url in ("a.zarr", "/home/me@lab/a.zarr", "s3://bucket/me@lab/a.zarr", "tcp://host:8786", 3, None,
                "https://host/a.zarr?version=2", Path("a://b")):  # fmt: skip
        refuse_credentials(url)
