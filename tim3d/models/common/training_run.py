"""The run of a training: steps, judgements, the best state, and a file from which it resumes to the last bit.

A training is a value: what is learnt from what (`Training`). It is started on a device and becomes
something that can make a step (`Learner`). Everything else is done here, once for all trainings:

    start ──► step ──► step ──► ... every n steps ──► judge ──► best so far? keep its weights
                ▲                                                  │
                └───────────── state on disk ◄─────────────────────┘   killed: the next run reads the state

What is random in step n follows from the seed, n and the rank of the process alone, so that the
state of a training is what its parts hold and the number of the step.
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
# Steps count from 1: what belongs to none of them, the first weights and every judgement, is drawn
# under 0.
NO_STEP = 0


class Stateful(Protocol):
    """A module, an optimiser, a scheduler or a scaler of torch, or what else has its two methods."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that changes in a step, as tensors, numbers, texts, lists and mappings."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore what `state_dict` returned."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How good a training is at present.

    Parameters
    ----------
    score : float
        The lowest one of a training decides what is kept; of equal ones the first.
    record : mapping of str to float
        Numbers for the history.
    net : torch.nn.Module, optional
        What was judged, if it is not the learner's `product` but one like it with other weights.
    """

    score: float
    record: Record = field(default_factory=dict)
    net: nn.Module | None = None


class Learner(Protocol):
    """A training that was started: networks and optimisers on a device."""

    @property
    def product(self) -> nn.Module:
        """The network that is trained; its best state is the result."""

    def parts(self) -> Mapping[str, Stateful]:
        """All that changes in a step, by name: networks, optimisers, schedulers, scalers."""

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Make step `number` (1, 2, ...) and return its losses.

        What is random is drawn from `rng` or from torch's own generators, both seeded for this
        step.
        """

    def judge(self) -> Verdict:
        """Score of the product, the lowest being the best; called in the first of several processes only."""


class Training(Protocol):
    """What is learnt from what, and how: a value."""

    @property
    def seed(self) -> int:
        """Seed of the first weights and of all that is random."""

    def key(self) -> Mapping[str, Any]:
        """All that decides the weights besides the seed, as JSON: a hash of the data, the network, the options."""

    def start(self, place: Place) -> Learner:
        """Make networks and optimisers on a device; torch's own generators are seeded."""

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the product of a run, `run.chosen()`, as a file that describes itself."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train and how often to judge. No step depends on it; which state is kept depends on `every`.

    Parameters
    ----------
    steps : int
        Steps in all.
    every : int
        Steps from one judgement to the next.
    seconds : float
        Ends a call earlier, after a whole step.
    patience : int, optional
        Ends the training after this many judgements without a better one.
    keep_seconds : float
        Time after which the state is written between two judgements.
    unit : str
        What the records call a step.

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
    """A training from its first step, or from where its state left it.

    Parameters
    ----------
    training : Training
        What is trained.
    state : path
        File of the state. It appears whole or not at all.
    place : Place, optional
        Device and processes.
    decided : mapping, optional
        What else decides the result: a state with other values is refused.

    Attributes
    ----------
    learner : Learner
        What was started.
    done : int
        Steps that were made.
    history : list of dict
        A record for each judgement: number of the step, mean losses since the last one, what was
        judged.
    judged : torch.nn.Module
        The network of the last judgement of this call.

    Raises
    ------
    MixedRunError
        If the state belongs to another training.
    CheckpointError
        If it is damaged.
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
        """Train to the end of the schedule; the losses of each step.

        Parameters
        ----------
        schedule : Schedule
            How long, and how often to judge.
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
        """What the file of a product says about its training, as JSON."""
        return {
            "key": self.key, "seed": self.training.seed, "steps": self.done, "best": self.best,
            "processes": self.place.size, "device": self.place.device.type, "history": self.history,
        }  # fmt: skip

    def export(self, path: str | Path) -> None:
        """Write the product; one process does it for all."""
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
        """Judge the product, and keep it if it is the best so far; one process does it for all."""
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
    """Train to the end of a schedule and write the product; call it again after an interruption to go on.

    Parameters
    ----------
    training : Training
        What is trained.
    path : path
        File of the product.
    schedule : Schedule
        How long.
    state : path
        File of the state, which is kept.
    device : str
        "auto", "cpu", "cuda" or "cuda:1"; started by torchrun, each process takes a device of its
        own.
    threads : int
        CPU threads; 0 leaves torch its own number.
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
    """Hash of all that decides the weights."""
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
