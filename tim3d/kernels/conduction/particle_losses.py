"""Which particles and which of their contacts limit the flux: what is dissipated in each of them.

The codes of the solver say that two voxels are of different particles, but not of which. The numbers of
the particles are therefore read again, some planes at a time. What is dissipated is added up in whole
numbers, in parts of 2^-60 of the whole, so that no bit depends on the slabs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import F64, U8
from tim3d.kernels.conduction.interfaces import Areas, touching
from tim3d.kernels.conduction.normals import Ints
from tim3d.kernels.conduction.sensitivity import face_flux, solution
from tim3d.kernels.conduction.solver import Problem, State
from tim3d.kernels.conduction.surroundings import Read, sources
from tim3d.kernels.conduction.thread_pool import Workers

# Planes of particles that are held at a time, besides the one below them.
PLANES = 16
# Parts of the whole dissipation in which it is counted.
PARTS = 2.0**60
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class ParticleLosses:
    """Dissipation in particles and in their contacts, in the unit of the effective conductivity.

    Attributes
    ----------
    numbers : (n,) int64
        Numbers of the particles, increasing.
    particles : (n,) float64
        k dk_eff/dk of all voxels of each particle.
    missing : float
        The same of the voxels of these phases that belong to no particle.
    pairs : (m, 2) int64
        Numbers of two particles that touch, the smaller first.
    areas : (m,) float64
        True area of each contact, in the squared unit of the voxel's edges.
    contacts : (m,) float64
        H dk_eff/dH of each contact.
    places : (m, 3) int64
        Voxel of the largest dissipation in each contact, along the axes of the arrays; -1 where
        nothing flows through a contact.
    """

    numbers: Ints
    particles: F64
    missing: float
    pairs: Ints
    areas: F64
    contacts: F64
    places: Ints


def particle_losses(
    problem: Problem, state: State, team: Workers, read: Read | None
) -> ParticleLosses | None:
    """Dissipation in all particles and contacts, the same on all ranks; None where none resist.

    Parameters
    ----------
    problem : Problem
        This rank's slab, with electrodes on the outer faces or periodic.
    state : State
        The solution.
    team : Workers
        Where the solution is.
    read : callable, optional
        ``read(start, stop, out)`` writes the numbers of the particles of these planes to `out`.
    """
    divided = touching(problem.drive.interface)
    if read is None or problem.areas is None or not divided:
        return None
    contacts, whole = problem.areas.contacts, state.mean * math.prod(problem.shape)
    lost = np.zeros(len(problem.areas.numbers) + 1, np.int64)
    across, most = np.zeros((2, len(contacts.areas) + 1), np.int64)
    where = np.full(len(across), -1)
    given = (
        *solution(problem, state, team), _labels(problem, divided), problem.areas.numbers,
        contacts.pairs[:, 0] << 32 | contacts.pairs[:, 1], PARTS / whole, lost, across, most, where,
    )  # fmt: skip
    for start in range(problem.owned.start, problem.owned.stop, PLANES):
        planes = range(start, min(start + PLANES, problem.owned.stop))
        _tally(start - problem.owned.start + 1, start, _numbers(read, planes, problem), *given)
    parts = problem.halo.ring.collect((lost, across, most, where))
    return _together(parts, problem.areas, problem.shape, state.mean / PARTS)


def losses_bytes(shape: Sequence[int]) -> int:
    """Bytes of the numbers of particles that are held at a time, in a slab of this shape."""
    return 4 * min(PLANES + 1, shape[0] + 1) * shape[1] * shape[2]


def _labels(problem: Problem, divided: frozenset[int]) -> Ints:
    """Label of each code whose particles resist each other; -1 of the others and of electrodes."""
    labels = [n if n in divided else -1 for n in problem.found.labels]
    return np.array([-1, *labels, -1, -1], np.int64)


def _numbers(read: Read, planes: range, problem: Problem) -> NDArray[np.uint32]:
    """Numbers of the particles in these planes and in the one below them."""
    out = np.empty((len(planes) + 1, *problem.shape[1:]), np.uint32)
    below = range(planes.start - 1, planes.start)
    (source,) = sources(below, problem.shape[0], problem.halo.wrap[0])
    read(source, source + 1, out[:1])
    read(planes.start, planes.stop, out[1:])
    return out


def _together(
    parts: Sequence[tuple[Ints, ...]], areas: Areas, shape: tuple[int, int, int], unit: float
) -> ParticleLosses:
    """Sums over all slabs; the first place of those with the same dissipation."""
    lost, across = (unit * np.sum([part[n] for part in parts], 0) for n in (0, 1))
    most, where = (np.stack([part[n][:-1] for part in parts]) for n in (2, 3))
    first = np.take_along_axis(where, most.argmax(0)[None], 0)[0]
    places = np.stack(np.unravel_index(np.maximum(first, 0), shape), 1)
    places[first < 0] = -1
    return ParticleLosses(
        areas.numbers, lost[:-1], float(lost[-1]), areas.contacts.pairs, areas.contacts.areas,
        across[:-1], places,
    )  # fmt: skip


@_kernel
def _place(ordered: Ints, value: np.int64) -> int:
    """Index of a value, or one beyond the last where it is not there."""
    n = int(np.searchsorted(ordered, value))
    return n if n < len(ordered) and ordered[n] == value else len(ordered)


@_kernel
def _tally(
    first: int,
    start: int,
    parts: NDArray[np.uint32],
    x: F64,
    codes: U8,
    pairs: F64,
    crossing: F64,
    drops: F64,
    half: F64,
    scale: F64,
    labels: Ints,
    numbers: Ints,
    keys: Ints,
    quanta: float,
    lost: Ints,
    across: Ints,
    most: Ints,
    where: Ints,
) -> None:
    """Add up the dissipation in particles and contacts over some planes.

    Parameters
    ----------
    first, start : int
        First plane in `codes`, and in the volume.
    parts : (planes+1, ny, nx)
        Number of the particle of each voxel, of the plane below them too.
    x, codes, pairs, crossing, drops, half, scale
        See `tim3d.kernels.conduction.sensitivity.solution`.
    labels : (codes+2,)
        Label of each code with particles, or -1.
    numbers, keys
        Numbers of all particles, and of all contacts both in one, increasing.
    quanta : float
        Dissipation is counted times this.
    lost : (particles+1,)
        Output: dissipation in each particle, and in voxels without one.
    across, most, where : (contacts+1,)
        Output: dissipation in each contact, its largest in a face, and which voxel that is of. The
        last is for faces that were no contact when the codes were made: there are none.
    """
    ny, nx = parts.shape[1], parts.shape[2]
    for plane in range(1, parts.shape[0]):
        z = first + plane - 1
        for y in range(ny):
            for i in range(nx):
                own, me = codes[z, y + 1, i + 1], np.int64(parts[plane, y, i])
                if labels[own] < 0:
                    continue
                inside = 0.0
                for side in range(6):
                    axis, other, flux = face_flux(
                        side, z, y + 1, i + 1, x, codes, pairs, drops, scale
                    )
                    inside += half[own, axis] * flux * flux
                    over = crossing[axis, own, other] * flux * flux
                    # Each face once: of the voxel above it.
                    if side % 2 == 1 or labels[other] != labels[own] or not over > 0:
                        continue
                    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
                    them = np.int64(parts[plane - dz, (y - dy) % ny, (i - dx) % nx])
                    contact = _place(keys, min(me, them) << 32 | max(me, them))
                    part = np.int64(np.rint(over * quanta))
                    across[contact] += part
                    if part > most[contact]:
                        most[contact] = part
                        where[contact] = ((start + plane - 1) * ny + y) * nx + i
                lost[_place(numbers, me)] += np.int64(np.rint(inside * quanta))
