"""Trainings that a test changes where any training is made: in what `start` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import (
    Learner,
    Record,
    Schedule,
    Stateful,
    Training,
    TrainingRun,
    Verdict,
    carry_out,
)


class KilledError(Exception):
    """Ends a training in the middle of a step."""


@dataclass(frozen=True)
class Changed:
    """A training whose learner is changed; its key is that of the training."""

    inner: Training
    change: Callable[[Learner], Learner] = lambda learner: learner

    @property
    def seed(self) -> int:
        return self.inner.seed

    def key(self) -> Mapping[str, Any]:
        return self.inner.key()

    def start(self, place: Place) -> Learner:
        return self.change(self.inner.start(place))

    def save(self, path: Path, run: TrainingRun) -> None:
        self.inner.save(path, run)


class Same:
    """A learner that does what another one does."""

    def __init__(self, inner: Learner) -> None:
        self.inner = inner

    @property
    def product(self) -> Any:
        return self.inner.product

    def parts(self) -> Mapping[str, Stateful]:
        return self.inner.parts()

    def step(self, number: int, rng: np.random.Generator) -> Record:
        return self.inner.step(number, rng)

    def judge(self) -> Verdict:
        return self.inner.judge()


def killed_in(step: int) -> Callable[[Learner], Learner]:
    """Make a learner end in a step, after its networks have changed and before anything is written."""

    class Dies(Same):
        def step(self, number: int, rng: np.random.Generator) -> Record:
            losses = super().step(number, rng)
            if number == step:
                raise KilledError
            return losses

    return Dies


def judged(scores: list[float], record: Callable[[float], Record]) -> Callable[[Learner], Learner]:
    """Make a learner say these scores one after the other, the lowest being the best."""

    class Says(Same):
        def judge(self) -> Verdict:
            score = scores.pop(0)
            return Verdict(score, record(score))

    return Says


def losing(losses: Record) -> Callable[[Learner], Learner]:
    """Make a learner have these losses in every step."""

    class Loses(Same):
        def step(self, number: int, rng: np.random.Generator) -> Record:
            return losses

    return Loses


def run_of(one: Training, path: Path, steps: int = 6) -> TrainingRun:
    """Carry out a training of some steps, with a look at every third."""
    return carry_out(
        one,
        path,
        Schedule(steps, 3, keep_seconds=0.0),
        state=path.with_suffix(".state"),
        device="cpu",
        threads=1,
    )


def killed_and_resumed(one: Training, folder: Path) -> Path:
    """File of a training that was killed and ended later; its bytes are those of one without a kill."""
    whole, killed = folder / "whole.safetensors", folder / "killed.safetensors"
    run_of(Changed(one), whole)
    with pytest.raises(KilledError):
        run_of(Changed(one, killed_in(5)), killed)
    run_of(Changed(one), killed)
    assert killed.read_bytes() == whole.read_bytes()
    return killed
