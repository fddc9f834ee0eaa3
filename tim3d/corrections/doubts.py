"""Doubts about a table of slices: one line each, with its number and what to type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

# Correlation of neighbours below which their displacement is unknown.
ALIKE = 0.1
# Median correlation of neighbours below which all displacements are doubtful, and the share of the
# median below which that of one slice is.
HARDLY, COLLAPSED = 0.3, 0.5
# Share of an edge of the frame, or of the slices, above which what is lost or invented is said.
MUCH = 0.1
# Slices in a row that are interpolated, and a factor of the grey values, above which that is said.
LONG_GAP, STRONG_GAIN = 3, 2.0
# Share of the usual difference between neighbours, as one minus their correlation, below which a
# slice is nearly the one before.
NEARLY = 0.2
_SHOWN = 6
_BY_HAND = "look at the table (--only-tables --tables FOLDER) and give it back edited"


def listed(numbers: Sequence[int]) -> str:
    """Numbers of slices as text of limited length.

    >>> listed([3]), listed([1, 2, 3, 4, 5, 6, 7, 8])
    ('slice 3', 'slices 1, 2, 3, 4, 5, 6 and 2 more')
    """
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"slice{'s' if len(numbers) > 1 else ''} {shown}{more}"


def unlike(correlation: Reals) -> Iterator[str]:
    """Doubts about displacements from the correlation of each slice with the one before it."""
    pairs = correlation[1:]
    if not len(pairs):
        return
    usual = float(np.median(pairs))
    if usual < HARDLY:
        yield (
            f"neighbouring slices are hardly alike (correlation {usual:.2f}, median): their displacements are "
            "those of noise. Leave align out, or measure it where the slices are alike: align:y=A:B,x=A:B"
        )
        return
    low = _odd_ones(1 + np.flatnonzero(pairs < max(ALIKE, COLLAPSED * usual)))
    if len(low):
        yield (
            f"{listed(low.tolist())} {'is' if len(low) == 1 else 'are'} unlike the one before (correlation "
            f"{correlation[low].min():.2f} at the lowest, usually {usual:.2f}): the displacement there is not "
            f"known. Bad slices are for fill; otherwise {_BY_HAND}: align:table=FOLDER/align.csv"
        )


def _odd_ones(low: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Slices that are unlike: the last of several in a row is good, and follows a bad one.

    >>> _odd_ones(np.array([11, 12, 20])).tolist()
    [11, 20]
    """
    return low[~np.isin(low - 1, low) | np.isin(low + 1, low)]


def far(axis: str, shift: Reals, lost: float, *, cropped: bool) -> Iterator[str]:
    """Doubt about displacements that cost much of the frame along an axis, a share `lost` of it."""
    if lost <= MUCH:
        return
    away = np.abs(shift - np.median(shift))
    z = int(np.argmax(away))
    what = "is cropped" if cropped else "repeats the outermost pixels in some slice"
    cure = "keep the frame with align:pad=edge" if cropped else "crop the frame with align:pad=crop"
    yield (
        f"slices move by {np.ptp(shift):.1f} pixels along {axis}, and {100 * lost:.0f} % of the frame {what}; "
        f"slice {z} moves farthest, {away[z]:.1f} pixels from the median. If that is not drift, {_BY_HAND} "
        f"(align:table=FOLDER/align.csv); or {cure}"
    )


def interpolated(between: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Doubts about a stack of which many slices, or many in a row, are interpolated."""
    n, count = len(between), int(between.sum())
    if count > MUCH * n:
        yield (
            f"{count} of {n} slices are interpolated ({100 * count / n:.0f} %): a result of this field is partly one "
            "of the interpolation. Which ones are bad and why stands in the table: --only-tables --tables FOLDER"
        )
    first, length = _longest_run(between)
    if length >= LONG_GAP:
        yield (
            f"{length} slices in a row are interpolated (from slice {first} of the result on): what is thinner "
            "than the gap along z is not in them. Cut the stack there if it can be spared: crop:z=A:B"
        )


def left_out(good: Reals) -> Iterator[str]:
    """Doubt about bad slices at the ends of a stack, which are left out."""
    used = np.flatnonzero(good > 0)
    if not len(used):
        return
    ends = [*range(int(used[0])), *range(int(used[-1]) + 1, len(good))]
    if ends:
        yield f"{listed(ends)} at the end of the stack {'is' if len(ends) == 1 else 'are'} bad and left out"


def nearly_equal(correlation: Reals, good: Reals) -> Iterator[str]:
    """Doubt about good slices that differ from the one before by far less than is usual.

    >>> list(nearly_equal(np.array([1, 0.8, 0.8, 0.99, 0.8]), np.ones(5)))[0].split(" (")[0]
    'slice 3 is nearly the one before'
    """
    apart = 1 - correlation
    usual = float(np.median(apart[1:])) if len(apart) > 1 else 0.0
    close = np.flatnonzero((apart < NEARLY * usual) & (good > 0))
    close = close[close > 0]
    if len(close):
        z = int(close[np.argmin(apart[close])])
        yield (
            f"{listed(close.tolist())} {'is' if len(close) == 1 else 'are'} nearly the one before (correlation "
            f"{correlation[z]:.4f} of slice {z}, usually {1 - usual:.4f}), though its pixels differ: a copy that was "
            f"moved or compressed? Then type fill:bad={','.join(map(str, close.tolist()[:_SHOWN]))}"
        )


def strong(gain: Reals) -> Iterator[str]:
    """Doubt about slices whose contrast is multiplied, or divided, by more than 2."""
    size = np.maximum(gain, 1 / np.maximum(gain, 1e-12))
    many = np.flatnonzero(size > STRONG_GAIN)
    if len(many):
        z = int(np.argmax(size))
        yield (
            f"the grey values of {listed(many.tolist())} are multiplied by less than {1 / STRONG_GAIN:g} or more than "
            f"{STRONG_GAIN:g} (slice {z}: {gain[z]:.3g}), and their noise with them. Bad slices are for fill"
        )


def _longest_run(flags: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First index and length of the longest run of true values.

    >>> _longest_run(np.array([True, False, True, True]))
    (2, 2)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    starts, lengths = edges[::2], np.diff(edges)[::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(lengths))
    return int(starts[longest]), int(lengths[longest])
