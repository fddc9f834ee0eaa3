"""Estimated worker-hours and money of a pass, measured in the journal of a smaller run."""

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
    """Estimated cost of a pass.

    Attributes
    ----------
    worker_hours : float or None
        Hours of all workers together, at the rate of the pilot; None if the pilot had no such pass.
        With the cluster ``cuda`` a worker is a GPU.
    workers : int
        Workers of this run: it takes `worker_hours` / `workers` if they are used as well as in the
        pilot.
    price : float or None
        Price of these hours, in the currency of the price of an hour.
    """

    worker_hours: float | None
    workers: int
    price: float | None

    def __str__(self) -> str:
        if self.worker_hours is None:
            return "cost unknown: the pilot has no such pass"
        money = "" if self.price is None else f", costs {self.price:.2f}"
        return (
            f"{self.worker_hours:.3g} worker-hours, {self.worker_hours / self.workers:.3g} h{money}"
        )


@dataclass(frozen=True)
class Pilot:
    """Worker-seconds per voxel of each pass of an earlier run, and the price of a worker-hour."""

    seconds: dict[str, float]
    price: float | None

    def of(self, name: str, voxels: int, workers: int) -> Cost:
        """Cost of processing this number of voxels in a pass."""
        if name not in self.seconds:
            return Cost(None, workers, None)
        hours = self.seconds[name] * voxels / 3600
        return Cost(hours, workers, None if self.price is None else hours * self.price)


_pilot: ContextVar[Pilot | None] = ContextVar("tim3d_pilot", default=None)


def current_pilot() -> Pilot | None:
    """The pilot run by which plans are costed; None if there is none."""
    return _pilot.get()


@contextlib.contextmanager
def costing(journal: str | Path | None = None, price: float | None = None) -> Iterator[None]:
    """Let plans inside the ``with`` state their cost, from the journal of a smaller run.

    Hours are counted over all workers from the beginning to the end of a pass, per voxel: waiting
    is paid for too. They hold for the same kind of machine, the same recipe, and blocks of about
    the same size.

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
        raise ArgumentError(
            f"price {price} of a worker-hour: give 0 or more, and the journal of a pilot run: --pilot"
        )
    token = _pilot.set(None if journal is None else Pilot(_rates(Path(journal)), price))
    try:
        yield
    finally:
        _pilot.reset(token)


def _rates(path: Path) -> dict[str, float]:
    seconds: dict[str, float] = {}
    voxels: dict[str, int] = {}
    try:
        for line in map(json.loads, path.read_text().splitlines()):
            if line["event"] == "end":
                name = line["pass"]
                seconds[name] = seconds.get(name, 0.0) + line["wall_seconds"] * line["processes"]
                voxels[name] = voxels.get(name, 0) + line["voxels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a run journal ({error}). Make one: tim3d run RECIPE --log {path}"
        ) from error
    rates = {name: seconds[name] / voxels[name] for name in seconds if voxels[name]}
    if not rates:
        raise InputError(
            f"{path} has no pass that ended. Let the pilot run to its end: tim3d run RECIPE --log {path}"
        )
    return rates
