"""Agreement of labels with the truth: counts of slices or images, metrics, and their intervals."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.morphology.boundary_bands import COLUMNS, NONE, boundary_counts
from tim3d.kernels.statistics import bootstrap, metrics
from tim3d.kernels.statistics.boundary_f1 import boundary_f1, boundary_f1_chance
from tim3d.lazy import xarray as xr

log = logging.getLogger(__name__)

Counts: TypeAlias = NDArray[np.int64]
Reals: TypeAlias = NDArray[np.float64]
Ranks: TypeAlias = NDArray[np.uint8]

# Name of a phase of the truth whose voxels have none.
UNLABELLED = "unlabelled"
# Definition of each metric of a phase, and of each over all phases.
OF_PHASE = {
    "iou": "TP / (TP + FP + FN) of the phase: intersection over union",
    "dice": "2 TP / (2 TP + FP + FN) of the phase: F1",
    "precision": "TP / (TP + FP) of the phase",
    "recall": "TP / (TP + FN) of the phase",
    "boundary_f1": "harmonic mean of the shares of the boundary of the phase that lie near the other one",
    "boundary_f1_chance": "boundary F1 that the same boundaries reach where they know nothing of each other",
    "fraction_error": "fraction of the phase minus that in the truth",
}
OF_ALL = {
    "iou_macro": "mean over the phases of TP / (TP + FP + FN)",
    "iou_micro": "sums over the phases, TP / (TP + FP + FN)",
    "accuracy": "fraction of voxels with the true phase",
    "boundary_f1_macro": "mean over the phases of the boundary F1",
}
DEFINITIONS = OF_PHASE | OF_ALL
# Metrics in which a baseline is compared.
GAINS = ("iou_macro", "accuracy", "boundary_f1_macro")


def prefixes(count: int) -> tuple[str, ...]:
    """Beginnings of the names of variables: of what is judged, and of each baseline.

    >>> prefixes(3)
    ('', 'baseline_', 'baseline_2_')
    """
    return ("", "baseline_", *(f"baseline_{n}_" for n in range(2, count)))[:count]


def about_baselines(names: Iterable[str]) -> dict[str, list[str]]:
    """Attribute with the names of what is judged beside a field; none without any.

    >>> about_baselines(["grey_otsu", "by_strokes"]), about_baselines([])
    ({'baseline_fields': ['grey_otsu', 'by_strokes']}, {})
    """
    found = list(names)
    return {"baseline_fields": found} if found else {}


def gain_of(prefix: str) -> str:
    """End of the name of what is gained over the baseline of a prefix.

    >>> gain_of("baseline_"), gain_of("baseline_2_")
    ('gain', 'gain_2')
    """
    return f"gain{prefix.removeprefix('baseline')[:-1]}"


@dataclass(frozen=True, eq=False)
class Agreement:
    """Counts of a slice or an image, of several along the first axis, or of their sum.

    Parameters
    ----------
    confusion : (..., classes, classes) int64
        Voxels by true and by predicted class.
    boundary : (..., classes, 6) int64
        Columns of `tim3d.kernels.morphology.boundary_bands`.
    """

    confusion: Counts
    boundary: Counts

    @property
    def voxels(self) -> Counts:
        """Voxels with a truth."""
        return np.asarray(self.confusion.sum(axis=(-2, -1)))

    def chosen(self, which: NDArray[np.bool_]) -> Agreement:
        """Counts of some of the units."""
        return Agreement(self.confusion[which], self.boundary[which])

    def added(self, weights: Counts | None = None) -> Agreement:
        """Sum over the units, or a sum for each row of weights."""
        if weights is None:
            return Agreement(self.confusion.sum(axis=0), self.boundary.sum(axis=0))
        return Agreement(
            np.tensordot(weights, self.confusion, 1), np.tensordot(weights, self.boundary, 1)
        )

    def measures(self) -> dict[str, Reals]:
        """Metrics by name: of phases along the last axis, and over all of them."""
        voxels = self.voxels
        shares = self.confusion.sum(axis=-2) - self.confusion.sum(axis=-1)
        boundaries = boundary_f1(self.boundary)
        found = metrics.of_classes(self.confusion) | {
            "boundary_f1": boundaries,
            "boundary_f1_chance": boundary_f1_chance(self.boundary, voxels),
            "fraction_error": shares / np.maximum(voxels, 1)[..., None],
            "boundary_f1_macro": boundaries.mean(axis=-1),
        }
        return found | metrics.of_all(self.confusion)


def compared(
    found: Ranks, true: Ranks, classes: int, widths: tuple[int, ...], core: tuple[slice, slice]
) -> Agreement:
    """Counts of a plane.

    Parameters
    ----------
    found, true : (y, x) uint8
        Class of each pixel; `NONE` in the truth where there is none.
    classes : int
        Number of classes.
    widths : tuple of int
        Tolerance of the boundary, from `boundary_bands.half_widths`.
    core : (slice, slice)
        Pixels that count; those around them are needed for the boundary.
    """
    known = true != NONE
    inside = known[core]
    matrix = metrics.confusion(true[core][inside], found[core][inside], classes)
    seen = np.where(known, found, np.uint8(NONE))
    return Agreement(matrix, boundary_counts(seen, true, classes, widths, core))


def stacked(each: list[Agreement], classes: int) -> Agreement:
    """Counts of units along a first axis."""
    shapes = ((classes, classes), (classes, COLUMNS))
    first, second = (np.zeros((0, *shape), np.int64) for shape in shapes)
    return Agreement(
        np.concatenate([first, *(one.confusion[None] for one in each)]),
        np.concatenate([second, *(one.boundary[None] for one in each)]),
    )


@dataclass(frozen=True)
class Resampling:
    """Bootstrap of slices or images; `run` consecutive ones are drawn together, None to find it."""

    resamples: int
    level: float
    seed: int
    run: int | None = 1

    def check(self) -> None:
        """Raise `ArgumentError` if a number is out of range."""
        if self.resamples < 0 or 0 < self.resamples < 100:
            raise ArgumentError(
                f"--resamples {self.resamples} is too few for an interval: 100 or more, or 0 for none"
            )
        if not 0 < self.level < 1:
            raise ArgumentError(f"--level {self.level} is not between 0 and 1: --level 0.95")
        if self.run is not None and self.run < 1:
            raise ArgumentError(f"--run {self.run} is not a number of slices: --run 1")
        if not 0 <= self.seed < 2**64:
            raise ArgumentError(f"--seed {self.seed} is not between 0 and 2^64 - 1")

    def drawn(self, accuracy: Reals) -> tuple[Counts | None, int]:
        """Weights of the units in each resample, None without any, and the length of a run."""
        units = len(accuracy)
        run = bootstrap.run_length(accuracy) if self.run is None else self.run
        run = min(run, max(1, units // 2))  # slices without a truth do not count
        if units < 2 or not self.resamples:
            return None, run
        return bootstrap.weights(units, self.resamples, run, self.seed), run


@dataclass(frozen=True)
class Naming:
    """Names of the variables: of each unit, of the mean over units (if wanted), of the pooled ones."""

    unit: str
    each: str
    mean: str
    pooled: str


SLICES = Naming("z", "{}_z", "", "{}")
IMAGES = Naming("image", "{}", "mean_{}", "pooled_{}")


def evaluated(
    judged: Agreement,
    baselines: Sequence[Agreement],
    names: tuple[str, ...],
    naming: Naming,
    resampling: Resampling,
) -> xr.Dataset:
    """Metrics of units, of their mean and of all voxels, with bootstrap intervals.

    Parameters
    ----------
    judged : Agreement
        Counts of every unit, for the labels that are judged.
    baselines : sequence of Agreement
        The same for others beside them.
    names : tuple of str
        Names of the phases.
    naming : Naming
        Names of the variables.
    resampling : Resampling
        How intervals are found. All are resampled alike, so that the interval of a gain is that of
        the difference on the same units.

    Raises
    ------
    InputError
        If no voxel has a truth.
    """
    known = judged.voxels > 0
    if not known.any():
        raise InputError(f"no voxel has a truth: all of them are {UNLABELLED!r}")
    weights, run = resampling.drawn(judged.chosen(known).measures()["accuracy"])
    building = Building(known, weights, resampling.level, naming)
    variables = building.variables(judged, "")
    for prefix, one in zip(prefixes(1 + len(baselines))[1:], baselines, strict=True):
        variables |= building.variables(one, prefix)
        variables |= building.gains(judged, one, gain_of(prefix))
    variables["confusion"] = _matrix(judged)
    labels = np.array(names, dtype=object)
    coordinates = {"phase": labels, "truth": labels, "predicted": labels}
    about = {
        "voxels": int(judged.voxels.sum()),
        "units_with_truth": int(known.sum()),
        "level": resampling.level,
        "resamples": 0 if weights is None else resampling.resamples,
        "resampled_run": run,
    }
    return xr.Dataset(variables, coordinates, about)


def _matrix(judged: Agreement) -> tuple[Any, ...]:
    about = {"units": "1", "long_name": "voxels by true and by predicted phase"}
    return ("truth", "predicted"), judged.added().confusion, about


@dataclass(frozen=True, eq=False)
class Building:
    """Variables of one set of labels; `known` are the units with a truth."""

    known: NDArray[np.bool_]
    weights: Counts | None
    level: float
    naming: Naming

    def variables(self, one: Agreement, prefix: str) -> dict[str, Any]:
        """Metrics of every unit, their mean, those of all voxels, and intervals of both."""
        naming, there = self.naming, one.chosen(self.known)
        each, pooled, resampled = there.measures(), there.added().measures(), self._resampled(there)
        found: dict[str, Any] = {}
        for name, values in each.items():
            full = np.full((len(self.known), *values.shape[1:]), np.nan)
            full[self.known] = values
            found |= self._entry(f"{prefix}{naming.each.format(name)}", name, full, "each")
            if naming.mean:
                key = f"{prefix}{naming.mean.format(name)}"
                found |= self._entry(key, name, values.mean(axis=0), "mean over images")
                found |= self._limits(key, name, self._means(values))
            key = f"{prefix}{naming.pooled.format(name)}"
            found |= self._entry(key, name, pooled[name], "of all voxels")
            found |= self._limits(key, name, resampled.get(name))
        return found

    def gains(self, one: Agreement, other: Agreement, gain: str) -> dict[str, Any]:
        """How much better the first is than the second, with intervals over the same resamples."""
        pairs = [it.chosen(self.known) for it in (one, other)]
        pooled = [it.added().measures() for it in pairs]
        resampled = [self._resampled(it) for it in pairs]
        found: dict[str, Any] = {}
        for name in GAINS:
            key = f"{name}_{gain}"
            found |= self._entry(key, name, pooled[0][name] - pooled[1][name], "minus the baseline")
            drawn = resampled[0][name] - resampled[1][name] if resampled[0] else None
            found |= self._limits(key, name, drawn)
        return found

    def _resampled(self, there: Agreement) -> Mapping[str, Reals]:
        return {} if self.weights is None else there.added(self.weights).measures()

    def _means(self, values: Reals) -> Reals | None:
        return None if self.weights is None else np.tensordot(self.weights, values, 1) / len(values)

    def _entry(self, key: str, name: str, values: Reals, what: str) -> dict[str, Any]:
        dims = ("phase",) if name in OF_PHASE else ()
        dims = (self.naming.unit, *dims) if what == "each" else dims
        text = DEFINITIONS[name] if what == "each" else f"{DEFINITIONS[name]}, {what}"
        return {key: (dims, values, {"units": "1", "long_name": text})}

    def _limits(self, key: str, name: str, values: Reals | None) -> dict[str, Any]:
        if values is None:
            return {}
        ends = bootstrap.interval(values, self.level)
        what = f"of the {100 * self.level:g} % bootstrap interval"
        return {
            f"{key}_{end}": (
                ("phase",) if name in OF_PHASE else (),
                limit,
                {"units": "1", "long_name": f"{side} limit {what}"},
            )
            for end, side, limit in zip(("low", "high"), ("lower", "upper"), ends, strict=True)
        }
