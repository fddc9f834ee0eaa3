"""Training of a local network for diffusion, as a value."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from typing import cast as typed

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tim3d.errors import ArgumentError, InputError
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import NO_STEP, Record, Stateful, TrainingRun, Verdict
from tim3d.models.common.transfer import upload
from tim3d.models.diffusion.encoding import encoded
from tim3d.models.diffusion.examples import Examples
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import AXIS, LocalNetworkDescription, save_network
from tim3d.models.diffusion.objectives import PATHS, Question
from tim3d.models.diffusion.training_options import DiffusionOptions

BETAS, LARGEST_GRADIENT = (0.9, 0.99), 1.0
# Batches that judge a state: always the same crops, noise and times.
JUDGED = 8
# Version of the rule by which crops and times are drawn: a training that began under another is not continued.
DRAWS = 2


@dataclass(frozen=True)
class DiffusionTraining:
    """A local network, the examples it learns from, and those that select its state.

    Parameters
    ----------
    description : LocalNetworkDescription
        Layers, phases, voxel size and conditions.
    examples, judged : Examples
        What is learnt from, and what judges.
    options : DiffusionOptions
        Options of the training.
    decided : mapping
        All else that determines the network, recorded in its file.
    sources : list
        Description of the files, recorded in the file.
    """

    description: LocalNetworkDescription
    examples: Examples
    judged: Examples
    options: DiffusionOptions = field(default_factory=DiffusionOptions)
    decided: Mapping[str, Any] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, crop = self.description.spec, self.options.crop
        if spec.dimensions != self.examples.dimensions:
            raise ArgumentError(
                f"a network of {spec.dimensions} dimensions cannot learn from arrays of {self.examples.dimensions}"
            )
        if crop % spec.multiple:
            raise ArgumentError(
                f"a crop of {crop} is not a multiple of {spec.multiple}, the edge of the largest cell of the network; "
                f"give {max(1, round(crop / spec.multiple)) * spec.multiple}"
            )
        if bool(self.examples.around) != bool(spec.coarse):
            raise ArgumentError(
                f"a network of {spec.coarse} local fractions cannot learn from examples "
                f"{'with' if self.examples.around else 'without'} them"
            )
        shortest = min(self.examples.shortest, self.judged.shortest)
        if shortest < crop:
            raise InputError(
                f"the shortest edge is {shortest}, and training sees {crop} at a time; use a larger image, a smaller "
                "--scale or a smaller --crop"
            )

    @property
    def seed(self) -> int:
        """Seed of the first weights and of all random numbers."""
        return self.options.seed

    def key(self) -> Mapping[str, Any]:
        """All that determines the network."""
        about = replace(self.description, training={}, tim3d="-")
        return {
            "draws": DRAWS, "description": about.to_json(), "options": asdict(self.options),
            "data": self.examples.sha256(),
            "judged": self.judged.sha256(), "symmetric": self.examples.symmetric, **self.decided,
        }  # fmt: skip

    def start(self, place: Place) -> DiffusionLearner:
        """Create network and optimiser on a device."""
        return DiffusionLearner(self, place)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the averaged network of the best judgement."""
        summary = {
            "images": self.sources, "options": asdict(self.options), **self.decided,
            "chosen_step": int(run.best["step"]), **run.summary(),
        }  # fmt: skip
        save_network(
            path, typed(LocalNetwork, run.chosen()), replace(self.description, training=summary)
        )


class DiffusionLoss(nn.Module):
    """Mean squared error of the estimate; the forward pass that several processes share."""

    def __init__(self, net: LocalNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, asked: Question, condition: Tensor | None, cast: Any, coarse: Tensor | None = None
    ) -> Tensor:
        """Mean over samples, channels and voxels."""
        with cast:
            estimate = self.net(asked.state, asked.time, condition, coarse)
        return mse_loss(estimate.float(), asked.target)


class DiffusionLearner:
    """Network, its average and optimiser of a training on a device."""

    def __init__(self, training: DiffusionTraining, place: Place) -> None:
        self.training, self.options, self.place = training, training.options, place
        self.net = LocalNetwork(training.description.spec).to(place.device)
        self.product = copy.deepcopy(self.net).requires_grad_(False)
        self.loss: nn.Module = place.shared(DiffusionLoss(self.net))
        self.adam = torch.optim.AdamW(
            self.net.parameters(), lr=self.options.learning_rate, betas=BETAS
        )

    def parts(self) -> Mapping[str, Stateful]:
        """Network, its average and optimiser."""
        return {"net": self.net, "average": self.product, "adam": self.adam}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Learn from random crops at random times."""
        asked, condition, coarse = self._batch(self.training.examples, rng)
        cast = self.place.cast("bfloat16" if self.options.mixed_precision else "float32")
        loss: Tensor = self.loss(asked, self._dropped(condition, rng), cast, coarse)
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT)
        self.adam.step()
        self._move_average(number)
        return {"loss": loss.item()}

    @torch.no_grad()
    def judge(self) -> Verdict:
        """Loss of the average on fixed crops, noise and times, which are spread evenly."""
        rng = np.random.default_rng([self.training.seed, NO_STEP])
        count, losses = JUDGED * self.options.batch, []
        spread = torch.from_numpy((np.arange(count) + 0.5) / count).float()
        for part in range(JUDGED):
            asked, condition, coarse = self._batch(self.training.judged, rng, spread[part::JUDGED])
            estimate = self.product(asked.state, asked.time, condition, coarse)
            losses.append(mse_loss(estimate, asked.target).item())
        score = math.fsum(losses) / JUDGED
        return Verdict(score, {"score": score})

    def _batch(
        self, examples: Examples, rng: np.random.Generator, shares: Tensor | None = None
    ) -> tuple[Question, Tensor | None, Tensor | None]:
        """Question for random crops, the inputs of their conditions, and their local fractions."""
        options, about = self.options, self.training.description
        crops, inputs, around = examples.surrounded(options.batch, options.crop, rng)
        data = encoded(torch.from_numpy(np.ascontiguousarray(crops)), len(about.phases or ()))
        noise = torch.from_numpy(rng.standard_normal(tuple(data.shape), np.float32))
        if shares is None:  # spread, so that no batch lacks early or late times
            spread = (np.arange(options.batch) + rng.random(options.batch)) / options.batch
            shares = torch.from_numpy(spread).float()
        path = PATHS[about.spec.objective]
        asked = path.question(data, noise, path.times(shares))
        device = self.place.device
        parts = (asked.state, asked.time, asked.target)
        moved = Question(*(upload(part.numpy(), device) for part in parts))
        condition = upload(inputs, device) if about.spec.conditions else None
        coarse = None if around is None else upload(around[:, None], device)
        return moved, condition, coarse

    def _dropped(self, condition: Tensor | None, rng: np.random.Generator) -> Tensor | None:
        """Conditions without those of some samples, as guidance needs; the axis is always given."""
        if condition is None:
            return None
        gone = torch.from_numpy(rng.random((len(condition), 1)) < self.options.dropout)
        kept = [
            one.name == AXIS
            for one in self.training.description.conditions
            for _ in range(one.columns)
        ]
        gone = gone & ~torch.tensor(kept)
        return condition.masked_fill(upload(gone.numpy(), condition.device), math.nan)

    @torch.no_grad()
    def _move_average(self, number: int) -> None:
        keep = min(self.options.average, number / (number + 10))
        for mean, now in zip(self.product.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
