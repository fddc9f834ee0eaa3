"""Blocks in flight on dask: submitted in batches, their results fetched in batches.

A task is a parcel: one block, or several short ones that a worker computes one after the other.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tim3d.engine.clusters.timeouts import UnstoppedError, Watch
from tim3d.engine.passes.summary import Attempt
from tim3d.grid import Triple

RETRIES = 2
# Results arrive within milliseconds. Those on a disconnected host arrive later; the others go on.
PATIENCE_SECONDS = 1.0


# Blocks of a task, each with the number of the attempt at it.
Parcel: TypeAlias = list[tuple[Triple, int]]


@dataclass(frozen=True, eq=False)
class Landing:
    """Parcels that ended together, with their futures, and the request that fetches their results."""

    parcels: list[tuple[Parcel, Any]]
    results: concurrent.futures.Future[dict[str, Any]]


class Flight:
    """The blocks of a pass that are in flight on dask, by the keys of their tasks."""

    def __init__(
        self,
        client: Any,
        name: str,
        do: Callable[[Sequence[Triple]], list[Any]],
        time_limit: float | None,
    ) -> None:
        self.watch = Watch(client, time_limit)
        self._client, self._name, self._do = client, name, do
        self._parcels: dict[str, Parcel] = {}
        self._landings: list[Landing] = []

    def __len__(self) -> int:
        """Number of tasks in flight."""
        return len(self._parcels)

    def is_landing(self) -> bool:
        """Whether results of finished blocks are still being fetched."""
        return bool(self._landings)

    def submit(self, parcels: Sequence[Parcel]) -> list[Any]:
        """Futures of tasks, one for each parcel."""
        if not parcels:
            return []
        # A failed key stays known to the scheduler: every attempt gets a new one.
        keys = [f"{self._name}-{one[0][0]}-{one[0][1]}-{time.time_ns()}" for one in parcels]
        self._parcels |= dict(zip(keys, parcels, strict=True))
        blocks = [tuple(index for index, _ in parcel) for parcel in parcels]
        futures = self._client.map(self._do, blocks, key=keys, pure=False)
        for future, parcel in zip(futures, parcels, strict=True):
            self.watch.add(parcel[0][0], future)
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
        parcels = [(self._parcels.pop(one.key), one) for one in ended]
        for one in ended:
            self.watch.ended(one)
        finished = [
            one for one in ended if one.status == "finished" and not self.watch.is_overdue(one)
        ]
        fetching = asyncio.run_coroutine_threadsafe(
            self._fetched(finished), self._client.loop.asyncio_loop
        )
        return Landing(parcels, fetching)

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
        for parcel, future in landing.parcels:
            outcomes = (
                results[future.key]
                if future.key in results
                else self.watch.outcome(parcel[0][0], future)
            )
            if not isinstance(outcomes, list):  # the task failed as a whole
                outcomes = [outcomes] * len(parcel)
            # What follows an error of ours in a parcel was not begun.
            for (index, number), outcome in zip(parcel, outcomes, strict=False):
                last = not _may_be_tried_again(outcome, number)
                made.append(Attempt(index, number, outcome, last))
            future.release()  # the scheduler may forget it
        return made


def sendable(error: Exception) -> Exception:
    """An error that can be sent as a result: itself, or its traceback where it cannot be pickled.

    >>> sendable(ValueError("seen"))
    ValueError('seen')
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign error does when it is pickled
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _may_be_tried_again(outcome: Any, attempt: int) -> bool:
    return (
        isinstance(outcome, BaseException)
        and attempt <= RETRIES
        and not isinstance(outcome, UnstoppedError)
    )
