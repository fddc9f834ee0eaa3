"""Conduction from a given first guess, for media that change little from one solution to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import triple
from tim3d.kernels.conduction.arrays import F32, U8
from tim3d.kernels.conduction.conduction import (
    Conduction,
    Physics,
    check_tolerance,
    conduct_slab,
)
from tim3d.kernels.conduction.ghost_layers import Alone, Halo
from tim3d.kernels.conduction.material import Conductivity
from tim3d.kernels.conduction.solver import Problem, State
from tim3d.kernels.conduction.thread_pool import Team
from tim3d.kernels.morphology.phase_mask import as_labels
from tim3d.kernels.morphology.surface import check_spacing


def conduct_from(
    start: F32 | None,
    labels: NDArray[np.uint8],
    conductivity: Mapping[int, Conductivity],
    axis: int = 0,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    tolerance: float = 1e-2,
    threads: int | None = None,
) -> tuple[Conduction, F32]:
    """Solution of `conduct` between outer faces, with sensitivities, and a guess for the next one.

    Parameters
    ----------
    start : (Z, Y, X) float32, optional
        Guess that an earlier solution returned (default: the linear profile). It changes the number
        of steps, and the solution within the tolerance.
    labels, conductivity, axis, spacing, tolerance, threads
        See `tim3d.kernels.conduction.conduction.conduct`.

    Returns
    -------
    Conduction
        The solution, with its `derivative` and `sensitivity`.
    (Z, Y, X) float32
        Deviation of the potential from the linear profile, the axis of the flux first, in falls
        from one voxel to the next.

    Raises
    ------
    ArgumentError
        If an argument is out of range.
    ConvergenceError
        If the tolerance is not reached.
    """
    labels = as_labels(labels)
    physics = Physics(conductivity)
    physics.check(labels.shape, axis)
    check_tolerance(tolerance)
    turned = np.moveaxis(labels, axis, 0)
    kept: list[State] = []

    def read(low: int, high: int, out: U8) -> None:
        out[...] = turned[low:high]

    def begin(problem: Problem, state: State) -> None:
        kept.append(state)
        if start is not None:
            state.x[1:-1, 1:-1, 1:-1] = start

    drive = physics.drive(axis, check_spacing(spacing))
    with Team(threads) as team:
        found = conduct_slab(
            read, triple(turned.shape), drive, Halo(Alone(), physics.wrap(turned.shape)), team,
            tolerance=tolerance, keep_sensitivity=True, begin=begin,
        )  # fmt: skip
    guess = np.zeros(turned.shape, np.float32)
    if kept:
        guess[...] = kept[0].x[1:-1, 1:-1, 1:-1]
    assert found.derivative is not None
    derivative = np.ascontiguousarray(np.moveaxis(found.derivative, 0, axis))
    return replace(found, derivative=derivative), guess
