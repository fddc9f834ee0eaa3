"""Objectives of a training for diffusion, and the velocity that follows from an estimate.

A state between noise (time 0) and data (time 1) is x = t data + (1 - t) noise. All sampling uses the
velocity data - noise, whatever a network estimates: with it Euler's method on the states x is
rectified flow, or DDIM.

References
----------
Lipman et al., ICLR 2023 (flow matching). DOI 10.48550/arXiv.2210.02747
Ho et al., NeurIPS 2020 (DDPM: 1000 steps, linear beta). DOI 10.48550/arXiv.2006.11239
Song et al., ICLR 2021 (DDIM). DOI 10.48550/arXiv.2010.02502
Ho and Salimans, 2022 (guidance without a classifier). DOI 10.48550/arXiv.2207.12598
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tim3d.models.diffusion.local_network import LocalNetwork

# Steps and variances of the noise added in a step, as in the DDPM of Ho et al.
STEPS, LOWEST, HIGHEST = 1000, 1e-4, 0.02
Estimate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Question:
    """Input and target of a network in training; the time is its own, from 0 to 1."""

    state: Tensor
    time: Tensor
    target: Tensor


class Path(Protocol):
    """States between noise and data as a network is given them."""

    def times(self, shares: Tensor) -> Tensor:
        """Times (n,) of the network at which these shares, 0 to 1, of a training are done."""

    def question(self, data: Tensor, noise: Tensor, time: Tensor) -> Question:
        """State of each sample at its time, and what the network is to estimate."""

    def velocity(self, estimate: Estimate, state: Tensor, time: float) -> Tensor:
        """Velocity data - noise at a state x = t data + (1 - t) noise."""

    def schedule(self, steps: int) -> list[float]:
        """Times t from 0 to 1 between which a number of steps is made."""


class Flow:
    """Flow matching: the network estimates the velocity; its time is t."""

    def times(self, shares: Tensor) -> Tensor:
        """All times from 0 to 1 alike: generation begins at 0 and needs the last ones for interfaces."""
        return shares

    def question(self, data: Tensor, noise: Tensor, time: Tensor) -> Question:
        """State t data + (1 - t) noise; the target is data - noise."""
        t = _each(time, data)
        return Question(t * data + (1 - t) * noise, time, data - noise)

    def velocity(self, estimate: Estimate, state: Tensor, time: float) -> Tensor:
        """The estimate itself."""
        return estimate(state, _all(state, time))

    def schedule(self, steps: int) -> list[float]:
        """Equal steps."""
        return [number / steps for number in range(steps + 1)]


class Denoising:
    """DDPM: the network estimates the noise in sqrt(a) data + sqrt(1 - a) noise; its time is n / 1000.

    The share of the data a_n is the product of 1 - beta over n steps. The state is the same as
    x = t data + (1 - t) noise, divided by sqrt(t² + (1 - t)²), for t / (1 - t) = sqrt(a / (1 - a)).
    """

    def times(self, shares: Tensor) -> Tensor:
        """Steps 1 to 1000 over 1000, all alike."""
        return ((shares * STEPS).floor().clamp(0, STEPS - 1) + 1) / STEPS

    def question(self, data: Tensor, noise: Tensor, time: Tensor) -> Question:
        """The target is the noise."""
        step = (time * STEPS).round().long()
        share = torch.from_numpy(SHARES).to(data)[step.to(data.device)]
        kept, added = _each(share.sqrt(), data), _each((1 - share).sqrt(), data)
        return Question(kept * data + added * noise, time, noise)

    def velocity(self, estimate: Estimate, state: Tensor, time: float) -> Tensor:
        """(x - noise) / t, where t is at least that of step 1000, 0.0063."""
        t, step = position(time)
        noise = estimate(state / math.hypot(t, 1 - t), _all(state, step / STEPS))
        return (state - noise) / t

    def schedule(self, steps: int) -> list[float]:
        """Equal steps of the 1000: near the noise, where the data follow from small differences, t is finer."""
        inner = np.interp(STEPS * (1 - np.arange(1, steps) / steps), np.arange(STEPS + 1), PLACES)
        return [0.0, *inner.tolist(), 1.0]


def shares() -> npt.NDArray[np.float64]:
    """Share of the data a_n in the variance after 0, 1, ..., 1000 steps.

    >>> [float(a) for a in shares()[[0, 1, 1000]].round(6)]
    [1.0, 0.9999, 4e-05]
    """
    return np.cumprod(np.concatenate([[1.0], 1 - np.linspace(LOWEST, HIGHEST, STEPS)]))


SHARES = shares()
# Time t of x = t data + (1 - t) noise at each step.
PLACES = np.sqrt(SHARES) / (np.sqrt(SHARES) + np.sqrt(1 - SHARES))


def position(time: float) -> tuple[float, float]:
    """Time and, interpolated, step of DDPM from 1 to 1000 at a time, which both ends limit.

    >>> [round(float(v), 4) for v in position(0.0)], round(position(0.5)[1], 1)
    ([0.0063, 1000.0], 259.1)
    """
    step = float(np.interp(-time, -PLACES[1:], np.arange(1, STEPS + 1)))
    return min(max(time, float(PLACES[-1])), float(PLACES[1])), step


PATHS: dict[str, Path] = {"flow": Flow(), "ddpm": Denoising()}


def velocity(
    net: LocalNetwork,
    state: Tensor,
    time: float,
    condition: Tensor | None = None,
    *,
    without: Tensor | None = None,
    guidance: float = 1.0,
    coarse: Tensor | None = None,
) -> Tensor:
    """Velocity data - noise of states x = t data + (1 - t) noise, whatever the network estimates.

    Parameters
    ----------
    net : LocalNetwork
        The network.
    state : (n, channels, *spatial)
        States, all at the same time.
    time : float
        t, from 0 (noise) to 1 (data).
    condition, without : (n, conditions), optional
        Conditions, and those that guidance leads away from (default: none is given).
    guidance : float
        Weight w: the velocity is v(without) + w (v(condition) - v(without)). 1 evaluates the
        network once.
    coarse : (n, 1, *spatial), optional
        Local fraction that a network was trained with.
    """
    path = PATHS[net.spec.objective]

    def of(given: Tensor | None) -> Tensor:
        beside = () if coarse is None else (coarse,)
        return path.velocity(lambda x, t: net(x, t, given, *beside), state, time)

    if guidance == 1:
        return of(condition)
    away = of(without)
    return away + guidance * (of(condition) - away)


def _each(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).reshape(-1, *(1,) * (like.ndim - 1))


def _all(state: Tensor, time: float) -> Tensor:
    return state.new_full((len(state),), time)
