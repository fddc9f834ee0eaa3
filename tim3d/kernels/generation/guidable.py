"""Generators of many states that can be guided: each state is the one before, moved by a velocity."""

from __future__ import annotations

from abc import abstractmethod

from tim3d.grid import Box
from tim3d.kernels.generation.guidance import Guide
from tim3d.kernels.generation.iterated import Iterated, State
from tim3d.kernels.generation.reverse_process import ReverseProcess


class Guidable(Iterated):
    """Generator of two phases in one channel, whose passes are evaluations of a velocity.

    Attributes
    ----------
    process : ReverseProcess
        Steps from noise to data.
    guide : Guide, optional
        What the volume is guided to (default: nothing).
    """

    __slots__ = ()
    process: ReverseProcess
    guide: Guide | None = None

    @abstractmethod
    def velocity(self, number: int, tile: Box, before: State) -> State:
        """Velocity of a tile in pass `number`, from the state before with its reach around it."""

    @abstractmethod
    def noise(self, number: int, tile: Box) -> tuple[State | None, State | None]:
        """Normal noise of a tile that pass `number` draws, and of its way back; None where it draws none."""

    @abstractmethod
    def unguided(self) -> Guidable:
        """Return the same generator without a guide."""
