"""Adversarial training of a generator by its slices: losses and reproducible steps.

A critic assigns low values to slices of generated volumes and high values to crops of the
micrograph; the mean difference approximates the Wasserstein distance as long as the gradient of the
critic has length 1, which a penalty enforces (WGAN-GP). The generator learns to make volumes all
slices of which get high values. The random numbers of a step depend on the seed and its number.

References
----------
Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299 (SliceGAN). DOI 10.1038/s42256-021-00322-1
Gulrajani et al., NeurIPS 2017 (gradient penalty). DOI 10.48550/arXiv.1704.00028
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.architecture import CROP_NODES, Architecture
from tim3d.models.common.distributed import Place
from tim3d.models.common.transfer import upload
from tim3d.models.generation.slice_sampler import Views, every_slice, noise, random_slices
from tim3d.models.generation.slicegan import Critic, Generator

AXES = 3
# Slope of a critic's activation below zero; with 0 as in the paper it stops learning sooner.
SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class AdversarialOptions:
    """Options of a training; the defaults suit one CPU thread and the preset "demo".

    Parameters
    ----------
    batch : int
        Volumes in a step, on each process.
    slices : int
        Random slices of them along each axis, and as many crops, in the input of a critic.
    critic_steps : int
        Steps of the critics before each step of the generator.
    penalties : int
        Random pairs of a slice and a crop for the gradient penalty, divided among the critics.
    penalty_weight : float
        Lambda of the penalty.
    learning_rate : float
        Learning rate of Adam with betas (0, 0.9).
    average : float
        Decay per step of the exponential moving average of the generator weights, less in the first
        steps.
    seed : int
        Seed of the first weights and of all random numbers.
    mixed_precision : bool
        Whether to compute in bfloat16 on CUDA.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    batch: int = 4
    slices: int = 16
    critic_steps: int = 4
    penalties: int = 16
    penalty_weight: float = 10.0
    learning_rate: float = 4e-4
    average: float = 0.99
    seed: int = 0
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "slices", "critic_steps", "penalties"):
            if getattr(self, name) < 1:
                words = name.replace("_", " ")
                raise ArgumentError(f"{words}: {getattr(self, name)}; it must be 1 or more")
        if (
            not 0 < self.learning_rate < math.inf
            or not 0 <= self.penalty_weight < math.inf
            or not 0 <= self.average < 1
            or self.seed < 0
        ):
            raise ArgumentError(
                f"learning rate {self.learning_rate} must be above 0, penalty weight {self.penalty_weight} and seed "
                f"{self.seed} not below 0, average {self.average} from 0 to below 1, and all finite"
            )


class CriticLoss(nn.Module):
    """Loss of the critics (one for each view): generated minus real values, and gradient penalty.

    The whole loss is the forward pass of one module, so that several processes can share it.
    """

    def __init__(self, critics: Iterable[Critic], weight: float) -> None:
        super().__init__()
        self.critics = nn.ModuleList(critics)
        self.weight = weight

    def forward(
        self, made: Sequence[Tensor], real: Sequence[Tensor], between: Sequence[Tensor], cast: Any
    ) -> tuple[Tensor, Tensor]:
        """Loss and estimated Wasserstein distance, each summed over the critics.

        Parameters
        ----------
        made, real, between : list of tensor (count, channels, rows, columns)
            For each critic: slices, crops, and random points between pairs of them.
        cast : context manager
            Precision of all but the penalty.
        """
        losses, distances = [], []
        for critic, fakes, reals, mixed in zip(self.critics, made, real, between, strict=True):
            with cast:
                # One pass over both; without normalisation no slice affects another.
                values = critic(torch.cat([fakes, reals]))
            low, high = values[: len(fakes)].float().mean(), values[len(fakes) :].float().mean()
            losses.append(low - high + self.weight * gradient_penalty(critic, mixed))
            distances.append((high - low).detach())
        return torch.stack(losses).sum(), torch.stack(distances).sum()


def gradient_penalty(critic: Callable[[Tensor], Tensor], slices: Tensor) -> Tensor:
    """Mean over slices of (length of the gradient - 1)^2.

    The gradient is the derivative of the value of a slice with respect to its pixels.

    >>> one = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> _ = nn.init.constant_(one[1].weight, 1.5)
    >>> gradient_penalty(one, torch.zeros(2, 1, 2, 2)).item()
    4.0
    """
    slices = slices.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(slices).sum(), slices, create_graph=True)
    length: Tensor = gradient.flatten(1).norm(dim=1)
    return ((length - 1) ** 2).mean()


class GeneratorLoss(nn.Module):
    """Loss of the generator: minus the mean values of all slices; critics get no gradient."""

    def __init__(self, generator: Generator, critics: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generator = generator
        self._judges = tuple(critics)  # a tuple keeps them out of this module

    def forward(self, latent: Tensor, cast: Any) -> Tensor:
        """Minus the mean value of the slices, summed over the critics."""
        with cast:
            volumes = self.generator.probabilities(self.generator(latent))
            return torch.stack([
                -_frozen(critic, slices).float().mean()
                for critic, slices in zip(self._judges, by_critic(volumes, len(self._judges)), strict=True)
            ]).sum()  # fmt: skip


def by_critic(volumes: Tensor, critics: int) -> list[Tensor]:
    """Slices for each critic: a single critic gets all directions, each of three gets its own."""
    stacks = [every_slice(volumes, axis) for axis in range(AXES)]
    return [torch.cat(stacks)] if critics == 1 else stacks


def _frozen(critic: nn.Module, slices: Tensor) -> Tensor:
    values: Tensor = functional_call(
        critic, {name: p.detach() for name, p in critic.named_parameters()}, (slices,)
    )
    return values


class Adversaries:
    """Generator, its average, critics and both optimisers, and their training step.

    Parameters
    ----------
    architecture : Architecture
        Architecture of the generator and of the critics.
    views : Views
        Images to learn from.
    options : AdversarialOptions
        Options of the training.
    place : Place
        Device and processes. Each of several processes draws its own samples, and all take the mean
        of their steps.
    """

    def __init__(
        self,
        architecture: Architecture,
        views: Views,
        options: AdversarialOptions,
        place: Place,
    ) -> None:
        self.architecture, self.views, self.options, self.place = (
            architecture,
            views,
            options,
            place,
        )
        self.device = place.device
        self.generator = Generator(architecture).to(self.device)
        critics = [
            Critic(architecture.outputs, architecture.critic, SLOPE).to(self.device)
            for _ in views.images
        ]
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.critics = nn.ModuleList(critics)
        self.critic_loss: nn.Module = place.shared(CriticLoss(critics, options.penalty_weight))
        self.generator_loss: nn.Module = place.shared(GeneratorLoss(self.generator, critics))
        self.generator_optimiser = _adam(self.generator, options)
        self.critic_optimiser = _adam(self.critics, options)

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """Make a step of the generator after steps of the critics, with random numbers from `rng`.

        Returns
        -------
        dict
            `critic_loss`, `distance` (Wasserstein, mean over the critics' steps) and
            `generator_loss`.
        """
        seen = [self._critic_step(rng) for _ in range(self.options.critic_steps)]
        loss = self._generator_step(rng)
        self._move_average(number)
        critic_loss, distance = torch.stack([torch.stack(pair) for pair in seen]).mean(0).tolist()
        return {"critic_loss": critic_loss, "distance": distance, "generator_loss": loss.item()}

    def _critic_step(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), self._cast():
            latent = self._noise(rng)
            volumes = self.generator.probabilities(self.generator(latent)).float()
        made = self._some_slices(volumes, rng)
        real = [
            self.views.crops(view, self.architecture.crop, len(fakes), rng).to(self.device)
            for view, fakes in enumerate(made)
        ]
        share = max(1, self.options.penalties // len(made))
        between = [
            _between(fakes, reals, share, rng) for fakes, reals in zip(made, real, strict=True)
        ]
        self.critic_optimiser.zero_grad()
        loss, distance = self.critic_loss(made, real, between, self._cast())
        loss.backward()
        self.critic_optimiser.step()
        return loss.detach(), distance

    def _some_slices(self, volumes: Tensor, rng: np.random.Generator) -> list[Tensor]:
        count = min(self.options.slices, volumes.shape[0] * volumes.shape[2])
        stacks = [random_slices(volumes, axis, count, rng) for axis in range(AXES)]
        return [torch.cat(stacks)] if self.views.isotropic else stacks

    def _generator_step(self, rng: np.random.Generator) -> Tensor:
        self.generator_optimiser.zero_grad()
        loss: Tensor = self.generator_loss(self._noise(rng), self._cast())
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimiser.step()
        return loss.detach()

    def _noise(self, rng: np.random.Generator) -> Tensor:
        nodes = (CROP_NODES, CROP_NODES, CROP_NODES)
        return noise(self.architecture, self.options.batch, nodes, rng).to(self.device)

    def _cast(self) -> AbstractContextManager[Any]:
        return self.place.cast("bfloat16" if self.options.mixed_precision else "float32")

    @torch.no_grad()
    def _move_average(self, number: int) -> None:
        keep = min(self.options.average, number / (number + 10))
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)


def _between(made: Tensor, real: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Random points on the lines between random pairs of images, each used at most once."""
    count = min(count, len(made))
    a, b = (upload(rng.permutation(len(made))[:count], made.device) for _ in range(2))
    share = upload(rng.random((count, 1, 1, 1), np.float32), made.device)
    return share * real[a] + (1 - share) * made[b]


def _adam(net: nn.Module, options: AdversarialOptions) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=options.learning_rate, betas=(0.0, 0.9))
