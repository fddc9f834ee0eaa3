"""Simulated FIB-SEM stack of a known structure: grey values with the exact truth per voxel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.image.sem_changes import stripes
from tim3d.lazy import ndimage

Point: TypeAlias = tuple[float, float, float]
Labels: TypeAlias = npt.NDArray[np.uint8]
Reals: TypeAlias = npt.NDArray[np.float32]

PORE, SOLID = 0, 1
# Slices computed together when iterating, so that the shine-through from behind is computed once.
RUN = 32
# Streams of random numbers, one per effect, so that switching one off does not change the others.
_NOISE, _CURTAIN, _DRIFT = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Microscope:
    """Imaging parameters of a simulated slice, in grey levels of uint8; defaults as sintered metal.

    Parameters
    ----------
    solid_grey, pore_grey : float
        Grey of the solid, and of a pore with nothing behind it.
    shine : float
        Fraction of the grey step between pore and solid that is restored by solid directly behind a
        pore voxel.
    shine_decay_nm : float
        Depth over which the shine-through falls to 1/e.
    shine_reach_nm : float
        Depth beyond which nothing is visible.
    blur_nm : float
        Standard deviation of the Gaussian point spread in the plane of the slice.
    curtain : float
        Standard deviation of the stripes, as a fraction of the grey value.
    curtain_width_nm, curtain_depth_nm : float
        Standard deviations over which a stripe extends along x and along z.
    drift : float
        Amplitude of the brightness drift, as a fraction of the grey value.
    drift_period_nm : float
        Depth of one cycle of the drift.
    shot : float
        Variance of the shot noise per unit of grey.
    read : float
        Standard deviation of the noise that does not depend on the grey.
    seed : int
        Seed of stripes, drift and noise, slice by slice.

    Raises
    ------
    ArgumentError
        If a length, amplitude or fraction is negative, or the pore is not darker than the solid.
    """

    solid_grey: float = 170.0
    pore_grey: float = 40.0
    shine: float = 0.85
    shine_decay_nm: float = 60.0
    shine_reach_nm: float = 240.0
    blur_nm: float = 5.0
    curtain: float = 0.04
    curtain_width_nm: float = 12.0
    curtain_depth_nm: float = 25.0
    drift: float = 0.05
    drift_period_nm: float = 1400.0
    shot: float = 0.6
    read: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        lengths = (
            self.shine_decay_nm,
            self.curtain_width_nm,
            self.curtain_depth_nm,
            self.drift_period_nm,
        )
        amplitudes = (
            self.shine_reach_nm,
            self.blur_nm,
            self.curtain,
            self.drift,
            self.shot,
            self.read,
            self.seed,
        )
        if (
            min(lengths) <= 0
            or min(amplitudes) < 0
            or not 0 <= self.shine <= 1
            or not all(map(math.isfinite, (*lengths, *amplitudes)))
        ):
            raise ArgumentError(
                "a microscope needs positive lengths, amplitudes >= 0, both finite, and 0 <= shine <= 1, got "
                f"{self}"
            )
        if not 0 <= self.pore_grey < self.solid_grey <= 255:
            raise ArgumentError(
                f"need 0 <= pore_grey < solid_grey <= 255, got {self.pore_grey}, {self.solid_grey}"
            )


@dataclass(frozen=True, slots=True)
class SimulatedStack:
    """Simulated stack of a structure; every slice can be computed independently.

    Parameters
    ----------
    shape : (z, y, x)
        Slices and their size in voxels.
    spacing_nm : (dz, dy, dx)
        Slice distance and pixel edges.
    structure : LevelCut
        The imaged structure.
    microscope : Microscope
        The imaging parameters.

    Examples
    --------
    >>> stack = SimulatedStack((4, 32, 32), (10.0, 5.0, 5.0), LevelCut(0.6, 60.0, seed=1))
    >>> grey, truth = stack.slices(0, 4)
    >>> bool((grey[2:3] == stack.slices(2, 3)[0]).all())
    True
    """

    shape: Triple
    spacing_nm: Point
    structure: LevelCut
    microscope: Microscope = Microscope()

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not all(0 < edge < math.inf for edge in self.spacing_nm):
            raise ArgumentError(
                f"a stack needs positive sizes, got shape {self.shape} and spacing_nm {self.spacing_nm}"
            )

    def slices(self, start: int, stop: int) -> tuple[Labels, Labels]:
        """Grey values and truth (1 solid, 0 pore) of slices start <= z < stop, uint8 (z, y, x)."""
        _, ny, nx = self.shape
        behind = math.ceil(self.microscope.shine_reach_nm / self.spacing_nm[0])
        solid = self.structure.labels(Box((start, 0, 0), (stop + behind, ny, nx)), self.spacing_nm)
        signal = shine_through(solid, stop - start, self.spacing_nm[0], self.microscope)
        grey = [
            image(signal[i], start + i, self.spacing_nm, self.microscope)
            for i in range(stop - start)
        ]
        return np.stack(grey), solid[: stop - start]

    def __iter__(self) -> Iterator[tuple[Labels, Labels]]:
        """Yield grey values and truth of one slice after the other, each (y, x)."""
        for start in range(0, self.shape[0], RUN):
            yield from zip(*self.slices(start, min(start + RUN, self.shape[0])), strict=True)


def simulate_fibsem(
    shape: Triple,
    spacing_nm: Point,
    solid_fraction: float,
    correlation_nm: float,
    seed: int,
    microscope: Microscope | None = None,
) -> tuple[Labels, Labels]:
    """Simulate a FIB-SEM stack of a sintered porous solid, with its truth.

    Parameters
    ----------
    shape : (z, y, x)
        Slices and their size in voxels.
    spacing_nm : (dz, dy, dx)
        Slice distance and pixel edges.
    solid_fraction, correlation_nm : float
        See `LevelCut`, which also has the expected surface, curvature and Euler number.
    seed : int
        Seed of the structure and, unless a microscope is given, of the imaging.
    microscope : Microscope, optional
        The imaging parameters.

    Returns
    -------
    grey, truth : uint8 arrays (z, y, x)
        Grey values 0 to 255, and 1 solid, 0 pore.

    Examples
    --------
    >>> grey, truth = simulate_fibsem((2, 24, 24), (10.0, 5.0, 5.0), 0.6, 60.0, seed=4)
    >>> bool(grey[truth == 1].mean() > grey[truth == 0].mean())
    True
    """
    structure = LevelCut(solid_fraction, correlation_nm, seed)
    microscope = Microscope(seed=seed) if microscope is None else microscope
    return SimulatedStack(shape, spacing_nm, structure, microscope).slices(0, shape[0])


def depth_to_solid(solid: Labels, slices: int) -> npt.NDArray[np.int32]:
    """Depth of the first solid voxel behind each voxel (at larger z), in slices.

    It is 0 in the solid, and `len(solid)` if there is no solid behind.

    Parameters
    ----------
    solid : uint8 array (z, y, x)
        1 in the solid; may contain more slices than requested.
    slices : int
        Number of slices to return, from the first on.

    Examples
    --------
    >>> depth_to_solid(np.array([0, 0, 1, 0], np.uint8).reshape(4, 1, 1), 4).ravel().tolist()
    [2, 1, 0, 4]
    """
    depth = np.full((slices, *solid.shape[1:]), len(solid), dtype=np.int32)
    below = np.full(solid.shape[1:], len(solid), dtype=np.int32)
    for z in reversed(range(len(solid))):
        below = np.where(solid[z] == SOLID, 0, np.minimum(below + 1, len(solid)))
        if z < slices:
            depth[z] = below
    return depth


def shine_through(solid: Labels, slices: int, slice_nm: float, microscope: Microscope) -> Reals:
    """Noise-free grey value of solid, and of pores with a shine-through that decays with depth.

    pore + shine (solid - pore) exp(-depth / decay) for a depth up to the reach. The material in
    front has been milled away.

    Parameters
    ----------
    solid : uint8 array (z, y, x)
        1 in the solid; may contain more slices than requested.
    slices : int
        Number of slices to return, from the first on.
    slice_nm : float
        Distance of the slices.
    microscope : Microscope
        The imaging parameters.

    Returns
    -------
    float32 array (slices, y, x)
    """
    m = microscope
    depth_nm = depth_to_solid(solid, slices) * slice_nm
    seen = (depth_nm <= m.shine_reach_nm) * np.exp(-depth_nm / m.shine_decay_nm)
    grey = m.pore_grey + m.shine * (m.solid_grey - m.pore_grey) * seen
    return np.where(depth_nm == 0, m.solid_grey, grey).astype(np.float32)


def image(signal: Reals, z: int, spacing_nm: Point, microscope: Microscope) -> Labels:
    """Image slice z from its noise-free grey: blur, stripes, drift, then noise, rounded to uint8.

    At the border of the slice, the blur repeats the last pixel.

    Parameters
    ----------
    signal : float32 array (y, x)
        Noise-free grey values.
    z : int
        Index of the slice.
    spacing_nm : (dz, dy, dx)
        Slice distance and pixel edges.
    microscope : Microscope
        The imaging parameters.
    """
    m, (dz, dy, dx) = microscope, spacing_nm
    blurred = ndimage.gaussian_filter(signal, (m.blur_nm / dy, m.blur_nm / dx), mode="nearest")
    clean = blurred * (1 + _curtain(signal.shape[1], z, dz, dx, m)) * (1 + _drift(z * dz, m))
    normal = np.random.default_rng((m.seed, _NOISE, z)).standard_normal(
        signal.shape, dtype=np.float32
    )
    noisy = clean + normal * np.sqrt(m.shot * clean.clip(0) + m.read**2)
    grey: Labels = np.rint(noisy).clip(0, 255).astype(np.uint8)
    return grey


def _curtain(width: int, z: int, dz: float, dx: float, m: Microscope) -> npt.NDArray[np.float64]:
    """Stripes of slice z: white noise per slice, smoothed over neighbouring slices and along x."""
    reach = math.ceil(3 * m.curtain_depth_nm / dz)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets * dz / m.curtain_depth_nm) ** 2) / 2)
    weights /= np.sqrt((weights**2).sum())
    # Slices before the first one also have stripes; the shift keeps their seeds positive.
    noises = [
        np.random.default_rng((m.seed, _CURTAIN, z + int(o) + reach)).standard_normal(width)
        for o in offsets
    ]
    return stripes(weights @ np.stack(noises), m.curtain_width_nm / dx, m.curtain)


def _drift(depth_nm: float, m: Microscope) -> float:
    """Brightness drift: two incommensurate waves over the depth, with seeded phases."""
    first, second = np.random.default_rng((m.seed, _DRIFT)).uniform(0, 2 * math.pi, 2)
    turn = 2 * math.pi * depth_nm / m.drift_period_nm
    return m.drift * (0.7 * math.sin(turn + first) + 0.3 * math.sin(2.7 * turn + second))
