"""Training of a conditional generator against a critic, as a value.

The critic learns high values of real windows and low ones of generated windows under the same
conditions; the length of its gradient is held at 1 by a penalty, so that the difference of the means
approximates the Wasserstein distance (WGAN-GP). The generator learns to make windows of high value.
Both kinds of windows lie at random places, and real ones are turned and mirrored at random where the
material is the same in all directions, so that the critic cannot know them by heart. Generated ones
are not: turned at random, images that all lie in one direction would look like real ones.

References
----------
Gulrajani et al., NeurIPS 2017 (gradient penalty). DOI 10.48550/arXiv.1704.00028
Miyato and Koyama, ICLR 2018 (projection critic). DOI 10.48550/arXiv.1802.05637
Zhao et al., NeurIPS 2020 (augmentation of real and generated images). DOI 10.48550/arXiv.2006.10738
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics.generator_score import Target, target_of
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import NO_STEP, Record, Stateful, TrainingRun, Verdict
from tim3d.models.common.transfer import upload
from tim3d.models.conditional.images import windows
from tim3d.models.conditional.network_file import ConditionalDescription, save_conditional
from tim3d.models.conditional.network_spec import CriticSpec
from tim3d.models.conditional.networks import ConditionalGenerator, ProjectionCritic
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.models.diffusion.encoding import decoded, encoded
from tim3d.models.diffusion.examples import Examples
from tim3d.models.generation.adversarial import gradient_penalty

BETAS, PENALTY = (0.0, 0.9), 10.0
# Windows of each condition that judge a state, always of the same noise, and most images judged by.
JUDGED, IMAGES = 8, 32


@dataclass(frozen=True)
class ConditionalTraining:
    """A generator, its critic, the images to learn from, and those that select its state.

    Parameters
    ----------
    description : ConditionalDescription
        Layers, phases, voxel size and conditions.
    critic : CriticSpec
        Layers of the critic.
    examples, judged : Examples
        What is learnt from, and what judges.
    options : ConditionalOptions
        Options of the training.
    decided : mapping
        All else that determines the network, recorded in its file.
    sources : list
        Description of the files, recorded in the file.
    """

    description: ConditionalDescription
    critic: CriticSpec
    examples: Examples
    judged: Examples
    options: ConditionalOptions = field(default_factory=ConditionalOptions)
    decided: Mapping[str, Any] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        crop = self.options.crop
        if crop < self.critic.smallest:
            raise ArgumentError(
                f"a crop of {crop} is below {self.critic.smallest}, the least that a critic of "
                f"{len(self.critic.widths)} widths sees; give a larger --crop or fewer --critic-widths"
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

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Statistics of the images that judge."""
        phases = len(self.description.phases)
        return tuple(
            target_of([np.asarray(self.judged.values[n])], phases, self.options.crop)
            for n in self.chosen
        )

    @property
    def chosen(self) -> list[int]:
        """Numbers of the images that judge, spread over all."""
        last = len(self.judged.values) - 1
        return sorted({round(n) for n in np.linspace(0, last, min(last + 1, IMAGES))})

    def key(self) -> Mapping[str, Any]:
        """All that determines the network."""
        about = replace(self.description, training={}, tim3d="-")
        return {
            "description": about.to_json(), "critic": asdict(self.critic), "options": asdict(self.options),
            "data": self.examples.sha256(), "judged": self.judged.sha256(), "symmetric": self.examples.symmetric,
            **self.decided,
        }  # fmt: skip

    def start(self, place: Place) -> ConditionalLearner:
        """Create networks and optimisers on a device."""
        return ConditionalLearner(self, place)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the averaged generator of the best judgement."""
        summary = {
            "images": self.sources, "critic": asdict(self.critic), "options": asdict(self.options), **self.decided,
            "chosen_step": int(run.best["step"]), **run.summary(),
        }  # fmt: skip
        net = cast(ConditionalGenerator, run.chosen())
        save_conditional(path, net, replace(self.description, training=summary))


class CriticLoss(nn.Module):
    """Loss of the critic; the forward pass that several processes share."""

    def __init__(self, critic: ProjectionCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(
        self, real: Tensor, made: Tensor, mixed: Tensor, condition: Tensor, cast: Any
    ) -> tuple[Tensor, Tensor]:
        """Loss, and mean value of real windows minus that of generated ones.

        Parameters
        ----------
        real, made, mixed : (n, channels, rows, columns)
            Real and generated windows, and random points between them, where the gradient counts.
        condition : (n, conditions)
            Conditions of all three.
        cast : context manager
            Precision of all but the penalty.
        """
        with cast:
            values = self.critic(torch.cat([real, made]), torch.cat([condition, condition]))
        high, low = (part.mean() for part in values.float().chunk(2))
        penalty = gradient_penalty(lambda windows: self.critic(windows, condition), mixed)
        return low - high + PENALTY * penalty, (high - low).detach()


class GeneratorLoss(nn.Module):
    """Minus the mean value of generated windows; the critic gets no gradient."""

    def __init__(self, generator: ConditionalGenerator, critic: ProjectionCritic) -> None:
        super().__init__()
        self.generator = generator
        self._critics = (critic,)  # a tuple keeps it out of this module

    def forward(self, asked: Asked, cast: Any) -> Tensor:
        """Minus the mean value."""
        (critic,) = self._critics
        fixed = {name: p.detach() for name, p in critic.named_parameters()}
        with cast:
            made = asked.windows(self.generator)
            values: Tensor = functional_call(critic, fixed, (made, asked.condition))
        return -values.float().mean()


@dataclass(frozen=True, slots=True)
class Asked:
    """Noise, conditions and place of generated windows."""

    latent: Tensor
    condition: Tensor
    first: int
    edge: int

    def windows(self, net: ConditionalGenerator) -> Tensor:
        """The windows, as the generator makes them."""
        return windows(net, self.latent, self.condition, self.first, self.edge)


class ConditionalLearner:
    """Generator, its average, critic and their optimisers on a device."""

    def __init__(self, training: ConditionalTraining, place: Place) -> None:
        self.training, self.options, self.place = training, training.options, place
        self.net = ConditionalGenerator(training.description.spec).to(place.device)
        self.critic = ProjectionCritic(training.critic).to(place.device)
        self.product = copy.deepcopy(self.net).requires_grad_(False)
        self.critic_loss: nn.Module = place.shared(CriticLoss(self.critic))
        self.generator_loss: nn.Module = place.shared(GeneratorLoss(self.net, self.critic))
        self.adam = _adam(self.net, self.options.learning_rate)
        self.critic_adam = _adam(self.critic, self.options.learning_rate)

    def parts(self) -> Mapping[str, Stateful]:
        """Generator, critic, average and two optimisers."""
        return {
            "net": self.net, "critic": self.critic, "average": self.product, "adam": self.adam,
            "critic_adam": self.critic_adam,
        }  # fmt: skip

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Make a step of the generator after steps of the critic."""
        seen = [self.critic_step(rng) for _ in range(self.options.critic_steps)]
        loss = self.generator_step(rng)
        self._move_average(number)
        critic_loss, distance = torch.stack([torch.stack(pair) for pair in seen]).mean(0).tolist()
        return {"critic_loss": critic_loss, "distance": distance, "generator_loss": loss.item()}

    @torch.no_grad()
    def judge(self) -> Verdict:
        """Errors of phase fractions, S2 and surface of the average, mean over conditions; see `Target.errors`."""
        training, found = self.training, []
        rng = np.random.default_rng([training.seed, NO_STEP])
        for number, target in zip(training.chosen, training.targets, strict=True):
            rows = np.repeat(training.judged.conditions[number : number + 1], JUDGED, 0)
            made = self._asked(upload(rows, self.place.device), rng).windows(self.product)
            labels = decoded(made, len(training.description.phases)).cpu().numpy()
            found.append(target.errors_of_images(labels))
        record = {name: math.fsum(one[name] for one in found) / len(found) for name in found[0]}
        return Verdict(record["score"], record)

    def critic_step(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Change the critic; return its loss and the difference of the mean values."""
        options, about = self.options, self.training.description
        crops, inputs = self.training.examples.crops(options.batch, options.crop, rng)
        labels = upload(np.ascontiguousarray(crops), self.place.device)
        real, condition = encoded(labels, len(about.phases)), self._dropped(inputs, rng)
        asked = self._asked(condition, rng)
        with torch.no_grad(), self._cast():
            made = asked.windows(self.net).float()
        share = upload(rng.random((len(real), 1, 1, 1), np.float32), self.place.device)
        self.critic_adam.zero_grad()
        loss, distance = self.critic_loss(
            real, made, share * real + (1 - share) * made, condition, self._cast()
        )
        loss.backward()
        self.critic_adam.step()
        return loss.detach(), distance

    def generator_step(self, rng: np.random.Generator) -> Tensor:
        """Change the generator; return its loss."""
        rows = self.training.examples.conditions
        inputs = rows[rng.integers(len(rows), size=self.options.batch)]
        asked = self._asked(self._dropped(inputs, rng), rng)
        self.adam.zero_grad()
        loss: Tensor = self.generator_loss(asked, self._cast())
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return loss.detach()

    def _asked(self, condition: Tensor, rng: np.random.Generator) -> Asked:
        """Windows at a random place in a cell, of random noise."""
        spec, count, edge = self.training.description.spec, len(condition), self.options.crop
        first = int(rng.integers(spec.cell))
        low, high = spec.nodes(first, first + edge)
        shape = (count, spec.latent, high - low, high - low)
        latent = upload(rng.standard_normal(shape, np.float32), self.place.device)
        return Asked(latent, condition, first, edge)

    def _dropped(self, inputs: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Conditions, without all those of some windows."""
        gone = rng.random((len(inputs), 1)) < self.options.dropout
        kept = np.where(gone, np.float32(np.nan), inputs)
        return upload(np.ascontiguousarray(kept), self.place.device)

    def _cast(self) -> AbstractContextManager[Any]:
        return self.place.cast("bfloat16" if self.options.mixed_precision else "float32")

    @torch.no_grad()
    def _move_average(self, number: int) -> None:
        keep = min(self.options.average, number / (number + 10))
        for mean, now in zip(self.product.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)


def _adam(net: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=rate, betas=BETAS)
