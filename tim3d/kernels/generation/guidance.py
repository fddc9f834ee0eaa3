"""Guidance of a diffusion: at every step its estimate of the data is moved towards wanted values.

A network at a state x estimates a velocity v, and with it the data, x1 = x + (1 - t) v. Guidance
moves that estimate, never through the network: x1' = x1 + d, so that the velocity becomes
v + d / (1 - t). The move d is the least one after which all descriptors have their wanted values as
far as their gradients tell (a step of Gauss and Newton), cut to a multiple of the length of v.

Descriptors of two phases are functions of the soft share p = 1 / (1 + exp(-2 b x1)) of the second
phase, in `LEVELS` levels of one byte, which the flux solver takes for labels. Conductivities between
those of the phases are interpolated in their logarithm, so that grey voxels do not bridge gaps.

References
----------
He et al., ICLR 2024, arXiv 2311.16424 (guidance on the estimate of the data).
Chung et al., ICLR 2023, arXiv 2209.14687 (guidance through the network, which this is not).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tim3d.kernels.generation.reverse_process import Evaluation

# Levels of soft shares: the flux solver tells 253 labels apart. Codes from HALF on are more than half of the
# second phase.
LEVELS = 252
HALF = LEVELS // 2
# Smallest over largest conductivity of the soft medium, of which only the gradient is used.
SOFT_CONTRAST = 1e-3
# Steepness of soft shares when guidance begins and when it ends, and the time at which it begins. With 10 at the end
# the slope is next to nothing but in voxels that the network has not decided: of a change of the conductivity by 30 %
# that was asked for about half were reached, with 2 nine tenths (benchmarks/RESULTS.md).
FIRST_STEEPNESS, LAST_STEEPNESS = 1.0, 2.0
FIRST_TIME = 0.2
# Steps are not guided in which all descriptors are so near, in natural scatters: half of what is promised.
NEAR = 0.5
# A step takes only a share of a move into the state, (to - t) / (1 - t) without fresh noise. A move is made longer by
# the inverse, so often as this at most.
LONGEST_GAIN = 4.0
# Added to the diagonal of the normal equations, relative to its mean.
RIDGE = 1e-6

Reals = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guide:
    """Targets of the volume of a diffusion, and what they need.

    Parameters
    ----------
    fraction : float, optional
        Wanted share of the first phase.
    conductivity : float, optional
        Wanted effective conductivity, in the unit of `conductivities`.
    conductivities : pair of float, optional
        Conductivities of the phases.
    axis : int
        Axis along which the flux is driven.
    scatter : tuple of (str, float)
        Standard deviations of the descriptors between volumes, where they are given.
    strength : float
        Longest move of the estimate over the length of the velocity.
    """

    fraction: float | None = None
    conductivity: float | None = None
    conductivities: tuple[float, float] | None = None
    axis: int = 0
    scatter: tuple[tuple[str, float], ...] = ()
    strength: float = 1.0

    @property
    def targets(self) -> dict[str, float]:
        """Wanted values by name, always in this order."""
        known = {"phase_fraction": self.fraction, "conductivity": self.conductivity}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def solves(self) -> bool:
        """Whether a step needs the flux."""
        return self.conductivity is not None


def is_guided(one: Evaluation) -> bool:
    """Whether the estimate of an evaluation is moved: not at the beginning, nor in the last step."""
    return one.at >= FIRST_TIME and one.to < 1


def steepness(time: float) -> float:
    """Steepness b of soft shares at a time.

    >>> steepness(0.2), steepness(1.0)
    (1.0, 2.0)
    """
    part = (time - FIRST_TIME) / (1 - FIRST_TIME)
    return FIRST_STEEPNESS + part * (LAST_STEEPNESS - FIRST_STEEPNESS)


def gain(one: Evaluation) -> float:
    """How much longer than the least one a move is, as a step takes only a share of it into the state.

    >>> gain(Evaluation(0.25, 0.25, 0.3125)), gain(Evaluation(0.875, 0.875, 0.9375))
    (4.0, 2.0)
    """
    return min(1 / one.share, LONGEST_GAIN)


def soft_codes(estimate: Reals, steep: float) -> Codes:
    """Codes of the soft shares of the second phase; a label is 1 from `HALF` on.

    >>> soft_codes(np.float32([-9, -0.01, 0, 9]), 2.0).tolist()
    [0, 123, 126, 251]
    """
    share = 1 / (1 + np.exp(-2 * steep * np.asarray(estimate, np.float64)))
    return np.floor((LEVELS - 1) * share + 0.5).astype(np.uint8)


def shares() -> Table:
    """Soft share of the second phase of each code."""
    return np.arange(LEVELS) / (LEVELS - 1)


def slopes(steep: float) -> Table:
    """Derivative of the soft share by the estimate, of each code."""
    share = shares()
    return np.asarray(2 * steep * share * (1 - share))


def soft_conductivities(first: float, second: float) -> Table:
    """Conductivity of each code, the logarithm of which is linear in the soft share.

    A phase that conducts less than `SOFT_CONTRAST` times the other is taken to conduct so much.

    >>> soft_conductivities(0, 1)[[0, -1]].round(9).tolist()
    [0.001, 1.0]
    """
    low = SOFT_CONTRAST * max(first, second)
    one, other = math.log(max(first, low)), math.log(max(second, low))
    return np.exp(one + shares() * (other - one))


def log_factors(first: float, second: float) -> Table:
    """Derivative of the conductivity of each code by its soft share."""
    found = soft_conductivities(first, second)
    return np.asarray(found * math.log(found[-1] / found[0]))


@dataclass(frozen=True, slots=True)
class Products:
    """Sums over all voxels of the products of the gradients of the descriptors.

    A descriptor changes with the estimate of a voxel by slope x factor / voxels: the factor is -1
    for the fraction of the first phase, and for the conductivity the derivative of that of the
    code times the squared local fall of the potential.

    Parameters
    ----------
    plain, mixed, heated : float
        Sums of slope² times the factor of the conductivity to the power of 0, 1 and 2.
    """

    plain: float
    mixed: float = 0.0
    heated: float = 0.0
    usual: float = 0.0

    def of(self, names: Sequence[str]) -> Table:
        """Matrix of the products of the gradients of these descriptors, times voxels²."""
        table = {
            ("phase_fraction", "phase_fraction"): self.plain,
            ("phase_fraction", "conductivity"): -self.mixed,
            ("conductivity", "phase_fraction"): -self.mixed,
            ("conductivity", "conductivity"): self.heated,
        }
        return np.array([[table[one, other] for other in names] for one in names])


def products_of(counts: npt.NDArray[np.int64], steep: float) -> Products:
    """Products of gradients without a conductivity, from the voxels of each code."""
    return Products(math.fsum(counts * slopes(steep) ** 2))


def usual_factor(codes: Codes, heat: Reals, factors: Table, steep: float) -> float:
    """Mean size of the factor of the conductivity, weighted with the slopes; planes are added in their order."""
    weights = (slopes(steep)[plane] for plane in codes)
    found = [
        (float((s * np.abs(factors[plane] * fall)).sum()), float(s.sum()))
        for s, plane, fall in zip(weights, codes, heat, strict=True)
    ]
    above, below = (math.fsum(part) for part in zip(*found, strict=True))
    return above / below if below > 0 else 0.0


def yielding(factor: Table, usual: float) -> Table:
    """How easily voxels are moved: less where the conductivity depends on them more than usual.

    Where the flux is narrow the gradient is many times its mean. The least move would be there
    alone, and more than what voxels can give, as they cannot become more than one of the phases.

    >>> yielding(np.array([0.0, 3.0, -9.0]), 3.0).tolist()
    [1.0, 0.5, 0.25]
    """
    return np.asarray(1 / (1 + np.abs(factor) / usual)) if usual > 0 else np.ones_like(factor)


def products_with_heat(
    codes: Codes, heat: Reals, factors: Table, steep: float, usual: float
) -> Products:
    """Products of gradients with the derivative of the conductivity by that of each voxel.

    Planes are added in their order.
    """
    found = []
    for plane, fall in zip(codes, heat, strict=True):
        factor = factors[plane] * fall
        each = slopes(steep)[plane] ** 2 * yielding(factor, usual)
        found.append(tuple(float((each * factor**power).sum()) for power in range(3)))
    plain, mixed, heated = (math.fsum(part) for part in zip(*found, strict=True))
    return Products(plain, mixed, heated, usual)


@dataclass(frozen=True, slots=True)
class Move:
    """Move of the estimate: slope x (plain + heated x factor) x `yielding` in every voxel.

    Parameters
    ----------
    plain, heated : float
        Weights of the gradients of the fraction and of the conductivity.
    usual : float
        See `usual_factor`.
    cut : float
        What is left of the whole move after it was cut to its longest length, up to 1.
    """

    plain: float
    heated: float = 0.0
    usual: float = 0.0
    cut: float = 1.0


def least_move(
    missed: dict[str, float],
    scatter: dict[str, float],
    found: Products,
    voxels: int,
    longest: float,
) -> Move:
    """Least move that brings all descriptors to their wanted values as far as their gradients tell.

    Parameters
    ----------
    missed : mapping of str to float
        Each descriptor less its wanted value.
    scatter : mapping of str to float
        Natural scatters, by which they are compared.
    found : Products
        Products of the gradients.
    voxels : int
        Voxels of the volume.
    longest : float
        Largest length of the move, the root of the sum of its squares over how easily voxels yield.

    Examples
    --------
    Four voxels of slope 1/2 are moved by -0.4 to have 0.2 less of the second phase:

    >>> move = least_move({"phase_fraction": -0.2}, {"phase_fraction": 0.01}, Products(4 * 0.25), 4, 9)
    >>> round(0.5 * move.plain, 5)
    -0.4
    """
    names = list(missed)
    scale = np.array([scatter[name] for name in names])
    normal = found.of(names) / np.outer(scale, scale) / voxels**2
    if not normal.trace() > 0:
        return Move(0.0)
    normal += RIDGE * normal.trace() / len(names) * np.eye(len(names))
    wanted = np.array([missed[name] for name in names]) / scale
    solved = np.linalg.solve(normal, wanted)
    length = math.sqrt(max(0.0, float(solved @ normal @ solved)))
    cut = min(1.0, longest / length) if length > 0 else 1.0
    weights = dict(zip(names, -cut * solved / scale / voxels, strict=True))
    return Move(
        float(-weights.get("phase_fraction", 0.0)) + 0.0,
        float(weights.get("conductivity", 0.0)) + 0.0,
        found.usual,
        cut,
    )


def moved_estimate(
    codes: Codes, heat: Reals | None, factors: Table | None, move: Move, steep: float
) -> Reals:
    """Move of the estimate in every voxel.

    Parameters
    ----------
    codes : array of uint8
        Codes of the soft shares.
    heat : array, optional
        Derivative of the conductivity by that of each voxel, times the number of voxels.
    factors : (LEVELS,), optional
        See `log_factors`.
    move : Move
        Weights of the gradients.
    steep : float
        Steepness of the soft shares.
    """
    weight = np.full(codes.shape, move.plain)
    if heat is not None and factors is not None:
        factor = factors[codes] * heat
        weight = (weight + move.heated * factor) * yielding(factor, move.usual)
    return np.asarray(slopes(steep)[codes] * weight, np.float32)
