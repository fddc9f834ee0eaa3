"""Scores of generated crops against real ones, by condition and over conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics import bootstrap
from tim3d.kernels.statistics.condition_scores import (
    ceiling,
    correlation_squared,
    deviation,
    principal,
    r_squared,
    wasserstein,
)
from tim3d.kernels.statistics.neighbour_scores import (
    DENSITY_NEIGHBOURS,
    NeighbourScores,
    neighbour_scores,
)
from tim3d.stages.images.crop_numbers import QUANTITIES, CropNumbers

Reals: TypeAlias = NDArray[np.float64]
ALL = "all"
LEVEL = 0.95
# Quantile of the ceiling that is given beside its mean.
LOW = 0.05
# Axes on which crops are compared as vectors of descriptors.
AXES = 8


@dataclass(frozen=True)
class Measured:
    """Numbers of the crops of a condition, and how far some of them are from a part of a real image."""

    cells: Mapping[str, str]
    real: CropNumbers
    generated: CropNumbers
    generated_distances: Sequence[float]
    real_distances: Sequence[float]

    def pair(self, quantity: int, phase: int) -> tuple[Reals, Reals]:
        """Known values of a quantity of a phase in real and in generated crops."""
        return _known(self.real.values[:, quantity, phase]), _known(
            self.generated.values[:, quantity, phase]
        )


def _known(values: Reals) -> Reals:
    return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True)
class Scoring:
    """How samples are drawn, and by which column conditions are grouped."""

    by: str | None
    draws: int
    resamples: int
    seed: int

    def groups(self, found: Sequence[Measured]) -> dict[str, list[Measured]]:
        """All conditions, and those of each value of the column."""
        groups = {ALL: list(found)}
        for one in found if self.by else ():
            groups.setdefault(one.cells[str(self.by)], []).append(one)
        return groups

    def of_condition(self, one: Measured, quantity: int, phase: int) -> dict[str, float]:
        """Deviation with its interval, W1 and ratio of spreads, in standard deviations of real crops."""
        real, generated = one.pair(quantity, phase)
        names = ("deviation", "deviation_low", "deviation_high", "wasserstein", "spread_ratio")
        if min(len(real), len(generated)) < 2:
            return dict.fromkeys(names, np.nan)
        value, resampled = deviation(real, generated, self.resamples, self.seed)
        low, high = bootstrap.interval(resampled, LEVEL)
        spread = real.std(ddof=1) or np.nan
        numbers = (
            value,
            float(low),
            float(high),
            wasserstein(real, generated) / spread,
            generated.std(ddof=1) / spread,
        )
        return dict(zip(names, map(float, numbers), strict=True))

    def of_group(self, group: Sequence[Measured], quantity: int, phase: int) -> dict[str, float]:
        """R^2 over the conditions by both definitions, and what real crops reach."""
        pairs = [one.pair(quantity, phase) for one in group]
        known = [pair for pair in pairs if min(map(len, pair)) > 1]
        names = ("r_squared", "correlation_squared", "r_squared_ceiling", "r_squared_ceiling_low")
        if len(known) < 2:
            return dict.fromkeys(names, np.nan)
        real, generated = (np.array([pair[n].mean() for pair in known]) for n in (0, 1))
        best = ceiling(
            [pair[0] for pair in known],
            [len(pair[1]) for pair in known],
            self.draws,
            np.random.default_rng(self.seed),
        )
        return {
            "r_squared": r_squared(real, generated),
            "correlation_squared": correlation_squared(real, generated),
            "r_squared_ceiling": float(best.mean()),
            "r_squared_ceiling_low": float(np.quantile(best, LOW)),
        }

    def neighbours(self, group: Sequence[Measured]) -> dict[str, float]:
        """Likeness and variety of all descriptors together, and those of real crops against real ones.

        Of each condition equally many real crops, other real crops and generated ones.
        """
        sets = _thirds(group, np.random.default_rng(self.seed))
        names = [*NeighbourScores.__dataclass_fields__]
        if len(sets[0]) <= DENSITY_NEIGHBOURS:
            scores = dict.fromkeys([*names, *(f"{n}_of_real" for n in names)], np.nan)
        else:
            first, other, generated = principal(sets, np.concatenate(sets[:2]), AXES)
            scores = {
                f"{name}{end}": value
                for end, those in (("", generated), ("_of_real", other))
                for name, value in vars(neighbour_scores(first, those)).items()
            }
        return {f"neighbour_{name}": float(value) for name, value in scores.items()} | {
            "neighbour_samples": float(len(sets[0]))
        }


def _thirds(group: Sequence[Measured], random: np.random.Generator) -> list[Reals]:
    """Vectors of real crops, of as many other real crops, and of as many generated ones."""
    sets: list[list[Reals]] = [[], [], []]
    for one in group:
        real, generated = (random.permutation(side.vectors) for side in (one.real, one.generated))
        count = min(len(real) // 2, len(generated))
        for place, part in enumerate((real[:count], real[count : 2 * count], generated[:count])):
            sets[place].append(part)
    return [np.concatenate(parts) for parts in sets]


Key = TypeVar("Key")


def table(
    keys: Sequence[Key], phases: int, score: Callable[[Key, int, int], dict[str, float]]
) -> dict[str, Reals]:
    """Scores of each quantity, key and phase, by name: (quantities, keys, phases)."""
    rows = [
        [[score(key, quantity, phase) for phase in range(phases)] for key in keys]
        for quantity in range(len(QUANTITIES))
    ]
    return {
        name: np.array([[[one[name] for one in key] for key in row] for row in rows])
        for name in rows[0][0][0]
    }
