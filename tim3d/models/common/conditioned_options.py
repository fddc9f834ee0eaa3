"""Options that trainings of networks under conditions share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tim3d.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ConditionedOptions:
    """Options of a training on crops of images with conditions.

    Parameters
    ----------
    crop : int
        Edge of a crop in pixels or voxels.
    batch : int
        Crops of a step, on each process.
    learning_rate : float
        Learning rate.
    average : float
        Decay per step of the exponential moving average of the weights, less in the first steps.
    dropout : float
        Share of the crops that are learnt without their conditions.
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
    learning_rate: float = 1e-3
    average: float = 0.995
    dropout: float = 0.1
    seed: int = 0
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        if min(self.crop, self.batch) < 1 or self.seed < 0:
            raise ArgumentError(
                f"crop is {self.crop}, batch {self.batch} and seed {self.seed}; crop and batch must be 1 or more, and "
                "the seed not below 0"
            )
        if (
            not 0 < self.learning_rate < math.inf
            or not 0 <= self.average < 1
            or not 0 <= self.dropout < 1
        ):
            raise ArgumentError(
                f"learning rate {self.learning_rate:g} must be above 0, average {self.average:g} and dropout "
                f"{self.dropout:g} from 0 to below 1"
            )
