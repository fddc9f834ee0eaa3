"""Bicontinuous structures of spinodal decomposition: a generator of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.gaussian_field import levels
from tim3d.kernels.generation.generator import Grown, listed
from tim3d.kernels.generation.phase_field import Cell, Labels, Point, Waves, lowest, step_bytes
from tim3d.kernels.generation.philox import Noise
from tim3d.phases import Phases

# Between these shares a mixture decomposes at once; beyond them it waits for a nucleus.
SPINODAL = (0.22, 0.78)
# Wavelength over the half width of an interface at which coarsening has begun, and the default.
EARLIEST, RIPENING = 9.0, 16.0
# Half width of an interface in voxels, and wavelengths in a cell, below which a result is not that of the equation.
THINNEST, FEWEST = 1.1, 3.0
TWO = Phases(pore=0, solid=1)
# Steps between two looks at the wavelength.
STRETCH = 10
# Standard deviation of the concentration at the start, and its stream of random numbers.
DISTURBANCE, STREAM = 0.05, 41


@dataclass(frozen=True, slots=True)
class Spinodal(Grown):
    """Generator of two phases that spinodal decomposition separates and coarsening enlarges.

    The Cahn-Hilliard equation (`tim3d.kernels.generation.phase_field`) is solved in a periodic cell
    from a uniform mixture until the mean wavelength is that which is wanted. The concentration is
    then cut at its quantile: the first phase fills its share of the cell to one voxel.

    Parameters
    ----------
    fractions : (float, float)
        Shares of the two phases, each between 0.22 and 0.78.
    wavelength_nm : (z, y, x)
        Mean wavelength 2 pi / <k> of the concentration, <k> weighted by its power spectrum; along
        each axis, where these differ the structure is stretched.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed of the mixture.
    cell : (z, y, x)
        Voxels of the cell, which is repeated. One voxel along an axis makes a plane structure.
    ripening : float, optional
        Wavelength over the half width of an interface, how far coarsening has gone: 9 or more. The number
        of steps grows with its third power.
    phases : Phases, optional
        Names and codes of the two phases.

    Raises
    ------
    ArgumentError
        If a share or a length is out of range, the voxels do not resolve an interface, or the cell
        is shorter than three wavelengths.

    Examples
    --------
    >>> model = Spinodal((0.4, 0.6), (24.0, 24.0, 24.0), (1.0, 1.0, 1.0), 1, (1, 96, 96))
    >>> labels = model.labels(Box.whole((1, 96, 96)))
    >>> round(float((labels == 0).mean()), 4)
    0.4
    """

    kind: ClassVar[str] = "spinodal"

    fractions: tuple[float, float]
    wavelength_nm: Point
    spacing_nm: Point
    seed: int
    cell: Triple
    ripening: float = RIPENING
    phases: Phases = TWO

    def __post_init__(self) -> None:
        levels(self.fractions)
        if len(self.fractions) != 2 or not SPINODAL[0] <= min(self.fractions):
            raise ArgumentError(
                f"fractions {', '.join(f'{f:g}' for f in self.fractions)}: spinodal decomposition has two phases, "
                f"each between {SPINODAL[0]} and {SPINODAL[1]}; a rarer one is droplets: use --kind overlapping"
            )
        if not all(0 < v < math.inf for v in (*self.wavelength_nm, *self.spacing_nm)):
            raise ArgumentError(
                f"a structure needs positive lengths, got wavelengths of {listed(self.wavelength_nm)} nm and voxels of "
                f"{listed(self.spacing_nm)} nm"
            )
        if not EARLIEST <= self.ripening <= 60:
            raise ArgumentError(
                f"ripening {self.ripening:g} is out of range: {EARLIEST:g}, just separated, to 60"
            )
        if max(self.cell) < 2 or min(self.cell) < 1:
            raise ArgumentError(f"a cell of {self.cell} voxels is too small")
        Noise(self.seed)  # raises if the seed is out of range
        self._refuse_unresolved()

    def _refuse_unresolved(self) -> None:
        wavelength, voxels = self._wavelength, self.ripening * THINNEST
        if wavelength < voxels * (1 - 1e-9):
            raise ArgumentError(
                f"wavelengths of {listed(self.wavelength_nm)} nm are {wavelength:.3g} voxels of "
                f"{listed(self.spacing_nm)} nm, and a ripening of {self.ripening:g} needs {voxels:.3g}: "
                "take smaller voxels, a longer --wavelength-nm or a lower --ripening"
            )
        for axis, count, edge, length in zip(
            "zyx", self.cell, self.spacing_nm, self.wavelength_nm, strict=True
        ):
            if 1 < count < FEWEST * length / edge:
                raise ArgumentError(
                    f"a cell of {count * edge:g} nm along {axis} is shorter than {FEWEST:g} wavelengths of "
                    f"{length:g} nm; use a larger volume or a shorter --wavelength-nm"
                )

    @property
    def _edges(self) -> Point:
        """Edges of a voxel where the wavelength is the same along all axes; the longest is 1."""
        z, y, x = (d / w for d, w in zip(self.spacing_nm, self.wavelength_nm, strict=True))
        longest = max(e for e, n in zip((z, y, x), self.cell, strict=True) if n > 1)
        return (z / longest, y / longest, x / longest)

    @property
    def _wavelength(self) -> float:
        """Wavelength that is wanted, in these units."""
        pairs = zip(self.wavelength_nm, self.spacing_nm, self.cell, strict=True)
        return min(w / d for w, d, n in pairs if n > 1)

    @property
    def _equation(self) -> Cell:
        return Cell(self.cell, self._edges, self._wavelength / self.ripening)

    @property
    def halo(self) -> Triple:
        """None: blocks are cut out of the cell."""
        return (0, 0, 0)

    @property
    def growth_bytes(self) -> int:
        """Memory in bytes of a step, or of the noise it begins with."""
        return step_bytes(self.cell)

    def begin(self) -> Waves:
        """Waves of the mixture."""
        noise = Noise(self.seed, STREAM).normals(Box.whole(self.cell))
        noise *= np.float32(DISTURBANCE)
        return self._equation.begin(self.fractions[1], noise)

    def grow(self, state: Waves) -> float:
        """Take the waves `STRETCH` steps further; the share done follows from the law of coarsening."""
        equation, wanted = self._equation, self._wavelength
        for _ in range(STRETCH):
            equation.step(state)
        share = (equation.wavelength(state) / wanted) ** 3
        return share if share < 1 or equation.is_separated(state) else 0.99

    def grown(self, state: Waves) -> Labels:
        """Labels of the cell: 0 where the concentration is among the lowest of the first phase's share."""
        concentration = self._equation.concentration(state)
        return lowest(concentration, round(self.fractions[0] * concentration.size))
