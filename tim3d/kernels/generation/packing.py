"""Particles in a matrix: overlapping, hard-core at low loading, or packed in a periodic cell.

Overlapping and hard-core particles are functions of the position: lattice cells contain points
drawn from Philox, and whether a point is kept depends on points within a bounded distance only. Any
box of the endless volume is computed separately, with the same bits. A dense packing has no such
locality: one periodic cell is packed by a deterministic rule, again in every process.

References
----------
Chiu, Stoyan, Kendall, Mecke: Stochastic Geometry and its Applications, Wiley (2013). DOI
10.1002/9781118658222 Torquato: Random Heterogeneous Materials, Springer (2002). DOI
10.1007/978-1-4757-6355-3
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.generator import Generator, Numbered, listed
from tim3d.kernels.generation.particles import Grains, draw
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.point_process import packed_cell, points_bytes, repeated, strewn, thin
from tim3d.kernels.generation.repeating import Numbers, Repeating
from tim3d.phases import Phases

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]

# Largest number of particles in a periodic cell.
MOST = 50_000
FILLED = Phases(matrix=0, filler=1)


@dataclass(frozen=True, slots=True)
class Overlapping(Generator):
    """Generator of independent particles at Poisson points, which may overlap (Boolean model).

    The volume fraction is 1 - exp(-n V) with n points per volume and the mean particle volume V,
    the interface per volume n S exp(-n V) with the mean surface S.

    Parameters
    ----------
    grains : Grains
        The particles.
    loading : float
        Expected volume fraction of the particles.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed of the structure.
    period : (z, y, x), optional
        Period in voxels; 0 makes an axis endless.
    phases : Phases, optional
        Names and codes of the matrix and of the particles.

    Raises
    ------
    ArgumentError
        If a number is out of range, or a period is shorter than two particles.

    Examples
    --------
    >>> model = Overlapping(Grains((20.0,), (1.0,)), 0.3, (2.0, 1.0, 1.0), seed=1)
    >>> round(model.specific_surface, 5)
    0.0749
    >>> whole = model.labels(Box.whole((20, 40, 40)))
    >>> part = Box((3, 5, 7), (11, 40, 39))
    >>> bool((whole[part.slices] == model.labels(part)).all())
    True
    """

    kind: ClassVar[str] = "overlapping"

    grains: Grains
    loading: float
    spacing_nm: Point
    seed: int
    period: Triple = (0, 0, 0)
    phases: Phases = FILLED

    def __post_init__(self) -> None:
        if not 0 < self.loading < 0.99:
            raise ArgumentError(
                f"overlapping particles fill a fraction between 0 and 0.99, not {self.loading:g}"
            )
        _check(self, self.period)

    @property
    def density(self) -> float:
        """Number of points per nm3."""
        return -math.log(1 - self.loading) / self.grains.mean_volume

    @property
    def specific_surface(self) -> float:
        """Expected interface area per volume, in 1/nm."""
        return self.density * self.grains.mean_surface * (1 - self.loading)

    def two_point(self, distance_nm: float) -> float:
        """Probability that two points at this distance are both in particles; spheres only.

        1 - 2 exp(-n V) + exp(-n (2 V - V12)), with the volume V12 of the intersection of a sphere
        and its copy at this distance.
        """
        if self.grains.aspect != 1:
            raise ArgumentError("the closed form of S2 holds for spheres only")
        radii, r = np.array(self.grains.diameters_nm) / 2, distance_nm
        shared = np.where(r < 2 * radii, math.pi / 12 * (4 * radii + r) * (2 * radii - r) ** 2, 0.0)
        union = 2 * self.grains.mean_volume - float(self.grains.weights @ shared)
        return 1 - 2 * (1 - self.loading) + math.exp(-self.density * union)

    @property
    def halo(self) -> Triple:
        """Range of the points that a block depends on, in voxels on each side."""
        return _reach(self.grains.longest, self.spacing_nm)

    def particles(self, box: Box) -> Floats:
        """Particles that may reach into a box, one row each: centre (3), axis (3), diameter."""
        low, high = bounds(box, self.spacing_nm, self.grains.longest)
        return strewn(
            self.grains, self.density, self.seed, self.spacing_nm, self.period, low, high
        )[:, :7]

    def labels(self, box: Box) -> Labels:
        """Label 1 in particles, 0 in the matrix, by voxel centres; uint8 of shape `box.shape`."""
        return draw(self.particles(box), self.grains.aspect, box, self.spacing_nm)

    def doubts(self) -> tuple[str, ...]:
        """Warning of particles that the voxels do not resolve."""
        return self.grains.doubts(self.spacing_nm)

    def block_bytes(self, core: Triple) -> int:
        """Memory of the labels and of the particles that reach them, in bytes."""
        return math.prod(core) + points_bytes(
            core, self.spacing_nm, self.grains.longest, self.density
        )


@dataclass(frozen=True, slots=True)
class HardCore(Generator):
    """Generator of particles that never touch, by thinning Poisson points (Matern's second model).

    A point is kept if no other point whose particle would overlap has a lower mark. The density of
    kept points has a closed form: n w_i (1 - exp(-a_i)) / a_i for class i, with the mean number a_i
    of points that would overlap. One size fills less than 1/8 of the volume, a limit of the model.
    Particles must be spheres, or all point along one axis.

    Parameters
    ----------
    grains, loading, spacing_nm, seed, period, phases
        See `Overlapping`.

    Raises
    ------
    ArgumentError
        If the loading exceeds the limit of the model, which the message contains, or particles
        point in several directions.

    Examples
    --------
    >>> model = HardCore(Grains((20.0,), (1.0,)), 0.1, (1.0, 1.0, 1.0), seed=1)
    >>> round(model.limit, 4), round(model.specific_surface, 5)
    (0.125, 0.03)
    """

    kind: ClassVar[str] = "hard-core"

    grains: Grains
    loading: float
    spacing_nm: Point
    seed: int
    period: Triple = (0, 0, 0)
    phases: Phases = FILLED

    def __post_init__(self) -> None:
        _check(self, self.period)
        need_spheres(self.grains)
        if not 0 < self.loading <= 0.98 * self.limit:
            raise ArgumentError(
                f"hard-core particles of these sizes fill between 0 and {0.98 * self.limit:.4f}, not {self.loading:g}; "
                "--kind packed goes to 0.6"
            )

    @property
    def _excluded(self) -> Floats:
        """Mean excluded volume of each class, in which another centre means an overlap, in nm3."""
        radii = np.array(self.grains.diameters_nm) / 2
        return np.asarray(
            4 / 3 * math.pi * (radii[:, None] + radii[None, :]) ** 3 @ self.grains.weights
        )

    def _kept(self, density: float) -> Floats:
        a = density * self._excluded
        return np.asarray(density * self.grains.weights * -np.expm1(-a) / a)

    @property
    def limit(self) -> float:
        """Largest volume fraction of the model, in the limit of infinitely many points."""
        return float((self.grains.weights * self.grains.volumes / self._excluded).sum())

    @property
    def density(self) -> float:
        """Number of points per nm3 before thinning, by bisection."""
        low, high = 0.0, 1e3 / float(self._excluded.min())
        for _ in range(200):
            middle = (low + high) / 2
            if self._kept(middle) @ self.grains.volumes < self.loading:
                low = middle
            else:
                high = middle
        return high

    @property
    def specific_surface(self) -> float:
        """Expected interface area per volume, in 1/nm; spheres only."""
        if self.grains.aspect != 1:
            raise ArgumentError("the closed form of the surface holds for spheres only")
        return float(self._kept(self.density) @ (np.pi * np.array(self.grains.diameters_nm) ** 2))

    @property
    def halo(self) -> Triple:
        """Range of the points that a block depends on, in voxels on each side.

        It includes particles that reach in, and points that may remove them.
        """
        return _reach(3 * self.grains.longest, self.spacing_nm)

    def particles(self, box: Box) -> Floats:
        """Particles that may reach into a box, one row each: centre (3), axis (3), diameter."""
        low, high = bounds(box, self.spacing_nm, 3 * self.grains.longest)
        points = strewn(
            self.grains, self.density, self.seed, self.spacing_nm, self.period, low, high
        )
        near_low, near_high = bounds(box, self.spacing_nm, self.grains.longest)
        wanted = ((points[:, :3] >= near_low) & (points[:, :3] < near_high)).all(axis=1)
        stretch = np.array(self.grains.stretch)
        scaled = np.ascontiguousarray(points[:, :3] / stretch)
        kept = thin(
            scaled,
            points[:, 6],
            points[:, 7],
            np.flatnonzero(wanted),
            max(self.grains.diameters_nm),
        )
        return points[kept, :7]

    def labels(self, box: Box) -> Labels:
        """Label 1 in particles, 0 in the matrix, by voxel centres; uint8 of shape `box.shape`."""
        return draw(self.particles(box), self.grains.aspect, box, self.spacing_nm)

    def doubts(self) -> tuple[str, ...]:
        """Warning of particles that the voxels do not resolve."""
        return self.grains.doubts(self.spacing_nm)

    def block_bytes(self, core: Triple) -> int:
        """Memory of the labels and of the points that they depend on, in bytes."""
        return math.prod(core) + points_bytes(
            core, self.spacing_nm, 3 * self.grains.longest, self.density
        )


@dataclass(frozen=True, slots=True)
class Packed(Numbered):
    """Generator of particles that never touch, packed densely in a cell that is repeated endlessly.

    Overlapping particles are pushed apart until none overlaps (force-biased). Points farther apart
    than the cell are not independent: a volume of any size contains the information of one cell.

    Parameters
    ----------
    grains, spacing_nm, seed, phases
        See `Overlapping`; spheres, or particles that all point along one axis.
    loading : float
        Volume fraction of the particles in the cell, up to 0.6; met to half a particle.
    cell_nm : (z, y, x)
        Edges of the cell.

    Raises
    ------
    ArgumentError
        If the loading is above 0.6, or the cell contains too few or too many particles or is too
        narrow.

    Examples
    --------
    >>> model = Packed(Grains((10.0,), (1.0,)), 0.4, (1.0, 1.0, 1.0), 1, (40.0, 40.0, 40.0))
    >>> len(model.cell()), round(model.filled, 4)
    (49, 0.4009)
    """

    kind: ClassVar[str] = "packed"

    grains: Grains
    loading: float
    spacing_nm: Point
    seed: int
    cell_nm: Point
    phases: Phases = FILLED

    def __post_init__(self) -> None:
        _check(self, (0, 0, 0))
        need_spheres(self.grains)
        if not 0 < self.loading <= 0.6:
            raise ArgumentError(
                f"a packing fills a fraction between 0 and 0.6, not {self.loading:g}: --loading 0.3"
            )
        widths = np.array(self.cell_nm) / np.array(self.grains.stretch)
        if not np.isfinite(widths).all() or widths.min() < 3 * max(self.grains.diameters_nm):
            raise ArgumentError(
                f"a cell of {listed(self.cell_nm)} nm is narrower than three particles of "
                f"{max(self.grains.diameters_nm):g} nm; use a larger volume or --cell-nm"
            )
        if not 8 <= self.count <= MOST:
            raise ArgumentError(
                f"a cell of {self.cell_nm} nm holds {self.count} particles; 8 to {MOST} are possible. Use --cell-nm"
            )

    @property
    def count(self) -> int:
        """Number of particles in the cell."""
        return round(self.loading * math.prod(self.cell_nm) / self.grains.mean_volume)

    @property
    def filled(self) -> float:
        """Volume fraction of the particles in the cell."""
        return float((math.pi / 6 * self.cell()[:, 6] ** 3).sum()) / math.prod(self.cell_nm)

    @property
    def halo(self) -> Triple:
        """Range of particles that reach into a block, in voxels on each side."""
        return _reach(self.grains.longest, self.spacing_nm)

    def check(self) -> None:
        """Pack the cell: what cannot be packed is refused before anything is written."""
        self.cell()

    def cell(self) -> Floats:
        """Particles of the cell, one row each: centre (3), axis (3), diameter.

        They have the same bits in every process.

        Raises
        ------
        ConvergenceError
            If particles still overlap after the last pass.
        """
        return packed_cell(self.grains, self.count, self.seed, self.cell_nm)

    def repeating(self) -> Repeating:
        """Particles of the cell, which is repeated along all axes."""
        return Repeating(
            self.cell(), self.cell_nm, self.spacing_nm, self.grains.aspect, self.grains.longest
        )

    def numbers(self, box: Box, shape: Triple) -> Numbers:
        """Number of the particle of every voxel of a box of a volume; uint32, 0 in the matrix."""
        return self.repeating().numbers(box, shape)

    def wrapped(self, shape: Triple) -> tuple[int, ...]:
        """Axes along which a volume is whole cells, and particles go on across its faces."""
        return self.repeating().wrapped(shape)

    def particles(self, box: Box) -> Floats:
        """Particles that may reach into a box, periodic images included."""
        low, high = bounds(box, self.spacing_nm, self.grains.longest)
        return repeated(self.cell(), np.array(self.cell_nm), low, high)

    def labels(self, box: Box) -> Labels:
        """Label 1 in particles, 0 in the matrix, by voxel centres; uint8 of shape `box.shape`."""
        return draw(self.particles(box), self.grains.aspect, box, self.spacing_nm)

    def doubts(self) -> tuple[str, ...]:
        """Warning of particles that the voxels do not resolve."""
        return self.grains.doubts(self.spacing_nm)

    def block_bytes(self, core: Triple) -> int:
        """Memory of labels, particles that reach them, and the cell during packing, in bytes."""
        density = self.loading / self.grains.mean_volume
        reached = points_bytes(core, self.spacing_nm, self.grains.longest, density)
        return math.prod(core) + reached + 500 * self.count


def _check(model: Overlapping | HardCore | Packed, period: Triple) -> None:
    Noise(model.seed, period=period)  # raises if the seed is out of range
    if not all(0 < d < math.inf for d in model.spacing_nm):
        raise ArgumentError(f"a voxel has edges {model.spacing_nm}; all three must be positive")
    for length, edge in zip(period, model.spacing_nm, strict=True):
        if length and length * edge < 4 * model.grains.longest:
            raise ArgumentError(
                f"a period of {length * edge:g} nm is shorter than two particles of {2 * model.grains.longest:g} nm"
            )
    if len(model.phases) != 2:
        raise ArgumentError(
            f"particles in a matrix are two phases, and {len(model.phases)} are named: {model.phases}"
        )
    model.phases.require_order("the matrix")


def need_spheres(grains: Grains) -> None:
    """Refuse spheroids that point in several directions: they are packed as stretched spheres.

    Raises
    ------
    ArgumentError
        If they do.
    """
    if grains.stretch is None:
        raise ArgumentError(
            "particles that must not touch are spheres or all point along one axis: --orientation 1,0,0; "
            f"got aspect {grains.aspect:g} with orientation {grains.orientation}"
        )


def _reach(length: float, spacing: Point) -> Triple:
    return triple(math.ceil(length / d) for d in spacing)


def bounds(box: Box, spacing: Point, reach: float) -> tuple[Floats, Floats]:
    """Bounds of a box in nm, with a margin, of shape (3,).

    Parameters
    ----------
    box : Box
        Voxels.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    reach : float
        Margin in nm.
    """
    steps = np.array(spacing)
    return np.array(box.start) * steps - reach, np.array(box.stop) * steps + reach
