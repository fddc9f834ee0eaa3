"""Bounds of an effective conductivity, and its extrapolation from two resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

# In k = k_h + (k_h - k_2h) / (2**p - 1), the order p lies between these for voxels cut from a
# smooth geometry.
LOWEST_ORDER, HIGHEST_ORDER = 0.8, 1.3


def wiener(fractions: Sequence[float], conductivities: Sequence[float]) -> tuple[float, float]:
    """Wiener bounds, for any geometry: harmonic mean (series) and arithmetic mean (parallel).

    Wiener, Abh. Math.-Phys. Kl. Koenigl. Saechs. Ges. Wiss. 32 (1912) 509.

    Parameters
    ----------
    fractions, conductivities : sequences of float
        Volume fraction and conductivity of each phase.

    Examples
    --------
    >>> wiener([0.5, 0.5], [1, 3])
    (1.5, 2.0)
    """
    return _shifted_mean(fractions, conductivities, 0.0), _arithmetic(fractions, conductivities)


def hashin_shtrikman(
    fractions: Sequence[float], conductivities: Sequence[float]
) -> tuple[float, float]:
    """Hashin-Shtrikman bounds, for any isotropic geometry of any number of phases in 3-D.

    ``1 / sum(f / (k + 2 k0)) - 2 k0`` with k0 the smallest and the largest conductivity among the
    phases that are present. Hashin and Shtrikman, J. Appl. Phys. 33 (1962) 3125,
    doi:10.1063/1.1728579.

    Parameters
    ----------
    fractions, conductivities : sequences of float
        Volume fraction and conductivity of each phase.

    Examples
    --------
    >>> hashin_shtrikman([0.6, 0.4], [0, 1])[1]                 # 2 f / (3 - f)
    0.307...
    """
    present = [k for f, k in zip(fractions, conductivities, strict=True) if f > 0]
    low, high = (
        _shifted_mean(fractions, conductivities, 2 * k0) - 2 * k0
        for k0 in (min(present), max(present))
    )
    return low, high


def _arithmetic(fractions: Sequence[float], conductivities: Sequence[float]) -> float:
    return float(sum(f * k for f, k in zip(fractions, conductivities, strict=True)))


def _shifted_mean(
    fractions: Sequence[float], conductivities: Sequence[float], shift: float
) -> float:
    """Harmonic mean of k + shift; 0 if a phase that is present has 0."""
    pairs = [(f, k + shift) for f, k in zip(fractions, conductivities, strict=True) if f > 0]
    return 0.0 if any(k == 0 for _, k in pairs) else 1 / sum(f / k for f, k in pairs)


def richardson(
    fine: float, coarse: float, orders: tuple[float, float] = (LOWEST_ORDER, HIGHEST_ORDER)
) -> tuple[float, float]:
    """Extrapolate to vanishing voxel size from two resolutions, voxels h and 2 h.

    Parameters
    ----------
    fine, coarse : float
        Values at the voxel sizes h and 2 h.
    orders : two floats
        Range in which the order of convergence was found to lie.

    Returns
    -------
    value : float
        ``2 fine - coarse``: the discretisation error is of first order in the voxel size.
    uncertainty : float
        The larger distance to the values that these orders give. Both are nan without a value.

    Examples
    --------
    >>> value, uncertainty = richardson(2.584, 2.832)
    >>> round(value, 3), round(uncertainty, 3)
    (2.336, 0.087)
    """
    if not (math.isfinite(fine) and math.isfinite(coarse)):
        return math.nan, math.nan
    step = fine - coarse
    other = [abs(1 / (2**order - 1) - 1) for order in orders]
    return fine + step, abs(step) * max(other)
