"""Training of a generator by its slices (SliceGAN), as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from tim3d.kernels.generation.architecture import Architecture
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import Record, Stateful, TrainingRun, Verdict
from tim3d.models.generation.adversarial import AdversarialOptions, Adversaries
from tim3d.models.generation.checkpoint_selection import Judge, calibrated
from tim3d.models.generation.export import GeneratorDescription, save_generator
from tim3d.models.generation.slice_sampler import Views
from tim3d.models.generation.slicegan import Generator
from tim3d.phases import Phases


@dataclass(frozen=True)
class SliceGANTraining:
    """A generator, the images to learn from, and the judge that selects its state.

    Parameters
    ----------
    architecture : Architecture
        Architecture of the generator and of the critics.
    views : Views
        Images to learn from.
    options : AdversarialOptions
        Options of the training.
    judge : Judge
        Selects the state to keep.
    spacing_nm : (z, y, x)
        Edges of a voxel in nm.
    phases : Phases, optional
        Names and codes of labels.
    decided : mapping
        All else that determines the generator, recorded in its file.
    images : list
        Description of the micrographs, recorded in the file.
    """

    architecture: Architecture
    views: Views
    options: AdversarialOptions
    judge: Judge
    spacing_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    phases: Phases | None = None
    decided: Mapping[str, Any] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seed(self) -> int:
        """Seed of the first weights and of all random numbers."""
        return self.options.seed

    def key(self) -> dict[str, Any]:
        """All that determines the generator."""
        return {
            "architecture": asdict(self.architecture), "options": asdict(self.options), "data": self.views.sha256(),
            "spacing_nm": self.spacing_nm, "phases": dict(self.phases or {}), **self.decided,
        }  # fmt: skip

    def start(self, place: Place) -> SliceGANLearner:
        """Create generator and critics on a device."""
        return SliceGANLearner(
            Adversaries(self.architecture, self.views, self.options, place), self.judge
        )

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the generator of the best judgement."""
        about = GeneratorDescription(
            self.architecture, self.spacing_nm, self.phases, self._summary(run)
        )
        save_generator(path, cast(Generator, run.chosen()), about)

    def _summary(self, run: TrainingRun) -> dict[str, Any]:
        best = run.best
        return {
            "images": self.images,
            "seed": self.seed,
            "steps": run.done,
            "chosen_step": int(best["step"]),
            "selection": {
                name: value
                for name, value in best.items()
                if name.endswith("_error") or name == "score"
            },
            "processes": run.place.size,
            **self.decided,
            "options": asdict(self.options),
            "history": run.history,
        }


class SliceGANLearner:
    """Adversaries whose averaged generator is judged by its volumes."""

    def __init__(self, adversaries: Adversaries, judge: Judge) -> None:
        self.adversaries, self._judge = adversaries, judge
        self.product = adversaries.average

    def parts(self) -> dict[str, Stateful]:
        """Generator, its average, critics and both optimisers."""
        a = self.adversaries
        return {
            "generator": a.generator, "average": a.average, "critics": a.critics,
            "generator_optimiser": a.generator_optimiser, "critic_optimiser": a.critic_optimiser,
        }  # fmt: skip

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Make a step of the generator after steps of the critics."""
        return self.adversaries.step(number, rng)

    def judge(self) -> Verdict:
        """Errors of the averaged generator, after its normalisation statistics are computed."""
        net = calibrated(self.product, self._judge.seed)
        errors = self._judge.errors(net)
        return Verdict(errors["score"], errors, net)
