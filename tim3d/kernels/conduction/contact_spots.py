"""Resistance of spots through which two bodies touch: closed forms, and any spots by Fourier sums.

References
----------
Cooper, Mikic, Yovanovich, Int. J. Heat Mass Transf. 12 (1969) 279. DOI
10.1016/0017-9310(69)90011-8
Greenwood, Brit. J. Appl. Phys. 17 (1966) 1621 (resistance of many spots). DOI
10.1088/0508-3443/17/12/310
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, ConvergenceError
from tim3d.lazy import fft

Floats: TypeAlias = NDArray[np.float64]

# Correlation of Yovanovich for what Cooper, Mikic and Yovanovich derived: h sigma / (k m) =
# PREFACTOR (P / H)^EXPONENT, within 1.5 % for P / H from 1e-6 to 2e-2.
PREFACTOR, EXPONENT = 1.25, 0.95
STEPS = 1000


def disc_resistance(radius: float, first: float, second: float) -> float:
    """Resistance from one half space to another through a disc: 1 / (4 a k) on either side.

    Parameters
    ----------
    radius : float
        Radius a of the disc.
    first, second : float
        Conductivities of the half spaces.

    Examples
    --------
    >>> disc_resistance(2.0, 1.0, 1.0)
    0.25
    """
    return (1 / first + 1 / second) / (4 * radius)


def harmonic(first: float, second: float) -> float:
    """Conductivity k_s = 2 k1 k2 / (k1 + k2) of two bodies in contact.

    >>> harmonic(1.0, 3.0)
    1.5
    """
    return 2 * first * second / (first + second)


def plastic_conductance(pressure: float, slope: float, rms: float, conductivity: float) -> float:
    """Conductance per area of a plastic contact of rough surfaces, with nothing in the gap.

    Circular spots of equal size whose number and radius follow from Gaussian heights:
    h = k_s (m / sigma) exp(-l^2) / (2 sqrt(2 pi) (1 - sqrt(P/H))^1.5), with erfc(l) = 2 P/H.

    Parameters
    ----------
    pressure : float
        Pressure over the hardness of the softer body, P/H, below 1/2.
    slope : float
        Mean absolute slope m of profiles of both surfaces together.
    rms : float
        Root mean square sigma of both roughnesses together.
    conductivity : float
        Harmonic mean conductivity k_s of the bodies.

    Examples
    --------
    >>> found = plastic_conductance(0.01, 0.1, 1e-6, 1.0)
    >>> round(found, -2), round(1.25 * 1.0 * 0.1 / 1e-6 * 0.01**0.95, -2)
    (1600.0, 1600.0)
    """
    if not 0 < pressure < 0.5:
        raise ArgumentError(f"the pressure over the hardness is {pressure:g}; use 0 to 0.5")
    u = NormalDist().inv_cdf(1 - pressure)
    spots = math.exp(-(u**2) / 2) / (2 * math.sqrt(2 * math.pi))
    narrowed: float = (1 - math.sqrt(pressure)) ** 1.5
    return conductivity * slope / rms * spots / narrowed


def mean_spot_radius(pressure: float, slope: float, rms: float) -> float:
    """Radius of the spots of the same model: sqrt(8/pi) (sigma / m) exp(l^2) erfc(l).

    Parameters
    ----------
    pressure, slope, rms
        See `plastic_conductance`.

    Examples
    --------
    >>> round(mean_spot_radius(0.01, 0.1, 1.0), 2)
    4.78
    """
    u = NormalDist().inv_cdf(1 - pressure)
    return math.sqrt(8 / math.pi) * rms / slope * math.exp(u**2 / 2) * 2 * pressure


def spots_resistance(
    spots: NDArray[np.bool_],
    spacing: tuple[float, float],
    conductivities: tuple[float, float],
    depths: tuple[float, float] = (math.inf, math.inf),
    tolerance: float = 1e-6,
) -> float:
    """Resistance times area of flat bodies that touch in some spots, over that of full contact.

    The flux through the spots is what makes the temperature of the contact plane uniform in them;
    a wave of flux of wave number q raises it by tanh(q depth) / (k q) in either body. The map is
    repeated along both axes.

    Parameters
    ----------
    spots : (Y, X) bool
        Pixels in contact.
    spacing : (dy, dx)
        Edges of a pixel.
    conductivities : (lower, upper)
        Conductivities of the bodies.
    depths : (lower, upper)
        Distances of the faces that are held at a temperature.
    tolerance : float
        Largest relative deviation of the temperature in the spots.

    Raises
    ------
    ArgumentError
        If no pixel is in contact.
    ConvergenceError
        If the tolerance is not reached.

    Examples
    --------
    >>> y, x = np.indices((64, 64)) - 31.5
    >>> found = spots_resistance(np.hypot(y, x) < 4, (1.0, 1.0), (1.0, 1.0))
    >>> alone = disc_resistance(4.0, 1.0, 1.0) * 64**2
    >>> bool(0.85 < found / alone < 0.95)  # a tube is narrower than a half space
    True
    """
    if not spots.any():
        raise ArgumentError("no pixel is in contact: the resistance is infinite")
    rise = _rise(spots.shape, spacing, conductivities, depths)
    # The mean flux raises the temperature by a number that is taken away again.
    rise[0, 0] = added = rise.max()
    flux = _uniform(spots, rise, tolerance)
    return float(1 / flux.mean() - added)


def _rise(
    shape: tuple[int, ...],
    spacing: tuple[float, float],
    conductivities: tuple[float, float],
    depths: tuple[float, float],
) -> Floats:
    """Rise of the contact plane under a unit wave of flux, in the order of `scipy.fft.rfft2`."""
    y = fft.fftfreq(shape[0], spacing[0])[:, None]
    x = fft.rfftfreq(shape[1], spacing[1])[None]
    wave = 2 * math.pi * np.hypot(y, x)
    wave[0, 0] = math.inf
    total: Floats = sum(
        (np.tanh(wave * depth) / (k * wave) for k, depth in zip(conductivities, depths, strict=True)),
        np.zeros(wave.shape),
    )  # fmt: skip
    return total


def _uniform(spots: NDArray[np.bool_], rise: Floats, tolerance: float) -> Floats:
    """Flux in the spots that raises them by one, by preconditioned conjugate gradients."""

    def within(values: Floats, factor: Floats) -> Floats:
        found = fft.irfft2(factor * fft.rfft2(values), values.shape)
        return np.asarray(np.where(spots, found, 0.0))

    left = spots.astype(np.float64)
    flux = np.zeros(spots.shape)
    inverse = 1 / rise
    step = better = within(left, inverse)
    product = float((left * better).sum())
    for _ in range(STEPS):
        raised = within(step, rise)
        length = product / float((step * raised).sum())
        flux += length * step
        left -= length * raised
        if np.abs(left).max() <= tolerance:
            return flux
        better = within(left, inverse)
        product, before = float((left * better).sum()), product
        step = better + product / before * step
    raise ConvergenceError(f"the flux through the spots did not settle in {STEPS} steps")
