"""The blocks that are on dask now: submitted many at a time, and fetched many at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tim3d.engine.summary import Attempt
from tim3d.engine.watch import UnstoppedError, Watch
from tim3d.grid import Triple

RETRIES = 2


class Flight:
    """The blocks of a pass that are on dask now, under the keys of their tasks."""

    def __init__(self, client: Any, name: str, do: Callable[[Triple], Any], time_limit: float | None) -> None:
        self.watch = Watch(client, time_limit)
        self._client, self._name, self._do = client, name, do
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def submit(self, blocks: Sequence[tuple[Triple, int]]) -> list[Any]:
        """Futures of attempts at blocks, each given with its number."""
        if not blocks:
            return []
        # A failed key stays known to the scheduler: every attempt gets its own.
        keys = [f"{self._name}-{index}-{number}-{time.time_ns()}" for index, number in blocks]
        self._numbers |= {key: number for key, (_, number) in zip(keys, blocks, strict=True)}
        futures = self._client.map(self._do, [index for index, _ in blocks], key=keys, pure=False)
        for future, (index, _) in zip(futures, blocks, strict=True):
            self.watch.add(index, future)
        return futures  # type: ignore[no-any-return]

    def landed(self, futures: Sequence[Any]) -> list[Attempt]:
        """What became of attempts that ended; the scheduler may forget them."""
        numbers = [self._numbers.pop(future.key) for future in futures]
        outcomes = self.watch.outcomes(futures)
        for future in futures:
            future.release()
        return [
            Attempt(index, number, outcome, last=not _may_be_tried_again(outcome, number))
            for number, (index, outcome) in zip(numbers, outcomes, strict=True)
        ]


def _may_be_tried_again(outcome: Any, attempt: int) -> bool:
    return isinstance(outcome, BaseException) and attempt <= RETRIES and not isinstance(outcome, UnstoppedError)
