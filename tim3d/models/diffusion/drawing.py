"""Settings of images that are drawn from a local network, and the domain that they are cut out of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.coarse_field import CoarseField
from tim3d.models.diffusion.network_file import LocalNetworkDescription
from tim3d.models.diffusion.network_spec import LocalNetworkSpec


@dataclass(frozen=True, slots=True)
class Drawing:
    """How noise becomes an image.

    Parameters
    ----------
    steps : int
        Steps from noise to data.
    heun : bool
        Heun's method, of second order, with two evaluations in each step but the last, instead of
        Euler's, which for the objective ddpm is DDIM.
    guidance : float
        Weight of the conditions: 1 as they were learnt, 0 without them, above 1 exaggerated.
    seed : int
        Seed of the noise.
    coarse : float
        Factor of the standard deviation of the local fraction, of a network that is given it: 1 as it
        was measured, 0 the same fraction everywhere.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    steps: int = 16
    heun: bool = False
    guidance: float = 1.0
    seed: int = 0
    coarse: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.guidance < math.inf or not 0 <= self.seed < 2**64:
            raise ArgumentError(
                f"steps is {self.steps}, guidance {self.guidance:g} and seed {self.seed}; steps must be 1 or more, "
                "guidance a number from 0 on, and the seed from 0 to 2^64 - 1"
            )
        if not 0 <= self.coarse < math.inf:
            raise ArgumentError(f"--coarse {self.coarse:g}: give a number from 0 on")


def domain_edge(spec: LocalNetworkSpec, edge: int) -> int:
    """Edge of the periodic domain for an edge of an image: whole cells, and the reach beside it.

    >>> domain_edge(LocalNetworkSpec(2, 1, (32, 48)), 126)
    160
    """
    return -(-edge // spec.multiple) * spec.multiple + spec.halo


def coarse_field(about: LocalNetworkDescription, drawing: Drawing) -> CoarseField | None:
    """Local fraction that a network is given in a drawing; None of a network without it."""
    if about.coarse is None:
        return None
    return CoarseField(about.coarse, about.spacing_nm, drawing.seed, amount=drawing.coarse)


def drawing_bytes(spec: LocalNetworkSpec, shape: tuple[int, ...]) -> int:
    """Peak bytes while an image of a shape is drawn: an evaluation of its domain with a halo."""
    return spec.forward_bytes(tuple(domain_edge(spec, n) + 2 * spec.halo for n in shape))
