"""Interfaces and contacts of particles in a slab: their normals and their areas.

Areas are summed in integer parts of a voxel's face, so that no bit depends on the slabs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction import normals
from tim3d.kernels.conduction.arrays import F64, U8
from tim3d.kernels.conduction.ghost_layers import Ring
from tim3d.kernels.conduction.material import Interfaces
from tim3d.kernels.conduction.normals import Flags, Ints, resisting
from tim3d.kernels.conduction.surroundings import MARGIN, PARTICLES, Surroundings
from tim3d.kernels.conduction.thread_pool import Workers

# Areas are counted in this part of the largest face of a voxel.
QUANTA = 2**24
# Planes whose contacts are listed face by face before they are summed.
PLANES = 16
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class Contacts:
    """Contacts between particles of one phase, over all slabs.

    Attributes
    ----------
    pairs : (n, 2) int64
        Numbers of the two particles, the smaller first.
    areas : (n,) float64
        True area of each contact, in the squared unit of the voxel's edges.
    """

    pairs: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    areas: F64 = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Areas:
    """Interfaces of the whole volume.

    Attributes
    ----------
    interfaces : mapping of (int, int) to (float, float)
        Area of the voxel faces between two labels with a resistance, and their true area, both in
        the squared unit of the voxel's edges.
    contacts : Contacts
        Contacts of particles.
    numbers : (n,) int64
        Numbers of the particles, increasing.
    unassigned : int
        Voxels of phases with contacts that belong to no particle.
    """

    interfaces: Mapping[tuple[int, int], tuple[float, float]]
    contacts: Contacts = field(default_factory=Contacts)
    numbers: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    unassigned: int = 0

    @property
    def particles(self) -> int:
        """Number of particles."""
        return len(self.numbers)


def touching(interface: Interfaces | None) -> frozenset[int]:
    """Labels of which particles resist each other: those with an interface to themselves."""
    return frozenset(one for one, other in interface or {} if one == other)


def resistances(interface: Interfaces) -> Flags:
    """Whether there is a resistance between two labels, as a table of 256 by 256."""
    table = np.zeros((256, 256), np.bool_)
    for one, other in interface:
        table[one, other] = table[other, one] = True
    return table


def levels_of(
    around: Surroundings,
    interface: Interfaces,
    spacing: Sequence[float],
    levels: int,
    team: Workers,
    above: int = 1,
) -> U8:
    """Level of each voxel of a slab and of planes `above` it; 0 without normals (no `levels`)."""
    z, y, x = around.shape
    out = np.zeros((z + above, y, x), np.uint8)
    if not levels:
        return out
    at = normals.windows(around.labels.shape)
    least = (normals.WEAKEST * normals.flat_gradient()) ** 2
    team.run(
        normals.find_levels, range(len(out)), out.size, out, around.labels.ravel(), around.parts.ravel(),
        resistances(interface), at.voxel, at.voxel_weights, at.face, at.face_weights, at.neighbours,
        1 / np.array(spacing), least, levels,
    )  # fmt: skip
    return out


def measure(
    around: Surroundings,
    levels: U8,
    interface: Interfaces,
    spacing: Sequence[float],
    count: int,
    ring: Ring,
) -> Areas:
    """Areas of all interfaces and contacts, the same on all ranks.

    Parameters
    ----------
    around : Surroundings
        This rank's slab.
    levels : (nz+1, ny, nx) uint8
        Levels of its voxels and of those above.
    interface : mapping of (int, int) to float
        Conductances per area between two labels.
    spacing : three floats
        Edges of a voxel along the axes of the arrays.
    count : int
        Number of levels; 0 if normals are not used.
    ring : Ring
        The other slabs.
    """
    faces = np.array([math.prod(spacing) / h for h in spacing])
    largest = faces.max()
    each = np.rint(QUANTA / normals.face_factors(count)[..., None] * faces / largest)
    named = {tuple(sorted(pair)): n for n, pair in enumerate(interface)}
    number = np.full((256, 256), -1, np.int64)
    for (one, other), n in named.items():
        number[one, other] = number[other, one] = n
    found, keys, quanta = _faces(around, levels, number, each.astype(np.int64), len(interface))
    total = np.sum(ring.collect(found), axis=0)
    # A face of the staircase is counted by its axis.
    stairs = total[:, :3] @ faces
    true = total[:, 3] * (largest / QUANTA) if count else stairs
    divided = touching(interface)
    return Areas(
        {pair: (float(stairs[n]), float(true[n])) for pair, n in named.items()},  # type: ignore[misc]
        _together(ring.collect((keys, quanta)), largest / QUANTA),
        *_particles(around, divided, ring),
    )


def _particles(around: Surroundings, divided: frozenset[int], ring: Ring) -> tuple[Ints, int]:
    """Numbers of the particles, and how many voxels of their phases belong to none."""
    if not divided:
        return np.zeros(0, np.int64), 0
    inside = (slice(MARGIN, -MARGIN),) * 3
    parts, labels = around.parts[inside], around.labels[inside]
    own = np.unique(np.concatenate([np.unique(part[part >= PARTICLES]) for part in parts]))
    stray = sum(
        int(np.count_nonzero(np.isin(label, list(divided)) & (part < PARTICLES)))
        for label, part in zip(labels, parts, strict=True)
    )
    found = ring.collect((own, stray))
    numbers = np.unique(np.concatenate([ids for ids, _ in found])).astype(np.int64) - PARTICLES
    return numbers, sum(n for _, n in found)


def _faces(
    around: Surroundings, levels: U8, number: Ints, each: Ints, pairs: int
) -> tuple[Ints, Ints, Ints]:
    """Faces by pair of labels and axis and their true area, and the contacts of particles."""
    inside = (slice(MARGIN, None),) * 3
    labels, parts = around.labels[inside], around.parts[inside]
    # Beyond an end of the volume there are no faces, unless it is periodic.
    ends = np.array([int(w) for w in around.wrap])
    ends[0] = int(around.wrap[0] or not around.last)
    found, planes = np.zeros((pairs, 4), np.int64), len(levels) - 1
    shares: list[tuple[Ints, Ints]] = []
    for start in range(0, planes, PLANES):
        given = (levels, labels, parts, number, each, ends, start, min(start + PLANES, planes))
        count = _tally(*given, found, np.zeros((0, 3), np.int64))
        if count:
            table = np.zeros((count, 3), np.int64)
            _tally(*given, np.zeros_like(found), table)
            shares.append(_by_pair(table))
    keys, quanta = _merged(shares)
    return found, keys, quanta


def _by_pair(table: Ints) -> tuple[Ints, Ints]:
    """Area of each pair of particles, both numbers in one, from the faces between them."""
    low, high = table[:, :2].min(1), table[:, :2].max(1)
    return _merged([(low << 32 | high, table[:, 2])])


def _merged(shares: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Sums of the areas of each pair, in the order of the pairs."""
    none = np.zeros(0, np.int64)
    keys, place = np.unique(
        np.concatenate([none, *(keys for keys, _ in shares)]), return_inverse=True
    )
    quanta = np.zeros(len(keys), np.int64)
    np.add.at(quanta, place, np.concatenate([none, *(areas for _, areas in shares)]))
    return keys, quanta


@_kernel
def _tally(
    levels: U8, labels: U8, parts: NDArray[np.uint32], number: Ints, each: Ints, ends: Ints,
    start: int, stop: int, found: Ints, contacts: Ints,
) -> int:  # fmt: skip
    """Count faces and their area in `found` (pairs, 4), and list those of particles in `contacts`."""
    ny, nx = levels.shape[1], levels.shape[2]
    counts = np.array([levels.shape[0] - 1, ny, nx])
    resists, listed = number >= 0, 0
    for z in range(start, stop):
        for y in range(ny):
            for x in range(nx):
                own, label, here = parts[z, y, x], labels[z, y, x], (z, y, x)
                for axis in range(3):
                    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
                    theirs, other = parts[z + dz, y + dy, x + dx], labels[z + dz, y + dy, x + dx]
                    if not resisting(own, label, theirs, other, resists):
                        continue
                    if here[axis] == counts[axis] - 1 and ends[axis] == 0:
                        continue
                    level = levels[z + dz, (y + dy) % ny, (x + dx) % nx]
                    area = each[levels[z, y, x], level, axis]
                    found[number[label, other], axis] += 1
                    found[number[label, other], 3] += area
                    if label == other:
                        if listed < contacts.shape[0]:
                            contacts[listed] = own - PARTICLES, theirs - PARTICLES, area
                        listed += 1
    return listed


def _together(parts: Sequence[tuple[Ints, Ints]], quantum: float) -> Contacts:
    """Contacts of all slabs, in the order of their numbers."""
    keys, quanta = _merged(parts)
    return Contacts(np.stack([keys >> 32, keys & 0xFFFFFFFF], 1), np.float64(quantum) * quanta)
