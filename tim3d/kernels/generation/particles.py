"""Particles of a filled material: size and direction of spheroids, and their drawing on voxels.

References
----------
Tyler, Biometrika 74 (1987) 579 (directions). DOI 10.1093/biomet/74.3.579
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.philox import quantile

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint32]
Point: TypeAlias = tuple[float, float, float]

# Voxels across, below which the standard deviation of the volume of a sphere at a random place is
# more than a tenth: 26 % at 2, 11 % at 3, 4 % at 5.
FEWEST = 3
# Classes of a lognormal distribution, of equal number, for a finite tail and exact moments.
CLASSES = 32


def lognormal(median_nm: float, spread: float) -> dict[float, float]:
    """Lognormal diameters and their fractions by number: 32 equal classes at their medians.

    Parameters
    ----------
    median_nm : float
        Median diameter.
    spread : float
        Standard deviation of the natural logarithm of the diameter; 0 gives one diameter.

    Examples
    --------
    >>> sizes = lognormal(100.0, 0.2)
    >>> len(sizes), round(max(sizes), 1), round(min(sizes), 1)
    (32, 153.8, 65.0)
    """
    if not 0 < median_nm < math.inf or not 0 <= spread <= 1.5:
        raise ArgumentError(
            f"sizes need a diameter > 0 nm and 0 <= spread <= 1.5, got {median_nm:g} and {spread:g}"
        )
    if spread == 0:
        return {median_nm: 1.0}
    steps = [NormalDist().inv_cdf((n + 0.5) / CLASSES) for n in range(CLASSES)]
    return {median_nm * math.exp(spread * step): 1 / CLASSES for step in steps}


@dataclass(frozen=True, slots=True)
class Grains:
    """Spheroidal particles: their sizes, shape and directions.

    Parameters
    ----------
    diameters_nm, shares : tuples of float
        Diameters of spheres of the same volume, and their relative numbers (any positive numbers).
    aspect : float
        Polar over equatorial axis: 1 for spheres, above 1 for fibres, below 1 for platelets.
    orientation : (z, y, x)
        Standard deviations of a Gaussian vector whose direction is the polar axis (angular central
        Gaussian distribution): 1,1,1 isotropic, 1,0,0 along z, 0,1,1 in the plane of a slice.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> round(Grains((100.0,), (1.0,)).mean_volume)
    523599
    """

    diameters_nm: tuple[float, ...]
    shares: tuple[float, ...]
    aspect: float = 1.0
    orientation: Point = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        sizes = (
            len(self.diameters_nm) == len(self.shares) > 0
            and min(*self.diameters_nm, *self.shares) > 0
        )
        if not sizes or not all(map(math.isfinite, (*self.diameters_nm, *self.shares))):
            raise ArgumentError(
                f"sizes need positive diameters and shares, got {self.diameters_nm}: {self.shares}"
            )
        if (
            not 0.05 <= self.aspect <= 20
            or not all(0 <= weight < math.inf for weight in self.orientation)
            or not any(self.orientation)
        ):
            raise ArgumentError(
                "particles need an aspect of 0.05 to 20 and an orientation of three weights >= 0, not all 0; got "
                f"aspect {self.aspect:g}, orientation {self.orientation}"
            )

    @property
    def weights(self) -> Floats:
        """Fractions by number, which add up to 1."""
        return np.array(self.shares) / sum(self.shares)

    @property
    def volumes(self) -> Floats:
        """Volume of a particle of each class, in nm3."""
        return np.asarray(np.pi / 6 * np.array(self.diameters_nm) ** 3)

    @property
    def mean_volume(self) -> float:
        """Mean volume of a particle, in nm3."""
        return float(self.weights @ self.volumes)

    @property
    def mean_surface(self) -> float:
        """Mean surface of a particle in nm2: closed forms of sphere, prolate, oblate spheroid."""
        equator, pole = _half_axes(self.aspect)
        if abs(self.aspect - 1) < 1e-6:
            unit = 4 * math.pi
        elif pole > equator:
            e = math.sqrt(1 - (equator / pole) ** 2)
            unit = 2 * math.pi * (equator**2 + equator * pole * math.asin(e) / e)
        else:
            e = math.sqrt(1 - (pole / equator) ** 2)
            unit = 2 * math.pi * (equator**2 + pole**2 * math.atanh(e) / e)
        return float((self.weights * np.array(self.diameters_nm) ** 2).sum()) / 4 * unit

    @property
    def longest(self) -> float:
        """Longest half axis of all particles, in nm."""
        return max(self.diameters_nm) / 2 * max(_half_axes(self.aspect))

    def doubts(self, spacing_nm: Point) -> tuple[str, ...]:
        """Warning of particles that are narrower than `FEWEST` of the longest edge of a voxel.

        >>> Grains((100.0, 400.0), (1.0, 1.0)).doubts((50.0, 50.0, 50.0))[0][:59]
        'grains are as narrow as 100 nm, 2 voxels of 50 nm: below 3 '
        """
        edge, widths = max(spacing_nm), 2 * min(_half_axes(self.aspect)) * self._radii
        if widths.min() >= FEWEST * edge:
            return ()
        volumes = self.weights * self.volumes
        share = float(volumes[widths < FEWEST * edge].sum() / volumes.sum())
        return (
            f"grains are as narrow as {widths.min():.3g} nm, {widths.min() / edge:.3g} voxels of {edge:g} nm: below "
            f"{FEWEST} the volume of a single one is off by a tenth and more, and its contacts are not resolved; such "
            f"grains hold {100 * share:.3g} % of the volume of all. Use smaller voxels, or larger grains",
        )

    @property
    def _radii(self) -> Floats:
        return np.array(self.diameters_nm) / 2

    @property
    def stretch(self) -> Point | None:
        """Factors (z, y, x) that stretch spheres to the particles; None if directions differ."""
        if self.aspect == 1:
            return (1.0, 1.0, 1.0)
        if sum(w > 0 for w in self.orientation) > 1:
            return None
        equator, pole = _half_axes(self.aspect)
        z, y, x = (pole if w > 0 else equator for w in self.orientation)
        return (z, y, x)

    def classes(self, uniform: Floats) -> npt.NDArray[np.intp]:
        """Assign size classes to uniform numbers from 0 to 1, by the fractions."""
        return np.searchsorted(np.cumsum(self.weights)[:-1], uniform, side="right")

    def axes(self, words: Words) -> Floats:
        """Polar axes from three random words each: unit vectors (n, 3)."""
        # A quantile of 32 bits is never exactly 0, and hence no length is 0.
        vectors = quantile(words) * np.array(self.orientation)
        lengths = np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2 + vectors[:, 2] ** 2)
        return np.asarray(vectors / lengths[:, None])


def _half_axes(aspect: float) -> tuple[float, float]:
    """Equatorial and polar half axis of a spheroid with the volume of the unit sphere."""
    equator: float = aspect ** (-1 / 3)
    return equator, equator * aspect


def draw(particles: Floats, aspect: float, box: Box, spacing_nm: Point) -> Labels:
    """Draw particles: voxels of a box whose centre lies in a particle are 1, others 0; uint8.

    Parameters
    ----------
    particles : float64 array (n, 7)
        Centre, polar axis (unit vector) and diameter in nm; the order does not matter.
    aspect : float
        Polar over equatorial axis.
    box : Box
        Voxels to draw.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    """
    out = np.zeros(box.shape, np.uint8)
    ones = np.ones(len(particles), np.uint8)
    equator, pole = _half_axes(aspect)
    _draw(particles, ones, equator, pole, np.array(box.start), np.array(spacing_nm), out)
    return out


def draw_numbers(
    particles: Floats, numbers: Words, aspect: float, box: Box, spacing_nm: Point
) -> Words:
    """Draw particles by their numbers: those of `draw` in place of 1, the lowest where several lie.

    Parameters
    ----------
    particles, aspect, box, spacing_nm
        See `draw`.
    numbers : uint32 array (n,)
        Number of each particle, from 1 on.
    """
    out = np.zeros(box.shape, np.uint32)
    equator, pole = _half_axes(aspect)
    _draw(particles, numbers, equator, pole, np.array(box.start), np.array(spacing_nm), out)
    return out


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _draw(particles, values, equator, pole, start, spacing, out):  # type: ignore[no-untyped-def]
    """Draw |p|^2 / e^2 + (p . axis)^2 (1 / pole^2 - 1 / e^2) <= 1 around each particle."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for n in range(len(particles)):
        cz, cy, cx, az, ay, ax, diameter = particles[n]
        a, b = 2 / (equator * diameter), 2 / (pole * diameter)
        round_part, axis_part = a * a, b * b - a * a
        for i in range(3):
            # Half the width of a spheroid along an axis.
            along = particles[n, 3 + i]
            half = diameter / 2 * math.sqrt(equator**2 + (pole**2 - equator**2) * along * along)
            low[i] = max(0, math.floor((particles[n, i] - half) / spacing[i] - 0.5) - start[i])
            high[i] = min(
                out.shape[i], math.ceil((particles[n, i] + half) / spacing[i] + 0.5) - start[i] + 1
            )
        for z in range(low[0], high[0]):
            pz = (start[0] + z + 0.5) * spacing[0] - cz
            for y in range(low[1], high[1]):
                py = (start[1] + y + 0.5) * spacing[1] - cy
                for x in range(low[2], high[2]):
                    px = (start[2] + x + 0.5) * spacing[2] - cx
                    along = pz * az + py * ay + px * ax
                    if (pz * pz + py * py + px * px) * round_part + along * along * axis_part > 1:
                        continue
                    if out[z, y, x] == 0 or values[n] < out[z, y, x]:
                        out[z, y, x] = values[n]
