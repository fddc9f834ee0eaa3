"""Conduction solver on a volume, or on this rank's slab: problem, conjugate gradients, certificate.

All ranks make the same calls. Sums are gathered plane by plane and added in a fixed order, so that
no bit of the result depends on the number of slabs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ConvergenceError
from tim3d.grid import Triple
from tim3d.kernels.conduction import local_flux, stencil
from tim3d.kernels.conduction.arrays import F32, F64, U8
from tim3d.kernels.conduction.coding import InterfaceArea, code_interfaces
from tim3d.kernels.conduction.conducting_clusters import keep_through
from tim3d.kernels.conduction.ghost_layers import Halo
from tim3d.kernels.conduction.interfaces import Areas, touching
from tim3d.kernels.conduction.local_flux import LocalFlux
from tim3d.kernels.conduction.material import (
    Diagonal,
    Interfaces,
    Material,
    check_labels,
    material,
    pair_conductances,
)
from tim3d.kernels.conduction.multigrid import Multigrid, slab_cuts, voxel_level
from tim3d.kernels.conduction.surroundings import Read, Surroundings, surroundings
from tim3d.kernels.conduction.thread_pool import Workers

Electrodes = Literal["outer", "centres"]
MOST_ITERATIONS = 200
# The last step may change the dissipation by this fraction of the tolerance of the flux.
STEP_SHARE = 0.1


@dataclass(frozen=True)
class Drive:
    """Material and driving of the flux, which is along the first axis of the arrays.

    Attributes
    ----------
    conductivity : mapping of int to three floats
        Conductivity along z, y, x, by label.
    order : three ints
        Index in (z, y, x) of each axis of the arrays.
    spacing : three floats
        Edges of a voxel along the axes of the arrays, in the unit of length of the conductances per
        area.
    periodic : bool
        A mean gradient in a volume that is periodic along all axes, instead of electrodes.
    electrodes : {"outer", "centres"}
        Position of the electrode faces.
    interface, contact
        Conductances per area between labels, and at the electrodes below and above.
    interface_area : {"faces", "normal"}
        Area on which those between labels act.
    """

    conductivity: Mapping[int, Diagonal]
    order: Triple
    spacing: tuple[float, float, float]
    electrodes: Electrodes = "outer"
    periodic: bool = False
    interface: Interfaces | None = None
    contact: tuple[float, float] = (math.inf, math.inf)
    interface_area: InterfaceArea = "normal"

    @property
    def hidden(self) -> int:
        """Number of voxel layers at each end that are electrodes."""
        return int(self.electrodes == "centres" and not self.periodic)

    @property
    def conducting(self) -> list[int]:
        """Labels that have a conductivity above 0."""
        return [label for label, k in self.conductivity.items() if k[0] > 0]

    def unknowns(self, shape: Triple) -> Triple:
        """Shape of the array of unknown potentials."""
        return shape[0] - 2 * self.hidden, shape[1], shape[2]

    def length(self, planes: int) -> int:
        """Distance between the electrode faces, in voxels."""
        return planes - self.hidden

    def faces(self, planes: int) -> int:
        """Number of planes of faces in which the flux is compared."""
        return planes + 1 - 2 * self.hidden - int(self.periodic)


@dataclass(frozen=True)
class Problem:
    """This rank's slab: codes, with electrodes and neighbours in the ghosts, and pair conductances.

    Attributes
    ----------
    drops : (nz+2,) float64
        Fall of the linear profile across the plane of faces below each plane of voxels.
    start : int
        First plane of the slab, counted over all unknowns.
    owned : range
        Planes of labels that this rank owns, electrodes on centres included.
    counts : (256,) int64
        Voxels of each label in the whole volume.
    conducts : three bools
        Whether anything percolates along each axis.
    areas : Areas, optional
        Interfaces with a resistance; None if there are none.
    """

    drive: Drive
    shape: Triple
    start: int
    owned: range
    codes: U8
    pairs: F64
    drops: F64
    found: Material
    halo: Halo
    counts: NDArray[np.int64]
    mean_total: Diagonal
    mean_through: Diagonal
    conducts: tuple[bool, bool, bool]
    areas: Areas | None = None

    @property
    def faces(self) -> range:
        """Planes of faces that this rank owns."""
        last = self.halo.ring.rank == self.halo.ring.size - 1
        return range(1, self.codes.shape[0] - 1 + int(last and not self.drive.periodic))

    @property
    def planes(self) -> range:
        """Planes of voxels that this rank owns."""
        return range(1, self.codes.shape[0] - 1)

    @property
    def cross_section(self) -> int:
        """Number of voxels in a plane."""
        return self.shape[1] * self.shape[2]

    @property
    def length(self) -> int:
        """Fall of the linear profile from end to end."""
        return self.drive.length(self.shape[0] + 2 * self.drive.hidden)


def pose(
    read: Read,
    shape: Triple,
    drive: Drive,
    halo: Halo,
    team: Workers,
    read_particles: Read | None = None,
) -> Problem:
    """Read this rank's slab and prepare it.

    Parameters
    ----------
    read : callable
        ``read(start, stop, out)`` writes the labels of these planes into `out`.
    shape : (Z, Y, X)
        Voxels of the whole volume, its axes in the order of `drive`.
    drive : Drive
        The material and how the flux is driven.
    halo : Halo
        The ring of ranks, and the periodic axes.
    team : Workers
        Executor of the kernels.
    read_particles : callable, optional
        As `read`, the number of the particle of each voxel; needed for contacts of particles.

    Raises
    ------
    InputError
        If a label has no conductivity.
    """
    ring, unknowns = halo.ring, drive.unknowns(shape)
    start, stop = slab_cuts(unknowns, drive.spacing, ring.size)[0][ring.rank : ring.rank + 2]
    first, last = ring.rank == 0, ring.rank == ring.size - 1
    # Planes of labels include electrodes on centres, which belong to the slabs at the ends.
    low, high = start + drive.hidden * (not first), stop + drive.hidden * (1 + last)
    owned, interface = range(low, high), drive.interface or {}
    codes = np.zeros((high - low + 2, shape[1] + 2, shape[2] + 2), np.uint8)
    inner = codes[1:-1, 1:-1, 1:-1]
    around = _read(read, read_particles, owned, shape, drive, halo, inner)
    counts = _added(ring.collect(_count(inner)))
    check_labels(counts, drive.conductivity)
    found = material(drive.conductivity, counts, interface, drive.order)
    code_of = found.code_of
    for plane in inner:
        plane[...] = code_of[plane]
    total = through = _mean(counts[list(found.labels)], found, counts.sum())
    conducts = (True, True, True)
    if counts.sum() > counts[list(found.labels)].sum():
        conducts = keep_through(inner, halo)
        carrying = _added(ring.collect(_count(inner)))
        through = _mean(carrying[1 : len(found.values)], found, counts.sum())
    areas = None
    if around is not None:
        found, areas = code_interfaces(
            inner, found, around, drive.conducting, interface, drive.interface_area, drive.spacing,
            ring, team,
        )  # fmt: skip
    halo.refresh(codes)
    codes, drops = _ends(codes, drive, first, last, len(found.values))
    pairs = pair_conductances(found, drive.spacing, drive.contact)
    return Problem(
        drive,
        unknowns,
        start,
        owned,
        codes,
        pairs,
        drops,
        found,
        halo,
        counts,
        total,
        through,
        conducts,
        areas,
    )


def _read(
    read: Read,
    read_particles: Read | None,
    owned: range,
    shape: Triple,
    drive: Drive,
    halo: Halo,
    out: U8,
) -> Surroundings | None:
    """Read the labels of a slab into `out`, and what is around it where interfaces resist."""
    if not drive.interface:
        read(owned.start, owned.stop, out)
        return None
    particles = touching(drive.interface)
    around = surroundings(read, read_particles, owned, shape, halo.wrap, particles)
    out[...] = around.inner
    return around


def _count(labels: U8) -> np.ndarray:
    """Voxels of each label, counted by plane: bincount copies its input to 8 bytes a voxel."""
    return _added([np.bincount(plane.ravel(), minlength=256) for plane in labels])


def _added(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.sum(parts, axis=0, dtype=np.int64))


def _mean(counts: np.ndarray, found: Material, voxels: int) -> Diagonal:
    """Mean conductivities of a volume with `counts` voxels of the codes 1, 2, ..."""
    means = counts @ found.values[1:] / voxels
    return float(means[0]), float(means[1]), float(means[2])


def _ends(codes: U8, drive: Drive, first: bool, last: bool, electrode: int) -> tuple[U8, F64]:
    """Codes and drops with electrodes: on centres the outermost layers become ghosts.

    Otherwise the ghosts get codes of their own.
    """
    if drive.hidden:
        codes = codes[1 if first else 0 : -1 if last else None]
    drops = np.ones(codes.shape[0])
    if not (drive.hidden or drive.periodic):
        if first:
            codes[0, 1:-1, 1:-1], drops[1] = electrode, 0.5
        if last:
            codes[-1, 1:-1, 1:-1], drops[-1] = electrode + 1, 0.5
    return codes, drops


@dataclass
class State:
    """State of the conjugate gradient iteration: everything the next step needs.

    Attributes
    ----------
    x : (nz+2, ny+2, nx+2) float64
        Deviation from the linear profile.
    direction : (nz+2, ny+2, nx+2) float32
        The last search direction.
    before, gain : float
        Product of residual and correction at the last step, and the change of the dissipation in
        it.
    flux : (planes,) float64
        Effective conductivity from the flux through each plane of faces of the whole volume.
    """

    x: Any
    direction: Any
    before: float = math.inf
    gain: float = math.inf
    iterations: int = 0
    flux: F64 = field(default_factory=lambda: np.zeros(0))

    @property
    def mean(self) -> float:
        """Effective conductivity, in the unit of the given conductivities."""
        return float(self.flux.mean())

    @property
    def spread(self) -> float:
        """Certificate of the solution: (max - min) / mean of the flux, dimensionless."""
        return (
            (float(self.flux.max()) - float(self.flux.min())) / self.mean
            if self.mean > 0
            else math.inf
        )


def at_rest(problem: Problem, team: Workers) -> State:
    """Return the initial state, the linear profile."""
    shape = problem.codes.shape
    return State(team.zeros(shape, np.float64), team.zeros(shape, np.float32))


class Solver:
    """Conjugate gradients, preconditioned by one multigrid cycle.

    After each step the residual is recomputed from the potential, along with the fluxes.
    """

    def __init__(self, problem: Problem, team: Workers) -> None:
        self._problem, self._team, self._ring = problem, team, problem.halo.ring
        self._codes, self._pairs = team.from_numpy(problem.codes), team.from_numpy(problem.pairs)
        self._drops = team.from_numpy(problem.drops)
        single = team.from_numpy(problem.pairs.astype(np.float32))
        self._finest = voxel_level(self._codes, single, team, problem.halo, problem.start)
        self._residual = team.zeros(problem.codes.shape, np.float32)

    def solve(
        self, state: State, tolerance: float, watch: Callable[[State], None] = lambda state: None
    ) -> State:
        """Iterate from `state`, in place, until the fluxes through all planes agree.

        Parameters
        ----------
        state : State
            Starting point; changed in place.
        tolerance : float
            Largest (max - min) / mean of the flux over all planes.
        watch : callable
            Called with the state after each step.

        Raises
        ------
        ConvergenceError
            If the tolerance is not reached in 200 steps.
        """
        team, problem = self._team, self._problem
        self._judge(state)
        if not any(self._ring.collect(bool((self._residual != 0).any()))):
            return state
        multigrid = Multigrid(self._finest, problem.shape, problem.drive.spacing, team)
        correction = team.zeros(problem.codes.shape, np.float32)
        while not (state.spread <= tolerance and state.gain <= STEP_SHARE * tolerance):
            multigrid.apply(correction, self._residual)
            now = self._total(team.kernels.dot, problem.planes, correction, self._residual)
            if now == 0 and state.spread <= tolerance:  # converged to the last bit
                break
            if now <= 0 or state.iterations == MOST_ITERATIONS:
                raise _not_converged(state, tolerance)
            self._step(state, correction, now)
            watch(state)
        return state

    def _step(self, state: State, correction: Any, now: float) -> None:
        team, problem = self._team, self._problem
        kernels, planes, cells = team.kernels, problem.planes, self._finest.cells
        team.run(kernels.scale_add, planes, cells, state.direction, now / state.before, correction)
        problem.halo.refresh(state.direction)
        step = now / self._total(
            kernels.energy, problem.faces, state.direction, *self._finest.conductances
        )
        team.run(kernels.add_scaled, planes, cells, state.x, step, state.direction)
        self._judge(state)
        state.iterations, state.before = state.iterations + 1, now
        state.gain = step * now / (abs(state.mean) * problem.cross_section * problem.length)

    def _judge(self, state: State) -> None:
        """Compute residual and fluxes of the potential."""
        team, problem = self._team, self._problem
        problem.halo.refresh(state.x)
        flux = team.zeros((problem.faces.stop,), np.float64)
        team.run(
            team.kernels.balance, problem.faces, self._finest.cells,
            self._residual, flux, state.x, self._codes, self._pairs, self._drops,
        )  # fmt: skip
        state.flux = self._gathered(flux) / problem.cross_section

    def _total(self, kernel: Callable[..., None], planes: range, *arguments: Any) -> float:
        """Sum of a kernel's results over the planes of all slabs."""
        sums = self._team.zeros((planes.stop,), np.float64)
        self._team.run(kernel, planes, self._finest.cells, *arguments, sums)
        return float(self._gathered(sums).sum())

    def _gathered(self, sums: Any) -> F64:
        return np.concatenate(self._ring.collect(self._team.to_numpy(sums)[1:]))

    def crossflow(self, state: State) -> tuple[float, float]:
        """Off-diagonal conductivities: mean flux densities along the second and the third axis."""
        problem, x = self._problem, self._team.to_numpy(state.x)
        sums = [np.zeros(problem.planes.stop) for _ in range(2)]
        self._team.run(
            stencil.crossflow, problem.planes, self._finest.cells, x, problem.codes, problem.pairs, *sums
        )  # fmt: skip
        voxels, spacing = math.prod(problem.shape), problem.drive.spacing
        north, west = (
            float(np.concatenate(self._ring.collect(part[1:])).sum()) / voxels for part in sums
        )
        return north * spacing[1] / spacing[0], west * spacing[2] / spacing[0]


def _not_converged(state: State, tolerance: float) -> ConvergenceError:
    return ConvergenceError(
        f"after {state.iterations} iterations the flux differs between planes by {state.spread:.2g} of its mean; "
        f"the tolerance is {tolerance:g}. Use a larger --tolerance or a smaller contrast"
    )


def potential(problem: Problem, state: State, team: Workers) -> F32:
    """Potential on this rank's planes of labels, from 1 to 0; nan where nothing flows.

    Layers that are electrodes are included. In a periodic volume the potential is the linear
    profile, 1 on the lowest outer face, plus the deviation.

    Parameters
    ----------
    problem : Problem
        This rank's slab.
    state : State
        The solution.
    team : Workers
        Executor of the kernels.
    """
    hidden = problem.drive.hidden
    first = 1 - problem.start - hidden
    rows = [plane + first for plane in problem.owned]
    x = team.to_numpy(state.x)
    out = np.empty((len(rows), *(n - 2 for n in problem.codes.shape[1:])), np.float32)
    for target, row in zip(out, rows, strict=True):
        # Voxel centres are half a plane from outer faces, whole planes from electrodes on centres.
        fallen = problem.start + row - (0.5 if not hidden else 0.0)
        value = (problem.length - fallen + x[row, 1:-1, 1:-1]) / problem.length
        target[...] = np.where(problem.codes[row, 1:-1, 1:-1] > 0, value, np.nan)
    return out


def local(problem: Problem, state: State, team: Any) -> tuple[LocalFlux, F32]:
    """Flux statistics by code over all slabs, and the flux magnitude over its mean on this slab.

    The magnitude is 0 where nothing flows, and nan in layers that are electrodes.

    Parameters
    ----------
    problem : Problem
        This rank's slab.
    state : State
        The solution.
    team : Team
        Executor of the kernels.
    """
    codes, planes, cells = problem.codes, problem.planes, problem.codes.size
    kinds = len(problem.found.values)
    with np.errstate(divide="ignore"):
        half = 0.5 / problem.found.values
    scale = np.array([h / problem.drive.spacing[0] for h in problem.drive.spacing])
    size, x = np.zeros(codes.shape, np.float32), team.to_numpy(state.x)
    dissipation = np.zeros((codes.shape[0], kinds))
    team.run(
        local_flux.flux_size, planes, cells,
        size, dissipation, x, codes, problem.pairs, problem.drops, half, scale,
    )  # fmt: skip
    voxels, sums = np.zeros((codes.shape[0], kinds), np.int64), np.zeros((codes.shape[0], kinds, 2))
    histogram = np.zeros((codes.shape[0], kinds, local_flux.CLASSES), np.int64)
    team.run(local_flux.tally, planes, cells, size, codes, state.mean, voxels, sums, histogram)
    tables = tuple(table[1:-1] for table in (voxels, sums, dissipation, histogram))
    statistics = local_flux.together(problem.halo.ring.collect(tables))
    out = np.full((len(problem.owned), *problem.shape[1:]), np.nan, np.float32)
    first = problem.start + problem.drive.hidden - problem.owned.start
    np.divide(
        size[1:-1, 1:-1, 1:-1], np.float32(state.mean), out=out[first : first + len(problem.planes)]
    )
    return statistics.by_label(problem.found.labels), out
