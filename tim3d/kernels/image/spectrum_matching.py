"""Power spectra of slices, and the filter that gives one stack the spectrum of another.

Fourier domain adaptation takes amplitudes of one image from another and leaves the phases where they
are (Yang, Soatto, DOI 10.1109/CVPR42600.2020.00414). Image by image that depends on what is in the
image. Here the amplitudes are means over many windows, and their ratio is one real filter of a
few pixels for the whole stack: it moves no edge, and a pixel depends on those within its reach only.
"""

from __future__ import annotations

from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError

Floats: TypeAlias = npt.NDArray[np.float64]
Reals: TypeAlias = npt.NDArray[np.float32]

# Largest factor of an amplitude, and 1 over the smallest.
LARGEST_GAIN = 4.0
SMALLEST_WINDOW, LARGEST_WINDOW = 8, 128


def check_window(window: int) -> None:
    """Raise `ArgumentError` unless the edge of a window is an even number from 8 to 128."""
    if not (SMALLEST_WINDOW <= window <= LARGEST_WINDOW and window % 2 == 0):
        raise ArgumentError(
            f"a window of {window} pixels: its edge is an even number from {SMALLEST_WINDOW} to {LARGEST_WINDOW}"
        )


def power_spectrum(slices: npt.NDArray[np.generic], window: int) -> Floats:
    """Mean power of the windows of slices, in grey levels squared (window, window / 2 + 1).

    Windows overlap by half, are taken less their mean, and are weighted by a Hann window (Welch,
    DOI 10.1109/TAU.1967.1161901). Slices smaller than a window have none: an array of zeros.

    Parameters
    ----------
    slices : (z, y, x)
        Consecutive slices.
    window : int
        Edge of a window in pixels.
    """
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(window) + 0.5) / window)
    weight = taper[:, None] * taper
    total, count, step = np.zeros((window, window // 2 + 1)), 0, window // 2
    for grey in slices:
        for y in range(0, grey.shape[0] - window + 1, step):
            rows = grey[y : y + window].astype(np.float64)
            if parts := [
                rows[:, x : x + window] for x in range(0, rows.shape[1] - window + 1, step)
            ]:
                parts = [(one - one.mean()) * weight for one in parts]
                total += (np.abs(np.fft.rfft2(np.stack(parts))) ** 2).sum(0)
                count += len(parts)
    return total / max(count, 1) / float((weight**2).sum())


def filter_taps(source: Floats, target: Floats, share: float) -> Reals:
    """Weights of the filter that gives a stack of one spectrum the other, float32 (window + 1, window + 1).

    The amplitude at a frequency is multiplied by sqrt(target / source), cut to 1/4 to 4, up to the
    share of the highest frequency of an axis, and beyond it by 1. The weights are even and fall to 0 at
    the edge of the window. Their sum is the factor of the lowest frequencies: filter what grey values
    are above their mean.

    Parameters
    ----------
    source, target : (window, window / 2 + 1)
        Spectra, see `power_spectrum`.
    share : float
        Above 0, up to 1 for all frequencies.
    """
    if not 0 < share <= 1:
        raise ArgumentError(f"frequencies up to a share of {share:g}: above 0, up to 1")
    window = len(source)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.sqrt(np.where(source > 0, target / source, 1.0))
    gain = gain.clip(1 / LARGEST_GAIN, LARGEST_GAIN)
    highest = np.maximum(np.abs(np.fft.fftfreq(window))[:, None], np.fft.rfftfreq(window))
    gain = np.where(2 * highest <= share, gain, 1.0)
    # Means were subtracted: power at 0 is not known, and is taken as that of the lowest frequencies.
    gain[0, 0] = (gain[0, 1] + gain[1, 0] + gain[1, 1] + gain[-1, 1]) / 4
    centred = np.roll(np.fft.irfft2(gain, s=(window, window)), (window // 2,) * 2, (0, 1))
    # A real even filter: the row and the column at half a window stand for both ends.
    taps = np.zeros((window + 1, window + 1))
    taps[:window, :window] = centred
    taps = (taps + taps[::-1, ::-1]) / 2
    places = np.arange(window + 1) / window
    fade = np.sin(np.pi * places) ** 2
    taps *= fade[:, None] * fade
    return taps.astype(np.float32)


def filtered(grey: Reals, taps: Reals) -> Reals:
    """Slices (z, y, x) weighted by a filter, without the margin of half the filter on each side."""
    out = np.zeros(
        (grey.shape[0], grey.shape[1] - len(taps) + 1, grey.shape[2] - len(taps) + 1), np.float32
    )
    _weigh(np.ascontiguousarray(grey, np.float32), taps, out)
    return out


@nb.njit(nogil=True, cache=True)
def _weigh(grey, taps, out):  # type: ignore[no-untyped-def]
    # The sum of a pixel is in the order of the taps, wherever the array begins.
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row = out[z, y]
            for j in range(taps.shape[0]):
                line = grey[z, y + j]
                for i in range(taps.shape[1]):
                    weight = taps[j, i]
                    for x in range(row.shape[0]):
                        row[x] += weight * line[x + i]
