"""Area of slanted interfaces of voxels: by how much their faces exceed the interface they stand for.

The faces of voxels along a plane of unit normal n have |nx| + |ny| + |nz| times its area, whatever
the edges of the voxels: 1 on flat interfaces, 1.5 in the mean over all directions, 1.73 at most. A
conductance per area has to be divided by it. The normal of a voxel at an interface is the gradient
of its own phase under a Gaussian of one voxel; at a contact of two particles, that between them.

All weights are integers, so that no bit depends on blocks or threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import F64, U8
from tim3d.kernels.conduction.surroundings import MARGIN, PARTICLES

RADIUS = 3
STEEPEST = math.sqrt(3.0)
# Normals of less than this share of the gradient at a flat interface are not used: both sides of a
# thin film cancel.
WEAKEST = 0.1
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


def window(axis: int | None = None) -> tuple[Ints, Ints]:
    """Half of the voxels in a ball of `RADIUS`, and their weights z, y, x.

    The other half lies opposite and has the same weights with the other sign.

    Parameters
    ----------
    axis : int, optional
        The ball is around the upper face of a voxel along this axis; by default around a voxel.

    Returns
    -------
    offsets : (n, 3) int64
        From the voxel.
    weights : (n, 3) int64
        Offset from the centre of the ball times a Gaussian.
    """
    middle = np.zeros(3) if axis is None else np.eye(3)[axis] / 2
    reach = range(-RADIUS, RADIUS + 2)
    ball = [np.array(r) - middle for r in itertools.product(reach, repeat=3)]
    half = [r for r in ball if r @ r <= RADIUS**2 and tuple(r) > (0, 0, 0)]
    weights = [np.rint(r * 2**16 * math.exp(-(r @ r) / 2)) for r in half]
    return np.array(half + middle, np.int64), np.array(weights, np.int64)


def flat_gradient() -> int:
    """Gradient beside a flat interface, in the units of the weights."""
    # From a voxel just below a plane across z, that above the plane is missing.
    offsets, weights = window()
    return int(weights[offsets[:, 0] > 0, 0].sum())


def factors(levels: int) -> F64:
    """Factor that each level stands for; 0 at level 0, of a voxel without a normal.

    >>> factors(3).round(3).tolist()
    [0.0, 1.0, 1.366, 1.732]
    """
    steps = np.linspace(1.0, STEEPEST, levels) if levels > 1 else np.ones(levels)
    return np.concatenate([[0.0], steps])


def face_factors(levels: int) -> F64:
    """Factor of a face from the levels of its two voxels: their mean, or of the one that has a normal.

    >>> face_factors(3)[1:, 0].round(3).tolist(), face_factors(3)[1, 1:].round(3).tolist()
    ([1.0, 1.366, 1.732], [1.0, 1.183, 1.366])
    """
    each = factors(levels)
    known = (each > 0).astype(float)
    total = np.add.outer(each, each)
    count = np.add.outer(known, known)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


@dataclass(frozen=True)
class Windows:
    """Windows around a voxel and around its faces, for flat arrays of one shape.

    Attributes
    ----------
    voxel, voxel_weights : (n,) and (n, 3) int64
        Offsets and weights of the window around a voxel.
    face, face_weights : (3, m) and (3, m, 3) int64
        Those around its upper face along each axis.
    neighbours : (6,) int64
        Offsets of the neighbours below and above along z, y and x.
    """

    voxel: Ints
    voxel_weights: Ints
    face: Ints
    face_weights: Ints
    neighbours: Ints


def windows(shape: Sequence[int]) -> Windows:
    """Windows for arrays of this shape."""
    strides = np.array([shape[1] * shape[2], shape[2], 1], np.int64)
    offsets, weights = window()
    faces = [window(axis) for axis in range(3)]
    return Windows(
        offsets @ strides,
        weights,
        np.array([around @ strides for around, _ in faces]),
        np.array([of_face for _, of_face in faces]),
        np.array([side * n for n in strides for side in (-1, 1)], np.int64),
    )


@_kernel
def resisting(own: int, label: int, part: int, other: int, resists: Flags) -> bool:
    """Whether there is an interface resistance between two voxels: parts `own` and `part`."""
    if own == part or not resists[label, other]:
        return False
    return label != other or (own >= PARTICLES and part >= PARTICLES)


@_kernel
def _own_gradient(
    place: int, own: int, parts: NDArray[np.uint32], offsets: Ints, weights: Ints
) -> tuple[int, int, int]:
    """Gradient of the part of a voxel at its centre."""
    gz, gy, gx = 0, 0, 0
    for n in range(len(offsets)):
        way = np.int64(parts[place + offsets[n]] == own)
        way -= np.int64(parts[place - offsets[n]] == own)
        gz += way * weights[n, 0]
        gy += way * weights[n, 1]
        gx += way * weights[n, 2]
    return gz, gy, gx


@_kernel
def _contact_gradient(
    place: int,
    own: int,
    other: int,
    parts: NDArray[np.uint32],
    neighbours: Ints,
    face: Ints,
    weights: Ints,
) -> tuple[int, int, int]:
    """Gradient from one particle to another at the middle of their faces; all else is left out.

    On the rim of a contact it is that of the contact, where that of one particle is slanted.
    """
    gz, gy, gx = 0, 0, 0
    for side in range(6):
        if parts[place + neighbours[side]] != other:
            continue
        axis = side // 2
        low = place if side % 2 else place + neighbours[side]
        high = low + neighbours[2 * axis + 1]
        for n in range(face.shape[1]):
            above, below = parts[low + face[axis, n]], parts[high - face[axis, n]]
            way = np.int64(above == own and below == other)
            way -= np.int64(above == other and below == own)
            gz += way * weights[axis, n, 0]
            gy += way * weights[axis, n, 1]
            gx += way * weights[axis, n, 2]
    return gz, gy, gx


@_kernel
def _met(
    place: int, labels: U8, parts: NDArray[np.uint32], resists: Flags, neighbours: Ints
) -> tuple[bool, np.int64]:
    """Whether a voxel is at an interface, and the particle of its own label that it touches, or 0."""
    meets, touched = False, np.int64(0)
    for step in neighbours:
        part, label = parts[place + step], labels[place + step]
        if resisting(parts[place], labels[place], part, label, resists):
            meets = True
            if label == labels[place]:
                touched = max(touched, np.int64(part))
    return meets, touched


@_kernel
def _steepness(a: float, b: float, c: float) -> float:
    """Sum of the components of a unit vector along this one, as they are in size."""
    return (abs(a) + abs(b) + abs(c)) / math.sqrt(a * a + b * b + c * c)


@_kernel
def find_levels(
    start: int,
    stop: int,
    out: U8,
    labels: U8,
    parts: NDArray[np.uint32],
    resists: Flags,
    offsets: Ints,
    weights: Ints,
    face: Ints,
    face_weights: Ints,
    neighbours: Ints,
    inverse: F64,
    least: float,
    levels: int,
) -> None:
    """Level of the normal of each voxel at an interface; 0 elsewhere.

    Parameters
    ----------
    start, stop : int
        Planes to work on.
    out : (nz, ny, nx)
        Output: level of each voxel.
    labels, parts : flat
        Labels and parts of the voxels, with a margin.
    resists : (256, 256)
        Whether there is a resistance between two labels.
    offsets, weights, face, face_weights, neighbours
        See `Windows`.
    inverse : (3,)
        1 / edge of a voxel along each axis.
    least : float
        Least squared gradient.
    levels : int
        Number of levels.
    """
    row = out.shape[2] + 2 * MARGIN
    plane = row * (out.shape[1] + 2 * MARGIN)
    scale = (levels - 1) / (STEEPEST - 1.0)
    for z in range(start, stop):
        for y in range(out.shape[1]):
            first = (z + MARGIN) * plane + (y + MARGIN) * row + MARGIN
            for x in range(out.shape[2]):
                place = first + x
                own = parts[place]
                out[z, y, x] = 0
                if (
                    parts[place - 1] == own
                    and parts[place + 1] == own
                    and parts[place - row] == own
                    and parts[place + row] == own
                    and parts[place - plane] == own
                    and parts[place + plane] == own
                ):
                    continue
                meets, touched = _met(place, labels, parts, resists, neighbours)
                if not meets:
                    continue
                if touched:
                    gz, gy, gx = _contact_gradient(
                        place, int(own), int(touched), parts, neighbours, face, face_weights
                    )
                else:
                    gz, gy, gx = _own_gradient(place, own, parts, offsets, weights)
                if np.float64(gz) ** 2 + np.float64(gy) ** 2 + np.float64(gx) ** 2 >= least:
                    steep = _steepness(gz * inverse[0], gy * inverse[1], gx * inverse[2])
                    out[z, y, x] = 1 + min(max(int((steep - 1.0) * scale + 0.5), 0), levels - 1)
