"""Two-point probability of phases and pairs of phases; what follows from its beginning and its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.lags import (
    ALONG,
    DEFAULT_LAGS,
    Coordinates,
    dimension,
    displacements,
    in_voxels,
    lag_coordinates,
    refuse_long,
)
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology.surface import DIRECTIONS, direction_weights
from tim3d.kernels.statistics.pair_counts import pair_counts, pairs_within
from tim3d.phases import Phases

_TORQUATO = "doi:10.1007/978-1-4757-6355-3"
_DEBYE = "doi:10.1063/1.1722830"
_LANTUEJOUL = "doi:10.1111/j.1365-2818.1991.tb03099.x"
_PAIRS = "pairs of voxels inside the volume"
# Share of the variance at which a covariance ends.
END = 0.01
_RADIAL = "mean over 13 directions by their share of the sphere, between lags by straight lines"


def pair_sets(phases: Phases) -> tuple[tuple[int, ...], ...]:
    """Regions whose pairs are counted: each phase, and unions of two from three phases on.

    >>> pair_sets(Phases(a=0, b=1)), len(pair_sets(Phases(a=0, b=1, c=2)))
    (((0,), (1,)), 6)
    """
    single = [(code,) for code in phases.codes]
    unions = combinations(phases.codes, 2) if len(single) > 2 else ()
    return (*single, *unions)


@dataclass(frozen=True)
class CountPairs:
    """Pairs of a core in each region of `pair_sets`, and all pairs, in 13 directions."""

    lags: int

    def __call__(self, labels: Labels, core: Box, material: Material) -> Counts:
        """Return (regions + 1, directions, lags + 1) pairs; lag 0 counts voxels."""
        steps = displacements(range(self.lags + 1))
        every = pairs_within(triple(labels.shape), steps, core)
        found = pair_counts(labels, pair_sets(material.phases), steps, core)
        return np.concatenate([found, every[None]]).reshape(-1, len(DIRECTIONS), self.lags + 1)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Shares of pairs by phases, direction and lag, from summed counts."""

    counts: Counts
    material: Material

    @cached_property
    def probability(self) -> Values:
        """Probability that a pair lies in phases i and j, mean of both orders, (i, j, d, r)."""
        codes, sets = self.material.phases.codes, pair_sets(self.material.phases)
        by_set = dict(zip(sets, self.counts[:-1], strict=True))
        if len(codes) == 2:
            by_set[codes] = self.counts[-1]
        found = np.zeros((len(codes), len(codes), *self.counts.shape[1:]))
        for (i, a), (j, b) in combinations(enumerate(codes), 2):
            mixed = by_set[(a, b)] - by_set[(a,)] - by_set[(b,)]
            found[i, j] = found[j, i] = mixed / 2
        for i, code in enumerate(codes):
            found[i, i] = by_set[(code,)]
        every = self.counts[-1]
        return np.asarray(found / np.where(every > 0, every, np.nan))

    @cached_property
    def steps(self) -> Values:
        """Length of a step in each direction."""
        return np.asarray(np.linalg.norm(np.array(DIRECTIONS) * self.material.spacing, axis=1))

    @property
    def fraction(self) -> Values:
        """Fraction of each phase."""
        n = len(self.material.phases)
        return np.asarray(self.counts[:n, 0, 0] / self.counts[-1, 0, 0])

    @property
    def volume(self) -> float:
        """Volume of all voxels."""
        return float(self.counts[-1, 0, 0]) * self.material.voxel_volume

    @property
    def apart(self) -> Values:
        """Probability that a pair of voxels lies in a phase and outside of it, halved, (i, d, r)."""
        every = self.probability
        return np.asarray(every.sum(axis=1) - np.einsum("iidr->idr", every))

    def radial(self, values: Values) -> Values:
        """Mean over directions at the radii of `radii`; nan where a direction has no pair."""
        weights = direction_weights(self.material.spacing)
        radii = self.radii(values.shape[-1] - 1)
        along = np.arange(values.shape[-1])
        curves = np.moveaxis(values, -2, 0)
        return np.asarray(
            sum(
                w * _resampled(curve, along * step, radii)
                for w, step, curve in zip(weights, self.steps, curves, strict=True)
            )
        )

    def radii(self, lags: int) -> Values:
        """Multiples of the shortest edge of a voxel, which all directions reach."""
        return np.asarray(np.arange(lags + 1) * min(self.material.spacing), np.float64)

    def slope(self, values: Values) -> Values:
        """Slope at 0 of what begins with 0, from lags of one and two steps, mean over directions.

        The cubic term of a smooth interface cancels.
        """
        weights = direction_weights(self.material.spacing) / self.steps
        first = values[..., 1]
        better = (8 * first - values[..., 2]) / 6 if values.shape[-1] > 2 else first
        return np.asarray((better * weights).sum(axis=-1))


def _resampled(curves: Values, at: Values, radii: Values) -> Values:
    """Values of curves between their points, by straight lines."""
    flat = curves.reshape(-1, curves.shape[-1])
    found = np.array([np.interp(radii, at, one) for one in flat])
    return found.reshape(*curves.shape[:-1], radii.size)


def integral_ranges(pairs: Pairs) -> Values:
    """Integral range of each phase; nan if its covariance does not end, or the phase does not vary.

    The integral of the covariance over its variance, up to the first radius at which it is not
    above `END` of the variance: what follows is noise. Since it is measured about the mean of the
    volume itself, it is divided by 1 - (volume of that ball / volume).
    """
    fraction = pairs.fraction
    variance = fraction * (1 - fraction)
    covariance = variance[:, None] - pairs.radial(pairs.apart)
    radii = pairs.radii(covariance.shape[-1] - 1)
    return np.array(
        [_range(c, v, radii, pairs.volume) for c, v in zip(covariance, variance, strict=True)]
    )


def _range(covariance: Values, variance: float, radii: Values, volume: float) -> float:
    ends = np.flatnonzero(covariance <= END * variance)
    if variance <= 0 or not ends.size or not np.isfinite(covariance[: ends[0]]).all():
        return math.nan
    inside = slice(0, int(ends[0]) + 1)
    kept = np.maximum(covariance[inside], 0.0)
    ball = 4 / 3 * math.pi * radii[ends[0]] ** 3
    if ball >= volume:
        return math.nan
    shells = 4 * math.pi * radii[inside] ** 2 * kept
    return float(np.trapezoid(shells, radii[inside]) / variance / (1 - ball / volume))


def _results(pairs: Pairs) -> dict[str, Values]:
    probability, apart = pairs.probability, pairs.apart
    mixed = np.where(np.eye(len(probability))[..., None, None] > 0, np.nan, probability)
    ranges, fraction = integral_ranges(pairs), pairs.fraction
    return {
        "two_point": probability,
        "two_point_radial": pairs.radial(probability),
        "specific_surface_two_point": 4 * pairs.slope(apart),
        "interface_area_two_point": 4 * pairs.slope(mixed),
        "integral_range": ranges,
        "phase_fraction_error": np.sqrt(fraction * (1 - fraction) * ranges / pairs.volume),
    }


@dataclass(frozen=True)
class Correlation(Parametric):
    """Two-point probability of phases and pairs of phases along 13 directions.

    Parameters
    ----------
    lags : int
        Lags in steps from voxel to voxel, up to this one.
    """

    kind: ClassVar[str] = "correlation"

    lags: int = DEFAULT_LAGS

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if no axis of the volume is longer than the lags."""
        refuse_long(str(self), self.lags, shape)

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        name, end = f"two_point_pairs{self.suffix}", self.suffix
        lag, radius = dimension("lag", self.lags), dimension("lag_radius", self.lags)
        regions = len(pair_sets(material.phases)) + 1
        counting = Partial(
            name,
            (self.lags,) * 3,
            ("pair_region", ALONG, lag),
            (regions, len(DIRECTIONS), self.lags + 1),
            CountPairs(self.lags),
            voxel_bytes=2.0,  # 0.84 measured, beside what decoding leaves in the heap of a worker
        )

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            found = _results(Pairs(totals[name], material))
            return {key + end: values for key, values in found.items()}

        variables = tuple(
            Variable(key + end, dims, power, text, method, reference)
            for key, dims, power, text, method, reference in _variables(lag, radius)
        )
        coordinates = lag_coordinates(material, self.lags) | self._radii(material, radius)
        return Descriptor(self.name, (counting,), variables, formula, coordinates=coordinates)

    def _radii(self, material: Material, dim: str) -> Coordinates:
        radii = np.arange(self.lags + 1) * min(material.spacing)
        about = {"long_name": "distance", "units": material.units}
        return {dim: (dim, radii, about), **in_voxels(dim, radii, min(material.spacing))}


def _variables(
    lag: str, radius: str
) -> tuple[tuple[str, tuple[str, ...], int, str, str, str], ...]:
    both = ("phase", "phase_other")
    return (
        (
            "two_point",
            (*both, ALONG, lag),
            0,
            "probability that the ends of a line lie in two phases",
            f"{_PAIRS}, mean of both orders",
            _TORQUATO,
        ),
        (
            "two_point_radial",
            (*both, radius),
            0,
            "probability that the ends of a line of any direction lie in two phases",
            _RADIAL,
            _TORQUATO,
        ),
        (
            "specific_surface_two_point",
            ("phase",),
            -1,
            "surface area of each phase per volume, from its two-point probability",
            "-4 times the slope at 0 by two lags in 13 directions",
            _DEBYE,
        ),
        (
            "interface_area_two_point",
            both,
            -1,
            "area of the interface between two phases per volume, from their cross-correlation",
            "4 times the slope at 0 by two lags in 13 directions",
            _DEBYE,
        ),
        (
            "integral_range",
            ("phase",),
            3,
            "volume of one independent sample of the phase fraction",
            "integral of the radial covariance over its variance, up to where 1 % is left; nan beyond the lags",
            _LANTUEJOUL,
        ),
        (
            "phase_fraction_error",
            ("phase",),
            0,
            "standard error of the phase fraction, of a volume of this size",
            "sqrt(phi (1 - phi) integral range / volume)",
            _LANTUEJOUL,
        ),
    )
