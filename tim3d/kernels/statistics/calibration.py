"""Calibration of probabilities by a temperature and an offset of each class, and how good they are.

The calibrated probabilities are the softmax of ``log(p) / T + b``: the temperature makes all of them
more or less sure, an offset makes a class more or less frequent. For a network and b = 0 they are the
softmax of its logits over T. Both are found by maximum likelihood from voxels of a known class, a
convex problem in 1 / T and b, by Newton's method.

References
----------
Guo, Pleiss, Sun, Weinberger, Proc. ICML 70 (2017) 1321 (temperature, ECE). arXiv 1706.04599
Alexandari, Kundaje, Shrikumar, Proc. ICML 119 (2020) 222 (offsets of classes). arXiv 1901.06852
Nixon, Dusenberry, Zhang, Jerfel, Tran, CVPR Workshops (2019) (static calibration error). arXiv 1904.01685
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]

BINS = 15
# Temperatures that are allowed: without an error among the voxels the most likely one is 0.
COLDEST, HOTTEST = 0.05, 20.0
STEPS = 50
# Weight of the wish for T = 1 and b = 0, in voxels: it decides where nothing else does.
PRIOR = 1.0


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the offset of each class in nat.

    Parameters
    ----------
    temperature : float
        1 changes nothing; above 1 is less sure.
    offsets : tuple of float
        Of each class; that of the last one is 0.

    Examples
    --------
    >>> Calibration(2.0, (0.0, 0.0)).of(np.array([0.8, 0.2]), 0.0).round(4).tolist()
    [0.6667, 0.3333]
    """

    temperature: float = 1.0
    offsets: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it changes nothing."""
        return self.temperature == 1 and not any(self.offsets)

    def of(self, shares: Floats, least: float) -> Floats:
        """Calibrated probabilities; the same bits if there is nothing to change.

        Parameters
        ----------
        shares : (classes, ...) float64
            Probabilities, which add up to 1.
        least : float
            What a probability of 0 may have been: half a step of the numbers that are stored.
        """
        if self.is_plain:
            return shares
        powers = np.maximum(shares, least) ** (1 / self.temperature)
        for power, offset in zip(powers, self.offsets, strict=True):
            power *= math.exp(offset)
        return np.asarray(powers / powers.sum(axis=0))

    @property
    def vector(self) -> Floats:
        """1 / T, and all offsets but the last."""
        return np.array([1 / self.temperature, *self.offsets[:-1]])

    @classmethod
    def from_vector(cls, vector: Floats) -> Calibration:
        """The calibration of a vector, with a temperature that is allowed."""
        cold = min(max(float(vector[0]), 1 / HOTTEST), 1 / COLDEST)
        return cls(1 / cold, (*map(float, vector[1:]), 0.0))


@dataclass(frozen=True)
class Known:
    """Voxels of a known class, in units that are resampled together.

    Parameters
    ----------
    shares : (classes, n) float64
        Their probabilities.
    truth : (n,) int64
        Their class.
    unit : (n,) int64
        Their unit, from 0.
    least : float
        As in `Calibration.of`.
    """

    shares: Floats
    truth: Numbers
    unit: Numbers
    least: float

    def loss(self, by: Calibration) -> float:
        """Mean negative log likelihood in nat."""
        found = by.of(self.shares, self.least)[self.truth, np.arange(len(self.truth))]
        return float(-np.log(np.maximum(found, self.least)).mean())

    def slopes(self, by: Calibration) -> tuple[Floats, Floats]:
        """Gradient and Hessian of the negative log likelihood of every unit, by the vector.

        (units, k) and (units, k, k) float64.
        """
        logs = np.log(np.maximum(self.shares, self.least))
        found = by.of(self.shares, self.least)
        classes, units = len(logs), int(self.unit.max(initial=-1)) + 1
        size = np.ones((classes, classes, logs.shape[1]))
        size[1:] = np.eye(classes)[:-1, :, None]
        size[0] = logs  # row k: how the logits of all classes move with entry k of the vector
        mean = np.einsum("kcn,cn->kn", size, found)
        own = size[:, self.truth, np.arange(len(self.truth))]
        each = [np.bincount(self.unit, row, units) for row in mean - own]
        gradient = np.stack(each, axis=1).astype(np.float64)
        spread = np.einsum("kcn,lcn,cn->kln", size, size, found) - mean[:, None] * mean[None]
        hessian = np.empty((units, classes, classes))
        for k in range(classes):
            for other in range(classes):
                hessian[:, k, other] = np.bincount(self.unit, spread[k, other], units)
        return gradient, hessian


def fitted(known: Known) -> Calibration:
    """Calibration of the highest likelihood.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> p = random.uniform(0.02, 0.98, 20_000)
    >>> truth = (random.random(20_000) > p).astype(np.int64)
    >>> unit = np.zeros(20_000, np.int64)
    >>> sure = np.stack([p**2, (1 - p) ** 2]) / (p**2 + (1 - p) ** 2)  # as if cooled by 2
    >>> found = fitted(Known(sure, truth, unit, 1e-6))
    >>> round(found.temperature, 1), abs(found.offsets[0]) < 0.05
    (1.9, True)
    """
    vector = Calibration(1.0, (0.0,) * len(known.shares)).vector
    for _ in range(STEPS):
        gradient, hessian = (
            one.sum(axis=0) for one in known.slopes(Calibration.from_vector(vector))
        )
        step = _newton(vector, gradient, hessian)
        vector = _halved(known, vector, step)
        if np.abs(step).max() < 1e-9:
            break
    return Calibration.from_vector(vector)


def _newton(vector: Floats, gradient: Floats, hessian: Floats) -> Floats:
    plain = np.zeros_like(vector)
    plain[0] = 1
    pull = gradient + PRIOR * (vector - plain)
    return np.asarray(np.linalg.solve(hessian + PRIOR * np.eye(len(vector)), -pull))


def _halved(known: Known, vector: Floats, step: Floats) -> Floats:
    """The vector after the step, or after the half, ..., of it that does not make it worse."""
    before = known.loss(Calibration.from_vector(vector))
    for halvings in range(20):
        after = vector + step / 2**halvings
        if known.loss(Calibration.from_vector(after)) <= before + 1e-12:
            return np.asarray(after)
    return vector


def resampled(known: Known, found: Calibration, weights: NDArray[np.int64]) -> list[Calibration]:
    """Calibrations of resampled units, by one Newton step from that of all of them.

    Their deviations are enlarged by sqrt(n / (n - 1)) for n units, as resamples of few units vary too
    little.

    Parameters
    ----------
    known : Known
        The voxels.
    found : Calibration
        Their calibration.
    weights : (resamples, units) int64
        How often each unit is drawn (`tim3d.kernels.statistics.bootstrap`).
    """
    gradient, hessian = known.slopes(found)
    units, vector = len(gradient), found.vector
    enlarged = math.sqrt(units / (units - 1)) if units > 1 else 0.0
    every = []
    for row in weights:
        weighted = np.tensordot(row, gradient, 1), np.tensordot(row, hessian, 1)
        step = _newton(vector, *weighted) - _newton(vector, gradient.sum(0), hessian.sum(0))
        every.append(Calibration.from_vector(vector + enlarged * step))
    return every


@dataclass(frozen=True)
class Reliability:
    """Voxels, confidence and hits in bins of probability, by class and of the class that is chosen.

    Parameters
    ----------
    count, confidence, hits : (classes + 1, bins) float64
        Number of voxels, sum of their probabilities and number of those that are of the class; the
        last row is of the most probable class of each voxel.
    """

    count: Floats
    confidence: Floats
    hits: Floats

    @classmethod
    def of(cls, shares: Floats, truth: Numbers, bins: int = BINS) -> Reliability:
        """Reliability of the probabilities (classes, n) of voxels with true classes (n,)."""
        top = shares.argmax(axis=0)
        rows = [(one, truth == k) for k, one in enumerate(shares)]
        rows.append((shares[top, np.arange(len(truth))], truth == top))
        each = [_binned(values, hit, bins) for values, hit in rows]
        count, confidence, hits = (np.stack([one[n] for one in each]) for n in range(3))
        return cls(count, confidence, hits)

    @property
    def ece(self) -> float:
        """Expected calibration error of the class that is chosen."""
        return self._error(-1)

    @property
    def sce(self) -> float:
        """Static calibration error: the mean of the errors of all classes."""
        return float(np.mean([self._error(k) for k in range(len(self.count) - 1)]))

    def _error(self, row: int) -> float:
        voxels = self.count[row].sum()
        apart = np.abs(self.confidence[row] - self.hits[row]).sum()
        return float(apart / voxels) if voxels else math.nan


def _binned(values: Floats, hit: NDArray[np.bool_], bins: int) -> tuple[Floats, Floats, Floats]:
    place = np.minimum((values * bins).astype(np.int64), bins - 1)
    return (
        np.bincount(place, minlength=bins).astype(np.float64),
        np.bincount(place, values, minlength=bins).astype(np.float64),
        np.bincount(place, hit, minlength=bins).astype(np.float64),
    )
