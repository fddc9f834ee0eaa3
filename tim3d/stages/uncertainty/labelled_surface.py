"""Surface of draws and of the truth in the labelled slices, as the estimator of the volume weighs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tim3d.kernels.morphology.boundary_bands import NONE
from tim3d.kernels.morphology.surface import DIRECTIONS, pair_areas
from tim3d.stages.uncertainty.labelled import Labelled, Ranks

Floats = np.ndarray


def surface_totals(
    labelled: Labelled, drawn: Sequence[Callable[[int], Ranks]], phases: int
) -> Floats:
    """Surface of every phase in the labelled slices of each unit: of the truth, then of each draw.

    Between slices that follow each other all 13 directions of `specific_surface` are looked along, in
    a slice without a labelled neighbour the four of its plane. Edges in the plane alone weigh roughness from pixel to
    pixel more than the volume does. Only pairs of labelled voxels count.

    Parameters
    ----------
    labelled : Labelled
        The labelled slices.
    drawn : sequence of callable
        ``drawn[n](z)``, the ranks of slice z in draw n.
    phases : int
        Number of phases.

    Returns
    -------
    (1 + draws, units, phases) float64
        In nm2.
    """
    spacing, numbers = labelled.true.spacing_nm, set(labelled.numbers)
    totals = np.zeros((1 + len(drawn), int(labelled.units.max()) + 1, phases))
    before: Ranks | None = None
    for one, unit in zip(labelled.slices(), labelled.units, strict=True):
        follows = one.z - 1 in numbers
        sides = follows + (one.z + 1 in numbers)
        share = sides / 2 if sides else 1.0
        for n, ranks_of in enumerate((None, *drawn)):
            here = _seen(one.ranks, ranks_of, one.z)
            totals[n, unit] += share * areas_within(here, spacing, phases)
            if follows and before is not None:
                below = _seen(before, ranks_of, one.z - 1)
                totals[n, unit] += areas_between(below, here, spacing, phases)
        before = one.ranks
    return totals


def _seen(known: Ranks, ranks_of: Callable[[int], Ranks] | None, z: int) -> Ranks:
    """Ranks of a slice where it is labelled."""
    return (
        known if ranks_of is None else np.where(known != NONE, ranks_of(z), NONE).astype(np.uint8)
    )


def areas_within(ranks: Ranks, spacing: tuple[float, float, float], phases: int) -> Floats:
    """Area of each phase that the pairs of neighbours in a slice stand for.

    >>> areas_within(np.array([[0, 1], [0, 0]], np.uint8), (1.0, 1.0, 1.0), 2).round(4).tolist()
    [0.4708, 0.4708]
    """
    return _areas(ranks, ranks, spacing, phases, between=False)


def areas_between(
    lower: Ranks, upper: Ranks, spacing: tuple[float, float, float], phases: int
) -> Floats:
    """Area of each phase that the pairs of neighbours in two slices stand for.

    >>> a, b = np.zeros((2, 4, 4), np.uint8)
    >>> areas_between(a, b, (1.0, 1.0, 1.0), 2).tolist()
    [0.0, 0.0]
    """
    return _areas(lower, upper, spacing, phases, between=True)


def _areas(
    lower: Ranks, upper: Ranks, spacing: tuple[float, float, float], phases: int, *, between: bool
) -> Floats:
    total = np.zeros(phases)
    for (dz, dy, dx), area in zip(DIRECTIONS, pair_areas(spacing), strict=True):
        if bool(dz) is not between:
            continue
        one, other = lower[_cut(-dy), _cut(-dx)], upper[_cut(dy), _cut(dx)]
        apart = (one != other) & (one != NONE) & (other != NONE)
        for end in (one, other):
            total += area * np.bincount(end[apart], minlength=phases)
    return total


def _cut(step: int) -> slice:
    """Places of an axis that have a neighbour at the distance of a step, counted from that neighbour."""
    return slice(step, None) if step > 0 else slice(None, step or None)
