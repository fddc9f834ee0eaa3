"""An independent solution of the conduction problem: the matrix written out, algebraic multigrid, float64.

Nothing of tim3d is used. Unknowns at voxel centres; a face conducts 2 k k' / (k + k') times area
over distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.ndimage as ndi
import scipy.sparse as sp
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Electrodes = Literal["outer", "centres", "beyond"]


@dataclass(frozen=True)
class System:
    """Matrix and right-hand side of the unknowns, which voxels they are, and all that the flux needs."""

    matrix: Any
    right: F64
    unknown: NDArray[np.bool_]
    k: F64
    spacing: tuple[float, float, float]
    outer: bool


def through(k: F64) -> F64:
    """Conductivity, 0 in what does not join both ends of axis 0."""
    parts, count = ndi.label(k > 0)
    keep = np.zeros(count + 1, bool)
    keep[np.intersect1d(parts[0], parts[-1])] = True
    keep[0] = False
    kept: F64 = np.where(keep[parts], k, 0.0)
    return kept


def faces(k: F64, axis: int, spacing: tuple[float, float, float]) -> F64:
    """Conductance of the faces between neighbours along an axis; voxel volume over the square of the distance."""
    low, high = (np.moveaxis(k, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
    total = low + high
    size = float(np.prod(spacing)) / spacing[axis] ** 2
    g = 2 * size * low * high / np.where(total > 0, total, 1)
    return np.moveaxis(g, 0, axis)


def system(k: F64, spacing: tuple[float, float, float], electrodes: Electrodes = "outer") -> System:
    """Potential 1 before the first layer and 0 behind the last.

    The electrodes are on the outer faces, on the centres of the end layers, or one voxel beyond
    those (in a copy of the end layer, as one of the peers has it).
    """
    if electrodes == "beyond":
        k = np.pad(k, ((1, 1), (0, 0), (0, 0)), mode="edge")
    k = through(k)
    unknown = k > 0
    if electrodes != "outer":
        unknown[[0, -1]] = False
    number = np.cumsum(unknown, dtype=np.int32).reshape(k.shape) - 1
    diagonal, right = np.zeros(k.shape), np.zeros(k.shape)
    rows, columns, values = [], [], []
    for axis in range(3):
        g = faces(k, axis, spacing)
        low, high = (
            tuple(s if a == axis else slice(None) for a in range(3))
            for s in (slice(-1), slice(1, None))
        )
        diagonal[low] += g
        diagonal[high] += g
        both = unknown[low] & unknown[high] & (g > 0)
        rows.append(number[low][both])
        columns.append(number[high][both])
        values.append(-g[both])
        if axis == 0 and electrodes != "outer":
            right[1] += g[0]
    if electrodes == "outer":
        ends = 2 * k[[0, -1]] * float(np.prod(spacing)) / spacing[0] ** 2
        diagonal[[0, -1]] += ends
        right[0] += ends[0]
    r, c, v = (np.concatenate(parts) for parts in (rows, columns, values))
    count = int(unknown.sum())
    upper = sp.coo_matrix((v, (r, c)), (count, count)).tocsr()
    matrix = (upper + upper.T + sp.diags(diagonal[unknown])).tocsr()
    return System(matrix, right[unknown], unknown, k, spacing, electrodes == "outer")


def flux(problem: System, potential: F64) -> F64:
    """Effective conductivity as seen by the flux through each plane of faces."""
    u = np.zeros(problem.k.shape)
    u[problem.unknown] = potential
    if not problem.outer:
        u[0] = 1
    inside = (faces(problem.k, 0, problem.spacing) * (u[:-1] - u[1:])).sum((1, 2))
    size = float(np.prod(problem.spacing)) / problem.spacing[0] ** 2
    layers = problem.k.shape[0] - (0 if problem.outer else 1)
    if problem.outer:
        first = 2 * size * (problem.k[0] * (1 - u[0])).sum()
        last = 2 * size * (problem.k[-1] * u[-1]).sum()
        inside = np.concatenate([[first], inside, [last]])
    area = problem.k.shape[1] * problem.k.shape[2]
    found: F64 = inside * layers / (size * area)
    return found


def solve(
    k: F64, spacing: tuple[float, float, float], electrodes: Electrodes, tolerance: float
) -> tuple[float, float, int]:
    """k_eff, spread of the flux over the planes, iterations; smoothed aggregation and conjugate gradients."""
    import pyamg

    problem = system(k, spacing, electrodes)
    return solved(problem, lambda a, b, steps: _multigrid(pyamg, a, b, tolerance, steps))


def _multigrid(pyamg: Any, matrix: Any, right: F64, tolerance: float, steps: list[float]) -> Any:
    hierarchy = pyamg.smoothed_aggregation_solver(matrix)
    return hierarchy.solve(right, tol=tolerance, accel="cg", maxiter=300, residuals=steps)


def solved(
    problem: System, solver: Callable[[Any, F64, list[float]], Any]
) -> tuple[float, float, int]:
    steps: list[float] = []
    planes = flux(problem, solver(problem.matrix, problem.right, steps))
    mean = float(planes.mean())
    return mean, float(planes.max() - planes.min()) / mean, max(0, len(steps) - 1)
