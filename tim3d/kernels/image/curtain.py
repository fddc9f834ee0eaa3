"""Curtains: stripes along the direction of the ion beam, which milling leaves in every slice.

Two ways, both on whole slices. `wavelet_stripes` damps what hardly changes along the stripes in the
wavelet bands that hold their widths; `variational_stripes` finds the stripes whose removal leaves
the least total variation. Both work on the difference between a slice and its phases
(`phase_model`), so that layers along the stripes stay as far as a threshold separates them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pywt

from tim3d.errors import ArgumentError
from tim3d.kernels.image.phase_model import Floats, Grey, check_phases, phase_means
from tim3d.lazy import fft

Estimate = Callable[[Floats], Floats]


def stripes(grey: Grey, estimate: Estimate, phases: int = 2, rounds: int = 2) -> Floats:
    """Stripes of a slice in grey levels, estimated in turn with its phases; to be subtracted.

    Parameters
    ----------
    grey : array (y, x)
        Grey values of a whole slice.
    estimate : callable
        Stripes of a slice of float32, such as `wavelet_stripes` with its other arguments.
    phases : int
        Phases that a threshold separates in the slice; 1 estimates from the grey values themselves.
    rounds : int
        How often phases and stripes are estimated in turn, from 1 on; each time what is still left
        of the stripes is added. Without use for 1 phase.

    Returns
    -------
    float32 array (y, x)
    """
    check_phases(phases)
    if rounds < 1:
        raise ArgumentError(f"stripes need 1 round or more, got {rounds}")
    values = grey.astype(np.float32)
    found = estimate(values - phase_means(values, phases))
    for _ in range(rounds - 1 if phases > 1 else 0):
        left = values - found
        found += estimate(left - phase_means(left, phases))
    return found


def wavelet_stripes(
    grey: Floats, width: float, length: float, along: int = 0, wavelet: str = "db4"
) -> Floats:
    """Stripes of a slice by wavelets along both axes and a Fourier filter along the stripes.

    Parameters
    ----------
    grey : float32 array (y, x)
        Grey values of a whole slice, or what is left of them beside the phases.
    width : float
        Widest stripe that is removed, in pixels across.
    length : float
        Length in pixels over which a stripe may change: an undulation with the wavelength w along
        the stripe counts as stripe to exp(-(2 pi length / w)² / 2).
    along : {0, 1}
        Axis of the stripes: 0 for y, 1 for x.
    wavelet : str
        Wavelet by its name in PyWavelets.

    Returns
    -------
    float32 array (y, x)

    Raises
    ------
    ArgumentError
        If a width or length is below one pixel, or the wavelet is unknown.

    Notes
    -----
    Bands of vertical details up to level ceil(log2(width)) are damped; along the stripes by a cosine
    transform where the source has a Fourier transform, so that the two ends of a stripe are not
    taken for neighbours.

    References
    ----------
    Münch, Trtik, Marone, Stampanoni, Opt. Express 17 (2009) 8567. DOI 10.1364/OE.17.008567

    Examples
    --------
    >>> y, x = np.mgrid[:64, :64]
    >>> curtain = (10 * np.sin(x * 0.9)).astype(np.float32)
    >>> left = curtain - wavelet_stripes(curtain, width=8, length=16)
    >>> bool(left[:, 8:-8].std() < 0.05 * curtain.std())
    True
    """
    check_stripes(width, length, along)
    check_wavelet(wavelet)
    upright = grey if along == 0 else np.ascontiguousarray(grey.T)
    found = _damped(upright, max(1, math.ceil(math.log2(width))), length, wavelet)
    return found if along == 0 else np.ascontiguousarray(found.T)


def _damped(grey: Floats, levels: int, length: float, wavelet: str) -> Floats:
    """Slow parts of the vertical details of some levels, put together again."""
    mode = "symmetric"
    bands, level = [], grey
    for _ in range(levels):
        shape = level.shape
        level, (_, vertical, _) = pywt.dwt2(level, wavelet, mode)
        bands.append((shape, _slow_part(vertical, len(grey), length)))
    found = np.zeros_like(level)
    for shape, vertical in reversed(bands):
        found = pywt.idwt2((found, (None, vertical, None)), wavelet, mode)
        found = found[: shape[0], : shape[1]]
    return found.astype(np.float32)


def _slow_part(band: Floats, height: int, length: float) -> Floats:
    """Part of a band that hardly changes along axis 0."""
    # Term k of the cosine transform has k half waves in the band, which spans the whole slice.
    waves_per_pixel = np.arange(len(band)) / (2 * height)
    kept = np.exp(-((2 * math.pi * length * waves_per_pixel) ** 2) / 2).astype(band.dtype)
    spectrum = fft.dct(band, axis=0, norm="ortho") * kept[:, None]
    return np.asarray(fft.idct(spectrum, axis=0, norm="ortho"))


def variational_stripes(
    grey: Floats,
    width: float,
    length: float,
    along: int = 0,
    strength: float = 1.0,
    iterations: int = 20,
) -> Floats:
    """Stripes of a slice as stationary noise: those that leave the least total variation.

    Minimises ``sum |grad(grey - p * l)| + strength / (2 s) sum l²`` over white noise l, where p is a
    Gaussian as long as the stripes and s the mean gradient of the slice, by the alternating
    direction method of multipliers.

    Parameters
    ----------
    grey, length, along
        As for `wavelet_stripes`; `length` is the standard deviation of p along the stripes.
    width : float
        Widest stripe in pixels: below the wavelength of twice this, p has no part.
    strength : float
        Weight of the second term: larger values remove less.
    iterations : int
        Number of iterations, which is always reached, so that slices do not differ in it.

    Returns
    -------
    float32 array (y, x)

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    References
    ----------
    Fehrenbach, Weiss, Lorenzo, IEEE Trans. Image Process. 21 (2012) 4420.
    DOI 10.1109/TIP.2012.2206037
    """
    check_stripes(width, length, along)
    if not strength > 0 or iterations < 1:
        raise ArgumentError(
            f"stripes need strength > 0 and iterations >= 1, got {strength} and {iterations}"
        )
    upright = grey if along == 0 else np.ascontiguousarray(grey.T)
    padded, inside = _padded(upright, length, width)
    found = _least_variation(padded, width, length, strength, iterations)[inside]
    return found if along == 0 else np.ascontiguousarray(found.T)


def _padded(grey: Floats, length: float, width: float) -> tuple[Floats, tuple[slice, slice]]:
    """Mirrored beyond the ends, to a size that is quick to transform, and where the slice lies."""
    pads = []
    for n, reach in zip(grey.shape, (2 * length, 2 * width), strict=True):
        size = fft.next_fast_len(n + 2 * min(math.ceil(reach), n // 2), real=True)
        pads.append(((size - n) // 2, size - n - (size - n) // 2))
    inside = (slice(pads[0][0], pads[0][0] + grey.shape[0]),) + (
        slice(pads[1][0], pads[1][0] + grey.shape[1]),
    )
    return np.pad(grey, pads, mode="symmetric"), inside


def _least_variation(
    grey: Floats, width: float, length: float, strength: float, iterations: int
) -> Floats:
    steps = (_forward(grey, 0), _forward(grey, 1))
    typical = max(float(np.hypot(*steps).mean(dtype=np.float64)), 1e-6)
    pattern = _pattern(grey.shape, width, length)
    rise = [_difference(grey.shape, axis) for axis in (0, 1)]
    weight = np.float32(1 / typical)
    steepness = (np.abs(rise[0]) ** 2 + np.abs(rise[1]) ** 2) * pattern**2
    solve = pattern / (np.float32(strength) / typical + weight * steepness)
    split = [np.zeros_like(grey) for _ in steps]
    price = [np.zeros_like(grey) for _ in steps]
    for _ in range(iterations):
        spectra = [fft.rfft2(s - p) for s, p in zip(split, price, strict=True)]
        pull = np.conj(rise[0]) * spectra[0] + np.conj(rise[1]) * spectra[1]
        found = fft.irfft2(pattern * solve * weight * pull, s=grey.shape).astype(np.float32)
        slopes = (_forward(found, 0), _forward(found, 1))
        split = _shrunk([a + p for a, p in zip(slopes, price, strict=True)], steps, 1 / weight)
        price = [p + a - s for p, a, s in zip(price, slopes, split, strict=True)]
    return np.asarray(found)


def _shrunk(wanted: list[Floats], steps: tuple[Floats, Floats], amount: np.float32) -> list[Floats]:
    """Gradients of the stripes nearest to `wanted` with little left over from `steps`."""
    left = [s - w for s, w in zip(steps, wanted, strict=True)]
    norm = np.hypot(*left)
    kept = np.maximum(norm - amount, 0) / np.maximum(norm, np.float32(1e-12))
    return [s - kept * rest for s, rest in zip(steps, left, strict=True)]


def _forward(values: Floats, axis: int) -> Floats:
    return np.roll(values, -1, axis) - values


def _difference(shape: tuple[int, ...], axis: int) -> npt.NDArray[np.complex64]:
    """Transform of the forward difference along an axis."""
    waves = fft.fftfreq(shape[0])[:, None] if axis == 0 else fft.rfftfreq(shape[1])[None, :]
    return np.asarray(np.exp(2j * np.pi * waves) - 1, np.complex64)


def _pattern(shape: tuple[int, ...], width: float, length: float) -> Floats:
    """Transform of a stripe: a Gaussian along axis 0, without waves that are wider than the stripes."""
    y, x = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    slow = np.exp(-((2 * np.pi * length * y) ** 2) / 2)
    narrow = 1 - np.exp(-((2 * width * x) ** 4))
    return np.asarray(slow * narrow, np.float32)


def check_wavelet(wavelet: str) -> None:
    """Raise `ArgumentError` unless PyWavelets has a wavelet of that name."""
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ArgumentError(f"wavelet {wavelet!r} is unknown; take one such as 'db4' or 'sym8'")


def check_stripes(width: float, length: float, along: int) -> None:
    """Raise `ArgumentError` unless the lengths are a pixel or more and the axis is 0 or 1."""
    if not (1 <= width < math.inf and 1 <= length < math.inf):
        raise ArgumentError(f"stripes need width and length >= 1 pixel, got {width} and {length}")
    if along not in (0, 1):
        raise ArgumentError(f"stripes lie along axis 0 (y) or 1 (x), got {along}")
