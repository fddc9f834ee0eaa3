"""Reverse process of a flow from noise to data: its times, and one step of it at every voxel.

A state at time t, from 0 to 1, is x_t = t data + (1 - t) noise. A network estimates the velocity
v(x, t), the mean of data - noise given x_t; x + (1 - t) v is then the mean of the data, and
x - t v that of the noise.

References
----------
Lipman, Chen, Ben-Hamu, Nickel, Le, ICLR 2023, arXiv 2210.02747 (flow matching).
Song, Meng, Ermon, ICLR 2021, arXiv 2010.02502 (fresh noise in a step, eq. 12 and 16).
Karras, Aittala, Aila, Laine, NeurIPS 2022, arXiv 2206.00364 (Heun's method).
Lugmayr et al., CVPR 2022, DOI 10.1109/CVPR52688.2022.01117 (steps that are repeated).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError

Sampler = Literal["euler", "heun", "ancestral"]
Reals: TypeAlias = npt.NDArray[np.float32]
# Passes that can have two streams of noise each, besides the first state.
MOST_PASSES = 2**15 - 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of the network at all voxels, and where it takes the state.

    Parameters
    ----------
    since : float
        Time of the state at which the step begins.
    at : float
        Time at which the velocity is evaluated; another one than `since` in the second half of a
        step of Heun.
    to : float
        Time at the end of the step.
    fresh : float
        Share, in standard deviations, of the noise of the new state that is drawn afresh.
    back : float, optional
        Time to which noise takes the state back after the step (default: none).
    step : int
        Number of the step, from 0; repeated steps count.
    """

    since: float
    at: float
    to: float
    fresh: float = 0.0
    back: float | None = None
    step: int = 0

    @property
    def corrects(self) -> bool:
        """Whether it is the second half of a step of Heun."""
        return self.at > self.since

    @property
    def share(self) -> float:
        """Share of a move of the estimate of the data that the step takes into the state.

        >>> Evaluation(0.5, 0.5, 0.75).share
        0.5
        """
        kept = (1 - self.to) * math.sqrt(1 - self.fresh**2)
        return self.to - kept * self.at / (1 - self.at)

    @property
    def drawn(self) -> tuple[bool, bool]:
        """Whether the step, and the way back, draw noise."""
        return self.fresh > 0 and self.to < 1, self.back is not None


@dataclass(frozen=True, slots=True)
class ReverseProcess:
    """How the noise becomes data.

    Parameters
    ----------
    steps : int
        Equal steps of time from 0 to 1.
    sampler : {"euler", "heun", "ancestral"}
        Euler's method; Heun's, of second order, with two evaluations a step but the last; or a step
        that replaces as much noise as the ancestral sampler of diffusion models.
    harmonise : int
        How often every step is done; between two of them noise takes the state back.

    Raises
    ------
    ArgumentError
        If a number is below 1 or there are too many passes.

    Examples
    --------
    >>> [(one.at, one.to) for one in ReverseProcess(2, "heun").evaluations()]
    [(0.0, 0.5), (0.5, 0.5), (0.5, 1.0)]
    """

    steps: int = 16
    sampler: Sampler = "euler"
    harmonise: int = 1

    def __post_init__(self) -> None:
        if self.sampler not in get_args(Sampler):
            raise ArgumentError(
                f"sampler is {self.sampler!r}; choose of {', '.join(get_args(Sampler))}"
            )
        if min(self.steps, self.harmonise) < 1 or self.passes > MOST_PASSES:
            raise ArgumentError(
                f"{self.steps} steps, each done {self.harmonise} times: give 1 or more of both, and at most "
                f"{MOST_PASSES} passes; for example --steps 16 --harmonise 1"
            )

    @property
    def passes(self) -> int:
        """Evaluations of the network at every voxel."""
        each = 2 * self.steps - 1 if self.sampler == "heun" else self.steps
        return self.harmonise * each

    def evaluations(self) -> list[Evaluation]:
        """All evaluations in their order."""
        found: list[Evaluation] = []
        for number in range(self.steps):
            since, to = number / self.steps, (number + 1) / self.steps
            for repeat in range(self.harmonise):
                back = since if repeat < self.harmonise - 1 else None
                found += self._step(since, to, back, number * self.harmonise + repeat)
        return found

    def _step(self, since: float, to: float, back: float | None, step: int) -> list[Evaluation]:
        if self.sampler == "ancestral":
            return [Evaluation(since, since, to, _ancestral(since, to), back, step)]
        if self.sampler == "euler" or to == 1:
            return [Evaluation(since, since, to, 0.0, back, step)]
        return [
            Evaluation(since, since, to, 0.0, None, step),
            Evaluation(since, to, to, 0.0, back, step),
        ]


def _ancestral(since: float, to: float) -> float:
    """Share of fresh noise for which the reverse step has the variance of the forward process."""
    return math.sqrt(1 - (since * (1 - to) / (to * (1 - since))) ** 2)


def moved(
    one: Evaluation,
    state: Reals,
    velocity: Reals,
    earlier: Reals | None,
    noise: tuple[Reals | None, Reals | None] = (None, None),
) -> Reals:
    """State after an evaluation.

    Parameters
    ----------
    one : Evaluation
        The evaluation.
    state, velocity : array
        State at which the velocity was evaluated, and the velocity.
    earlier : array, optional
        State at the beginning of the step, if `one` corrects.
    noise : pair of arrays, optional
        Normal noise of the step, and of the way back, where they are drawn.

    Returns
    -------
    array
        float32 of the same shape.

    Examples
    --------
    Velocities of one datum, 2, take any state there.

    >>> x = np.float32([-1.0, 3.0])
    >>> moved(Evaluation(0.5, 0.5, 1.0), x, (2 - x) / np.float32(0.5), None).tolist()
    [2.0, 2.0]
    """
    f = np.float32
    if one.corrects:
        assert earlier is not None
        ahead = f(0.5) * (earlier + state) + f(0.5 * (one.to - one.since)) * velocity
    elif one.drawn[0]:
        assert noise[0] is not None
        clean, old = state + f(1 - one.at) * velocity, state - f(one.at) * velocity
        kept = (1 - one.to) * math.sqrt(1 - one.fresh**2)
        ahead = f(one.to) * clean + f(kept) * old + f((1 - one.to) * one.fresh) * noise[0]
    else:
        ahead = state + f(one.to - one.at) * velocity
    if one.back is None:
        return ahead
    assert noise[1] is not None
    faded = one.back / one.to
    added = math.sqrt((1 - one.back) ** 2 - (faded * (1 - one.to)) ** 2)
    return f(faded) * ahead + f(added) * noise[1]
