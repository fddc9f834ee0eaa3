"""Samples of an older schema: refused by every other verb, upgraded step by step, killed on the way and typed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.conftest import ROOT
from tests.contents import content
from tests.upgrades import DEATH, FIRST, two_steps
from tim3d.cli import main
from tim3d.engine import lock_sample
from tim3d.engine.state.status import status
from tim3d.errors import LockedError, SchemaError
from tim3d.maintenance.upgrade import STEPS, upgrade
from tim3d.storage import schema, store


def make(folder: Path, sample: str) -> str:
    np.save(folder / "in.npy", np.arange(4096, dtype=np.uint8).reshape(16, 16, 16))
    quiet, size = tim3d.Options(progress=False), {"z": 4, "y": 2, "x": 2}
    tim3d.ingest(folder / "in.npy", sample, voxel_size=size, shard=(8, 16, 16), options=quiet)
    return sample


@pytest.fixture(params=["disk", "bucket"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return make(tmp_path, f"{tmp_path if request.param == 'disk' else request.getfixturevalue('bucket')}/a.zarr")


def upgraded_by_a_process(sample: str, death: str = "") -> int:
    """Exit code of ``tim3d upgrade``, which dies at a place."""
    line = [sys.executable, "-m", "tests.upgrades", sample]
    return subprocess.run(line, cwd=ROOT, env={**os.environ, DEATH: death}, timeout=60, check=False).returncode


def test_every_schema_has_its_step() -> None:
    assert sorted(STEPS) == list(range(1, schema.SCHEMA_VERSION))


def test_an_older_sample_is_refused_with_the_command_that_upgrades_it(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest = ["ingest", str(tmp_path / "in.npy"), sample, "--voxel-size", "4,2,2", "--overwrite"]
    with two_steps():
        for line in (["show", sample], ["validate", sample], ["validate", sample, "--repair"], ingest):
            assert main.main(line) == 4
            said = capsys.readouterr().err
            assert f"{sample} has schema {FIRST}, this tim3d works on {FIRST + 2}. Type: tim3d upgrade {sample}" in said
        assert main.main(["upgrade", sample]) == 0
        assert f"schema {FIRST} is now {FIRST + 1}" in capsys.readouterr().out
        assert tim3d.validate(sample, deep=True) == []
        assert upgrade(sample) == []
    with pytest.raises(SchemaError, match="pip install --upgrade tim3d"):
        upgrade(sample)


@pytest.mark.parametrize("death", ["mark 1", "before the array 0", "amid the array 1"])
def test_killed_on_the_way_and_typed_again_it_leaves_the_bytes_of_one_that_was_not(
    sample: str, tmp_path: Path, death: str
) -> None:
    whole = make(tmp_path, str(tmp_path / "whole.zarr"))
    before = content(sample)
    assert upgraded_by_a_process(whole) == 0
    assert upgraded_by_a_process(sample, death) == -signal.SIGKILL
    with two_steps():
        assert store.schema_of(sample) == FIRST + ("array" in death)
    assert before != content(sample) != content(whole)
    assert upgraded_by_a_process(sample) == 0
    assert content(sample) == content(whole)
    assert not status(sample).holders


def test_nobody_upgrades_what_another_run_writes(sample: str) -> None:
    before = content(sample)
    with two_steps(), lock_sample(sample), pytest.raises(LockedError):
        upgrade(sample)
    assert content(sample) == before


def test_what_no_step_leads_on_from_is_said_before_any_step(sample: str) -> None:
    with two_steps():
        del STEPS[FIRST + 1]
        with pytest.raises(SchemaError, match=f"no step leads on from {FIRST + 1}. Make it anew"):
            upgrade(sample)
        assert store.schema_of(sample) == FIRST
