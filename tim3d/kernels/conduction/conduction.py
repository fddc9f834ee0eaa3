"""Steady conduction through a label volume: effective conductivity and tortuosity factor.

The equation holds for diffusion, heat conduction and electrical conduction alike.

Unknowns are at voxel centres. A face conducts like two half voxels in series, 2 k k' / (k + k')
times the area over the distance of the centres. Opposite outer faces along one axis are held at
potential 1 and 0, and the sides are insulated or periodic; or the whole volume is periodic and a
mean gradient drives the flux. The unknown is the deviation from the linear profile, and the
solution is judged by the flux through every plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Triple, triple
from tim3d.kernels.conduction import solver
from tim3d.kernels.conduction.arrays import F32, F64, U8
from tim3d.kernels.conduction.coding import AREAS, InterfaceArea
from tim3d.kernels.conduction.ghost_layers import Alone, Halo, Wrap
from tim3d.kernels.conduction.interfaces import Areas, touching
from tim3d.kernels.conduction.local_flux import LocalFlux
from tim3d.kernels.conduction.material import (
    Conductivity,
    Diagonal,
    Interfaces,
    check_conductances,
    check_conductivities,
)
from tim3d.kernels.conduction.multigrid import (
    ghosted,
    most_slabs,
    multigrid_bytes,
    slab_cuts,
    thickest,
)
from tim3d.kernels.conduction.particle_losses import (
    ParticleLosses,
    losses_bytes,
    particle_losses,
)
from tim3d.kernels.conduction.sensitivity import Sensitivity, sensitivity
from tim3d.kernels.conduction.solver import Drive, Electrodes, Problem, Solver, State
from tim3d.kernels.conduction.surroundings import Read, as_particles, surroundings_bytes
from tim3d.kernels.conduction.thread_pool import Team, Workers
from tim3d.kernels.morphology.phase_mask import as_labels
from tim3d.kernels.morphology.surface import check_spacing

Sides = Literal["insulated", "periodic"]
SIDES = ("insulated", "periodic")
PERFECT = (math.inf, math.inf)


@dataclass(frozen=True)
class Conduction:
    """Solution of steady conduction through a volume along one axis.

    Attributes
    ----------
    conductivity : float
        Effective conductivity k_eff = Q L / (A dT), in the unit of the given conductivities; 0 if
        nothing percolates.
    percolates : bool
        Whether a path of conducting voxels (6 neighbours) joins both electrodes.
    mean_total, mean_through : float
        Mean conductivity along the axis over all voxels, and the same with islands counted as 0. An
        island is a component of conducting voxels that does not touch both electrodes.
    flux : (planes,) float64
        Effective conductivity from the flux through each plane of faces; its mean is
        `conductivity`.
    spread : float
        (max - min) / mean of `flux`: the certificate of the solution.
    iterations : int
        Steps of conjugate gradients.
    row : three floats, optional
        Mean flux density along z, y, x over the mean gradient along the axis: a row of the
        conductivity tensor. Only in a volume that is periodic along all axes.
    potential : (Z, Y, X) float32, optional
        1 at the low electrode, 0 at the high one; nan where nothing flows: in insulators and
        islands.
    size : (Z, Y, X) float32, optional
        Magnitude of the flux density in each voxel over the mean flux density: the map of
        bottlenecks. 0 where nothing flows, nan in layers that are electrodes.
    local : LocalFlux, optional
        Statistics of this magnitude by label, see `labels`.
    labels : tuple of int
        Conducting labels, in the order of the rows of `local` from 1 on.
    voxels : mapping of int to int
        Voxels of each label.
    owned : range
        Planes of the whole volume along the axis that `potential` and `size` hold.
    areas : Areas, optional
        Areas of the interfaces with a resistance, and contacts of particles.
    derivative : (Z, Y, X) float32, optional
        Derivative of the effective conductivity by that of each voxel, times the number of voxels:
        the squared local fall of the potential. 0 where nothing flows.
    sensitivity : Sensitivity, optional
        Dissipation of phases, interfaces and contacts, and the worst bottlenecks.
    single : ParticleLosses, optional
        Dissipation of single particles and of the contacts between them, if they resist.
    """

    conductivity: float
    percolates: bool
    mean_total: float
    mean_through: float
    flux: F64
    spread: float
    iterations: int
    row: tuple[float, float, float] | None = None
    potential: F32 | None = None
    size: F32 | None = None
    local: LocalFlux | None = None
    labels: tuple[int, ...] = ()
    voxels: Mapping[int, int] = field(default_factory=dict)
    owned: range = range(0)
    areas: Areas | None = None
    derivative: F32 | None = None
    sensitivity: Sensitivity | None = None
    single: ParticleLosses | None = None

    @property
    def tortuosity_total(self) -> float:
        """Tortuosity factor tau = mean k / k_eff, islands included, dimensionless.

        For one phase tau = eps k / k_eff; inf if nothing percolates.
        """
        return self.mean_total / self.conductivity if self.percolates else math.inf

    @property
    def tortuosity_through(self) -> float:
        """Tortuosity factor with islands excluded from the mean, dimensionless."""
        return self.mean_through / self.conductivity if self.percolates else math.inf


@dataclass(frozen=True)
class Physics:
    """Conductivities and boundary conditions: all that affects the result besides the labels.

    Parameters
    ----------
    conductivity : mapping of int to float or three floats
        Conductivity of every label in the volume, or its values along z, y, x: 0 or positive, the
        largest at most 1e5 times the smallest that is not 0.
    electrodes : {"outer", "centres"}
        Position of the electrode faces: the outer faces of the volume, L = N h, or the centres of
        the first and last layer of voxels, L = (N - 1) h.
    sides : {"insulated", "periodic"}
        Boundary condition on the other four faces.
    cell : bool
        Make all axes periodic, and drive the flux by a mean gradient instead of electrodes.
    interface : mapping of (int, int) to float
        Conductance per area between two labels (Kapitza), in units of conductivity over length;
        between particles of one label, if it is given twice.
    contact : two floats
        Conductance per area between the low and the high electrode and the adjacent voxels; inf is
        perfect.
    interface_area : {"faces", "normal"}
        Area on which the conductance of an interface acts: that of the smooth interface, by its
        normal, or that of the voxel faces, which is 1.5 times larger in the mean.
    """

    conductivity: Mapping[int, Conductivity]
    electrodes: Electrodes = "outer"
    sides: Sides = "insulated"
    cell: bool = False
    interface: Interfaces | None = None
    contact: tuple[float, float] = PERFECT
    interface_area: InterfaceArea = "normal"

    def check(self, shape: Sequence[int], axis: int) -> None:
        """Raise `ArgumentError` unless a volume of this shape can be solved along this axis."""
        if axis not in (0, 1, 2):
            raise ArgumentError(f"axis is {axis!r}; use 0 for z, 1 for y, 2 for x")
        if self.electrodes not in ("outer", "centres"):
            raise ArgumentError(f"electrodes are {self.electrodes!r}; use 'outer' or 'centres'")
        if self.sides not in SIDES:
            raise ArgumentError(f"sides are {self.sides!r}; use {' or '.join(map(repr, SIDES))}")
        fewest = 2 if self.electrodes == "outer" or self.cell else 3
        if shape[axis] < fewest or min(shape) < 1:
            raise ArgumentError(
                f"the volume has {shape[axis]} voxel(s) along {AXES[axis]}; "
                f"{self.electrodes!r} electrodes need {fewest}: take another axis"
            )
        if self.contact != PERFECT and (self.cell or self.electrodes == "centres"):
            raise ArgumentError(
                "a contact resistance needs electrodes on the outer faces (--faces outer), and no --cell"
            )
        if self.interface_area not in AREAS:
            raise ArgumentError(
                f"the interface area is {self.interface_area!r}; use {' or '.join(map(repr, AREAS))}"
            )
        check_conductances(self.interface or {}, self.contact, self.checked)

    @property
    def checked(self) -> dict[int, Diagonal]:
        """Return the conductivities along z, y, x by label, or raise `ArgumentError`."""
        return check_conductivities(self.conductivity)

    def refuse_centres(self) -> None:
        """Raise `ArgumentError` if electrodes are voxels, of which a part would dissipate too."""
        if self.hidden:
            raise ArgumentError("sensitivities need electrodes on the outer faces: --faces outer")

    @property
    def hidden(self) -> int:
        """Number of voxel layers at each end that are electrodes."""
        return int(self.electrodes == "centres" and not self.cell)

    def drive(self, axis: int, spacing: Sequence[float]) -> Drive:
        """Return the problem of driving a flux along an axis."""
        order = turned_order(axis)
        edges = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
        return Drive(
            self.checked, order, edges, self.electrodes, self.cell,
            self.interface, self.contact, self.interface_area,
        )  # fmt: skip

    def wrap(self, shape: Sequence[int]) -> Wrap:
        """Return which axes of the arrays are periodic.

        An axis of one voxel is not: nothing would flow along it.
        """
        sides = self.cell or self.sides == "periodic"
        return self.cell, sides and shape[1] > 1, sides and shape[2] > 1


def turned_order(axis: int) -> Triple:
    """Order of the axes in the solver's arrays: `axis` first, then the others in their order.

    >>> turned_order(1)
    (1, 0, 2)
    """
    return triple((axis, *(a for a in range(3) if a != axis)))


def check_tolerance(tolerance: float) -> None:
    """Raise `ArgumentError` unless the solver can reach the tolerance."""
    if not 1e-10 <= tolerance < 1:
        raise ArgumentError(
            f"tolerance is {tolerance!r}; use a number from 1e-10 to below 1, for example 1e-3"
        )


def conduct(
    labels: NDArray[np.uint8],
    conductivity: Mapping[int, Conductivity],
    axis: int = 0,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    electrodes: Electrodes = "outer",
    sides: Sides = "insulated",
    cell: bool = False,
    interface: Interfaces | None = None,
    contact: tuple[float, float] = PERFECT,
    interface_area: InterfaceArea = "normal",
    particles: NDArray[Any] | None = None,
    tolerance: float = 1e-3,
    keep_potential: bool = False,
    keep_flux: bool = False,
    keep_sensitivity: bool = False,
    threads: int | None = None,
) -> Conduction:
    """Solve steady conduction through a volume along one axis.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 or bool
        Label of each voxel.
    axis : int
        0, 1 or 2: along z, y or x.
    spacing : (dz, dy, dx)
        Edges of a voxel; only their ratios matter unless there are conductances per area.
    conductivity, electrodes, sides, cell, interface, contact, interface_area
        See `Physics`.
    particles : (Z, Y, X) of int, optional
        Number of the particle of each voxel, from 1 on; 0 where there is none. Needed for an
        interface of a label with itself.
    tolerance : float
        Largest (max - min) / mean of the flux over all planes. The error of the conductivity is
        smaller than this: docs/transport.md.
    keep_potential, keep_flux, keep_sensitivity : bool
        Also return the potential, magnitude and statistics of the flux in each voxel, or the
        derivative of the effective conductivity by each.
    threads : int, optional
        Number of threads; the default is all cores, or NUMBA_NUM_THREADS.

    Returns
    -------
    Conduction
        Effective conductivity, fluxes, certificate.

    Raises
    ------
    ArgumentError
        If an argument is out of range, or the axis has too few voxels.
    InputError
        If a label has no conductivity.
    ConvergenceError
        If the tolerance is not reached in 200 iterations.

    Notes
    -----
    Conjugate gradients, preconditioned by one multigrid cycle in float32; potential, fluxes and
    sums are in float64, so that a contrast of 1e5 is still resolved. The iteration stops when the
    spread is within the tolerance and the last step changed the dissipation by less than a tenth of
    the tolerance: equal fluxes alone do not prove that the flow within each plane has converged.
    Memory besides the labels: `conduct_bytes`. The result does not depend on the number of threads.
    Tortuosity factor: Cooper et al., SoftwareX 5 (2016) 203, doi:10.1016/j.softx.2016.09.002.

    Examples
    --------
    Two layers in series, with conductivities 1 and 3:

    >>> labels = np.zeros((8, 4, 4), np.uint8)
    >>> labels[4:] = 1
    >>> round(conduct(labels, {0: 1, 1: 3}, tolerance=1e-6).conductivity, 6)
    1.5

    and with an interface between them that conducts as four voxels of conductivity 1:

    >>> round(conduct(labels, {0: 1, 1: 3}, interface={(0, 1): 0.25}, tolerance=1e-6).conductivity, 6)
    0.857143
    """
    labels = as_labels(labels)
    physics = Physics(conductivity, electrodes, sides, cell, interface, contact, interface_area)
    physics.check(labels.shape, axis)
    _check_particles(labels, physics, particles)
    if keep_sensitivity:
        physics.refuse_centres()
    check_tolerance(tolerance)
    turned = np.moveaxis(labels, axis, 0)

    def read(start: int, stop: int, out: U8) -> None:
        out[...] = turned[start:stop]

    def read_particles(start: int, stop: int, out: NDArray[Any]) -> None:
        assert particles is not None
        out[...] = as_particles(np.moveaxis(particles, axis, 0)[start:stop])

    drive = physics.drive(axis, check_spacing(spacing))
    with Team(threads) as team:
        part = conduct_slab(
            read, triple(turned.shape), drive, Halo(Alone(), physics.wrap(turned.shape)), team,
            tolerance=tolerance, keep_potential=keep_potential, keep_flux=keep_flux,
            keep_sensitivity=keep_sensitivity,
            read_particles=None if particles is None else read_particles,
        )  # fmt: skip
    return replace(
        part, potential=_turned_back(part.potential, axis), size=_turned_back(part.size, axis),
        derivative=_turned_back(part.derivative, axis),
    )  # fmt: skip


def _turned_back(field: F32 | None, axis: int) -> F32 | None:
    return None if field is None else np.ascontiguousarray(np.moveaxis(field, 0, axis))


def _check_particles(
    labels: NDArray[np.uint8], physics: Physics, particles: NDArray[Any] | None
) -> None:
    divided = touching(physics.interface)
    if divided and particles is None:
        raise ArgumentError(f"an interface of label {min(divided)} with itself needs its particles")
    if particles is not None and particles.shape != labels.shape:
        raise ArgumentError(f"particles are {particles.shape} and labels {labels.shape}")


def conduct_slab(
    read: Read,
    shape: Triple,
    drive: Drive,
    halo: Halo,
    team: Workers,
    *,
    tolerance: float = 1e-3,
    keep_potential: bool = False,
    keep_flux: bool = False,
    keep_sensitivity: bool = False,
    read_particles: Read | None = None,
    begin: Callable[[Problem, State], None] = lambda problem, state: None,
    watch: Callable[[Problem, State], None] = lambda problem, state: None,
) -> Conduction:
    """`conduct` on one of several ranks that share a volume.

    Every rank gets the same numbers, and its own part of the fields.

    Parameters
    ----------
    read : callable
        ``read(start, stop, out)`` writes the labels of planes start..stop along the axis to `out`.
    shape : (Z, Y, X)
        Voxels of the whole volume, the axis of the flux first.
    drive : Drive
        The material and how the flux is driven.
    halo : Halo
        The ring of ranks, and the periodic axes.
    team : Workers
        Executor of the kernels.
    tolerance, keep_potential, keep_flux, keep_sensitivity
        See `conduct`.
    read_particles : callable, optional
        As `read`, the number of the particle of each voxel.
    begin, watch : callable
        Called with the state before the first step, to resume from a checkpoint, and after each
        step, to write one.
    """
    problem = solver.pose(read, shape, drive, halo, team, read_particles)
    total, through = problem.mean_total[0], problem.mean_through[0]
    voxels = {int(label): int(problem.counts[label]) for label in np.flatnonzero(problem.counts)}
    if not problem.conducts[0]:
        nothing = np.zeros(drive.faces(shape[0]))
        part = (len(problem.owned), *shape[1:])
        return Conduction(
            0.0, False, total, 0.0, nothing, 0.0, 0, (0.0, 0.0, 0.0) if drive.periodic else None,
            np.full(part, np.nan, np.float32) if keep_potential else None,
            np.zeros(part, np.float32) if keep_flux else None, voxels=voxels, owned=problem.owned,
            areas=problem.areas,
            derivative=np.zeros(part, np.float32) if keep_sensitivity else None,
        )  # fmt: skip
    state = solver.at_rest(problem, team)
    begin(problem, state)
    steps = Solver(problem, team)
    steps.solve(state, tolerance, lambda now: watch(problem, now))
    row = _row(drive, state.mean, *steps.crossflow(state)) if drive.periodic else None
    kept = solver.potential(problem, state, team) if keep_potential else None
    statistics, size = solver.local(problem, state, team) if keep_flux else (None, None)
    losses, derivative = sensitivity(problem, state, team) if keep_sensitivity else (None, None)
    single = particle_losses(problem, state, team, read_particles) if keep_sensitivity else None
    return Conduction(
        state.mean, True, total, through, state.flux, state.spread, state.iterations, row, kept,
        size, statistics, tuple(sorted(set(problem.found.labels))), voxels, problem.owned,
        problem.areas, derivative, losses, single,
    )  # fmt: skip


def _row(drive: Drive, first: float, second: float, third: float) -> tuple[float, float, float]:
    row = [0.0, 0.0, 0.0]
    for axis, value in zip(drive.order, (first, second, third), strict=True):
        row[axis] = value
    return row[0], row[1], row[2]


def most_parts(shape: Triple, drive: Drive) -> int:
    """Largest number of slabs that a volume can be cut into, its axes in the order of `drive`."""
    return max(1, most_slabs(drive.unknowns(shape), drive.spacing))


def conduct_bytes(shape: Triple, drive: Drive, slabs: int = 1, fields: int = 0) -> int:
    """Peak memory of `conduct` in bytes, besides the labels, for the largest of `slabs` slabs.

    Potential 8, residual, correction and direction 4 each, codes 1: 21 per voxel, and 2.9 for the
    coarse levels of isotropic voxels; 4 for each of the fields that are kept.

    Parameters
    ----------
    shape : (Z, Y, X)
        Voxels of the whole volume, its axes in the order of `drive`.
    drive : Drive
        The material and how the flux is driven.
    slabs : int
        Number of slabs.
    fields : int
        Number of fields that are kept.

    Examples
    --------
    >>> conduct_bytes((256, 256, 256), Physics({0: 1}).drive(0, (1, 1, 1))) / 256**3 < 25
    True
    """
    unknowns = drive.unknowns(shape)
    thick = thickest(slab_cuts(unknowns, drive.spacing, slabs)[0])
    planes = thick + drive.hidden * (2 if slabs == 1 else 1)
    kept = 4 * fields * math.prod((planes, *shape[1:]))
    solving = (
        21 * math.prod(ghosted((thick, *unknowns[1:])))
        + multigrid_bytes(unknowns, drive.spacing, slabs)
        + kept
    )
    if not drive.interface:
        return solving
    divided, slab = bool(touching(drive.interface)), (planes, *shape[1:])
    if divided and fields:
        solving += losses_bytes(slab)
    # Interfaces are found before the arrays of the solver are there.
    return max(solving, surroundings_bytes(slab, divided))
