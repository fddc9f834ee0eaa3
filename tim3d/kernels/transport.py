"""Steady diffusion or heat conduction through a label volume: effective conductivity and tortuosity factor.

Unknowns sit on voxel centres. A face between voxels conducts as the two halves in series, 2 k k' / (k + k') times its
area over the distance of the centres. Opposite outer faces along one axis are held at potential 1 and 0, the sides are
insulated. The unknown is the deviation from the linear profile, and the answer is judged by the flux through every
plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, ConvergenceError
from tim3d.grid import Triple, triple
from tim3d.kernels import stencil
from tim3d.kernels.multigrid import Multigrid, ghosted, multigrid_bytes, voxel_level
from tim3d.kernels.region import as_labels
from tim3d.kernels.stencil import F32, F64, U8
from tim3d.kernels.surface import check_spacing
from tim3d.kernels.team import Team

Electrodes = Literal["outer", "centres"]
AXES = ("z", "y", "x")
LARGEST_CONTRAST = 1e5
MOST_ITERATIONS = 200
# The last step may change the dissipation by this share of the tolerance of the flux.
STEP_SHARE = 0.1


@dataclass(frozen=True)
class Conduction:
    """What flows through a volume along one axis.

    Attributes
    ----------
    conductivity : float
        Effective conductivity k_eff = Q L / (A dT), in the unit of the conductivities given; 0 if nothing percolates.
    percolates : bool
        Whether a path of conducting voxels (6 neighbours) joins both electrodes.
    mean_total, mean_through : float
        Mean conductivity over all voxels, and with that of islands set to 0. An island is a component of conducting
        voxels that does not touch both electrodes.
    flux : (planes,) float64
        Conductivity as seen by the flux through each plane of faces; its mean is `conductivity`.
    spread : float
        (max - min) / mean of `flux`: the certificate of the solution.
    iterations : int
        Steps of conjugate gradients.
    potential : (Z, Y, X) float32, optional
        1 at the low electrode, 0 at the high one; nan where nothing flows: in insulators and islands.
    """

    conductivity: float
    percolates: bool
    mean_total: float
    mean_through: float
    flux: F64
    spread: float
    iterations: int
    potential: F32 | None = None

    @property
    def tortuosity_total(self) -> float:
        """Tortuosity factor tau = mean k / k_eff (one phase: eps k / k_eff), islands counted; inf without a path."""
        return self.mean_total / self.conductivity if self.percolates else math.inf

    @property
    def tortuosity_through(self) -> float:
        """Tortuosity factor without islands in the mean."""
        return self.mean_through / self.conductivity if self.percolates else math.inf


def conduct(
    labels: NDArray[np.uint8],
    conductivity: Mapping[int, float],
    axis: int = 0,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    electrodes: Electrodes = "outer",
    tolerance: float = 1e-3,
    keep_potential: bool = False,
    threads: int | None = None,
) -> Conduction:
    """Solve steady conduction through a volume along one axis.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 or bool
        Label of each voxel.
    conductivity : mapping of int to float
        Of every label in the volume: 0 or positive, the largest at most 1e5 times the smallest that is not 0.
    axis : int
        0, 1 or 2: along z, y or x.
    spacing : (dz, dy, dx)
        Edges of a voxel; only their ratios matter.
    electrodes : {"outer", "centres"}
        Where the potential is held: on the outer faces of the volume, L = N h, or on the centres of the first and last
        layer of voxels, L = (N - 1) h.
    tolerance : float
        Largest (max - min) / mean of the flux over all planes. The value is more exact than that: docs/transport.md.
    keep_potential : bool
        Return the potential too.
    threads : int, optional
        Default: all cores, or NUMBA_NUM_THREADS of them.

    Returns
    -------
    Conduction
        Effective conductivity, fluxes, certificate.

    Raises
    ------
    ArgumentError
        If an argument is out of range, a label has no conductivity, or the axis has too few voxels.
    ConvergenceError
        If the tolerance is not reached in 200 iterations.

    Notes
    -----
    Conjugate gradients, preconditioned by one multigrid cycle in float32; potential, fluxes and sums in float64, so
    that also a contrast of 1e5 is resolved. It stops when the spread is within the tolerance and the last step changed
    the dissipation by less than a tenth of it: equal fluxes alone do not prove that the flow within a plane is at rest.
    Memory beside the labels: `conduct_bytes`. The result does not depend on the number of threads. Tortuosity factor:
    Cooper et al., SoftwareX 5 (2016) 203, doi:10.1016/j.softx.2016.09.002.

    Examples
    --------
    Two layers in series, with conductivities 1 and 3:

    >>> labels = np.zeros((8, 4, 4), np.uint8)
    >>> labels[4:] = 1
    >>> round(conduct(labels, {0: 1, 1: 3}, tolerance=1e-6).conductivity, 6)
    1.5
    """
    labels = as_labels(labels)
    check_arguments(labels.shape, axis, electrodes, tolerance)
    turned = np.moveaxis(labels, axis, 0)
    volume = _material(turned, check_conductivities(conductivity, labels))
    size = check_spacing(spacing)
    edges = (size[axis], *(size[a] for a in range(3) if a != axis))
    codes, mean_through = _conducting(turned, volume)
    if not codes.any():
        return _insulator(volume.mean, turned.shape, electrodes, keep_potential)
    problem = _problem(codes, volume, edges, electrodes)
    with Team(threads) as team:
        state = _solve(problem, tolerance, team)
    potential = np.moveaxis(_potential(problem, state.x), 0, axis) if keep_potential else None
    mean = float(state.flux.mean())
    return Conduction(
        mean, True, volume.mean, mean_through, state.flux, state.spread, state.iterations,
        None if potential is None else np.ascontiguousarray(potential),
    )  # fmt: skip


def conduct_bytes(shape: Triple, spacing: Sequence[float], axis: int, electrodes: Electrodes = "outer") -> int:
    """Bytes that `conduct` holds at its peak beside the labels.

    Potential 8, residual, correction and direction 4 each, codes 1: 21 per voxel, and 2.9 for the coarse levels of
    isotropic voxels.

    >>> conduct_bytes((256, 256, 256), (1, 1, 1), 0) / 256**3 < 25
    True
    """
    order = [axis, *(a for a in range(3) if a != axis)]
    unknown = triple(shape[a] - (2 if electrodes == "centres" and a == axis else 0) for a in order)
    edges = [spacing[a] for a in order]
    return 21 * math.prod(ghosted(unknown)) + multigrid_bytes(unknown, edges)


def check_arguments(shape: Sequence[int], axis: int, electrodes: str, tolerance: float) -> None:
    """Raise `ArgumentError` unless `conduct` can work with these."""
    if axis not in (0, 1, 2):
        raise ArgumentError(f"axis is {axis!r}; use 0 for z, 1 for y, 2 for x")
    if electrodes not in ("outer", "centres"):
        raise ArgumentError(f"electrodes are {electrodes!r}; use 'outer' or 'centres'")
    fewest = 2 if electrodes == "outer" else 3
    if shape[axis] < fewest or min(shape) < 1:
        raise ArgumentError(
            f"the volume has {shape[axis]} voxel(s) along {AXES[axis]}; {electrodes!r} electrodes need {fewest}"
        )
    if not 1e-10 <= tolerance < 1:
        raise ArgumentError(f"tolerance is {tolerance!r}; use a number from 1e-10 to below 1, for example 1e-3")


def check_conductivities(
    conductivity: Mapping[int, float], labels: NDArray[np.uint8] | None = None
) -> dict[int, float]:
    """The conductivities as floats by label, checked: see `conduct`."""
    values = {int(code): float(k) for code, k in conductivity.items()}
    for code, k in values.items():
        if not 0 <= k < math.inf:
            raise ArgumentError(f"conductivity of label {code} is {k}; it must be 0 or positive, and finite")
    above = [k for k in values.values() if k > 0]
    if above and max(above) > LARGEST_CONTRAST * min(above) * (1 + 1e-9):
        raise ArgumentError(
            f"conductivities run from {min(above):g} to {max(above):g}, a contrast of {max(above) / min(above):.3g}; "
            f"up to {LARGEST_CONTRAST:g} is resolved. Set the smallest to 0"
        )
    if labels is not None and (strays := set(np.flatnonzero(_count(labels)).tolist()) - set(values)):
        raise ArgumentError(f"label(s) {sorted(strays)} have no conductivity; give one for each, 0 for an insulator")
    return values


def _count(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Voxels of each label, plane by plane: bincount copies what it counts to eight bytes a voxel."""
    return np.asarray(sum((np.bincount(plane.ravel(), minlength=256) for plane in labels), np.zeros(256, np.int64)))


@dataclass(frozen=True)
class _Material:
    """Conductivity of each code (0 does not conduct), code of each label, and the mean over the volume."""

    values: F64
    code_of: U8
    mean: float


def _material(labels: NDArray[np.uint8], conductivity: dict[int, float]) -> _Material:
    counts = _count(labels)
    present = {code: k for code, k in conductivity.items() if 0 <= code < 256 and counts[code]}
    values = [0.0, *sorted({k for k in present.values() if k > 0})]
    if len(values) > 255:
        raise ArgumentError(f"{len(values) - 1} different conductivities; up to 254 are possible")
    code_of = np.zeros(256, np.uint8)
    for label, k in present.items():
        code_of[label] = values.index(k)
    mean = sum(float(counts[label]) * k for label, k in present.items()) / labels.size
    return _Material(np.array(values), code_of, mean)


def _conducting(labels: NDArray[np.uint8], material: _Material) -> tuple[U8, float]:
    """Codes of the voxels with ghosts around them, those of islands 0, and the mean conductivity that is left."""
    codes = np.zeros(ghosted(triple(labels.shape)), np.uint8)
    inner = codes[1:-1, 1:-1, 1:-1]
    for target, plane in zip(inner, labels, strict=True):
        target[...] = material.code_of[plane]
    if not inner.all():
        components, count = ndi.label(inner)
        through = np.zeros(count + 1, bool)
        through[np.intersect1d(components[0], components[-1])] = True
        for target, plane in zip(inner, components, strict=True):
            target *= through[plane]
    counts = _count(inner)[: len(material.values)]
    return codes, float(counts @ material.values) / labels.size


def _insulator(mean: float, shape: Sequence[int], electrodes: Electrodes, keep: bool) -> Conduction:
    planes = shape[0] + (1 if electrodes == "outer" else -1)
    potential = np.full(shape, np.nan, np.float32) if keep else None
    return Conduction(0.0, False, mean, 0.0, np.zeros(planes), 0.0, 0, potential)


@dataclass(frozen=True)
class _Problem:
    """Codes with electrodes in the ghosts, conductances of each pair, fall of the linear profile across each plane."""

    codes: U8
    pairs: F64
    drops: F64
    spacing: Sequence[float]
    electrodes: Electrodes

    @property
    def planes(self) -> range:
        """Planes of faces."""
        return range(1, self.codes.shape[0])

    @property
    def length(self) -> float:
        """Fall of the linear profile from one electrode to the other."""
        return float(self.drops[1:].sum())

    @property
    def cross_section(self) -> int:
        """Voxels of a plane."""
        return int((self.codes.shape[1] - 2) * (self.codes.shape[2] - 2))


def _problem(codes: U8, material: _Material, spacing: Sequence[float], electrodes: Electrodes) -> _Problem:
    """On centres the first and last layer are the electrodes and become ghosts; else the ghosts get their own code."""
    k = material.values
    sums = np.add.outer(k, k)
    series = 2 * np.multiply.outer(k, k) / np.where(sums > 0, sums, 1)
    pairs = np.zeros((3, len(k) + 1, len(k) + 1))
    # In units in which a cube of conductivity 1 between two planes, one apart, conducts 1.
    pairs[:, :-1, :-1] = series * np.array([(spacing[0] / h) ** 2 for h in spacing])[:, None, None]
    pairs[0, -1, :-1] = pairs[0, :-1, -1] = 2 * k
    if electrodes == "centres":
        codes = codes[1:-1]
    else:
        codes[0, 1:-1, 1:-1] = codes[-1, 1:-1, 1:-1] = len(k)
    drops = np.ones(codes.shape[0])
    drops[[1, -1]] = 0.5 if electrodes == "outer" else 1.0
    return _Problem(codes, pairs, drops, spacing, electrodes)


@dataclass
class _State:
    """Deviation from the linear profile, what remains of its imbalance, and the flux through each plane."""

    x: F64
    residual: F32
    flux: F64
    iterations: int = 0

    @property
    def spread(self) -> float:
        low, high, mean = float(self.flux.min()), float(self.flux.max()), float(self.flux.mean())
        return (high - low) / mean if mean > 0 else math.inf


def _solve(problem: _Problem, tolerance: float, team: Team) -> _State:
    """Conjugate gradients. After each step the residual is computed anew from the potential, with the fluxes."""
    shape = triple(problem.codes.shape)
    state = _State(np.zeros(shape), np.zeros(shape, np.float32), np.empty(0))
    _judge(problem, state, team)
    if not state.residual.any():
        return state
    finest = voxel_level(problem.codes, problem.pairs.astype(np.float32))
    multigrid = Multigrid(finest, problem.spacing, team)
    correction, direction = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    planes, cells = finest.planes, finest.cells
    before, gain = math.inf, math.inf
    while not (state.spread <= tolerance and gain <= STEP_SHARE * tolerance):
        multigrid.apply(correction, state.residual)
        now = _total(team, stencil.dot, planes, cells, correction, state.residual)
        if now == 0 and state.spread <= tolerance:  # at rest to the last bit
            break
        if now <= 0 or state.iterations == MOST_ITERATIONS:
            raise _not_converged(state, tolerance)
        team.run(stencil.scale_add, planes, cells, direction, now / before, correction)
        step = now / _total(team, stencil.energy, problem.planes, cells, direction, *finest.conductances)
        team.run(stencil.add_scaled, planes, cells, state.x, step, direction)
        _judge(problem, state, team)
        state.iterations, before = state.iterations + 1, now
        gain = step * now / (abs(float(state.flux.mean())) * problem.cross_section * problem.length)
    return state


def _total(team: Team, kernel: Callable[..., None], planes: range, cells: int, *arguments: Any) -> float:
    """Sum of what a kernel finds in each plane."""
    sums = np.zeros(planes.stop)
    team.run(kernel, planes, cells, *arguments, sums)
    return float(sums.sum())


def _judge(problem: _Problem, state: _State, team: Team) -> None:
    flux = np.zeros(problem.planes.stop)
    team.run(
        stencil.balance, problem.planes, state.x.size,
        state.residual, flux, state.x, problem.codes, problem.pairs, problem.drops,
    )  # fmt: skip
    state.flux = flux[1:] / problem.cross_section


def _not_converged(state: _State, tolerance: float) -> ConvergenceError:
    return ConvergenceError(
        f"after {state.iterations} iterations the flux differs between planes by {state.spread:.2g} of its mean; "
        f"the tolerance is {tolerance:g}. Use a larger --tolerance or a smaller contrast"
    )


def _potential(problem: _Problem, x: F64) -> F32:
    """From 1 to 0, in layers that are electrodes too."""
    linear = problem.length - np.cumsum(problem.drops[1:])
    whole = slice(1, -1) if problem.electrodes == "outer" else slice(None)
    high = linear[:-1] if problem.electrodes == "outer" else np.r_[linear[0] + 1, linear]
    out = np.empty(x[whole, 1:-1, 1:-1].shape, np.float32)
    for target, plane, codes, level in zip(out, x[whole], problem.codes[whole], high, strict=True):
        value = (level + plane[1:-1, 1:-1]) / problem.length
        target[...] = np.where(codes[1:-1, 1:-1] > 0, value, np.nan)
    return out
