"""What a pass will cost in worker-hours and money, from the journal of a smaller run: measured, not guessed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tim3d.errors import ArgumentError, InputError


@dataclass(frozen=True)
class Cost:
    """Cost of a pass.

    Attributes
    ----------
    worker_hours : float or None
        Hours of all workers together, as they were used in the pilot; None if the pilot had no such pass. With the
        cluster ``cuda`` a worker is a GPU.
    workers : int
        Workers of this run: the run takes `worker_hours` / `workers`, if they are used as well as in the pilot.
    price : float or None
        Of all these hours, in the currency of the price of an hour.
    """

    worker_hours: float | None
    workers: int
    price: float | None

    def __str__(self) -> str:
        if self.worker_hours is None:
            return "cost unknown: the pilot has no such pass"
        money = "" if self.price is None else f", costs {self.price:.2f}"
        return f"{self.worker_hours:.3g} worker-hours, {self.worker_hours / self.workers:.3g} h{money}"


@dataclass(frozen=True)
class Pilot:
    """Worker-seconds per voxel of each pass of an earlier run, and the price of a worker-hour."""

    seconds: dict[str, float]
    price: float | None

    def of(self, name: str, voxels: int, workers: int) -> Cost:
        """Cost of so many voxels of a pass."""
        if name not in self.seconds:
            return Cost(None, workers, None)
        hours = self.seconds[name] * voxels / 3600
        return Cost(hours, workers, None if self.price is None else hours * self.price)


_pilot: ContextVar[Pilot | None] = ContextVar("tim3d_pilot", default=None)


def current_pilot() -> Pilot | None:
    """What plans are costed by now."""
    return _pilot.get()


@contextlib.contextmanager
def costing(journal: str | Path | None = None, price: float | None = None) -> Iterator[None]:
    """Let the plans inside the ``with`` state their cost, by the journal of a run on a smaller sample.

    Hours are those of all workers from the beginning to the end of a pass, per voxel: waiting is paid for too. They
    hold for the same kind of machine, the same recipe, and blocks of about the same size.

    Parameters
    ----------
    journal : path, optional
        With a plan: journal of a smaller run, to estimate the cost by (default: no estimate).
    price : float, optional
        With such a journal: price of an hour of a worker (default: none).

    Raises
    ------
    ArgumentError
        If there is a price and no journal, or the price is negative.
    InputError
        If the journal is missing, damaged or has no finished pass.
    """
    if price is not None and (journal is None or not price >= 0):
        raise ArgumentError(f"price {price} of a worker-hour: give 0 or more, and the journal of a pilot run: --pilot")
    token = _pilot.set(None if journal is None else Pilot(_rates(Path(journal)), price))
    try:
        yield
    finally:
        _pilot.reset(token)


def _rates(path: Path) -> dict[str, float]:
    seconds: dict[str, float] = {}
    voxels: dict[str, int] = {}
    try:
        for one in map(json.loads, path.read_text().splitlines()):
            if one["event"] == "end":
                name = one["pass"]
                seconds[name] = seconds.get(name, 0.0) + one["wall_seconds"] * one["processes"]
                voxels[name] = voxels.get(name, 0) + one["voxels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no journal of a run ({error}). Make one: tim3d run RECIPE --log {path}") from error
    rates = {name: seconds[name] / voxels[name] for name in seconds if voxels[name]}
    if not rates:
        raise InputError(f"{path} has no pass that ended. Let the pilot run to its end: tim3d run RECIPE --log {path}")
    return rates
