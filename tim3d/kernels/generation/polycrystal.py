"""Grains of a polycrystal that grow until they have a size: a generator of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.generator import Grown, listed
from tim3d.kernels.generation.grain_growth import (
    MOST,
    WIDTH,
    GrainCell,
    Labels,
    Point,
    Reals,
    boundaries,
    grains,
    step_bytes,
)
from tim3d.kernels.generation.philox import Noise
from tim3d.phases import Phases

# Grains at the start for each that is left: the fewest with which the first pattern is forgotten, and the default.
LEAST, GROWTH = 2.0, 8.0
# Grains in a cell along each axis below which a grain would meet itself.
FEWEST = 3.0
POLYCRYSTAL = Phases(boundary=0, grain=1)
# Steps between two counts of the grains, and the stream of random numbers.
STRETCH, STREAM = 10, 42


@dataclass(frozen=True, slots=True)
class Polycrystal(Grown):
    """Generator of grains, parted by boundaries, that normal grain growth has enlarged.

    Voronoi cells of random points grow in a periodic cell by a multi-phase field
    (`tim3d.kernels.generation.grain_growth`), in which boundaries move by their curvature and small
    grains vanish, until as few are left as have the size that is wanted.

    Parameters
    ----------
    grain_nm : float
        Diameter of a disc (in a plane structure) or sphere with the mean area or volume of the grains,
        boundaries included.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed of the points.
    cell : (z, y, x)
        Voxels of the cell, which is repeated. One voxel along an axis makes a plane structure.
    boundary_nm : float, optional
        Thickness of the boundaries in nm, up to five of the longest edges of a voxel (default: two of
        them). No two grains share a face, so that `tim3d label` of the phase with 6 neighbours
        numbers them.
    growth : float, optional
        Grains at the start for each one that is left, 2 or more. With few of them grains are as even
        as Voronoi cells; from about 8 on their sizes are those of normal grain growth.
    phases : Phases, optional
        Names and codes of boundaries and grains.

    Raises
    ------
    ArgumentError
        If a number is out of range, the voxels do not resolve the first grains, or the cell is
        shorter than three grains.

    Examples
    --------
    >>> model = Polycrystal(22.0, (1.0, 1.0, 1.0), 1, (1, 96, 96))
    >>> labels = model.labels(Box.whole((1, 96, 96)))
    >>> 0.1 < float((labels == 0).mean()) < 0.25
    True
    """

    kind: ClassVar[str] = "polycrystal"

    grain_nm: float
    spacing_nm: Point
    seed: int
    cell: Triple
    boundary_nm: float | None = None
    growth: float = GROWTH
    phases: Phases = POLYCRYSTAL

    def __post_init__(self) -> None:
        if not all(0 < v < math.inf for v in (self.grain_nm, *self.spacing_nm)):
            raise ArgumentError(
                f"grains need positive lengths, got grains of {self.grain_nm:g} nm and voxels of "
                f"{listed(self.spacing_nm)} nm"
            )
        if not LEAST <= self.growth <= 1000:
            raise ArgumentError(f"growth {self.growth:g} is out of range: {LEAST:g} to 1000")
        if sum(n > 1 for n in self.cell) < 2 or min(self.cell) < 1:
            raise ArgumentError(
                f"a cell of {self.cell} voxels has no grains; it needs two long axes"
            )
        if len(self.phases) != 2:
            raise ArgumentError(
                f"a polycrystal has two phases, boundaries and grains, and {len(self.phases)} are named"
            )
        Noise(self.seed)  # raises if the seed is out of range
        self._refuse_unresolved()

    def _refuse_unresolved(self) -> None:
        unit, thickness = self._unit, self._thickness
        if not 0 <= thickness <= WIDTH:
            raise ArgumentError(
                f"a boundary of {self.boundary_nm:g} nm is out of range: up to {WIDTH:g} voxels, {WIDTH * unit:g} nm"
            )
        least = WIDTH * unit * self.growth ** (1 / self._dimensions)
        if self.grain_nm < least * (1 - 1e-9):
            raise ArgumentError(
                f"grains of {self.grain_nm:g} nm are {self.grain_nm / unit:.3g} voxels of {unit:g} nm, and a growth "
                f"of {self.growth:g} needs {least / unit:.3g}: take smaller voxels, a longer --grain-nm or "
                "a lower --growth"
            )
        for axis, count, edge in zip("zyx", self.cell, self.spacing_nm, strict=True):
            if 1 < count < FEWEST * self.grain_nm / edge:
                raise ArgumentError(
                    f"a cell of {count * edge:g} nm along {axis} is shorter than {FEWEST:g} grains of "
                    f"{self.grain_nm:g} nm; use a larger volume or a shorter --grain-nm"
                )
        if self._first > MOST:
            raise ArgumentError(
                f"a cell of {self._first} grains at the start; it can have {MOST}: take a smaller --cell-nm or --growth"
            )

    @property
    def _dimensions(self) -> int:
        return sum(n > 1 for n in self.cell)

    @property
    def _unit(self) -> float:
        """Longest edge of a voxel in nm, of the axes that are not one voxel thick."""
        return max(d for d, n in zip(self.spacing_nm, self.cell, strict=True) if n > 1)

    @property
    def _thickness(self) -> float:
        return 2.0 if self.boundary_nm is None else self.boundary_nm / self._unit

    @property
    def _last(self) -> int:
        """Grains at the end."""
        pairs = zip(self.cell, self.spacing_nm, strict=True)
        measure = math.prod(n * d / self.grain_nm for n, d in pairs if n > 1)
        return round(measure / (math.pi / 4 if self._dimensions == 2 else math.pi / 6))

    @property
    def _first(self) -> int:
        return round(self._last * self.growth)

    @property
    def _equation(self) -> GrainCell:
        z, y, x = (d / self._unit for d in self.spacing_nm)
        return GrainCell(self.cell, (z, y, x))

    @property
    def halo(self) -> Triple:
        """None: blocks are cut out of the cell."""
        return (0, 0, 0)

    @property
    def growth_bytes(self) -> int:
        """Memory in bytes of the growth."""
        return step_bytes(self.cell) + 128 * self._first

    def begin(self) -> Reals:
        """The Voronoi cells of the points."""
        random = Noise(self.seed, STREAM).uniforms(Box((0, 0, 0), (self._first, 1, 3)))
        points = random[:, 0].astype(np.float64) * self.cell
        points[:, [n == 1 for n in self.cell]] = 0.5
        return self._equation.begin(points)

    def grow(self, state: Reals) -> float:
        """Take the grains `STRETCH` steps further; the share done follows from the law of growth."""
        equation = self._equation
        for _ in range(STRETCH):
            equation.step(state)
        left = grains(state)
        if left <= self._last:
            return 1.0
        power = 2 / self._dimensions
        done = (self._first / left) ** power - 1
        return float(min(max(done / (self.growth**power - 1), 0.0), 0.99))

    def grown(self, state: Reals) -> Labels:
        """Labels of the cell: 0 on the boundaries, 1 in the grains."""
        return boundaries(state, self._thickness)
