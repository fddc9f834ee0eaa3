"""A recipe as a job array: parts without a scheduler make the sample of one process, whatever dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.contents import content
from tests.recipes import SEGMENTED, done_blocks, finish, start, until, write_recipe
from tests.works import number_pass
from tim3d.cli import main
from tim3d.engine import Part, job_array, join_job_array, lock_sample, run, run_exclusively
from tim3d.engine.state import lease, ledger, lock
from tim3d.engine.state.lock import lock_url
from tim3d.engine.state.status import status
from tim3d.errors import ArgumentError, DeviceError, FailedBlocksError, LockedError
from tim3d.maintenance.validation import validate


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The recipe, what one process leaves, and what it prints."""
    recipe = write_recipe(tmp_path_factory.mktemp("recipe"))
    sample = recipe.parent / "alone.zarr"
    printed = finish(start(recipe, sample))
    return recipe, content(sample), printed


Alone = tuple[Path, dict[str, Any], str]


@pytest.mark.long
def test_three_parts_make_the_bytes_of_one_process(alone: Alone) -> None:
    recipe, bytes_alone, printed = alone
    sample = str(recipe.parent / "three.zarr")
    processes = [start(recipe, sample, "--part", f"{i}/3") for i in (1, 2, 3)]
    for process in processes:
        assert finish(process).replace(sample, str(recipe.parent / "alone.zarr")) == printed
    assert content(sample) == bytes_alone
    assert validate(sample, deep=True) == []
    markers = done_blocks(sample, "phase/s0").values()
    shares = [sum(m["pid"] == process.pid for m in markers) for process in processes]
    assert shares == [SEGMENTED // 3] * 3  # every block once, by the part that it belongs to
    assert not status(sample).holders


@pytest.mark.parametrize("kind", ["disk", pytest.param("bucket", marks=pytest.mark.slow)])
@pytest.mark.long
def test_a_part_that_was_killed_is_started_again(
    alone: Alone, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "disk":
        recipe, bytes_alone, _ = alone
        sample = str(recipe.parent / "killed.zarr")
    else:  # the server of the tests is slow: fewer blocks
        recipe, sample = (
            write_recipe(tmp_path, (24, 64, 64)),
            f"{request.getfixturevalue('bucket')}/a.zarr",
        )
        finish(start(recipe, tmp_path / "alone.zarr"))
        bytes_alone = content(tmp_path / "alone.zarr")
    first, second = (start(recipe, sample, "--part", f"{i}/2") for i in (1, 2))
    until(lambda: len(done_blocks(sample, "phase/s0")) > 5, "segmentation")
    second.send_signal(signal.SIGKILL)
    second.communicate()
    before = done_blocks(sample, "phase/s0")
    finish(start(recipe, sample, "--part", "2/2"))
    finish(first)
    assert content(sample) == bytes_alone
    assert (
        done_blocks(sample, "phase/s0").items() >= before.items()
    )  # what was done was not done again
    assert validate(sample, deep=True) == []
    assert not status(sample).holders


@pytest.mark.long
def test_a_part_alone_gives_up_and_a_plain_run_finishes(alone: Alone) -> None:
    recipe, bytes_alone, _ = alone
    sample = recipe.parent / "left.zarr"
    said = finish(start(recipe, sample, "--part", "1/2", "--wait", "0.01"), code=7)
    assert "block(s) of raw/s0" in said
    assert "left to part(s) 2 of 2" in said
    assert "the same command without --part" in said
    finish(start(recipe, sample))
    assert content(sample) == bytes_alone


@pytest.fixture(params=["disk", "bucket"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path if request.param == 'disk' else request.getfixturevalue('bucket')}/a.zarr"


def test_while_parts_work_another_run_is_refused(sample: str) -> None:
    with (
        join_job_array(sample, Part(1, 2)),
        pytest.raises(LockedError, match="is being written by process"),
        lock_sample(sample),
    ):
        pass
    with lock_sample(sample):  # and afterwards it is not
        pass


def test_while_another_run_works_parts_are_refused(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_array, "PASSING_SECONDS", 0.1)
    with (
        lock_sample(sample),
        join_job_array(sample, Part(1, 2)),
        pytest.raises(LockedError, match="is being written"),
    ):
        run_exclusively(sample, lambda: None)


def test_no_part_is_there_twice_and_all_count_alike(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_array, "PASSING_SECONDS", 0.1)
    with join_job_array(sample, Part(1, 2)):
        for other in (Part(1, 2), Part(1, 3), Part(3, 3)):
            with pytest.raises(LockedError), join_job_array(sample, other):
                pass


def test_a_dead_part_bars_nobody(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 0.1)
    dead = {"pid": 2**22 + 1, "started": "1", "host": job_array.socket.gethostname(), "part": "1/2"}
    for enter in (
        lambda: lock_sample(sample),
        lambda: join_job_array(sample, Part(1, 2)),
        lambda: join_job_array(sample, Part(1, 3)),
    ):
        ledger.write(lock_url(sample, "1-of-2"), dead)
        with enter():
            pass


@pytest.mark.long
def test_a_part_waits_for_the_lease_of_its_lost_self_on_another_machine(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 0.1)
    ledger.write(
        lock_url(sample, "1-of-2"), {"host": "elsewhere", "pid": 1, "token": "t", "part": "1/2"}
    )
    with pytest.raises(LockedError, match="process 1 on elsewhere"), lock_sample(sample):
        pass
    for module in (lease, lock, job_array):
        monkeypatch.setattr(module, "LEASE_SECONDS", 5.0)  # a bucket counts whole seconds
    with join_job_array(sample, Part(1, 2)):
        (holder,) = status(sample).holders
        assert (holder.lock, holder.pid) == ("part-1-of-2.lock", os.getpid())


@pytest.mark.long
def test_a_part_does_its_share_outside_of_its_turn(sample: str) -> None:
    work = number_pass(sample)
    with (
        join_job_array(sample, Part(2, 3)),
        pytest.raises(DeviceError, match=r"20 block\(s\) of raw/s0 .* part\(s\) 1, 3 of 3"),
    ):
        run_exclusively(sample, lambda: run(work, progress=False), wait_seconds=0.1)
    assert work.ledger.done() == set(list(work.grid.indices())[1::3])


def test_a_block_that_another_part_set_aside_ends_the_waiting(sample: str) -> None:
    ledger = number_pass(sample).ledger
    ledger.mark_failed((0, 0, 0), "old")  # of an earlier run: it may be mended now
    assert job_array.refuse_failed(ledger, {(0, 0, 0), (1, 0, 0)}) == {(0, 0, 0)}
    ledger.mark_failed(
        (1, 0, 0), "Traceback\nValueError: poisoned"
    )  # mended, and set aside once more
    with pytest.raises(FailedBlocksError, match=r"block \(1, 0, 0\): ValueError: poisoned"):
        job_array.refuse_failed(ledger, {(0, 0, 0)})


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", ""])
def test_a_part_must_be_one_of_them(text: str) -> None:
    with pytest.raises(ArgumentError, match="--part 1/3"):
        Part.parse(text)


REFUSED = [
    (["--part", "4/3"], "--part 1/3"),
    (["--part", "1/2", "--overwrite"], "--overwrite and --part do not go"),
]
REFUSED += [(["--part", "1/2", "--plan"], "--plan and --part do not go")]
REFUSED += [
    (["--part", "1/2", "--set", "ingest.sample=b.zarr"], "step 'ingest' has a sample of its own")
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_parts_cannot_share_is_refused_with_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path)
    assert main.main(["run", str(recipe), "--set", f"sample={tmp_path}/a.zarr", *arguments]) == 2
    assert message in capsys.readouterr().err
