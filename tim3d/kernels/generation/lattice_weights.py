"""Gaussian weights of the nodes of a lattice at places along each axis, and sums by them in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[np.int64]
Three: TypeAlias = "tuple[Weights, Weights, Weights]"

# Reach of a Gaussian in standard deviations; there it has 3e-4 of its height.
REACH = 4.0


@dataclass(frozen=True, slots=True)
class Weights:
    """Nodes that each place along an axis is a sum of, and their weights; both (places, nodes)."""

    nodes: Numbers
    weights: Floats

    @property
    def span(self) -> tuple[int, int]:
        """First node, and the one after the last."""
        return int(self.nodes.min()), int(self.nodes.max()) + 1


def gaussian_weights(places: Floats, deviation: float, step: float, origin: float = 0.0) -> Weights:
    """Weights exp(-d² / 2 s²) of the nodes at origin + n step, for distances d up to 4 s.

    Each place has the same number of nodes, and weights that depend on the place alone.

    Parameters
    ----------
    places : (n,)
        Places along the axis.
    deviation, step, origin : float
        Standard deviation s, distance of nodes, and place of node 0.

    Examples
    --------
    >>> found = gaussian_weights(np.array([0.0, 2.5]), deviation=1.0, step=1.0)
    >>> found.nodes[1].tolist(), found.weights[0].round(3).tolist()[3:6]
    ([-2, -1, 0, 1, 2, 3, 4, 5, 6], [0.607, 1.0, 0.607])
    """
    side = math.ceil(REACH * deviation / step)
    middle = np.rint((places - origin) / step).astype(np.int64)
    nodes = middle[:, None] + np.arange(-side, side + 1)
    distance = (places[:, None] - (origin + nodes * step)) / deviation
    return Weights(nodes, np.exp(-(distance**2) / 2))


def sums(values: Floats, low: tuple[int, int, int], along: Three) -> Iterator[Floats]:
    """Weighted sums of nodes at all places, plane by plane (y, x).

    Products are added in the order of the nodes, so that a place has the same bits among any others.

    Parameters
    ----------
    values : (z, y, x)
        Values of the nodes.
    low : (z, y, x)
        Number of the first node along each axis.
    along : three Weights
        Weights along z, y and x.
    """
    z, y, x = along
    for plane in _along(values, z, low[0], 0):
        yield _along(_along(plane, y, low[1], 0), x, low[2], 1)


def _along(values: Floats, one: Weights, low: int, axis: int) -> Floats:
    total = np.zeros(1)
    for number in range(one.nodes.shape[1]):
        weights = one.weights[:, number].reshape(-1, *(1,) * (values.ndim - 1 - axis))
        total = total + np.take(values, one.nodes[:, number] - low, axis) * weights
    return total
