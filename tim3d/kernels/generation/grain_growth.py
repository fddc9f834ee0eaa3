"""Grain growth by a multi-phase field, in a periodic cell: boundaries move by their curvature.

Each grain i has a share phi_i of a voxel, and the shares of a voxel sum to 1. With the energy of a double
obstacle, and alike for all grains,

    F = sum over voxels and pairs i < j of  omega phi_i phi_j - (1 / 2) grad phi_i . grad phi_j

the shares of those grains that a voxel or a face neighbour of it holds change by

    d phi_i / dt = 2 (g_i - mean of g),    g_i = laplacian(phi_i) / 2 + omega phi_i

and are then cut at 0 and divided by their sum. Where two grains meet, phi = (1 + sin(pi x / w)) / 2 over
the width w = pi / sqrt(2 omega), and the boundary moves with its curvature as its speed: a circle loses
an area of 2 pi in the unit of time, and a grain of n sides in a plane gains pi / 3 (n - 6).

Outside of boundaries a voxel holds one grain. So no more than `SLOTS` numbers of grains and their
shares are kept of a voxel, the largest, whatever the number of grains; two grains never merge, as those
that share an order parameter would.

    numbers, shares    plane z-1 ─┐
    of all voxels      plane z   ─┼─► plane z, in place; the planes before are copies
                       plane z+1 ─┘

References
----------
Kim, Kim, Suzuki, Phys. Rev. E 74 (2006) 061605. DOI 10.1103/PhysRevE.74.061605 (the equation, and
shares kept where they are); Steinbach, Pezzolla, Physica D 134 (1999) 385. DOI
10.1016/S0167-2789(99)00129-3 (double obstacle of many phases); Mullins, J. Appl. Phys. 27 (1956) 900.
DOI 10.1063/1.1722511 (sides and growth).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.grid import Triple
from tim3d.lazy import spatial

Reals: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Point: TypeAlias = tuple[float, float, float]

# Grains that a voxel holds at most, and width of a boundary in voxels, with which a circle shrinks by its law.
SLOTS, WIDTH = 4, 5.0
# Time step as a share of the longest at which explicit steps are stable.
STEADY = 0.7
# Numbers of grains are floats of 24 bits.
MOST = 2**24 - 1


@dataclass(frozen=True)
class GrainCell:
    """Periodic cell of grains.

    Its state is float32 (2, z, y, x, SLOTS): numbers of grains, from 1, and their shares, the largest
    first; 0 stands for none.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels; an axis of one voxel makes it plane.
    edges : (z, y, x)
        Edges of a voxel; the longest is the unit of length, and a boundary is `WIDTH` of them wide.
    """

    shape: Triple
    edges: Point

    @property
    def _stiffness(self) -> tuple[float, float, float]:
        z, y, x = (1 / e**2 if n > 1 else 0.0 for e, n in zip(self.edges, self.shape, strict=True))
        return z, y, x

    @property
    def time_step(self) -> float:
        """Time of a step."""
        return STEADY / (2 * sum(self._stiffness))

    def begin(self, points: Floats) -> Reals:
        """State in which a voxel belongs to the nearest of some points (n, 3), in voxels: Voronoi cells."""
        state = np.zeros((2, *self.shape, SLOTS), np.float32)
        edges, shape = np.array(self.edges), np.array(self.shape)
        tree = spatial.cKDTree(points * edges, boxsize=shape * edges)
        y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in self.shape[1:]), indexing="ij")
        for z in range(self.shape[0]):
            place = np.stack([np.full(y.shape, z + 0.5), y, x], axis=-1) * edges
            state[0, z, :, :, 0] = tree.query(place)[1] + 1
        state[1, ..., 0] = 1
        return state

    def step(self, state: Reals) -> None:
        """Replace the state by that a time step later."""
        omega = (math.pi / WIDTH) ** 2 / 2
        _sweep(state[0], state[1], *self._stiffness, 2 * self.time_step, omega)


def grains(state: Reals) -> int:
    """Number of grains that are the largest of some voxel."""
    most = int(state[0, ..., 0].max())
    return int(np.count_nonzero(_counts(state[0], most)[1:]))


def boundaries(state: Reals, thickness: float) -> Labels:
    """Labels: 0 on boundaries of a thickness in units of length up to `WIDTH`, 1 in grains.

    How far a voxel is from the boundary follows from its two largest shares. Of two voxels that share
    a face and are of two grains, one is on the boundary, however thin it is.
    """
    sine = math.sin(min(math.pi * thickness / (2 * WIDTH), math.pi / 2))
    out = np.empty(state.shape[1:4], np.uint8)
    _cut(state[0], state[1], np.float32(sine), out)
    return out


def state_bytes(shape: Triple) -> int:
    """Memory in bytes of a state."""
    return 2 * 4 * SLOTS * math.prod(shape)


def step_bytes(shape: Triple) -> int:
    """Memory in bytes of the growth: the state, three planes of it, the labels, and the places of a plane."""
    plane = shape[1] * shape[2]
    return state_bytes(shape) + 3 * state_bytes((1, *shape[1:])) + math.prod(shape) + 96 * plane


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _counts(numbers, most):  # type: ignore[no-untyped-def]
    out = np.zeros(most + 1, np.int64)
    for z in range(numbers.shape[0]):
        for y in range(numbers.shape[1]):
            for x in range(numbers.shape[2]):
                out[int(numbers[z, y, x, 0])] += 1
    return out


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _cut(numbers, shares, sine, out):  # type: ignore[no-untyped-def]
    nz, ny, nx, _ = numbers.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                own = numbers[z, y, x, 0]
                depth = shares[z, y, x, 0] - shares[z, y, x, 1]
                grain = depth >= sine
                for axis in range(6):
                    step = 1 if axis % 2 else -1
                    a = (z + (step if axis // 2 == 0 else 0)) % nz
                    b = (y + (step if axis // 2 == 1 else 0)) % ny
                    c = (x + (step if axis // 2 == 2 else 0)) % nx
                    if numbers[a, b, c, 0] != own:
                        beyond = shares[a, b, c, 0] - shares[a, b, c, 1]
                        deeper = depth > beyond or (depth == beyond and own < numbers[a, b, c, 0])
                        grain = grain and deeper
                out[z, y, x] = grain


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _sweep(numbers, shares, wz, wy, wx, rate, omega):  # type: ignore[no-untyped-def]
    nz = len(numbers)
    first_n, first_s = numbers[0].copy(), shares[0].copy()
    below_n, below_s = numbers[nz - 1].copy(), shares[nz - 1].copy()
    for z in range(nz):
        here_n, here_s = numbers[z].copy(), shares[z].copy()
        above_n, above_s = first_n, first_s
        if z + 1 < nz:
            above_n, above_s = numbers[z + 1], shares[z + 1]
        _plane(here_n, here_s, below_n, below_s, above_n, above_s, numbers[z], shares[z],
            wz, wy, wx, rate, omega)  # fmt: skip
        below_n, below_s = here_n, here_s


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _plane(  # type: ignore[no-untyped-def]
    here_n, here_s, below_n, below_s, above_n, above_s, out_n, out_s, wz, wy, wx, rate, omega
):
    """One plane after a step, from it and its neighbours before."""
    ny, nx, _ = here_n.shape
    found, phi, lap = np.empty(7 * SLOTS, np.float32), np.empty(7 * SLOTS), np.empty(7 * SLOTS)
    for y in range(ny):
        up, down = (y + 1) % ny, (y - 1) % ny
        for x in range(nx):
            right, left = (x + 1) % nx, (x - 1) % nx
            if _is_bulk(
                here_n, here_s, below_n, below_s, above_n, above_s, y, x, up, down, left, right
            ):
                continue
            held = 0
            while held < SLOTS and here_n[y, x, held] > 0:
                found[held], phi[held] = here_n[y, x, held], here_s[y, x, held]
                lap[held] = -2 * (wz + wy + wx) * phi[held]
                held += 1
            count = held
            if wz > 0:
                count = _beside(found, phi, lap, count, below_n, below_s, y, x, wz)
                count = _beside(found, phi, lap, count, above_n, above_s, y, x, wz)
            count = _beside(found, phi, lap, count, here_n, here_s, down, x, wy)
            count = _beside(found, phi, lap, count, here_n, here_s, up, x, wy)
            count = _beside(found, phi, lap, count, here_n, here_s, y, left, wx)
            count = _beside(found, phi, lap, count, here_n, here_s, y, right, wx)
            _change(phi, lap, count, rate, omega)
            _keep_largest(found, phi, count, out_n, out_s, y, x)


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _is_bulk(  # type: ignore[no-untyped-def]
    here_n, here_s, below_n, below_s, above_n, above_s, y, x, up, down, left, right
):
    """Whether a voxel and its neighbours hold one grain alone."""
    own = here_n[y, x, 0]
    return (
        here_s[y, x, 0] == 1
        and below_s[y, x, 0] == 1 and below_n[y, x, 0] == own
        and above_s[y, x, 0] == 1 and above_n[y, x, 0] == own
        and here_s[up, x, 0] == 1 and here_n[up, x, 0] == own
        and here_s[down, x, 0] == 1 and here_n[down, x, 0] == own
        and here_s[y, left, 0] == 1 and here_n[y, left, 0] == own
        and here_s[y, right, 0] == 1 and here_n[y, right, 0] == own
    )  # fmt: skip


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _change(phi, lap, count, rate, omega):  # type: ignore[no-untyped-def]
    """Take the shares a step further by their Laplacians; they may be negative then."""
    mean = 0.0
    for n in range(count):
        lap[n] = lap[n] / 2 + omega * phi[n]
        mean += lap[n]
    mean /= count
    for n in range(count):
        phi[n] += rate * (lap[n] - mean)


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _beside(found, phi, lap, count, numbers, shares, y, x, weight):  # type: ignore[no-untyped-def]
    """Add a neighbour's shares to the Laplacians; grains that are new are entered. Returns how many there are."""
    for slot in range(SLOTS):
        number = numbers[y, x, slot]
        if number == 0:
            break
        at = 0
        while at < count and found[at] != number:
            at += 1
        if at == count:
            found[at], phi[at], lap[at] = number, 0.0, 0.0
            count += 1
        lap[at] += weight * shares[y, x, slot]
    return count


@nb.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _keep_largest(found, phi, count, numbers, shares, y, x):  # type: ignore[no-untyped-def]
    """Write the largest shares over their sum; of equal ones the lower number comes first."""
    kept = 0
    for n in range(count):
        number, share = found[n], phi[n]
        if share <= 0:
            continue
        at = kept
        while at > 0 and (phi[at - 1] < share or (phi[at - 1] == share and found[at - 1] > number)):
            found[at], phi[at] = found[at - 1], phi[at - 1]
            at -= 1
        found[at], phi[at] = number, share
        kept += 1
    kept = min(kept, SLOTS)
    total = 0.0
    for n in range(kept):
        total += phi[n]
    for slot in range(SLOTS):
        numbers[y, x, slot] = found[slot] if slot < kept else 0
        shares[y, x, slot] = phi[slot] / total if slot < kept else 0
