"""Run of a training: steps, judgements, the best state, and a file to resume from bit by bit.

A `Training` is a value: network, data and options. Started on a device it becomes a `Learner`,
which makes steps. Everything else is done here, once for all trainings:

    start ──► step ──► step ──► ... every n steps ──► judge ──► best so far? keep its weights
                ▲                                                  │
                └───────────── state on disk ◄─────────────────────┘   killed: the next run reads the state

Randomness in step n depends on the seed, n and the rank of the process alone, so that the state of
a training consists of the state of its parts and the number of the step.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn
from torch.optim import Optimizer

from tim3d.errors import ArgumentError
from tim3d.models.common.determinism import cpu_threads, generator, seeded
from tim3d.models.common.distributed import ALONE, Place, processes
from tim3d.models.common.training_state import Tensors, damaged, read_state, write_state

Record = dict[str, float]
# Steps count from 1. The first weights and every judgement belong to no step: step 0 stands for
# them when their random numbers are seeded.
NO_STEP = 0


class Stateful(Protocol):
    """A module, optimiser, scheduler or scaler of torch, or any object with these two methods."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return all that changes in a step, as tensors, numbers, texts, lists and mappings."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore what `state_dict` returned."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of a training after a step.

    Parameters
    ----------
    score : float
        The state with the lowest score is kept; of equal ones the first.
    record : mapping of str to float
        Numbers for the history.
    net : torch.nn.Module, optional
        The judged network, if it is not the `product` of the learner but a copy with other weights.
    """

    score: float
    record: Record = field(default_factory=dict)
    net: nn.Module | None = None


class Learner(Protocol):
    """A started training: networks and optimisers on a device."""

    @property
    def product(self) -> nn.Module:
        """The network that is trained; its best state is the result."""

    def parts(self) -> Mapping[str, Stateful]:
        """Objects that change in a step, by name: networks, optimisers, schedulers, scalers."""

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Make step `number` (1, 2, ...) and return its losses.

        Random numbers come from `rng` or from the generators of torch, both seeded for this step.
        """

    def judge(self) -> Verdict:
        """Score the product, lower is better; of several processes only the first calls it."""


class Training(Protocol):
    """Network, data and options of a training: a value."""

    @property
    def seed(self) -> int:
        """Seed of the first weights and of all random numbers."""

    def key(self) -> Mapping[str, Any]:
        """All that determines the weights besides the seed, for JSON: data, network, options."""

    def start(self, place: Place) -> Learner:
        """Create networks and optimisers on a device; the generators of torch are seeded."""

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the product of a run, `run.chosen()`, with its description."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Length of a training and interval of judgements.

    No step depends on it; which state is kept depends on `every`.

    Parameters
    ----------
    steps : int
        Total number of steps.
    every : int
        Steps from one judgement to the next.
    seconds : float
        Time limit of a call, which ends after a whole step.
    patience : int, optional
        Number of judgements without improvement after which the training ends.
    keep_seconds : float
        Time after which the state is written between two judgements.
    unit : str
        Name of a step in the records.

    Raises
    ------
    ArgumentError
        If a number is not above 0.
    """

    steps: int
    every: int = 50
    seconds: float = math.inf
    patience: int | None = None
    keep_seconds: float = 60.0
    unit: str = "step"

    def __post_init__(self) -> None:
        patience = 1 if self.patience is None else self.patience
        if min(self.steps, self.every, patience) < 1 or not self.seconds > 0:
            raise ArgumentError(
                f"steps is {self.steps}, every {self.every}, patience {self.patience} and the time {self.seconds:g} s; "
                "all must be above 0"
            )


class TrainingRun:
    """A training from its first step, or from its stored state.

    Parameters
    ----------
    training : Training
        The training.
    state : path
        File of the state. It appears whole or not at all.
    place : Place, optional
        Device and processes (default: the CPU, alone).
    decided : mapping, optional
        All else that determines the result: a state with other values is refused.

    Attributes
    ----------
    learner : Learner
        The started training.
    done : int
        Number of steps done.
    history : list of dict
        A record for each judgement: number of the step, mean losses since the last one, and the
        record of the verdict.
    judged : torch.nn.Module
        The network of the last judgement of this call.

    Raises
    ------
    MixedRunError
        If the state belongs to another training.
    CheckpointError
        If the state is damaged.
    """

    def __init__(
        self,
        training: Training,
        state: str | Path,
        place: Place = ALONE,
        decided: Mapping[str, Any] | None = None,
    ) -> None:
        self.training, self.state, self.place = training, Path(state), place
        self.key = _key(training, self.place, decided or {})
        with seeded(training.seed, NO_STEP, device=self.place.device):
            self.learner = training.start(self.place)
        self.done = 0
        self.history: list[Record] = []
        self.judged = self.learner.product
        self._scores: list[float] = []
        self._pending: list[Record] = []
        self._best: Tensors = {}
        if self.state.is_file():
            self._restore()

    def steps(
        self, schedule: Schedule, on_look: Callable[[TrainingRun], None] | None = None
    ) -> Iterator[Record]:
        """Train to the end of the schedule and yield the losses of each step.

        Parameters
        ----------
        schedule : Schedule
            Length of the training and interval of judgements.
        on_look : callable, optional
            Called with this run after each judgement, before the state is written.
        """
        end, saved = time.monotonic() + schedule.seconds, time.monotonic()
        while self.done < schedule.steps and not self.place.agreed(self._ends(schedule, end)):
            record = self._step(schedule.unit)
            looks = self.done % schedule.every == 0
            if looks:
                self._look(schedule.unit, on_look)
            if looks or time.monotonic() - saved > schedule.keep_seconds:
                self._save()
                saved = time.monotonic()
            yield record
        if self._pending:
            self._look(schedule.unit, on_look)
            self._save()

    @property
    def best(self) -> Record:
        """The record of the best judgement, the first of equal ones."""
        return self.history[self._best_index()]

    @property
    def is_best(self) -> bool:
        """Whether the last judgement is the best one."""
        return self._best_index() == len(self._scores) - 1

    def chosen(self) -> nn.Module:
        """The product as it was at the best judgement, in evaluation mode."""
        net = copy.deepcopy(self.learner.product)
        net.load_state_dict(self._best)
        return net.eval()

    def summary(self) -> dict[str, Any]:
        """Summary of the training for the file of the product, as JSON."""
        return {
            "key": self.key, "seed": self.training.seed, "steps": self.done, "best": self.best,
            "processes": self.place.size, "device": self.place.device.type, "history": self.history,
        }  # fmt: skip

    def export(self, path: str | Path) -> None:
        """Write the product, in the first process only."""
        if self.place.rank == 0 and self.history:
            self.training.save(Path(path), self)

    def _ends(self, schedule: Schedule, end: float) -> bool:
        stale = len(self._scores) - 1 - self._best_index() if self._scores else 0
        return time.monotonic() > end or (
            schedule.patience is not None and stale >= schedule.patience
        )

    def _best_index(self) -> int:
        return self._scores.index(min(self._scores))

    def _step(self, unit: str) -> Record:
        number, seed, rank = self.done + 1, self.training.seed, self.place.rank
        with seeded(seed, number, rank, self.place.device):
            losses = self.learner.step(number, generator(seed, number, rank))
        if not all(map(math.isfinite, losses.values())):
            raise ArgumentError(
                f"the losses of {unit} {number} are no longer numbers; use a learning rate below {self._rate():g}"
            )
        self._pending.append(losses)
        self.done = number
        return {unit: number, **losses}

    def _rate(self) -> float:
        optimisers = [part for part in self.learner.parts().values() if isinstance(part, Optimizer)]
        return max(
            (group["lr"] for one in optimisers for group in one.param_groups), default=math.inf
        )

    def _look(self, unit: str, on_look: Callable[[TrainingRun], None] | None) -> None:
        """Judge the product in the first process, and keep it if it is the best so far."""
        losses = {
            name: _mean([record[name] for record in self._pending]) for name in self._pending[0]
        }
        self._pending = []
        if self.place.rank > 0:
            return
        with seeded(self.training.seed, NO_STEP, device=self.place.device):
            verdict = self.learner.judge()
        if math.isnan(verdict.score):
            raise ArgumentError(
                f"the score of {unit} {self.done} is not a number; use a smaller learning rate"
            )
        self.history.append({unit: self.done, **losses, **verdict.record})
        self._scores.append(verdict.score)
        self.judged = verdict.net or self.learner.product
        if self.is_best:
            self._best = {
                name: value.detach().clone() for name, value in self.judged.state_dict().items()
            }
        if on_look:
            on_look(self)

    def _save(self) -> None:
        if self.place.rank > 0:
            return
        values = {
            "parts": {name: part.state_dict() for name, part in self.learner.parts().items()}, "best": self._best,
            "done": self.done, "history": self.history, "scores": self._scores, "pending": self._pending,
        }  # fmt: skip
        write_state(self.state, self.key, values)

    def _restore(self) -> None:
        values = read_state(self.state, self.key)
        try:
            for name, part in self.learner.parts().items():
                part.load_state_dict(values["parts"][name])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise damaged(self.state) from error
        self._best, self._scores, self._pending = (
            values["best"],
            values["scores"],
            values["pending"],
        )
        self.done, self.history = values["done"], values["history"]


def carry_out(
    training: Training,
    path: str | Path,
    schedule: Schedule,
    *,
    state: str | Path,
    device: str = "auto",
    threads: int = 0,
    decided: Mapping[str, Any] | None = None,
    on_step: Callable[[TrainingRun, Record], None] | None = None,
    on_look: Callable[[TrainingRun], None] | None = None,
) -> TrainingRun:
    """Train to the end of a schedule and write the product.

    Called again after an interruption, it resumes.

    Parameters
    ----------
    training : Training
        The training.
    path : path
        File of the product.
    schedule : Schedule
        Length of the training and interval of judgements.
    state : path
        File of the state, which is kept.
    device : str
        "auto", "cpu", "cuda" or "cuda:1"; started by torchrun, each process takes a device of its
        own.
    threads : int
        CPU threads; 0 keeps the default of torch.
    decided : mapping, optional
        See `TrainingRun`.
    on_step, on_look : callable, optional
        Called after each step and each judgement.
    """
    with cpu_threads(threads), processes(device) as place:
        run = TrainingRun(training, state, place, decided)
        for record in run.steps(schedule, on_look):
            if on_step:
                on_step(run, record)
        run.export(path)
    return run


def _key(training: Training, place: Place, decided: Mapping[str, Any]) -> str:
    """Hash of all that determines the weights."""
    given = {"training": training.key(), "seed": training.seed, "decided": dict(decided)}
    parts = {
        "kind": type(training).__qualname__,
        "processes": place.size,
        "device": place.device.type,
        **given,
    }
    try:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    except TypeError as error:
        raise ArgumentError(
            f"the key of a training must be JSON, such as a hash of its data: {error}"
        ) from error


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
