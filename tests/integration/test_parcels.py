"""Short blocks that travel together: each is tried, counted and set aside as if it were alone."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale import empty_pass
from tim3d.engine import Pass, cluster, run
from tim3d.engine.passes.metrics import STEPS
from tim3d.engine.passes.parcels import MOST, ROUNDS, SECONDS, Parcels
from tim3d.engine.passes.summary import Attempt
from tim3d.errors import FailedBlocksError, InputError
from tim3d.grid import Block, Triple

pytestmark = pytest.mark.usefixtures("forked_workers")
BLOCKS = 600


class OddError(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)
        self.lock = threading.Lock()


@dataclass(frozen=True)
class Counted:
    """Writes a line for every attempt at a block; some fail, some end their process."""

    log: str
    bad: tuple[Triple, ...] = ()
    odd: tuple[Triple, ...] = ()
    deadly: tuple[Triple, ...] = ()
    torn: tuple[Triple, ...] = ()

    def read(self, block: Block) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{block.index}\n")

    def compute(self, block: Block, inputs: None) -> None:
        if block.index in self.bad:
            raise ValueError(f"bad block {block.index}")
        if block.index in self.odd:
            raise OddError("odd", "block")
        if block.index in self.torn:
            raise InputError("a torn slice")
        if block.index in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, block: Block, outputs: None) -> dict[str, Any]:
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        return 0


def sweep(where: Path, **given: Any) -> Pass:
    return replace(empty_pass(where, BLOCKS), work=Counted(str(where / "log"), **given))


def attempts(where: Path) -> Counter[str]:
    return Counter((where / "log").read_text().splitlines())


def some(made: Pass, every: int) -> tuple[Triple, ...]:
    return tuple(made.grid.indices())[every // 2 :: every]


def test_a_failure_is_that_of_its_block_alone(tmp_path: Path) -> None:
    bad, odd = some(sweep(tmp_path), 83), some(sweep(tmp_path), 151)
    made = sweep(tmp_path, bad=bad, odd=odd)
    with cluster("local", workers=1, threads=2), pytest.raises(FailedBlocksError, match="failed 3"):
        run(made, progress=False)
    aside = {*bad, *odd}
    assert set(made.ledger.failed()) == aside
    assert len(made.ledger.done()) == BLOCKS - len(aside)
    tried = attempts(tmp_path)
    assert {tried[str(one)] for one in aside} == {3}
    assert {tried[str(one)] for one in made.ledger.done()} == {1}
    reasons = made.ledger.failed()
    assert all("bad block" in reasons[one] for one in bad)
    assert all("OddError" in reasons[one] for one in set(odd) - set(bad))


def test_a_block_that_ends_its_worker_takes_no_other_with_it(tmp_path: Path) -> None:
    (deadly,) = some(sweep(tmp_path), BLOCKS)
    made = sweep(tmp_path, deadly=(deadly,))
    with cluster("local", workers=1, threads=2), pytest.raises(FailedBlocksError, match="1 block"):
        run(made, progress=False)
    assert set(made.ledger.failed()) == {deadly}
    assert len(made.ledger.done()) == BLOCKS - 1
    # What was in flight with it is done again, and nothing else.
    again = [one for one, times in attempts(tmp_path).items() if times > 1]
    assert len(again) <= 1 + 4 * MOST * 3


def test_bad_input_ends_the_run(tmp_path: Path) -> None:
    torn = some(sweep(tmp_path), BLOCKS)
    with cluster("local", workers=1, threads=2), pytest.raises(InputError, match="a torn slice"):
        run(sweep(tmp_path, torn=torn), progress=False)
    assert attempts(tmp_path)[str(torn[0])] == 1


def test_every_block_is_taken_once_in_parcels_of_the_time_that_blocks_take() -> None:
    def took(seconds: float) -> Attempt:
        outcome: dict[str, float] = dict.fromkeys((f"{step}_seconds" for step in STEPS), 0.0)
        return Attempt(
            (0, 0, 0), 1, outcome | {"compute_seconds": seconds, "wait_seconds": 9}, True
        )

    def sizes(seconds: float, limit: float | None = None) -> Sequence[int]:
        parcels, blocks = Parcels(1000, limit), iter([(0, 0, x) for x in range(1000)])
        parcels.learn([took(seconds)])
        found = []
        while some := parcels.take(blocks, 3, 4):
            found += some
        assert [(index, 1) for one in found for index, _ in one] == [
            ((0, 0, x), 1) for x in range(1000)
        ]
        return [len(one) for one in found]

    assert set(sizes(SECONDS)) == set(sizes(10.0)) == set(sizes(0.0, limit=60.0)) == {1}
    assert sizes(SECONDS / 5)[0] == 5
    quick = sizes(0.0)
    assert quick[0] == MOST
    assert list(quick) == sorted(quick, reverse=True)  # short at the end, so that all end together
    assert quick[-1] == 1
    assert sum(quick[-4 * ROUNDS :]) < 1000 / ROUNDS
