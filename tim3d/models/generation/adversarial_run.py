"""The course of an adversarial training: steps, looks at its result, and a file from which it goes on exactly."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tim3d.errors import ArgumentError, MixedRunError
from tim3d.models.common.weights import read_weights, write_weights
from tim3d.models.generation.adversarial import Adversaries
from tim3d.models.generation.checkpoint_selection import Judge, calibrated
from tim3d.models.generation.slicegan import Generator
from tim3d.storage import outputs

SCHEMA = 1
Record = dict[str, float]
Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train and how often to look; none of it changes a step, and `every` which of them is chosen.

    Parameters
    ----------
    steps : int
        Steps of the generator.
    every : int
        Steps from one look to the next.
    seconds : float
        Ends a call earlier, after a whole step.
    keep_seconds : float
        Time after which the state is written between two looks.
    """

    steps: int
    every: int = 50
    seconds: float = math.inf
    keep_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.every < 1 or not self.seconds > 0:
            raise ArgumentError(
                f"steps is {self.steps}, every {self.every} and the time {self.seconds:g} s; all must be above 0"
            )


class Course:
    """One training from its first step, or from where its file left it.

    Parameters
    ----------
    adversaries : Adversaries
        What is trained.
    judge : Judge
        Decides which state is kept.
    decided : mapping, optional
        What else decides the generator that is kept.
    path : path
        File of the state. It holds the generator, its average, all critics, both optimisers, the number of the step,
        the history and the best state; it appears whole or not at all.

    Raises
    ------
    MixedRunError
        If the file belongs to a training with other images or options.
    CheckpointError
        If it is damaged.
    """

    def __init__(
        self, adversaries: Adversaries, judge: Judge, path: str | Path, decided: Mapping[str, Any] | None = None
    ) -> None:
        self.adversaries, self.judge, self.path = adversaries, judge, Path(path)
        self.decided = dict(decided or {})
        self.done = 0
        self.history: list[Record] = []
        self.pending: list[Record] = []
        self.best: Tensors = {}
        if self.path.is_file():
            self._restore()

    def run(self, schedule: Schedule, on_look: Callable[[Record, Generator], None] | None = None) -> Iterator[Record]:
        """Train to the end of the schedule; a record for each step.

        Parameters
        ----------
        on_look : callable, optional
            Called after each look with its record and the averaged generator, ready for use.
        """
        end, kept = time.monotonic() + schedule.seconds, time.monotonic()
        while self.done < schedule.steps and not self._together(time.monotonic() > end):
            record = {"step": self.done + 1, **self.adversaries.step(self.done + 1)}
            self._note(record)
            if self.done % schedule.every == 0:
                self._look(on_look)
            if self.done % schedule.every == 0 or time.monotonic() - kept > schedule.keep_seconds:
                self._keep()
                kept = time.monotonic()
            yield record
        if self.pending:
            self._look(on_look)
            self._keep()

    def chosen(self) -> Generator:
        """The averaged generator of the best look, ready for use."""
        net = copy.deepcopy(self.adversaries.average)
        net.load_state_dict(self.best)
        return net.eval()

    def chosen_record(self) -> Record:
        """The record of the best look."""
        return min(self.history, key=lambda record: record["score"])

    def key(self) -> str:
        """Hash of all that decides the weights."""
        a = self.adversaries
        parts = {
            "architecture": asdict(a.architecture), "options": asdict(a.options), "data": a.views.sha256(),
            "processes": a.size, **self.decided,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _note(self, record: Record) -> None:
        if not all(map(math.isfinite, record.values())):
            raise ArgumentError(
                f"the losses of step {self.done + 1} are no longer numbers; use a learning rate below "
                f"{self.adversaries.options.learning_rate:g}"
            )
        self.pending.append(record)
        self.done += 1

    def _look(self, on_look: Callable[[Record, Generator], None] | None) -> None:
        """Judge the average, and keep it if it is the best so far; one process does it for all."""
        losses = {name: _mean([r[name] for r in self.pending]) for name in self.pending[0] if name != "step"}
        self.pending = []
        if self.adversaries.rank > 0:
            return
        net = calibrated(self.adversaries.average, self.judge.seed)
        record = {"step": self.done, **losses, **self.judge.errors(net)}
        self.history.append(record)
        if self.chosen_record() is record:
            self.best = {name: value.clone() for name, value in net.state_dict().items()}
        if on_look:
            on_look(record, net)

    def _together(self, mine: bool) -> bool:
        """What the first process says."""
        if self.adversaries.size == 1:
            return mine
        word = torch.tensor([int(mine)], device=self.adversaries.device)
        torch.distributed.broadcast(word, 0)
        return bool(word.item())

    def _parts(self) -> dict[str, torch.nn.Module]:
        a = self.adversaries
        return {"generator": a.generator, "average": a.average, "critics": a.critics}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        a = self.adversaries
        return {"generator": a.generator_optimiser, "critics": a.critic_optimiser}

    def _keep(self) -> None:
        if self.adversaries.rank > 0:
            return
        tensors = {f"best.{name}": value for name, value in self.best.items()}
        for part, net in self._parts().items():
            tensors |= {f"{part}.{name}": value for name, value in net.state_dict().items()}
        for part, optimiser in self._optimisers().items():
            tensors |= {f"adam-{part}.{name}": value for name, value in _flat(optimiser).items()}
        text = {
            "model": "training", "schema": SCHEMA, "key": self.key(), "step": self.done, "history": self.history,
            "pending": self.pending,
        }  # fmt: skip
        write_weights(self.path, tensors, json.dumps(text), outputs.STATE)

    def _restore(self) -> None:
        stored = read_weights(self.path, "training")
        about = json.loads(stored.text)
        if about.get("schema") != SCHEMA or about.get("key") != self.key():
            raise MixedRunError(
                f"{self.path} belongs to a training with other images, preset or options. Give the options of that "
                "training, write to another folder, or start anew with --overwrite"
            )
        tensors = stored.tensors()
        for part, net in self._parts().items():
            net.load_state_dict(_below(tensors, part))
        for part, optimiser in self._optimisers().items():
            _fill(optimiser, _below(tensors, f"adam-{part}"))
        self.best = {n: value.to(self.adversaries.device) for n, value in _below(tensors, "best").items()}
        self.done, self.history, self.pending = about["step"], about["history"], about["pending"]


def _below(tensors: Tensors, part: str) -> Tensors:
    return {name.removeprefix(f"{part}."): v for name, v in tensors.items() if name.startswith(f"{part}.")}


def _flat(optimiser: torch.optim.Optimizer) -> Tensors:
    """State of an optimiser by the number of the parameter and the name of the value."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def _fill(optimiser: torch.optim.Optimizer, flat: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, value in flat.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
