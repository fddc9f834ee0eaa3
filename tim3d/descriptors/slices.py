"""Fraction, specific perimeter and shape index of phases in every slice along each axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import AXES, Box
from tim3d.kernels.morphology.planar import DIRECTIONS, direction_weights
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.kernels.statistics.slice_counts import slice_counts

_BOOK = "doi:10.1002/9783527628308"
_PERIMETER = "Crofton formula in the plane, 4 directions; borders of the volume do not count"
_SHAPE = (
    "perimeter / (2 sqrt(pi area)) of the whole slice: 1 for one disc, larger in a larger slice"
)


@dataclass(frozen=True)
class CountSlices:
    """Counts of the planes of a core across one axis."""

    axis: int

    def __call__(self, labels: Labels, core: Box, material: Material) -> Counts:
        """Return (planes, phases + 1, 5) counts of `slice_counts`."""
        codes = material.phases.codes
        return slice_counts(ranks_of(labels, codes), len(codes), self.axis, DIRECTIONS, core)


@cache
def _partials(phases: int) -> tuple[Partial, ...]:
    return tuple(
        Partial(
            f"slice_counts_{name}",
            (1, 1, 1),
            (name, "slice_region", "slice_count"),
            (phases + 1, len(DIRECTIONS) + 1),
            CountSlices(axis),
            plane=name,
            voxel_bytes=2.0,
        )
        for axis, name in enumerate(AXES)
    )


@dataclass(frozen=True)
class SliceShape(Parametric):
    """Fraction, specific perimeter and shape index of each phase in every slice of each axis."""

    kind: ClassVar[str] = "slice_shape"

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor for voxels of this size."""
        axes = {"axis": ("axis", np.array(AXES, dtype=object))}
        return Descriptor(
            self.name, _partials(len(material.phases)), _variables(), _results, coordinates=axes
        )


def _results(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    by_axis = [
        _slices(totals[f"slice_counts_{name}"], axis, material) for axis, name in enumerate(AXES)
    ]
    found = {
        f"slice_{name}_{axis}": values
        for axis, one in zip(AXES, by_axis, strict=True)
        for name, values in one.items()
        if name != "fraction"
    }
    for name in by_axis[0]:
        rows = [_moments(one[name]) for one in by_axis]
        found[f"slice_{name}_mean"] = np.stack([mean for mean, _ in rows], axis=1)
        found[f"slice_{name}_deviation"] = np.stack([spread for _, spread in rows], axis=1)
    return found


def _moments(values: Values) -> tuple[Values, Values]:
    """Mean and standard deviation over the slices that have a value, (phases,) each."""
    known = np.isfinite(values)
    n = known.sum(axis=1)
    number = np.where(n > 0, n, np.nan)
    mean = np.where(known, values, 0.0).sum(axis=1) / number
    square = np.where(known, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return mean, np.sqrt(square / number)


def _slices(counts: Counts, axis: int, material: Material) -> dict[str, Values]:
    """Values by phase and slice."""
    edges = [d for a, d in enumerate(material.spacing) if a != axis]
    pixel = (edges[0], edges[1])
    steps = [math.hypot(v * pixel[0], u * pixel[1]) for v, u in DIRECTIONS]
    every = np.where(counts[:, -1:] > 0, counts[:, -1:], np.nan)
    shares = counts[:, :-1] / every
    perimeter = math.pi / 2 * (shares[:, :, 1:] / steps) @ direction_weights(pixel)
    fraction = shares[:, :, 0]
    area = counts[:, -1:, 0] * math.prod(pixel)
    there = np.where(fraction > 0, fraction, np.nan)
    shape = perimeter * area / (2 * np.sqrt(math.pi * there * area))
    return {"fraction": fraction.T, "perimeter": perimeter.T, "shape_index": shape.T}


def _variables() -> tuple[Variable, ...]:
    texts = {
        "fraction": (0, "fraction of each phase in a slice", "voxel count"),
        "perimeter": (-1, "length of the border of each phase per area of a slice", _PERIMETER),
        "shape_index": (0, "shape index of each phase in a slice", _SHAPE),
    }
    planes = [
        Variable(f"slice_{name}_{axis}", ("phase", axis), power, text, method, _BOOK)
        for name, (power, text, method) in texts.items()
        for axis in AXES
        if name != "fraction"
    ]
    moments = [
        Variable(f"slice_{name}_{end}", ("phase", "axis"), power, f"{text}, {of}", method, _BOOK)
        for name, (power, text, method) in texts.items()
        for end, of in (
            ("mean", "mean over slices"),
            ("deviation", "standard deviation over slices"),
        )
    ]
    return (*planes, *moments)
