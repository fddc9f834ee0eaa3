"""Changes of the structure by a translation: order of the phases, interfaces, fractions, objects that were not there.

The structure of a rendered image is known, and a translated one must show the same. Both are cut by
thresholds between their own levels, so that what blur, rims and shine-through do to a threshold is
in both and cancels: what is left is the doing of the translator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.lazy import ndimage

Grey: TypeAlias = npt.NDArray[np.float32]
Classes: TypeAlias = npt.NDArray[np.uint8]

# Largest movement of interfaces in pixels and change of a phase fraction that are let through.
SHIFT, FRACTION = 0.5, 0.01
# Edge of the square that an interior pixel shares with its phase only, and pixels of an object.
CLEAR, OBJECT = 7, 9
# Objects more than the rendered image has by its noise that are let through, in deviations of the count.
CHANCE = 3.0
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@dataclass(frozen=True)
class Geometry:
    """Changes of a structure by a translation.

    Parameters
    ----------
    names : tuple of str
        Phases, from the darkest of the rendered image.
    levels : tuple of float
        Mean grey of each in the translated image, away from others.
    shift : (dy, dx)
        Movement of the whole structure in pixels, by least squares of the gradient (Lucas, Kanade 1981).
    growth : tuple of float
        Mean signed distance in pixels by which the phases above each threshold grew: the gain of area
        over the length of the boundary.
    fractions : tuple of float
        Change of the fraction of each phase.
    invented, before : int
        Objects of 9 pixels and more of another phase within the interior of one, in the translated and
        in the rendered image.
    """

    names: tuple[str, ...]
    levels: tuple[float, ...]
    shift: tuple[float, float]
    growth: tuple[float, ...]
    fractions: tuple[float, ...]
    invented: int
    before: int

    def faults(self) -> list[str]:
        """Faults of the translation with their figures, each a sentence; empty if there is none."""
        pairs = list(zip(self.names, self.levels, strict=True))
        said = [
            f"swaps phases: {dark} has a mean grey of {a:.1f}, and {bright}, which should be brighter, {b:.1f}"
            for (dark, a), (bright, b) in pairwise(pairs)
            if not a < b
        ]
        if said:  # nothing else can be measured without levels
            return said
        if (moved := math.hypot(*self.shift)) > SHIFT:
            said.append(
                f"shifts the structure by {moved:.2f} px (y, x: {self.shift[0]:.2f}, {self.shift[1]:.2f})"
            )
        said += [
            f"moves interfaces of {name} by {abs(by):.2f} px {'outwards' if by > 0 else 'inwards'}"
            for name, by in zip(self.names[1:], self.growth, strict=True)
            if abs(by) > SHIFT
        ]
        said += [
            f"changes the fraction of {name} by {by:+.4f}"
            for name, by in zip(self.names, self.fractions, strict=True)
            if abs(by) > FRACTION
        ]
        if self.invented - self.before > CHANCE * math.sqrt(self.before + 1):
            said.append(
                f"invents {self.invented - self.before} objects within phases (rendered: {self.before})"
            )
        return said


def compare(rendered: Grey, translated: Grey, classes: Classes, names: Sequence[str]) -> Geometry:
    """Geometry of translated slices beside that of the rendered ones.

    Parameters
    ----------
    rendered, translated : (z, y, x) float32
        Slices before and after, without the border that a translation repeats.
    classes : (z, y, x) uint8
        Known phase of each pixel, numbered from the darkest.
    names : sequence of str
        Their names.
    """
    size = (1, CLEAR, CLEAR)
    clear = ndimage.minimum_filter(classes, size) == ndimage.maximum_filter(classes, size)
    before, after = (_calm(one) for one in (rendered, translated))
    levels = _levels(after, classes, clear, len(names))
    was, now = _cut(before, _levels(before, classes, clear, len(names))), _cut(after, levels)
    shares = [np.bincount(one.ravel(), minlength=len(names)) / one.size for one in (now, was)]
    return Geometry(
        tuple(names),
        tuple(levels),
        _shift(was, now),
        tuple(_growth(was, now, code) for code in range(len(names) - 1)),
        tuple((shares[0] - shares[1]).tolist()),
        _objects(now, classes, clear),
        _objects(was, classes, clear),
    )


def _calm(grey: Grey) -> Grey:
    for axis in (1, 2):
        grey = ndimage.correlate1d(grey, BINOMIAL, axis=axis, mode="nearest")
    return grey


def _levels(grey: Grey, classes: Classes, clear: npt.NDArray[np.bool_], count: int) -> list[float]:
    """Mean grey of each phase away from others; of one that is nowhere away, over all of it."""
    found = []
    for code in range(count):
        inside = classes == code
        inner = inside & clear
        mask = inner if inner.any() else inside
        found.append(float(grey[mask].mean(dtype=np.float64)) if mask.any() else math.nan)
    return found


def _cut(grey: Grey, levels: Sequence[float]) -> Classes:
    """Classes by thresholds halfway between levels; of levels out of order, by these sorted."""
    ordered = np.sort([level for level in levels if math.isfinite(level)])
    return np.searchsorted((ordered[1:] + ordered[:-1]) / 2, grey).astype(np.uint8)


def _growth(was: Classes, now: Classes, code: int) -> float:
    """Gain of area above a class over the length of its boundary; pi / 4 of the faces of pixels (Crofton)."""
    up = was > code
    faces = sum(int(np.diff(up.astype(np.int8), axis=axis).astype(bool).sum()) for axis in (1, 2))
    return float((now > code).sum() - up.sum()) / max(math.pi / 4 * faces, 1.0)


def _shift(was: Classes, now: Classes) -> tuple[float, float]:
    """Movement u that explains the difference of two softened masks: now(x) = was(x - u)."""
    a, b = (
        ndimage.gaussian_filter(one.astype(np.float64), (0, 2, 2), mode="nearest")
        for one in (was, now)
    )
    dy, dx = (-np.gradient((a + b) / 2, axis=axis) for axis in (1, 2))
    matrix = np.array([[(dy * dy).sum(), (dy * dx).sum()], [(dy * dx).sum(), (dx * dx).sum()]])
    right = np.array([(dy * (b - a)).sum(), (dx * (b - a)).sum()])
    found = np.linalg.lstsq(matrix, right, rcond=1e-9)[0]
    return float(found[0]), float(found[1])


def _objects(found: Classes, classes: Classes, clear: npt.NDArray[np.bool_]) -> int:
    """Connected objects of another class within the interior of a phase, slice by slice."""
    count = 0
    for one, wrong in zip(clear, (found != classes) & clear, strict=True):
        if not one.any():
            continue
        marked, number = ndimage.label(wrong, np.ones((3, 3)))
        count += int((np.bincount(marked.ravel(), minlength=number + 1)[1:] >= OBJECT).sum())
    return count
