"""Options of the training of a conditional generator."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.errors import ArgumentError
from tim3d.models.common.conditioned_options import ConditionedOptions


@dataclass(frozen=True, slots=True)
class ConditionalOptions(ConditionedOptions):
    """Options of a training; the defaults suit one CPU thread. See `ConditionedOptions`.

    Crops are the windows that the critic sees; a batch is of as many real as generated ones. Of Adam the
    betas are 0 and 0.9, for both networks. The average is that of the generator.

    Parameters
    ----------
    critic_steps : int
        Steps of the critic before each step of the generator.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    learning_rate: float = 5e-4
    critic_steps: int = 2

    def __post_init__(self) -> None:
        ConditionedOptions.__post_init__(self)
        if self.critic_steps < 1:
            raise ArgumentError(f"critic steps: {self.critic_steps}; it must be 1 or more")
