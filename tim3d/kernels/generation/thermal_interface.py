"""A thermal interface: particles in resin between two substrates, with voids and delaminated areas.

References
----------
Prasher, Proc. IEEE 94 (2006) 1571 (materials between substrates, bond lines). DOI
10.1109/JPROC.2006.879796
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.gaussian_field import GaussianField, levels
from tim3d.kernels.generation.generator import Numbered
from tim3d.kernels.generation.packing import MOST, Overlapping, bounds, need_spheres
from tim3d.kernels.generation.particles import Grains, draw
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.point_process import points_bytes, repeated
from tim3d.kernels.generation.repeating import Numbers, Repeating
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.kernels.generation.slab_packing import Gap, packed_slab
from tim3d.phases import Phases

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]

RESIN, FILLER, BELOW, ABOVE, VOID = range(5)
JOINED = Phases(resin=0, filler=1, substrate_below=2, substrate_above=3)
PIERCED = Phases(resin=0, filler=1, substrate_below=2, substrate_above=3, void=4)
# Planes of one field that are far apart and hence independent: patches below and above.
PATCHES = (0, 1000)
FLAT = np.zeros((1, 1))


def squeezed_bond_line_nm(pressure: float, yield_stress: float) -> float:
    """Bond line of a filled grease under a pressure, in nm: 1.31e-4 m (yield stress / pressure)^0.166.

    The scaling of Prasher for polymers filled with particles: a fit to measured greases, and a
    reference only. A bond line is never thinner than the largest particle.

    Parameters
    ----------
    pressure : float
        Pressure, in the unit of the yield stress.
    yield_stress : float
        Yield stress of the filled material.

    Raises
    ------
    ArgumentError
        If one is not positive.

    References
    ----------
    Prasher, Proc. IEEE 94 (2006) 1571. DOI 10.1109/JPROC.2006.879796

    Examples
    --------
    >>> round(squeezed_bond_line_nm(pressure=300e3, yield_stress=100.0) / 1e3, 1)
    34.7
    """
    if not (0 < pressure < math.inf and 0 < yield_stress < math.inf):
        raise ArgumentError(
            f"a bond line needs a pressure and a yield stress above 0, got {pressure:g} and {yield_stress:g}"
        )
    return float(1.31e5 * (yield_stress / pressure) ** 0.166)


@dataclass(frozen=True, slots=True)
class Voids:
    """Round voids in the resin, which overlap freely and end at particles and substrates.

    Parameters
    ----------
    share : float
        Expected share of the resin that is void.
    diameter_nm : float
        Their diameter.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    share: float
    diameter_nm: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 0.9 or not 0 < self.diameter_nm < math.inf:
            raise ArgumentError(
                "voids need a share of the resin between 0 and 0.9 and a diameter_nm above 0, got "
                f"{self.share:g} and {self.diameter_nm:g}"
            )


@dataclass(frozen=True, slots=True)
class Delamination:
    """Areas where a thin gap separates the bond line from a substrate.

    Parameters
    ----------
    patch_nm : float
        Size of the areas: the length over which their pattern is correlated.
    gap_nm : float
        Thickness of the gap.
    below, above : float
        Expected share of the area of each substrate.

    Raises
    ------
    ArgumentError
        If a share lies outside of [0, 1), both are 0, or a length is not positive.
    """

    patch_nm: float
    gap_nm: float
    below: float = 0.0
    above: float = 0.0

    def __post_init__(self) -> None:
        for side in ("below", "above"):
            if not 0 <= getattr(self, side) < 1:
                raise ArgumentError(
                    f"the share {side} that is delaminated is {getattr(self, side):g}; it lies in [0, 1)"
                )
        if not (0 < self.patch_nm < math.inf and 0 < self.gap_nm < math.inf):
            raise ArgumentError(
                f"delaminated areas need patch_nm and gap_nm above 0, got {self.patch_nm:g} and {self.gap_nm:g}"
            )
        if max(self.below, self.above) == 0:
            raise ArgumentError(
                "nothing is delaminated: give below or above a share, or leave delamination out"
            )


@dataclass(frozen=True, slots=True)
class ThermalInterface(Numbered):
    """Generator of a thermal interface material between two substrates, stacked along z.

    Particles are packed between the substrates and touch neither these nor each other more than in
    a point; along y and x the packing is a cell that is repeated.

    Parameters
    ----------
    grains, spacing_nm, seed
        See `Packed`.
    loading : float
        Share of the bond line that the particles fill, met to half a particle; up to 0.6.
    bond_line_nm : float
        Distance of the mean planes of the substrates, a whole number of voxels.
    substrate_nm : float
        Thickness of the lower substrate up to its mean plane, a whole number of voxels. The upper
        one goes on as far as the volume.
    cell : (y, x)
        Voxels of the cell.
    film_nm : float, optional
        Thickness of the resin that stays between two particles, and half of it at a substrate; of
        spheroids in proportion to their axes.
    lower, upper : RoughSurface, optional
        Heights of the substrates over their mean planes, towards the bond line (default: flat). Their
        pixels and period are those of the cell.
    voids : Voids, optional
        Voids in the resin (default: none).
    delamination : Delamination, optional
        Gaps at the substrates (default: none).
    phases : Phases, optional
        Names and codes of resin, filler, lower and upper substrate, and void if there is any.

    Raises
    ------
    ArgumentError
        If a number is out of range, a length is not a whole number of voxels, or a particle does not
        fit.

    Examples
    --------
    >>> model = ThermalInterface(Grains((10.0,), (1.0,)), 0.3, (1.0,) * 3, 1, 40.0, 4.0, (32, 32))
    >>> labels = model.labels(Box.whole((48, 32, 32)))
    >>> [round(float((labels == code).mean()), 3) for code in model.phases.codes]
    [0.587, 0.246, 0.083, 0.083]
    """

    kind: ClassVar[str] = "interface"

    grains: Grains
    loading: float
    spacing_nm: Point
    seed: int
    bond_line_nm: float
    substrate_nm: float
    cell: tuple[int, int]
    film_nm: float = 0.0
    lower: RoughSurface | None = None
    upper: RoughSurface | None = None
    voids: Voids | None = None
    delamination: Delamination | None = None
    phases: Phases | None = None

    def __post_init__(self) -> None:
        if self.phases is None:
            object.__setattr__(self, "phases", PIERCED if self._has_voids else JOINED)
        Noise(self.seed)  # raises if the seed is out of range
        if not all(0 < d < math.inf for d in self.spacing_nm):
            raise ArgumentError(f"a voxel has edges {self.spacing_nm}; all three must be positive")
        self._check_phases()
        self._check_lengths()
        self._check_particles()
        self._check_faults()

    @property
    def _has_voids(self) -> bool:
        return self.voids is not None or self.delamination is not None

    def _check_phases(self) -> None:
        phases = self.phases
        assert phases is not None
        needed = PIERCED if self._has_voids else JOINED
        if len(phases) != len(needed):
            raise ArgumentError(
                f"this interface has the phases {', '.join(needed)}, and {len(phases)} are named: {phases}"
            )
        phases.require_order("the resin")

    def _check_lengths(self) -> None:
        for name, length in (("bond line", self.bond_line_nm), ("substrate", self.substrate_nm)):
            slices = length / self.spacing_nm[0]
            if not slices >= 1 or not math.isfinite(slices):
                raise ArgumentError(
                    f"the {name} of {length:g} nm is thinner than a voxel of {self.spacing_nm[0]:g} nm along z"
                )
            if abs(slices - round(slices)) > 1e-6:
                raise ArgumentError(
                    f"the {name} of {length:g} nm is {slices:.6g} voxels of {self.spacing_nm[0]:g} nm along z; "
                    f"it takes whole ones, as {round(slices) * self.spacing_nm[0]:g} nm"
                )

    def _check_particles(self) -> None:
        need_spheres(self.grains)
        if not 0 <= self.film_nm < math.inf:
            raise ArgumentError(f"a film of {self.film_nm:g} nm: its thickness is 0 or more")
        filmed = self.filmed
        packed = self.loading * filmed.mean_volume / self.grains.mean_volume
        if not 0 < packed <= 0.6:
            with_films = f" ({packed:.3g} with their films)" if self.film_nm else ""
            raise ArgumentError(
                f"a packing fills a fraction between 0 and 0.6, not {self.loading:g}{with_films}: "
                "use a lower --loading or thinner films"
            )
        widths, widest = self.edges_nm / np.array(filmed.stretch), max(filmed.diameters_nm)
        if widths[0] < widest:
            raise ArgumentError(
                f"particles of {widest * self.grains.stretch[0]:g} nm along z do not fit into a bond line of "  # type: ignore[index]
                f"{self.bond_line_nm:g} nm"
            )
        if not np.isfinite(widths).all() or widths[1:].min() < 3 * widest:
            raise ArgumentError(
                f"an interface of {self.edges_nm[1]:g} x {self.edges_nm[2]:g} nm is narrower than three particles of "
                f"{widest:g} nm; use a larger volume"
            )
        if not 8 <= self.count <= MOST:
            raise ArgumentError(
                f"the bond line holds {self.count} particles; 8 to {MOST} are possible"
            )

    def _check_surface(self, surface: RoughSurface | None) -> None:
        if surface is None:
            return
        if (surface.spacing_nm, surface.period) != (self.spacing_nm[1:], self.cell):
            raise ArgumentError(
                f"a surface has pixels of {surface.spacing_nm} nm and a period of {surface.period}; those of the "
                f"interface are {self.spacing_nm[1:]} nm and {self.cell}"
            )

    def _check_faults(self) -> None:
        for surface in (self.lower, self.upper):
            self._check_surface(surface)
        if self.voids is not None and 2 * self.voids.diameter_nm > min(self.edges_nm[1:]):
            raise ArgumentError(
                f"voids of {self.voids.diameter_nm:g} nm are wider than half of the interface of "
                f"{self.edges_nm[1]:g} x {self.edges_nm[2]:g} nm; use a larger volume"
            )
        if self.delamination is None:
            return
        if self.delamination.gap_nm < self.spacing_nm[0]:
            raise ArgumentError(
                f"a gap of {self.delamination.gap_nm:g} nm is thinner than a voxel of {self.spacing_nm[0]:g} nm along z"
            )
        if self.delamination.gap_nm > self.bond_line_nm:
            raise ArgumentError(
                f"a gap of {self.delamination.gap_nm:g} nm is thicker than the bond line of {self.bond_line_nm:g} nm"
            )
        if 4 * self.delamination.patch_nm > min(self.edges_nm[1:]):
            raise ArgumentError(
                f"patch_nm is {self.delamination.patch_nm:g}; at most a quarter of the edges of the interface of "
                f"{self.edges_nm[1]:g} x {self.edges_nm[2]:g} nm"
            )

    @property
    def filmed(self) -> Grains:
        """Particles with their films, as they are packed."""
        wider = tuple(d + self.film_nm for d in self.grains.diameters_nm)
        return replace(self.grains, diameters_nm=wider)

    @property
    def edges_nm(self) -> Floats:
        """Bond line and edges of the cell in nm."""
        (_, dy, dx), (ny, nx) = self.spacing_nm, self.cell
        return np.array([self.bond_line_nm, ny * dy, nx * dx])

    @property
    def count(self) -> int:
        """Number of particles in the cell."""
        return round(self.loading * float(self.edges_nm.prod()) / self.grains.mean_volume)

    def of_shape(self, shape: Triple) -> ThermalInterface:
        """Return itself; a volume in which a substrate does not cover its whole face is refused.

        Raises
        ------
        ArgumentError
            If the volume ends within a voxel of the upper mean plane, or a valley reaches through a
            substrate.
        """
        left = shape[0] * self.spacing_nm[0] - self.substrate_nm - self.bond_line_nm
        if left < self.spacing_nm[0] * (1 - 1e-6):
            raise ArgumentError(
                f"the upper substrate is thinner than a voxel: {shape[0]} voxels along z leave {max(left, 0):g} nm "
                f"above a substrate of {self.substrate_nm:g} nm and a bond line of {self.bond_line_nm:g} nm"
            )
        for side, thickness, heights in zip(
            ("lower", "upper"), (self.substrate_nm, left), self.heights(), strict=True
        ):
            if heights.min() <= -thickness:
                raise ArgumentError(
                    f"the deepest valley of the {side} substrate, {-heights.min():.4g} nm, reaches through its "
                    f"{thickness:g} nm; use more voxels along z (--shape) or less roughness"
                )
        return self

    def check(self) -> None:
        """Pack the particles: what cannot be is refused before anything is written.

        Raises
        ------
        ArgumentError
            If rough substrates touch each other.
        ConvergenceError
            If the particles do not fit.
        """
        low, high = self.heights()
        thinnest = self.bond_line_nm - float((low + high).max())
        if thinnest <= self.spacing_nm[0]:
            raise ArgumentError(
                f"the substrates come within {max(thinnest, 0):.4g} nm of each other, a voxel or less, in a bond line "
                f"of {self.bond_line_nm:g} nm; use a thicker bond line or less roughness"
            )
        self.particles_of_cell()

    def heights(self) -> tuple[Floats, Floats]:
        """Heights in nm of both substrates over their mean planes, towards the bond line."""
        low, high = (
            FLAT if one is None else _heights(one, self.cell) for one in (self.lower, self.upper)
        )
        return low, high

    def particles_of_cell(self) -> Floats:
        """Particles of the cell, one row each: centre (3), axis (3), diameter; z from the lower mean plane."""
        return _packed(replace(self, voids=None, delamination=None, phases=None))

    @property
    def halo(self) -> Triple:
        """Range of particles that reach into a block, in voxels on each side."""
        return triple(math.ceil(self.grains.longest / d) for d in self.spacing_nm)

    def particles(self, box: Box) -> Floats:
        """Particles that may reach into a box, periodic images included."""
        low, high = bounds(box, self.spacing_nm, self.grains.longest)
        cell = self.repeating()
        return repeated(cell.particles, np.array(cell.edges_nm), low, high)

    def repeating(self) -> Repeating:
        """Particles of the cell, which is repeated along y and x."""
        cell = self.particles_of_cell().copy()
        cell[:, 0] += self.substrate_nm
        edges = (math.inf, *map(float, self.edges_nm[1:]))
        return Repeating(cell, edges, self.spacing_nm, self.grains.aspect, self.grains.longest)

    def numbers(self, box: Box, shape: Triple) -> Numbers:
        """Number of the particle of every voxel of a box of a volume; uint32, 0 outside of the filler."""
        found = self.repeating().numbers(box, shape)
        found[self.labels(box) != FILLER] = 0
        return found

    def wrapped(self, shape: Triple) -> tuple[int, ...]:
        """Axes along which a volume is whole cells: y and x, unless it is a part of them."""
        return self.repeating().wrapped(shape)

    def labels(self, box: Box) -> Labels:
        """Compute the labels of a box by voxel centres; uint8 of shape `box.shape`."""
        out = draw(self.particles(box), self.grains.aspect, box, self.spacing_nm)
        if self.voids is not None:
            void = self._voids().labels(box)
            out[(out == RESIN) & (void == 1)] = VOID
        low, high = (_cut(h, box) for h in self.heights())
        gaps = self._gaps(box)
        for plane, z in zip(out, range(box.start[0], box.stop[0]), strict=True):
            place = (z + 0.5) * self.spacing_nm[0] - self.substrate_nm
            over, under = place - low, self.bond_line_nm - place - high
            if gaps is not None:
                plane[(over < gaps[0]) | (under < gaps[1])] = VOID
            plane[np.broadcast_to(over < 0, plane.shape)] = BELOW
            plane[np.broadcast_to(under <= 0, plane.shape)] = ABOVE
        return out

    def _voids(self) -> Overlapping:
        assert self.voids is not None
        grains = Grains((self.voids.diameter_nm,), (1.0,))
        return Overlapping(grains, self.voids.share, self.spacing_nm, self.seed, (0, *self.cell))

    def _gaps(self, box: Box) -> tuple[Floats, Floats] | None:
        """Thickness of the gap at both substrates over the columns of a box, 0 where there is none."""
        if self.delamination is None:
            return None
        (_, dy, dx), patch = self.spacing_nm, self.delamination.patch_nm
        # Planes are independent: the correlation along z is far below a voxel.
        field = GaussianField((1e-3, patch, patch), (1.0, dy, dx), self.seed, (0, *self.cell))
        found = []
        for z, share in zip(
            PATCHES, (self.delamination.below, self.delamination.above), strict=True
        ):
            columns = Box((z, *box.start[1:]), (z + 1, *box.stop[1:]))
            open_ = field.cut(columns, levels((share, 1 - share)))[0] == 0 if share else False
            found.append(np.where(open_, self.delamination.gap_nm, 0.0))
        return found[0], found[1]

    def doubts(self) -> tuple[str, ...]:
        """Warning of particles that the voxels do not resolve."""
        return self.grains.doubts(self.spacing_nm)

    def block_bytes(self, core: Triple) -> int:
        """Memory of a block and of the cell, its particles and surfaces, in bytes."""
        density = self.loading / self.grains.mean_volume
        found = math.prod(core) + 500 * self.count + 64 * core[1] * core[2]
        found += points_bytes(core, self.spacing_nm, self.grains.longest, density)
        for surface in (self.lower, self.upper):
            if surface is not None:
                found += 24 * math.prod(self.cell) + 64 * surface.highest[0] * self.cell[1]
        if self.voids is not None:
            found += 3 * math.prod(core) + self._voids().block_bytes(core)
        if self.delamination is not None:
            reach = [math.ceil(4 * self.delamination.patch_nm / d) for d in self.spacing_nm[1:]]
            found += 32 * (core[1] + reach[0]) * (core[2] + reach[1])
        return found


@lru_cache(maxsize=4)
def _packed(model: ThermalInterface) -> Floats:
    gap = Gap(model.edges_nm, *model.heights())
    found = packed_slab(model.filmed, model.count, model.seed, gap)
    found[:, 6] -= model.film_nm
    return found


@lru_cache(maxsize=8)
def _heights(surface: RoughSurface, cell: tuple[int, int]) -> Floats:
    return surface.heights((0, 0), cell)


def _cut(heights: Floats, box: Box) -> Floats:
    """Heights over the columns of a box; those of a flat surface are one number."""
    if heights.size == 1:
        return heights
    y, x = (
        np.arange(a, b) % n
        for a, b, n in zip(box.start[1:], box.stop[1:], heights.shape, strict=True)
    )
    return np.asarray(heights[np.ix_(y, x)])
