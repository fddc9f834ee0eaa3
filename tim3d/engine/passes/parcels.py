"""Short blocks travel to workers several at a time: a task costs milliseconds, whatever it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from tim3d.engine.passes.in_flight import Parcel
from tim3d.engine.passes.metrics import STEPS
from tim3d.engine.passes.summary import Attempt
from tim3d.grid import Triple

# A task of blocks that take this long together costs a tenth of it or less. What a kill loses is
# longer by no more than that.
SECONDS = 0.05
MOST = 16
# At least this many tasks for each place in flight, so that all workers end at about the same time.
ROUNDS = 4
# Weight of the last block in the mean time of a block.
LAST = 0.1


class Parcels:
    """Blocks of a pass in parcels, whose size follows from the time that blocks have taken so far.

    Parameters
    ----------
    blocks : int
        Blocks of the pass that are left.
    time_limit : float, optional
        Time limit of a block: with one each block is alone, as time is counted by task.

    Examples
    --------
    >>> quick = Attempt((0, 0, 0), 1, {f"{step}_seconds": 0.002 for step in STEPS}, last=True)
    >>> parcels, blocks = Parcels(1000, None), iter([(0, 0, x) for x in range(1000)])
    >>> [len(one) for one in parcels.take(blocks, 2, 8)]
    [1, 1]
    >>> parcels.learn([quick] * 100)
    >>> [len(one) for one in parcels.take(blocks, 2, 8)]
    [8, 8]
    """

    def __init__(self, blocks: int, time_limit: float | None) -> None:
        self._left = blocks
        self._most = MOST if time_limit is None else 1
        self._seconds: float | None = None

    def learn(self, attempts: Iterable[Attempt]) -> None:
        """Take account of the time of finished blocks."""
        for one in attempts:
            if one.state != "done":
                continue
            took = sum(one.outcome[f"{step}_seconds"] for step in STEPS if step != "wait")
            before = took if self._seconds is None else self._seconds
            self._seconds = before + LAST * (took - before)

    def take(self, blocks: Iterator[Triple], parcels: int, in_flight: int) -> list[Parcel]:
        """Take parcels of first attempts from the blocks that wait, at most that many.

        `in_flight` is the number of tasks that all workers hold at a time.
        """
        found: list[Parcel] = []
        while len(found) < parcels:
            taken = list(itertools.islice(blocks, self._size(in_flight)))
            if not taken:
                break
            self._left -= len(taken)
            found.append([(index, 1) for index in taken])
        return found

    def _size(self, in_flight: int) -> int:
        if self._seconds is None:
            return 1
        by_time = int(SECONDS / max(self._seconds, SECONDS / self._most))
        return max(1, min(by_time, self._left // (ROUNDS * in_flight)))
