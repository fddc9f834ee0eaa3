"""Level cuts of Gaussian random fields: white noise on a lattice, convolved with a finite kernel.

A voxel depends only on the noise within the kernel's reach, so any box of the endless volume can be
computed separately, with the same bits as in one piece: the separable kernel adds its products in a
fixed order, the general one is applied by Fourier transforms in windows that are fixed in the
volume.

References
----------
Berk, Phys. Rev. Lett. 58 (1987) 2718 (level cuts). DOI 10.1103/PhysRevLett.58.2718
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as attribute
from statistics import NormalDist
from typing import Any, ClassVar, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.generator import Generator, as_data, listed
from tim3d.kernels.generation.lattice_weights import REACH
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.spectral_field import SpectralField, classes
from tim3d.phases import Phases

Floats: TypeAlias = npt.NDArray[np.float64]
Reals: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]


def levels(fractions: tuple[float, ...]) -> tuple[float, ...]:
    """Levels of a standard normal field between phases of volume fractions `fractions`, ascending.

    Raises
    ------
    ArgumentError
        If there are fewer than two fractions, one is not positive, or they do not add up to 1.

    Examples
    --------
    >>> [round(level, 4) for level in levels((0.25, 0.5, 0.25))]
    [-0.6745, 0.6745]
    """
    if len(fractions) < 2 or not all(f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ArgumentError(
            f"fractions {', '.join(f'{f:g}' for f in fractions)} add up to {sum(fractions):g}; two or more phases "
            "need positive fractions that add up to 1: pore=0.4,solid=0.6"
        )
    sums = np.cumsum(fractions)[:-1] / sum(fractions)
    return tuple(NormalDist().inv_cdf(float(s)) for s in sums)


def gaussian_taps(deviation: float) -> Floats:
    """Gaussian kernel of a standard deviation in voxels, truncated at 4 of them; squares sum to 1.

    >>> taps = gaussian_taps(1.5)
    >>> len(taps), round(float((taps**2).sum()), 12)
    (13, 1.0)
    """
    reach = math.ceil(REACH * deviation)
    taps = np.exp(-((np.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    return np.asarray(taps / math.sqrt((taps**2).sum()))


@dataclass(frozen=True, slots=True)
class GaussianField:
    """Field of zero mean and unit variance with correlation exp(-(z/lz)^2 - (y/ly)^2 - (x/lx)^2).

    Parameters
    ----------
    correlation_nm : (lz, ly, lx)
        Distances at which the correlation falls to 1/e.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed of the field.
    period : (z, y, x), optional
        Period in voxels; 0 makes an axis endless.

    Raises
    ------
    ArgumentError
        If a length is not positive.

    Examples
    --------
    >>> field = GaussianField((40.0, 20.0, 20.0), (10.0, 5.0, 5.0), seed=1)
    >>> field.reach
    (8, 8, 8)
    >>> whole = field.values(Box((0, 0, 0), (4, 6, 20)))
    >>> bool((whole[1:3, 2:5, 7:] == field.values(Box((1, 2, 7), (3, 5, 20)))).all())
    True
    """

    kind: ClassVar[str] = "gaussian"

    correlation_nm: Point
    spacing_nm: Point
    seed: int
    period: Triple = (0, 0, 0)

    def __post_init__(self) -> None:
        if not all(0 < v < math.inf for v in (*self.correlation_nm, *self.spacing_nm)):
            raise ArgumentError(
                f"a field needs positive lengths, got a correlation of {listed(self.correlation_nm)} nm and voxels of "
                f"{listed(self.spacing_nm)} nm"
            )
        Noise(self.seed, period=self.period)  # raises if the seed is out of range

    @property
    def taps(self) -> tuple[Floats, Floats, Floats]:
        """Kernels along z, y and x: standard deviation l/2 gives the correlation exp(-(r/l)^2)."""
        z, y, x = (
            gaussian_taps(c / 2 / d)
            for c, d in zip(self.correlation_nm, self.spacing_nm, strict=True)
        )
        return z, y, x

    @property
    def reach(self) -> Triple:
        """Range of the noise that a voxel depends on, in voxels on each side."""
        return triple(len(t) // 2 for t in self.taps)

    def correlation(self, lag: Triple) -> float:
        """Exact expected correlation of the truncated kernel at a lag in voxels."""
        return math.prod(
            float((t[: len(t) - abs(n)] * t[abs(n) :]).sum()) if abs(n) < len(t) else 0.0
            for t, n in zip(self.taps, lag, strict=True)
        )

    def planes(self, box: Box):  # type: ignore[no-untyped-def]
        """Yield the planes of the field in a box, float32 (y, x), from a ring buffer of planes."""
        tz, ty, tx = (t.astype(np.float32) for t in self.taps)
        noise, around = Noise(self.seed, period=self.period), box.grow(self.reach)
        ring = np.empty((len(tz), *box.shape[1:]), np.float32)
        out = np.empty(box.shape[1:], np.float32)
        for n, z in enumerate(range(around.start[0], around.stop[0])):
            plane = noise.normals(Box((z, *around.start[1:]), (z + 1, *around.stop[1:])))[0]
            _smooth_plane(plane, ty, tx, ring[n % len(tz)])
            if n + 1 >= len(tz):
                _add_planes(ring, (n + 1) % len(tz), tz, out)
                yield out

    def values(self, box: Box) -> Reals:
        """Values of the field in a box; float32 of shape `box.shape`."""
        return np.stack([plane.copy() for plane in self.planes(box)])

    def cut(self, box: Box, steps: tuple[float, ...]) -> Labels:
        """Number of levels below the field at each voxel, uint8 of shape `box.shape`."""
        out = np.empty(box.shape, np.uint8)
        for place, plane in zip(out, self.planes(box), strict=True):
            place[...] = classes(plane, steps)
        return out

    def block_bytes(self, core: Triple) -> int:
        """Memory besides the labels in bytes: ring of planes, and one plane's noise in 3 stages."""
        (_, ny, nx), (rz, ry, rx) = core, self.reach
        return 4 * (2 * rz + 2) * ny * nx + 4 * 4 * (ny + 2 * ry) * (nx + 2 * rx) + 2 * ny * nx


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _smooth_plane(plane, ty, tx, out):  # type: ignore[no-untyped-def]
    """Convolve along y, then x; each sum is in the order of the taps, for any size of the plane."""
    row = np.empty(plane.shape[1], np.float32)
    for y in range(out.shape[0]):
        row[:] = 0
        for k in range(len(ty)):
            for x in range(len(row)):
                row[x] += ty[k] * plane[y + k, x]
        line = out[y]
        line[:] = 0
        for k in range(len(tx)):
            for x in range(len(line)):
                line[x] += tx[k] * row[x + k]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _add_planes(ring, first, tz, out):  # type: ignore[no-untyped-def]
    """Convolve along z; `first` is the oldest plane in the ring buffer."""
    out[:] = 0
    for y in range(out.shape[0]):
        line = out[y]
        for k in range(len(tz)):
            plane = ring[(first + k) % len(tz), y]
            for x in range(len(line)):
                line[x] += tz[k] * plane[x]


def _numbered(count: int) -> Phases:
    names = ("pore", "solid") if count == 2 else (f"phase_{n}" for n in range(count))
    return Phases(**{name: code for code, name in enumerate(names)})


@dataclass(frozen=True, slots=True)
class LevelCuts(Generator):
    """Generator of phases by level cuts of a field; labels are 0 for the lowest values, then 1, ...

    Parameters
    ----------
    field : GaussianField or SpectralField
        The field.
    fractions : tuple of float
        Expected volume fraction of each phase; exact, because the field has unit variance.
    phases : Phases, optional
        Names and codes of the labels (default: pore and solid for two, ``phase_0``, ``phase_1``,
        ... for more).

    Raises
    ------
    ArgumentError
        If the fractions do not add up to 1, or their number differs from the number of phases.

    Examples
    --------
    >>> cuts = LevelCuts(GaussianField((8.0,) * 3, (1.0,) * 3, seed=1), (0.3, 0.7))
    >>> cuts.labels(Box.whole((2, 3, 4))).shape, cuts.halo
    ((2, 3, 4), (16, 16, 16))
    """

    kind: ClassVar[str] = "level-cuts"

    field: GaussianField | SpectralField
    fractions: tuple[float, ...]
    phases: Phases | None = None
    spacing_nm: Point = attribute(init=False)

    def __post_init__(self) -> None:
        levels(self.fractions)
        object.__setattr__(self, "spacing_nm", self.field.spacing_nm)
        object.__setattr__(self, "phases", self.phases or _numbered(len(self.fractions)))
        if len(self.phases or ()) != len(self.fractions):
            raise ArgumentError(
                f"{len(self.fractions)} fractions need as many phases, and these are named: {self.phases}"
            )

    def description(self) -> dict[str, Any]:
        """Everything that determines the labels, with the entries of the field at the top level."""
        own = {"kind": self.kind, "version": self.version, "fractions": list(self.fractions)}
        return {**as_data(self.field), "field": self.field.kind, **own}

    @property
    def halo(self) -> Triple:
        """Range of the noise that a block depends on, in voxels on each side."""
        return self.field.reach

    def labels(self, box: Box) -> Labels:
        """Compute the labels of a box of the endless volume; uint8 of shape `box.shape`."""
        return self.field.cut(box, levels(self.fractions))

    def block_bytes(self, core: Triple) -> int:
        """Memory of all buffers while the labels of a block are computed, in bytes."""
        return math.prod(core) + self.field.block_bytes(core)
