"""Flux density in each voxel as a vector, from a potential that was kept and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import F32, F64, U8
from tim3d.kernels.conduction.material import Diagonal, Interfaces

_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


def flux_vectors(
    potential: F32,
    codes: U8,
    *,
    conductivity: Mapping[int, Diagonal],
    interface: Interfaces,
    contact: Sequence[float],
    spacing: Sequence[float],
    axis: int,
    ends: tuple[int, int],
) -> F32:
    """Flux density under a unit of mean gradient, in the unit of the conductivity.

    The flux through a face is the fall of the potential over the resistance of both half voxels and
    the interface between them; a voxel has the mean over opposite faces, as the field of sizes that
    the solver keeps. The mean of the component along `axis` over the volume is the effective
    conductivity.

    Parameters
    ----------
    potential : (z + 2, y + 2, x + 2) float32
        Potential from 1 to 0 and negative where nothing flows and outside of the volume, with a
        voxel more on each side.
    codes : (z + 2, y + 2, x + 2) uint8
        Label of each voxel.
    conductivity : mapping of int to three floats
        Conductivity of each label along z, y, x.
    interface : mapping of (int, int) to float
        Conductance per area between two labels, with the lengths of `spacing`.
    contact : two floats
        The same of the low and the high electrode.
    spacing : three floats
        Edges of a voxel along z, y, x.
    axis : int
        Axis along which the flux is driven.
    ends : (int, int)
        Index of the first and the last plane of the volume along the axis, in these arrays.

    Returns
    -------
    (z, y, x, 3) float32
        Components x, y, z; 0 where nothing flows.
    """
    half = np.full((256, 3), np.inf)
    for label, k in conductivity.items():
        half[label] = [0.5 / part if part > 0 else np.inf for part in k]
    between = np.zeros((256, 256))
    for (one, other), value in interface.items():
        between[one, other] = between[other, one] = 1 / value
    out = np.zeros((*(n - 2 for n in potential.shape), 3), np.float32)
    steps = np.asarray(spacing, np.float64)
    outer = np.array([1 / value for value in contact])
    length = (ends[1] - ends[0] + 1) * float(spacing[axis])
    _fill(potential, codes, half, between, outer, steps, axis, np.array(ends), length, out)
    return out


@_kernel
def _fill(
    u: F32, codes: U8, half: F64, between: F64, outer: F64, steps: F64, axis: int,
    ends: NDArray[np.int64], length: float, out: F32,
) -> None:  # fmt: skip
    place = np.zeros(3, np.int64)
    for z in range(1, u.shape[0] - 1):
        for y in range(1, u.shape[1] - 1):
            for x in range(1, u.shape[2] - 1):
                own, code = u[z, y, x], codes[z, y, x]
                if own < 0:
                    continue
                place[0], place[1], place[2] = z, y, x
                for a in range(3):
                    total = 0.0
                    for side in range(2):
                        step = 2 * side - 1
                        there = half[code, a] * steps[a]
                        if a == axis and place[a] == ends[side]:
                            fall = own - (1.0 - side)
                            there += outer[side]
                        else:
                            dz, dy, dx = step * (a == 0), step * (a == 1), step * (a == 2)
                            other, label = u[z + dz, y + dy, x + dx], codes[z + dz, y + dy, x + dx]
                            if other < 0:
                                continue
                            fall = own - other
                            there += half[label, a] * steps[a] + between[code, label]
                        total += step * fall / there
                    out[z - 1, y - 1, x - 1, 2 - a] = 0.5 * total * length
