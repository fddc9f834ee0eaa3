"""Which voxels limit the flux: the exact derivative of the effective conductivity by each of them.

The effective conductivity is the least dissipation under a unit of mean gradient, so that its
derivative needs no second solution: by the conductivity of a voxel it is the squared local fall of
the potential, and a conductance per area has it from the fall across the interface. As both sides
are homogeneous of degree one, ``sum k dk_eff/dk + sum H dk_eff/dH = k_eff``, which certifies them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import F32, F64, U8
from tim3d.kernels.conduction.local_flux import in_order
from tim3d.kernels.conduction.solver import Problem, State
from tim3d.kernels.conduction.thread_pool import Workers

# Edge of the cubes in which bottlenecks are looked for, in voxels, and how many are listed.
CUBE = 8
WORST = 10
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class Bottleneck:
    """A cube of 8 voxels that takes more of the whole dissipation than those around it.

    Attributes
    ----------
    place : three ints
        Its voxel of the largest dissipation, along the axes of the arrays.
    share : float
        Its share of the whole dissipation.
    """

    place: tuple[int, int, int]
    share: float


@dataclass(frozen=True)
class Sensitivity:
    """Dissipation by what dissipates it, in the unit of the effective conductivity.

    Attributes
    ----------
    phases : mapping of int to float
        k dk_eff/dk of each label, all its voxels together.
    interfaces : mapping of (int, int) to float
        H dk_eff/dH of each interface.
    contacts : two floats
        The same of the contacts with the low and the high electrode.
    certificate : float
        Sum of all over the effective conductivity, less 1.
    worst : tuple of Bottleneck
        The worst bottlenecks, none beside another, the worst first.
    """

    phases: Mapping[int, float]
    interfaces: Mapping[tuple[int, int], float]
    contacts: tuple[float, float]
    certificate: float
    worst: tuple[Bottleneck, ...]


def sensitivity(problem: Problem, state: State, team: Workers) -> tuple[Sensitivity, F32]:
    """Derivatives of the effective conductivity, the same on all ranks, and their map on this slab.

    The map is dk_eff/dk of a voxel times the number of voxels, dimensionless: the derivative by a
    common factor of its conductivities over that along the flux. 0 where nothing flows.

    Parameters
    ----------
    problem : Problem
        This rank's slab, with electrodes on the outer faces or periodic.
    state : State
        The solution.
    team : Workers
        Executor of the kernels.
    """
    found, codes = problem.found, problem.codes
    count, labels = len(found.values), sorted(set(found.labels))
    row = np.array([0, *(1 + labels.index(n) for n in found.labels)], np.int64)
    row = np.concatenate([row, [len(labels) + 1, len(labels) + 2]])
    with np.errstate(divide="ignore"):
        along = 1 / found.values[:, 0]
    planes, cubes = codes.shape[0], [-(-n // CUBE) for n in problem.shape[1:]]
    out = np.zeros((planes - 2, *problem.shape[1:]), np.float32)
    volume = np.zeros((planes, len(labels) + 1))
    area = np.zeros((planes, len(labels) + 3, len(labels) + 3))
    lost, most = np.zeros((planes, *cubes)), np.zeros((planes, *cubes))
    where = np.zeros((planes, *cubes), np.int64)
    team.run(
        _losses, problem.planes, codes.size, out, volume, area, lost, most, where,
        *solution(problem, state, team), along, row, count,
    )  # fmt: skip
    tables = [
        np.concatenate(problem.halo.ring.collect(table[1:-1]))
        for table in (volume, area, lost, most, where)
    ]
    return _together(problem, state, labels, tables), out


def solution(problem: Problem, state: State, team: Workers) -> tuple[Any, ...]:
    """Potential, codes and conductances, from `x` to `scale` of the kernels, to find fluxes with."""
    spacing = problem.drive.spacing
    with np.errstate(divide="ignore"):
        half = 0.5 / problem.found.values
    return (
        team.to_numpy(state.x), problem.codes, problem.pairs, _crossing(problem), problem.drops,
        half, np.array([h / spacing[0] for h in spacing]),
    )  # fmt: skip


def _crossing(problem: Problem) -> F64:
    """Resistance of what lies between the half voxels of a face, by axis and codes."""
    found, spacing = problem.found, problem.drive.spacing
    count = len(found.values)
    table = np.zeros((3, count + 2, count + 2))
    for axis, h in enumerate(spacing):
        table[axis, :count, :count] = 1 / found.interface / h
    for electrode, conductance in zip((count, count + 1), problem.drive.contact, strict=True):
        table[0, electrode, :count] = table[0, :count, electrode] = 1 / (conductance * spacing[0])
    return table


def _together(
    problem: Problem, state: State, labels: Sequence[int], tables: Sequence[NDArray[Any]]
) -> Sensitivity:
    """Sums over the planes of all slabs."""
    voxels = math.prod(problem.shape)
    volume, area = (in_order(table) / voxels for table in tables[:2])
    area = area + np.tril(area, -1).T + np.triu(area, 1).T
    low, high = len(labels) + 1, len(labels) + 2
    phases = {label: float(volume[n]) for n, label in enumerate(labels, 1)}
    pairs = {tuple(sorted(pair)) for pair in problem.drive.interface or {}}
    interfaces = {
        (a, b): float(area[1 + labels.index(a), 1 + labels.index(b)])
        for a, b in sorted(pairs)
        if a in labels and b in labels
    }
    contacts = float(area[low].sum()), float(area[high].sum())
    whole = math.fsum([*phases.values(), *interfaces.values(), *contacts])
    return Sensitivity(
        phases, interfaces, contacts, whole / state.mean - 1, _worst(tables[2:], whole * voxels)
    )


def _worst(tables: Sequence[NDArray[Any]], whole: float) -> tuple[Bottleneck, ...]:
    """The cubes of the largest dissipation, none beside one that was taken."""
    lost, most, where = tables
    starts = range(0, len(lost), CUBE)
    cubes = np.stack([in_order(lost[z : z + CUBE]) for z in starts])
    taken = np.zeros(np.array(cubes.shape) + 2, np.bool_)
    found: list[Bottleneck] = []
    for flat in np.argsort(-cubes, axis=None, kind="stable"):
        z, y, x = (int(n) for n in np.unravel_index(flat, cubes.shape))
        if len(found) == WORST or cubes[z, y, x] == 0:
            break
        if taken[z + 1, y + 1, x + 1]:
            continue
        taken[z : z + 3, y : y + 3, x : x + 3] = True
        plane = z * CUBE + int(np.argmax(most[z * CUBE : (z + 1) * CUBE, y, x]))
        row, column = divmod(int(where[plane, y, x]), CUBE)
        place = (plane, y * CUBE + row, x * CUBE + column)
        found.append(Bottleneck(place, float(cubes[z, y, x]) / whole))
    return tuple(found)


@_kernel
def face_flux(
    side: int, z: int, y: int, i: int, x: F64, codes: U8, pairs: F64, drops: F64, scale: F64
) -> tuple[int, int, float]:
    """Axis of a face of a voxel, the code beyond it, and the flux through it along the axis.

    Faces 0 and 1 are below and above the voxel along the first axis, and so on; the arrays are those
    of `tim3d.kernels.conduction.local_flux.flux_size`.
    """
    axis, up = side // 2, side % 2
    step = 2 * up - 1
    dz, dy, dx = step * (axis == 0), step * (axis == 1), step * (axis == 2)
    other = codes[z + dz, y + dy, i + dx]
    fall = step * (x[z, y, i] - x[z + dz, y + dy, i + dx])
    if axis == 0:
        fall += drops[z + up]
    return axis, other, pairs[axis, codes[z, y, i], other] * fall * scale[axis]


@_kernel
def _losses(
    start: int,
    stop: int,
    out: F32,
    volume: F64,
    area: F64,
    lost: F64,
    most: F64,
    where: NDArray[np.int64],
    x: F64,
    codes: U8,
    pairs: F64,
    crossing: F64,
    drops: F64,
    half: F64,
    scale: F64,
    along: F64,
    row: NDArray[np.int64],
    count: int,
) -> None:
    """Dissipation in voxels, at interfaces and in cubes, by plane.

    Parameters
    ----------
    start, stop : int
        Planes to work on.
    out : (nz, ny, nx)
        Output: dissipation over the conductivity along the first axis.
    volume : (nz+2, labels)
        Output: dissipation in the voxels of a label.
    area : (nz+2, labels, labels)
        Output: dissipation between two labels, electrodes last.
    lost, most, where : (nz+2, cubes, cubes)
        Output: dissipation in the part of a cube in this plane, its largest in a voxel, and which.
    x, codes, pairs, drops, half, scale
        See `tim3d.kernels.conduction.local_flux.flux_size`.
    crossing : (3, codes, codes)
        Resistance between the half voxels of a face.
    along : (codes,)
        1 / conductivity along the first axis.
    row : (codes,)
        Row of each code in the tables.
    count : int
        Number of codes without electrodes.
    """
    for z in range(start, stop):
        for y in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                own = codes[z, y, i]
                if own == 0:
                    continue
                inside, between = 0.0, 0.0
                for side in range(6):
                    axis, other, flux = face_flux(side, z, y, i, x, codes, pairs, drops, scale)
                    inside += half[own, axis] * flux * flux
                    # Each face once: of the voxel above it, and below an electrode.
                    if side % 2 == 0 or other >= count:
                        over = crossing[axis, own, other] * flux * flux
                        if over > 0:
                            between += over
                            area[z, row[own], row[other]] += over
                out[z - 1, y - 1, i - 1] = inside * along[own]
                volume[z, row[own]] += inside
                cy, cx = (y - 1) // CUBE, (i - 1) // CUBE
                lost[z, cy, cx] += inside + between
                if inside + between > most[z, cy, cx]:
                    most[z, cy, cx] = inside + between
                    where[z, cy, cx] = (y - 1) % CUBE * CUBE + (i - 1) % CUBE
