"""Grey-value thresholds from a histogram, and an optional exact integer blur before them.

Histograms are counts and bin centres. Counts of blocks are additive, so a threshold of the whole
volume does not depend on its blocking.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple
from tim3d.lazy import ndimage

Counts: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Grey: TypeAlias = npt.NDArray[np.integer | np.floating]
Polarity: TypeAlias = Literal["dark", "bright"]

# Halo along (z, y, x) that each blur needs, in voxels.
BLURS: dict[str, Triple] = {"none": (0, 0, 0), "binomial": (0, 2, 2)}

# Fractions of the largest second derivative of a histogram. The mode of few, smeared-out pores
# reaches 1/200 of the solid's (90 % solid, simulated), without ripples before it; on the ramp after
# it, ripples from counting noise reach 1/40.
LEAST_MODE = 0.002
LEAST_FOOT = 0.05
# Multi-Otsu keeps a few tables of bins x bins.
MOST_BINS = 1024


def grey_counts(block: npt.NDArray[np.unsignedinteger]) -> Counts:
    """Histogram of grey values: 256 counts for uint8, 65536 for uint16; additive over blocks.

    Raises
    ------
    InputError
        If the block has another type; use `binned_counts`.

    Examples
    --------
    >>> grey_counts(np.array([0, 2, 2], np.uint8))[:4].tolist()
    [1, 0, 2, 0]
    """
    if block.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"grey values are {block.dtype}; counts per value need uint8 or uint16, use binned_counts"
        )
    counts = np.zeros(1 << (8 * block.dtype.itemsize), np.int64)
    _tally(np.ascontiguousarray(block).ravel(), counts)
    return counts


@nb.njit(nogil=True, cache=True)
def _tally(values, counts):  # type: ignore[no-untyped-def]
    # numpy.bincount first converts every voxel to eight bytes.
    for value in values:
        counts[value] += 1


def binned_counts(block: Grey, low: float, high: float, bins: int = 256) -> tuple[Counts, Floats]:
    """Counts and centres of equal bins from `low` to `high`.

    Values beyond the range count in the first and the last bin.

    Parameters
    ----------
    block : array
        Grey values of any type.
    low, high : float
        Range of the bins.
    bins : int
        Number of bins.

    Raises
    ------
    InputError
        If a value is NaN.
    ArgumentError
        If the range is empty or the number of bins is below 1.

    Examples
    --------
    >>> counts, centres = binned_counts(np.array([0.1, 0.6, 7.0]), 0.0, 1.0, bins=2)
    >>> counts.tolist(), centres.tolist()
    ([1, 2], [0.25, 0.75])
    """
    if not low < high or bins < 1:
        raise ArgumentError(
            f"bins need low < high and bins >= 1, got low {low}, high {high}, bins {bins}"
        )
    values = np.asarray(block, dtype=np.float64)
    if np.isnan(values).any():
        raise InputError(
            f"{int(np.isnan(values).sum())} grey values are NaN; fill them before thresholding"
        )
    counts, edges = np.histogram(values.clip(low, high), bins=bins, range=(low, high))
    return counts.astype(np.int64), (edges[:-1] + edges[1:]) / 2


def otsu(counts: npt.ArrayLike, centres: npt.ArrayLike) -> float:
    """Otsu's threshold of a histogram: largest variance between the two classes.

    The dark class is grey <= threshold. If several thresholds are equally good (in an empty
    valley), the lowest is returned.

    Parameters
    ----------
    counts, centres : 1-D arrays
        Non-negative counts, and ascending bin centres.

    Returns
    -------
    float
        Centre of the last bin of the dark class.

    Raises
    ------
    InputError
        If the histogram is empty or all voxels have the same grey value.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62. DOI 10.1109/TSMC.1979.4310076

    Examples
    --------
    >>> otsu([4, 0, 0, 5], [10, 11, 12, 13])
    10.0
    """
    n, grey = _filled(*_checked(counts, centres, 2))
    dark, dark_sum = np.cumsum(n)[:-1], np.cumsum(n * grey)[:-1]
    bright, bright_sum = np.cumsum(n[::-1])[-2::-1], np.cumsum((n * grey)[::-1])[-2::-1]
    between = dark * bright * (dark_sum / dark - bright_sum / bright) ** 2
    return float(grey[np.argmax(between)])


def multi_otsu(counts: npt.ArrayLike, centres: npt.ArrayLike, classes: int = 3) -> list[float]:
    """Multi-Otsu thresholds, ascending: largest variance between the classes.

    The `classes` - 1 thresholds are exact, by dynamic programming. Class k contains threshold[k-1]
    < grey <= threshold[k]. With two classes this is `otsu`. If more than 1024 grey values occur,
    they are joined to groups of an equal number of neighbouring values, with their means; a group
    is never split, and the last grey value of a group is the threshold. The range of the type that
    the values fill does not matter.

    Parameters
    ----------
    counts, centres : 1-D arrays
        Non-negative counts, and ascending bin centres.
    classes : int
        Number of classes.

    Raises
    ------
    InputError
        If there are fewer grey values than classes.
    ArgumentError
        If `classes` is below 2.

    References
    ----------
    Liao, Chen, Chung, J. Inf. Sci. Eng. 17 (2001) 713. DOI 10.6688/JISE.2001.17.5.1

    Examples
    --------
    >>> multi_otsu([4, 0, 5, 0, 6], [0, 1, 2, 3, 4], classes=3)
    [0.0, 2.0]
    """
    if classes < 2:
        raise ArgumentError(f"multi-Otsu needs at least 2 classes, got {classes}")
    n, grey = _filled(*_checked(counts, centres, classes))
    size = -(-len(n) // max(MOST_BINS, classes))
    starts = np.arange(0, len(n), size)
    ends = np.minimum(starts + size, len(n)) - 1
    grouped = np.add.reduceat(n, starts)
    means = np.add.reduceat(n * grey, starts) / grouped if size > 1 else grey
    return [float(grey[ends[last]]) for last in _best_cuts(_class_worth(grouped, means), classes)]


def second_derivative_peak(
    counts: npt.ArrayLike,
    centres: npt.ArrayLike,
    smoothing: float = 6.0,
    polarity: Polarity = "dark",
) -> float:
    """Threshold at the first maximum of the histogram's second derivative beyond the pore mode.

    The histogram h is smoothed by a Gaussian and differentiated twice. Starting from the pore side,
    the first minimum of h'' (at least 0.2 % of the largest |h''|) is the pore mode, or the shoulder
    that is left of it; the first maximum after it (at least 5 %) is the threshold, if another mode
    follows. With two separate modes, this is the far foot of the pore mode, about sqrt(3) of its
    standard deviations from its centre. With pores smeared out by shine-through, h falls in a
    straight ramp from the pore mode, and the first bend is the near foot of the solid mode, so
    everything darker than solid is on the pore side. The same holds for few pores in much solid.
    The rising flank before the pore mode also has a maximum of h''; it does not separate modes and
    is skipped.

    Parameters
    ----------
    counts, centres : 1-D arrays
        Non-negative counts, and equidistant ascending bin centres.
    smoothing : float
        Standard deviation of the Gaussian in grey levels: below the width of a mode, above the
        scale of the noise in the counts. 6 suits uint8; uint16 that fills its range needs about
        1500.
    polarity : "dark" or "bright"
        Whether pores are darker or brighter than the solid.

    Returns
    -------
    float
        Centre of a bin. Pores are grey <= threshold if dark, grey >= threshold if bright.

    Raises
    ------
    InputError
        If the histogram is empty, or has only one grey value or only one mode.
    ArgumentError
        If the centres are not equidistant, or smoothing or polarity is out of range.

    References
    ----------
    Hybrid annotation of porous copper, Commun. Mater. (2024). DOI 10.1038/s43246-024-00493-5. The
    paper states neither the smoothing nor which peak is meant on the rising flank; both are chosen
    here.

    Examples
    --------
    >>> grey = np.arange(256)
    >>> modes = 1000 * np.exp(-((grey - 60) ** 2) / 200) + 3000 * np.exp(-((grey - 170) ** 2) / 200)
    >>> second_derivative_peak(modes, grey)
    80.0
    """
    n, grey = _checked(counts, centres, 2)
    step = _step(grey)
    check_smoothing(smoothing)
    toward = slice(None) if is_dark(polarity) else slice(None, None, -1)
    bend = ndimage.gaussian_filter1d(n[toward], smoothing / step, order=2, mode="reflect")
    largest = np.abs(bend).max()
    mode = _first_peak(-bend, LEAST_MODE * largest, 0)
    foot = None if mode is None else _first_peak(bend, LEAST_FOOT * largest, mode)
    # Without another mode beyond it, the foot is the far side of the only mode.
    if foot is None or _first_peak(-bend, LEAST_FOOT * largest, foot) is None:
        raise InputError(
            f"one mode only in the histogram at smoothing {smoothing:g}, a pore mode and a solid mode are needed; "
            "use a smaller smoothing, or Otsu"
        )
    return float(grey[toward][foot])


def check_smoothing(smoothing: float) -> None:
    """Raise `ArgumentError` unless it is a finite number of grey levels above 0."""
    if not 0 < smoothing < np.inf:
        raise ArgumentError(f"smoothing must be a positive number of grey levels, got {smoothing}")


def is_dark(polarity: str) -> bool:
    """Return True for "dark", False for "bright"; raise `ArgumentError` otherwise."""
    if polarity not in ("dark", "bright"):
        raise ArgumentError(
            f'polarity is {polarity!r}; say "dark" if pores are darker than the solid, or "bright"'
        )
    return polarity == "dark"


def foreground(grey: Grey, threshold: float, polarity: Polarity = "dark") -> npt.NDArray[np.bool_]:
    """Return True where grey <= threshold ("dark") or grey >= threshold ("bright").

    Parameters
    ----------
    grey : array
        Grey values.
    threshold : float
        The threshold.
    polarity : {"dark", "bright"}
        Whether the foreground is darker or brighter than the threshold.

    Examples
    --------
    >>> foreground(np.array([1, 2, 3]), 2, "bright").tolist()
    [False, True, True]
    """
    return np.asarray(grey <= threshold) if is_dark(polarity) else np.asarray(grey >= threshold)


def classify(grey: Grey, thresholds: list[float]) -> npt.NDArray[np.uint8]:
    """Class 0, 1, ... of every voxel: the number of ascending thresholds below its grey value.

    >>> classify(np.array([0, 5, 9]), [0.0, 5.0]).tolist()
    [0, 1, 2]
    """
    if sorted(thresholds) != list(thresholds):
        raise ArgumentError(f"thresholds must ascend, got {thresholds}")
    return np.searchsorted(np.asarray(thresholds), grey, side="left").astype(np.uint8)


def beyond_local_mean(
    plane: npt.NDArray[np.unsignedinteger], edge: int, offset: int, *, dark: bool = True
) -> npt.NDArray[np.bool_]:
    """Return True where a pixel is darker (or brighter) than the mean around it by `offset` or more.

    Dark: grey <= round(m) - offset; bright: grey >= round(m) + offset, with m the mean of edge x edge
    pixels around, in whole numbers. Beyond the border the last pixel is repeated. With a halo of
    edge // 2 pixels no block shows.

    Parameters
    ----------
    plane : (y, x) uint8 or uint16
        Grey values.
    edge : int
        Edge of the square in pixels, odd.
    offset : int
        Grey levels.
    dark : bool
        Whether darker or brighter pixels are sought.

    References
    ----------
    With 21 pixels and 5 levels of 8 bits these are the printed values of the adaptive threshold in Li
    et al. (MatSAM), DOI 10.48550/arXiv.2401.05638.

    Examples
    --------
    >>> plane = np.array([[9, 9, 9], [9, 0, 9], [9, 9, 9]], np.uint8)
    >>> beyond_local_mean(plane, 3, 5).astype(int).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    around, n = np.pad(plane.astype(np.int64), edge // 2, mode="edge"), edge * edge
    for axis in (0, 1):
        sums = np.cumsum(around, axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis))
        sums = np.concatenate([zero, sums], axis=axis)
        cut = [slice(None), slice(None)]
        cut[axis] = slice(edge, None)
        ends, cut[axis] = sums[tuple(cut)], slice(0, -edge)
        around = ends - sums[tuple(cut)]
    mean = (2 * around + n) // (2 * n)  # n is odd: no mean lies halfway
    grey = plane.astype(np.int64)
    return np.asarray(grey <= mean - offset if dark else grey >= mean + offset)


def blurred(grey: npt.NDArray[Any], blur: str) -> npt.NDArray[Any]:
    """Apply the blur before a threshold, a key of `BLURS`, to grey values."""
    return binomial_blur(grey) if blur == "binomial" else grey


def binomial_blur(block: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    """Blur every slice by the 5 x 5 binomial kernel (1 4 6 4 1)/16; exact integers, halves up.

    Equal to OpenCV's 5 x 5 Gaussian blur of uint8. The border is mirrored without repeating the
    edge pixel. A halo of (0, 2, 2) voxels makes the result independent of the blocking.

    Parameters
    ----------
    block : uint8 or uint16 array (..., y, x)
        Grey values.

    Returns
    -------
    array of the same type and shape

    Raises
    ------
    InputError
        If the block has another type.

    Examples
    --------
    >>> binomial_blur(np.array([[0] * 5, [0] * 5, [0, 0, 64, 0, 0], [0] * 5, [0] * 5], np.uint8))[2].tolist()
    [3, 6, 9, 6, 3]
    """
    if block.dtype not in (np.uint8, np.uint16):
        raise InputError(f"the binomial blur is exact for uint8 and uint16, got {block.dtype}")
    kernel = np.array([1, 4, 6, 4, 1])
    wide = ndimage.correlate1d(block.astype(np.int32), kernel, axis=-2, mode="mirror")
    wide = ndimage.correlate1d(wide, kernel, axis=-1, mode="mirror")
    blurred: npt.NDArray[np.unsignedinteger] = ((wide + 128) >> 8).astype(block.dtype)
    return blurred


def _checked(counts: npt.ArrayLike, centres: npt.ArrayLike, values: int) -> tuple[Floats, Floats]:
    """Return counts and centres as float64, or raise if fewer than `values` bins are filled."""
    n, grey = np.asarray(counts, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    if n.ndim != 1 or n.shape != grey.shape or not np.isfinite(n).all() or (n < 0).any():
        raise ArgumentError(
            f"a histogram needs as many counts >= 0 as centres, got {n.shape} and {grey.shape}"
        )
    if (np.diff(grey) <= 0).any():
        raise ArgumentError("the bin centres of a histogram must ascend")
    filled = int(np.count_nonzero(n))
    if not filled:
        raise InputError("the histogram is empty: no voxel was counted")
    if filled < values:
        seen = ", ".join(f"{g:g}" for g in grey[n > 0])
        raise InputError(
            f"the histogram has {filled} grey value(s) ({seen}), {values} are needed to split it"
        )
    return n, grey


def _filled(n: Floats, grey: Floats) -> tuple[Floats, Floats]:
    """Non-empty bins: an empty bin gives the same split as the last non-empty one before it."""
    return n[n > 0], grey[n > 0]


def _class_worth(n: Floats, grey: Floats) -> Floats:
    """Contribution of a class of bins first..last to the between-class variance; -inf if empty."""
    count, moment = (
        np.concatenate([[0.0], np.cumsum(v)]) for v in (n, n * (grey - np.average(grey, weights=n)))
    )
    inside = np.triu(np.ones((len(n), len(n)), dtype=np.bool_))
    held = np.where(inside, count[None, 1:] - count[:-1, None], 1.0)
    return np.where(inside, (moment[None, 1:] - moment[:-1, None]) ** 2 / held, -np.inf)


def _best_cuts(worth: Floats, classes: int) -> list[int]:
    """Last bin of every class but the brightest, for the largest sum of contributions."""
    best, choices = worth[0], []
    for _ in range(classes - 1):
        # totals[first, last]: previous classes end before `first`, the next one has first..last.
        totals = np.concatenate([[-np.inf], best[:-1]])[:, None] + worth
        choices.append(totals.argmax(axis=0))
        best = totals.max(axis=0)
    last, cuts = len(worth) - 1, []
    for choice in reversed(choices):
        last = int(choice[last]) - 1
        cuts.append(last)
    return cuts[::-1]


def _step(grey: Floats) -> float:
    steps = np.diff(grey)
    if not np.allclose(steps, steps[0], rtol=1e-6):
        raise ArgumentError(
            f"bin centres must be equidistant; steps run from {steps.min():g} to {steps.max():g}"
        )
    return float(steps[0])


def _first_peak(curve: Floats, least: float, start: int) -> int | None:
    """Index of the first local maximum >= `least` from `start` on; the first bin can be one."""
    from scipy.signal import find_peaks  # takes a second to import, for this method alone

    padded = np.concatenate([[-np.inf], curve[start:], [-np.inf]])
    peaks, _ = find_peaks(padded, height=least)
    return int(peaks[0]) - 1 + start if len(peaks) else None
