"""The checks of a stack, in one table: names, grey values, neighbours, borders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tim3d.grid import AXES
from tim3d.sources.numbering import Gap, all_negative, gaps_in
from tim3d.stages.inspection.findings import Check, Finding, NotJudged, Stack, Verdict, seen

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# A step of z that is this many times the usual one: half way to a missing slice, and a half.
LARGEST_STEP = 1.75
# Contrast below this share of the usual one; rows without contrast beyond the usual share.
LEAST_CONTRAST, MOST_CONSTANT_ROWS = 0.05, 0.05
# Share of a slice that lies at the lowest, or the highest, grey value of the stack. In a good
# tomography of fibres the noise around black was cut off in 9 % of the pixels.
MOST_SATURATED = 0.1
# Difference between neighbours, relative to the usual one: real ones differ by their noise.
LEAST_DIFFERENCE = 0.25
# Step of brightness in standard deviations of a slice; of the logarithm of the contrast. A step
# must also stand out from the others by this many robust standard deviations.
LARGEST_JUMP, OUTSTANDING = 0.25, 6.0
# Displacement of neighbours in pixels: what it scatters by beyond its error; one alone.
MOST_SCATTER, LARGEST_SHIFT = 0.5, 2.0
# Systematic displacement per slice distance, both in nm: the tangent of the angle between the
# content and the cutting direction. Aligned stacks of inclined material were seen at up to 0.5.
STEEPEST = 0.75
# Error of a displacement above which there is no judgement.
LARGEST_ERROR = 1.0
_ROBUST = 1.4826
# Edges of a voxel in nm: less is finer than any electron tomography, more is that of X-ray scanners
# or of a wrong unit. Serial sections of 100 nm are imaged at 4 nm.
SMALLEST_NM, LARGEST_NM, MOST_SLENDER = 0.1, 2000.0, 50.0
# Numbers of missing slices that a message lists.
MOST_TYPED = 12


def _gaps(stack: Stack) -> Verdict:
    if len(stack.positions_nm) > 2:
        return _gaps_of_positions(stack)
    found = gaps_in(stack.names)
    if not found:
        return None
    after = tuple(stack.names.index(gap.before) for gap in found)
    missing = sum(gap.missing for gap in found)
    first = found[0]
    text = (
        f"numbers jump from {first.number} to {first.following} ({first.before}, {first.after})"
        + (f" and at {len(found) - 1} more places" if len(found) > 1 else "")
        + f": {missing} slices are missing, and z is wrong from there on"
    )
    cure = (
        "copy the missing files, write z into all names (z=5.91um), or accept it and interpolate: "
        f"--accept gaps, then  tim3d prepare SAMPLE fill:missing={_missing(stack, found)}"
    )
    return Finding(text, after, float(missing), 0.0, "slices", cure)


def _missing(stack: Stack, gaps: Sequence[Gap]) -> str:
    """Numbers of the missing slices in the count that includes them, as `fill` takes them."""
    numbers: list[int] = []
    for gap in gaps:
        first = stack.names.index(gap.before) + 1 + len(numbers)
        numbers += range(first, first + gap.missing)
    return ",".join(map(str, numbers)) if len(numbers) <= MOST_TYPED else "N,N,..."


def _gaps_of_positions(stack: Stack) -> Verdict:
    steps = np.abs(np.diff(stack.positions_nm))
    ratio = steps / np.median(steps) if np.median(steps) else np.ones(len(steps))
    wide = tuple(np.flatnonzero(ratio >= LARGEST_STEP).tolist())
    if not wide:
        return None
    text = (
        f"the step of z after {stack.places(wide)} is {ratio.max():.2f} times the usual "
        f"{np.median(steps):.4g} nm: slices are missing, and would be interpolated over the gap"
    )
    cure = "copy the missing files; or accept it, and the gap is interpolated: --accept gaps"
    return Finding(text, wide, float(ratio.max()), LARGEST_STEP, "usual steps", cure)


def _negative(stack: Stack) -> Verdict:
    if not all_negative(stack.names):
        return None
    text = (
        f"all numbers in the names are negative, and the order goes by them: first {stack.names[0]}, last "
        f"{stack.names[-1]}. If the dash is a separator, the stack is upside down"
    )
    return Finding(text, (), float(len(stack.names)), 0.0, "names")


def _blank(stack: Stack) -> Verdict:
    constant = seen(stack, "constant_rows")
    share = _contrast(stack)
    bad = np.flatnonzero(_is_blank(stack))
    if not len(bad):
        return None
    z = int(bad[0])
    how = (
        f"has {100 * share[z]:.1f} % of the usual contrast"
        if share[z] < LEAST_CONTRAST
        else f"has {100 * constant[z]:.0f} % of its rows without any contrast"
    )
    least, most = float(share[bad].min()), float((constant - np.median(constant))[bad].max())
    found = (
        (least, LEAST_CONTRAST, "usual contrast")
        if least < LEAST_CONTRAST
        else (most, MOST_CONSTANT_ROWS, "of the rows without contrast")
    )
    alone = "" if len(bad) == 1 else f"; the first {how}"
    text = (
        f"{stack.places(bad.tolist())} {how if len(bad) == 1 else 'are blank, or partly' + alone}"
    )
    return Finding(text, tuple(bad.tolist()), *found)


def _saturated(stack: Stack) -> Verdict:
    shares = saturated_shares(stack)
    share = np.maximum(*shares)
    share[_is_blank(stack)] = 0
    bad = np.flatnonzero(share > MOST_SATURATED)
    if not len(bad):
        return None
    end, value = (
        ("highest", seen(stack, "max").max())
        if shares[1][bad].max() >= shares[0][bad].max()
        else ("lowest", seen(stack, "min").min())
    )
    text = (
        f"up to {100 * share.max():.0f} % of the pixels have the {end} grey value {value:g}, in "
        f"{stack.places(bad.tolist())}: values beyond it were cut off, or it stands for no image"
    )
    return Finding(text, tuple(bad.tolist()), float(share.max()), MOST_SATURATED, "share of pixels")


def saturated_shares(stack: Stack) -> tuple[Floats, Floats]:
    """Share of each slice, without bars and frames, at the lowest and at the highest grey value of the stack."""
    assert stack.seen is not None
    low, high = seen(stack, "min"), seen(stack, "max")
    shares = (
        np.where(low == low.min(), seen(stack, "share_at_min"), 0.0),
        np.where(high == high.max(), seen(stack, "share_at_max"), 0.0),
    )
    area, *in_border = stack.seen.border_shares
    at_low, at_high = (
        np.maximum(share - inside, 0.0) / max(1 - area, 1e-9)
        for share, inside in zip(shares, in_border, strict=True)
    )
    return at_low, at_high


def _contrast(stack: Stack) -> Floats:
    """Standard deviation of each slice over the usual one."""
    std = seen(stack, "std")
    usual = float(np.median(std))
    return std / usual if usual else np.zeros(len(std))


def _is_blank(stack: Stack) -> Flags:
    """Whether a slice, or part of it, has no contrast; an info bar leaves some to a blank slice."""
    constant = seen(stack, "constant_rows")
    excess = constant - np.median(constant)
    return np.asarray((_contrast(stack) < LEAST_CONTRAST) | (excess > MOST_CONSTANT_ROWS))


def _duplicates(stack: Stack) -> Verdict:
    assert stack.seen is not None
    blank = _is_blank(stack)
    if blank.all():
        return NotJudged("the slices are blank")
    first = stack.seen.same_as
    difference = seen(stack, "difference")
    real = ~blank & ~np.roll(blank, 1) & np.isfinite(difference)
    usual = np.median(difference[real]) if real.sum() >= 7 else 0.0
    ratio = np.full(len(first), 1.0)
    if usual > 0:
        ratio[real] = difference[real] / usual
    equal = (first < np.arange(len(first))) & ~blank
    ratio[equal] = 0.0
    bad = np.flatnonzero(ratio < LEAST_DIFFERENCE)
    if not len(bad):
        return None
    z = int(bad[0])
    twin = int(first[z]) if equal[z] else z - 1
    alike = "the same pixels as" if equal[z] else f"{ratio[z]:.2f} of the usual difference to"
    text = f"slice {stack.place(z)} has {alike} slice {stack.place(twin)}" + (
        f", and {len(bad) - 1} more have a twin" if len(bad) > 1 else ""
    )
    return Finding(
        text, tuple(bad.tolist()), float(ratio.min()), LEAST_DIFFERENCE, "usual difference"
    )


def _jumps(stack: Stack) -> Verdict:
    keep = np.flatnonzero(~_is_blank(stack))
    if len(keep) < 8:
        return NotJudged("fewer than 8 slices have contrast")
    mean, std = seen(stack, "mean")[keep], seen(stack, "std")[keep]
    steps = np.stack([np.diff(mean) / np.median(std), np.diff(np.log(std))])
    size = np.abs(steps).max(axis=0)
    spread = _ROBUST * np.median(np.abs(steps - np.median(steps, axis=1)[:, None]), axis=1)
    stands_out = (np.abs(steps) > OUTSTANDING * spread[:, None]) & (np.abs(steps) > LARGEST_JUMP)
    at = np.flatnonzero(stands_out.any(axis=0))
    if not len(at):
        return None
    bad = _odd_ones(at, steps[0])
    slices = tuple(int(keep[i]) for i in bad)
    z = int(np.argmax(np.where(stands_out.any(axis=0), size, 0)))
    text = (
        f"brightness or contrast jumps at {stack.places(slices)}; the largest step, to slice "
        f"{stack.place(int(keep[z + 1]))}: mean {mean[z]:.4g} to {mean[z + 1]:.4g}, deviation {std[z]:.4g} to "
        f"{std[z + 1]:.4g}"
    )
    return Finding(text, slices, float(size[z]), LARGEST_JUMP, "standard deviations")


def _odd_ones(at: npt.NDArray[np.intp], steps: Floats) -> list[int]:
    """Slices behind the steps; a step that is undone by the next is of one slice alone."""
    found: list[int] = []
    for i in at.tolist():
        undone = found and found[-1] == i and steps[i] * steps[i - 1] < 0
        found += [] if undone else [i + 1]
    return found


def _drift(stack: Stack) -> Verdict:
    blank = _is_blank(stack)
    error = seen(stack, "shift_error")
    use = np.isfinite(error) & ~blank & ~np.roll(blank, 1) & (seen(stack, "difference") > 0)
    if use.sum() < 7:
        return NotJudged("fewer than 7 pairs of neighbours have contrast")
    usual_error = float(np.sqrt(np.median(error[use] ** 2)))
    if usual_error > LARGEST_ERROR:
        return NotJudged(
            f"neighbours are too unlike: their displacement is known to {usual_error:.1f} pixels only"
        )
    shifts = np.stack([seen(stack, "shift_y"), seen(stack, "shift_x")])
    usual = np.median(shifts[:, use], axis=1)
    apart = np.where(use, np.hypot(*(shifts - usual[:, None])), 0.0)
    return (
        _leaps(stack, apart, error, usual_error)
        or _scatter(apart[use], error[use])
        or _slope(stack, usual, usual_error / math.sqrt(use.sum()))
    )


def _leaps(stack: Stack, apart: Floats, error: Floats, usual_error: float) -> Verdict:
    certain = OUTSTANDING * np.maximum(np.nan_to_num(error), usual_error)
    bad = np.flatnonzero((apart > LARGEST_SHIFT) & (apart > certain))
    if not len(bad):
        return None
    z = int(bad[np.argmax(apart[bad])])
    text = (
        f"{stack.places(bad.tolist())} moved against the one before by up to {apart[z]:.1f} pixels more than the "
        f"others (slice {stack.place(z)}): y {seen(stack, 'shift_y')[z]:+.1f}, x {seen(stack, 'shift_x')[z]:+.1f}"
    )
    return Finding(text, tuple(bad.tolist()), float(apart[z]), LARGEST_SHIFT, "pixels")


def _scatter(apart: Floats, error: Floats) -> Verdict:
    noise = float(np.median(error**2))
    scatter = math.sqrt(max(0.0, float(np.median(apart**2)) - noise))
    if scatter <= max(MOST_SCATTER, math.sqrt(noise)):
        return None
    text = (
        f"neighbours are displaced by {scatter:.2f} pixels (median), some this way, some that way; "
        f"the displacement is known to {math.sqrt(noise):.2f} pixels"
    )
    return Finding(text, (), scatter, MOST_SCATTER, "pixels")


def _slope(stack: Stack, usual: Floats, error: float) -> Verdict:
    dz, dy, dx = (size or 1.0 for size in stack.voxel_size_nm)
    if not all(stack.voxel_size_nm):
        dz = dy = dx = 1.0
    slope = math.hypot(usual[0] * dy, usual[1] * dx) / dz
    if slope <= STEEPEST or math.hypot(*usual) < 3 * error:
        return None
    text = (
        f"each slice is displaced against the one before by y {usual[0]:+.2f}, x {usual[1]:+.2f} pixels: drift, or "
        "a material that runs at a slant to the cutting direction"
    )
    return Finding(text, (), slope, STEEPEST, "nm per nm of z")


def _bar(stack: Stack) -> Verdict:
    assert stack.seen is not None
    found = {side: n for side, n in stack.seen.borders.items() if n}
    if not found:
        return None
    kind = {"top": "rows at the top", "bottom": "rows at the bottom"}
    kind |= {"left": "columns on the left", "right": "columns on the right"}
    text = "the same in all slices, like an info bar or a frame: " + ", ".join(
        f"{n} {kind[side]}" for side, n in found.items()
    )
    cut = {
        "bottom": "bar={}",
        "top": "y={}:",
        "left": "x={}:",
        "right": "x=:-{}",
    }
    # Both edges of an axis in one range.
    words = [cut[side].format(n) for side, n in found.items()]
    if {"left", "right"} <= found.keys():
        words = [one for one in words if not one.startswith("x")]
        words.append(f"x={found['left']}:-{found['right']}")
    cure = f"accept it, then  tim3d prepare SAMPLE crop:{','.join(words)}"
    return Finding(text, (), float(max(found.values())), 0.0, "pixels", cure)


def _voxel(stack: Stack) -> Verdict:
    known = {axis: size for axis, size in zip(AXES, stack.voxel_size_nm, strict=True) if size}
    for axis, size in known.items():
        if not SMALLEST_NM <= size <= LARGEST_NM:
            limit, than = (SMALLEST_NM, "smaller") if size < SMALLEST_NM else (LARGEST_NM, "larger")
            text = f"a voxel is {size:g} nm along {axis}, {than} than in any electron microscope of sections"
            return Finding(text, (), size, limit, "nm", _in_another_unit(size))
    if len(known) < 2 or max(known.values()) <= MOST_SLENDER * min(known.values()):
        return None
    longest, shortest = (max(known.items(), key=_of), min(known.items(), key=_of))
    ratio = longest[1] / shortest[1]
    text = (
        f"a voxel is {ratio:.3g} times as long along {longest[0]} ({longest[1]:g} nm) as along {shortest[0]} "
        f"({shortest[1]:g} nm)"
    )
    return Finding(text, (), ratio, MOST_SLENDER, "times")


def _of(item: tuple[str, float]) -> float:
    return item[1]


def _in_another_unit(size: float) -> str:
    """Advise the number to type if a length was meant in nm, or in micrometres."""
    other = size / 1000 if size > LARGEST_NM else 1000 * size
    return f"if it is {other:g} nm, type that: --voxel-size z={other:g},y=...,x=... --units nm"


ONE_SLICE, FEW, SERIES, WIDE = (1, 32), (2, 32), (8, 32), (8, 64)
CHECKS = {
    check.name: check
    for check in (
        Check(
            "gaps", "numbers or positions that are missing among the slices",
            "copy the missing files, or write z into all names (z=5.91um) so that the gap is known", _gaps,
            of_labels=True,
        ),
        Check(
            "negative", "names whose numbers are all negative",
            "rename the files if the dash is a separator", _negative, of_labels=True,
        ),
        Check(
            "blank", "slices, or parts of slices, without contrast",
            "accept them, then  tim3d prepare SAMPLE fill", _blank, smallest=ONE_SLICE,
        ),
        Check(
            "saturated", "grey values that were cut off",
            "export the stack again with other limits of black and white", _saturated, smallest=ONE_SLICE,
            few_values=False,
        ),
        Check(
            "duplicates", "slices that are equal, or nearly",
            "remove the copies, or accept them, then  tim3d prepare SAMPLE fill  (fill:copies=leave-out where the "
            "material did not change)", _duplicates, smallest=FEW, few_values=False,
        ),
        Check(
            "jumps", "sudden changes of brightness or contrast between neighbours",
            "accept them, then  tim3d prepare SAMPLE brightness", _jumps, smallest=SERIES,
            few_values=False,
        ),
        Check(
            "drift", "displacements between neighbours",
            "accept it, then  tim3d prepare SAMPLE align", _drift, smallest=WIDE, few_values=False,
        ),
        Check(
            "bar", "an info bar, or a frame around the image",
            "accept it, then  tim3d prepare SAMPLE crop:bar=ROWS", _bar, smallest=(2, 64), few_values=False,
        ),
        Check(
            "voxel", "a voxel size that is implausible",
            "type the right one: --voxel-size z=10,y=5,x=5 --units nm", _voxel, of_labels=True,
        ),
    )
}  # fmt: skip
