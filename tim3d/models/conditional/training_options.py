"""Options of the training of a conditional generator."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ConditionalOptions:
    """Options of a training; the defaults suit one CPU thread.

    Parameters
    ----------
    crop : int
        Edge in pixels of the windows that a critic sees.
    batch : int
        Real and generated windows of a step, as many of each, on each process.
    critic_steps : int
        Steps of the critic before each step of the generator.
    learning_rate : float
        Learning rate of Adam, with betas 0 and 0.9, of both networks.
    average : float
        Decay per step of the exponential moving average of the generator, less in the first steps.
    dropout : float
        Share of the windows that are learnt without their conditions.
    seed : int
        Seed of the first weights and of all random numbers.
    mixed_precision : bool
        Whether to compute in bfloat16 on CUDA.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    crop: int = 64
    batch: int = 16
    critic_steps: int = 2
    learning_rate: float = 5e-4
    average: float = 0.995
    dropout: float = 0.1
    seed: int = 0
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        if min(self.crop, self.batch, self.critic_steps) < 1 or self.seed < 0:
            raise ArgumentError(
                f"crop is {self.crop}, batch {self.batch}, critic_steps {self.critic_steps} and seed {self.seed}; "
                "crop, batch and critic_steps must be 1 or more, and the seed not below 0"
            )
        if (
            not 0 < self.learning_rate < float("inf")
            or not 0 <= self.average < 1
            or not 0 <= self.dropout < 1
        ):
            raise ArgumentError(
                f"learning_rate {self.learning_rate:g} must be above 0, average {self.average:g} and dropout "
                f"{self.dropout:g} from 0 to below 1"
            )
