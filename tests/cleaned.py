"""What the steps of `clean` do to a whole array, in the fewest words and by other libraries."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from tim3d import cleaning
from tim3d.phases import Phases

Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]


def volume(shape: tuple[int, int, int], seed: int) -> Labels:
    """Smooth pores (0) in a solid (3), with specks and dirt (9)."""
    rng = np.random.default_rng(seed)
    noise = ndi.gaussian_filter(rng.standard_normal(shape), 0.7) + 0.2 * rng.standard_normal(shape)
    labels = np.where(noise > 0, 3, 0).astype(np.uint8)
    labels[rng.random(shape) < 0.1] = 9
    return labels


def ball(radius: float, spacing: Spacing) -> NDArray[np.bool_]:
    """The ball as a footprint, offset by offset."""
    reach = [int(radius / step) + 1 for step in spacing]
    z, y, x = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    sz, sy, sx = spacing
    return ((x * sx) ** 2 + (y * sy) ** 2) + (z * sz) ** 2 <= radius**2 * (1 + 1e-9)


def opened(mask: NDArray[np.bool_], radius: float, spacing: Spacing) -> NDArray[np.bool_]:
    """scipy's opening, with a border that neither erodes nor dilates."""
    foot = ball(radius, spacing)
    inside = ndi.binary_erosion(mask, foot, border_value=1)
    return ndi.binary_dilation(inside, foot, border_value=0)


def opening(step: cleaning.Opening, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    own = labels == phases[step.phase]
    out = labels.copy()
    others = [code for code in phases.codes if code != phases[step.phase]]
    for place in np.argwhere(own & ~opened(own, step.radius_nm, spacing)):
        away = [_nearest(labels == code, place, spacing) for code in others]
        out[tuple(place)] = others[int(np.argmin(away))]
    return out


def _nearest(mask: NDArray[np.bool_], place: NDArray[np.int64], spacing: Spacing) -> float:
    steps = (np.argwhere(mask) - place) * np.array(spacing)
    return min(((x * x + y * y) + z * z for z, y, x in steps), default=np.inf)


def closing(step: cleaning.Closing, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    code = phases[step.phase]
    return np.where(~opened(labels != code, step.radius_nm, spacing), code, labels).astype(np.uint8)


def majority(step: cleaning.Majority, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    foot = ball(step.radius_nm, spacing).astype(np.int64)
    votes = np.stack(
        [ndi.correlate((labels == c).astype(np.int64), foot, mode="constant") for c in phases.codes]
    )
    first = np.array(phases.codes, np.uint8)[votes.argmax(axis=0)]
    own = np.take_along_axis(votes, np.searchsorted(phases.codes, labels)[None], axis=0)[0]
    return np.where(own == votes.max(axis=0), labels, first).astype(np.uint8)


def islands(step: cleaning.Islands, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    def small(piece: NDArray[np.bool_]) -> bool:
        volume = piece.sum() * float(np.prod(spacing))
        size = step.below_nm3 is not None and volume < step.below_nm3
        size |= step.below_voxels is not None and piece.sum() < step.below_voxels
        return bool(size and (step.border == "remove" or not _faces(piece)))

    return _replaced(step, labels == phases[step.phase], small, labels, phases, spacing)


def floating(step: cleaning.Floating, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    wanted = {"-z", "+z", "-y", "+y", "-x", "+x"}
    wanted = wanted if step.faces == "any" else set(step.faces.split(":"))

    def loose(piece: NDArray[np.bool_]) -> bool:
        return not wanted & _faces(piece)

    return _replaced(step, labels == phases[step.phase], loose, labels, phases, spacing)


def holes(step: cleaning.Holes, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    def enclosed(piece: NDArray[np.bool_]) -> bool:
        limit = np.inf if step.below_voxels is None else step.below_voxels
        return bool(not _faces(piece) and piece.sum() < limit)

    return _replaced(step, labels != phases[step.phase], enclosed, labels, phases, spacing)


def _replaced(
    step: Any,
    mask: NDArray[np.bool_],
    chosen: Callable[[NDArray[np.bool_]], bool],
    labels: Labels,
    phases: Phases,
    spacing: Spacing,
) -> Labels:
    rank = {6: 1, 18: 2, 26: 3}[step.connectivity]
    ids, count = ndi.label(mask, ndi.generate_binary_structure(3, rank))
    out = labels.copy()
    for number in range(1, count + 1):
        piece = ids == number
        if chosen(piece):
            area = _areas(piece, labels, mask, phases, spacing)
            best = max(phases.codes, key=lambda code: (round(area[code], 6), -code))
            out[piece] = best if area[best] else labels[piece]
    return out


def _areas(
    piece: NDArray[np.bool_],
    labels: Labels,
    mask: NDArray[np.bool_],
    phases: Phases,
    spacing: Spacing,
) -> dict[int, float]:
    area = dict.fromkeys(phases.codes, 0.0)
    for place in np.argwhere(piece):
        for axis, side in itertools.product(range(3), (-1, 1)):
            there = place.copy()
            there[axis] += side
            inside = 0 <= there[axis] < labels.shape[axis]
            if inside and not mask[tuple(there)]:
                area[int(labels[tuple(there)])] += float(np.prod(spacing)) / spacing[axis]
    return area


def _faces(piece: NDArray[np.bool_]) -> set[str]:
    """Faces of the volume that a piece touches; an axis of one voxel has none."""
    touched = set()
    for axis, name in enumerate("zyx"):
        if piece.shape[axis] > 1:
            touched |= {f"-{name}"} if np.take(piece, 0, axis).any() else set()
            touched |= {f"+{name}"} if np.take(piece, -1, axis).any() else set()
    return touched


def merge(step: cleaning.Merge, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    return np.where(labels == phases[step.phase], phases[step.into], labels).astype(np.uint8)


def rename(step: cleaning.Rename, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    return labels


BY_HAND: dict[str, Callable[..., Labels]] = {
    "open": opening,
    "close": closing,
    "majority": majority,
    "islands": islands,
    "floating": floating,
    "holes": holes,
    "merge": merge,
    "rename": rename,
}


def cleaned(
    labels: Labels, steps: tuple[cleaning.Step, ...], phases: Phases, spacing: Spacing
) -> Labels:
    """A whole array after some steps."""
    for step in steps:
        after = step.after(phases, labels.shape, spacing)  # type: ignore[arg-type]
        labels, phases = BY_HAND[step.kind](step, labels, phases, spacing), after
    return labels
