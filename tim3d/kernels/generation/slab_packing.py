"""Spheres packed between two walls: periodic along y and x, and never in a wall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ConvergenceError
from tim3d.grid import Box
from tim3d.kernels.generation import point_process
from tim3d.kernels.generation.particles import Grains
from tim3d.kernels.generation.philox import Noise

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """The space between two walls.

    Parameters
    ----------
    edges : (3,) float64
        Distance of the mean walls along z, and period along y and x.
    low, high : float64 arrays
        Heights of the lower wall above its mean plane, and of the upper one below its mean plane,
        on a lattice over the period; of shape (1, 1) if they are flat.
    """

    edges: Floats
    low: Floats
    high: Floats

    def scaled(self, stretch: Floats) -> Gap:
        """The gap in coordinates in which stretched spheres are spheres."""
        return Gap(self.edges / stretch, self.low / stretch[0], self.high / stretch[0])


def packed_slab(grains: Grains, count: int, seed: int, gap: Gap) -> Floats:
    """Particles between walls, one row each: centre (3), axis (3), diameter, in nm.

    Overlapping ones are pushed apart and out of the walls by turns, until none overlaps. z is
    counted from the mean plane of the lower wall.

    Parameters
    ----------
    grains : Grains
        The particles: spheres, or spheroids along one axis.
    count : int
        Their number.
    seed : int
        Seed of the initial positions.
    gap : Gap
        The walls.

    Raises
    ------
    ConvergenceError
        If particles still overlap after the last pass.
    """
    words = Noise(seed, point_process.START).words(Box.whole((1, 1, count)), 0)[0, 0]
    stretch = np.array(grains.stretch)
    room = gap.scaled(stretch)
    diameters = np.array(grains.diameters_nm)[
        grains.classes(np.asarray((np.arange(count) + 0.5) / count, np.float64))
    ]
    places = (words[:, :3] + 0.5) * 2.0**-32 * room.edges
    left = _settle(places, diameters, room)
    if left > 0:
        raise ConvergenceError(
            f"{count} particles between the substrates still overlap by up to {left:.2g} of a diameter after "
            f"{point_process.SWEEPS} passes; use a lower loading, thinner films or a thicker bond line"
        )
    axes = np.zeros((count, 3))
    axes[:, int(np.argmax(grains.orientation))] = 1.0
    return np.column_stack([places * stretch, axes, diameters])


def _settle(places: Floats, diameters: Floats, room: Gap) -> float:
    """Push spheres out of the walls and apart, in place; return the largest overlap that is left."""
    # Images beyond the period along z are a widest diameter farther: no sphere meets one.
    widest = float(diameters.max())
    edges = room.edges + np.array([1.01 * widest, 0.0, 0.0])
    sweeps = point_process.Sweeps(places, diameters, edges)
    confine(places, diameters, room)
    left = 1.0
    for _ in range(point_process.SWEEPS):
        left = sweeps.once()
        left = max(left, confine(places, diameters, room))
        if left <= 0:
            return 0.0
    return left


def confine(places: Floats, diameters: Floats, room: Gap) -> float:
    """Move spheres out of the walls along z, in place; return how far they were, over a diameter.

    Parameters
    ----------
    places : (n, 3) float64
        Centres.
    diameters : (n,) float64
        Diameters.
    room : Gap
        The walls.
    """
    return float(_confine(places, diameters, room.edges, room.low, room.high))


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _confine(places, diameters, edges, low, high):  # type: ignore[no-untyped-def]
    worst = 0.0
    for n in range(len(places)):
        bottom = _standing(low, edges, places[n, 1], places[n, 2], diameters[n] / 2)
        top = edges[0] - _standing(high, edges, places[n, 1], places[n, 2], diameters[n] / 2)
        if bottom > top:  # narrower than the sphere: it stays in the middle, and overlaps
            worst = max(worst, (bottom - top) / diameters[n])
            bottom = top = (bottom + top) / 2
        inside = min(max(places[n, 0], bottom), top)
        worst = max(worst, abs(places[n, 0] - inside) / diameters[n])
        places[n, 0] = inside
    return worst


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _standing(heights, edges, y, x, radius):  # type: ignore[no-untyped-def]
    """Height of the centre of a sphere that stands on a wall: it touches, and no point is in it."""
    ny, nx = heights.shape
    if ny * nx == 1:
        return heights[0, 0] + radius
    dy, dx = edges[1] / ny, edges[2] / nx
    found = -np.inf
    for j in range(math.ceil((y - radius) / dy - 0.5), math.floor((y + radius) / dy - 0.5) + 1):
        py = (j + 0.5) * dy - y
        for i in range(math.ceil((x - radius) / dx - 0.5), math.floor((x + radius) / dx - 0.5) + 1):
            px = (i + 0.5) * dx - x
            rest = radius * radius - py * py - px * px
            if rest >= 0:
                found = max(found, heights[j % ny, i % nx] + math.sqrt(rest))
    # A sphere narrower than a pixel stands on the pixel below it.
    own = heights[math.floor(y / dy) % ny, math.floor(x / dx) % nx]
    return max(found, own + radius)
