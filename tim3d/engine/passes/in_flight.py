"""Blocks in flight on dask: submitted in batches, their results fetched in batches."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tim3d.engine.clusters.timeouts import UnstoppedError, Watch
from tim3d.engine.passes.summary import Attempt
from tim3d.grid import Triple

RETRIES = 2
# Results arrive within milliseconds. Those on a disconnected host arrive later; the others go on.
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Landing:
    """Attempts that ended together, (block, number, future) each, and the request that fetches their results."""

    attempts: list[tuple[Triple, int, Any]]
    results: concurrent.futures.Future[dict[str, Any]]


class Flight:
    """The blocks of a pass that are in flight on dask, by the keys of their tasks."""

    def __init__(
        self, client: Any, name: str, do: Callable[[Triple], Any], time_limit: float | None
    ) -> None:
        self.watch = Watch(client, time_limit)
        self._client, self._name, self._do = client, name, do
        self._numbers: dict[str, int] = {}
        self._landings: list[Landing] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def is_landing(self) -> bool:
        """Whether results of finished blocks are still being fetched."""
        return bool(self._landings)

    def submit(self, blocks: Sequence[tuple[Triple, int]]) -> list[Any]:
        """Futures of attempts at blocks, each given with the number of the attempt."""
        if not blocks:
            return []
        # A failed key stays known to the scheduler: every attempt gets a new one.
        keys = [f"{self._name}-{index}-{number}-{time.time_ns()}" for index, number in blocks]
        self._numbers |= {key: number for key, (_, number) in zip(keys, blocks, strict=True)}
        futures = self._client.map(self._do, [index for index, _ in blocks], key=keys, pure=False)
        for future, (index, _) in zip(futures, blocks, strict=True):
            self.watch.add(index, future)
        return futures  # type: ignore[no-any-return]

    def landed(self, ended: Sequence[Any]) -> list[Attempt]:
        """Attempts that ended, now or before, and whose results have arrived."""
        if ended:
            self._landings.append(self._landing(ended))
            concurrent.futures.wait([self._landings[-1].results], PATIENCE_SECONDS)
        arrived = [one for one in self._landings if one.results.done()]
        self._landings = [one for one in self._landings if one not in arrived]
        return [attempt for one in arrived for attempt in self._attempts(one)]

    def _landing(self, ended: Sequence[Any]) -> Landing:
        attempts = [(self.watch.ended(one), self._numbers.pop(one.key), one) for one in ended]
        finished = [
            one for one in ended if one.status == "finished" and not self.watch.is_overdue(one)
        ]
        fetching = asyncio.run_coroutine_threadsafe(
            self._fetched(finished), self._client.loop.asyncio_loop
        )
        return Landing(attempts, fetching)

    async def _fetched(self, finished: list[Any]) -> dict[str, Any]:
        """Results by the keys of their futures, in one request."""
        if not finished:
            return {}
        results = await self._client.gather(finished, asynchronous=True)
        return dict(zip((one.key for one in finished), results, strict=True))

    def _attempts(self, landing: Landing) -> list[Attempt]:
        try:
            results = landing.results.result()
        except (Exception, asyncio.CancelledError):  # lost with a worker, or recomputed in vain
            results = {}  # fetch each result separately
        made = []
        for index, number, future in landing.attempts:
            outcome = (
                results[future.key] if future.key in results else self.watch.outcome(index, future)
            )
            made.append(
                Attempt(index, number, outcome, last=not _may_be_tried_again(outcome, number))
            )
            future.release()  # the scheduler may forget it
        return made


def _may_be_tried_again(outcome: Any, attempt: int) -> bool:
    return (
        isinstance(outcome, BaseException)
        and attempt <= RETRIES
        and not isinstance(outcome, UnstoppedError)
    )
