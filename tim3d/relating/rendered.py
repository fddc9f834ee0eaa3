"""Sections of solved samples as a microscope would show them, with the property of each sample."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import ArgumentError, InputError, MemoryPlanError
from tim3d.kernels.image.section_look import Look, render
from tim3d.kernels.morphology.planar import boundary_per_area
from tim3d.kernels.statistics.conformal import scatter_at_equal
from tim3d.lazy import xarray as xr
from tim3d.models.surrogate.examples import Examples
from tim3d.phases import Phases
from tim3d.relating.samples import names_of
from tim3d.relating.solved import solved_along
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field

log = logging.getLogger(__name__)
PROPERTY = "effective_conductivity"
# Axis that sections of a flux along another are normal to, and the other axis in their plane.
PLANES = {"z": ("y", "x"), "y": ("z", "x"), "x": ("y", "z")}


def look_of(greys: Mapping[str, float], numbers: Mapping[str, float], phases: Phases) -> Look:
    """The look by names of phases and parameters.

    Raises
    ------
    ArgumentError
        If a phase has no grey level, or there is no such phase or parameter.
    """
    known = [one.name for one in fields(Look) if one.name != "greys"]
    if strange := [name for name in numbers if name not in known]:
        raise ArgumentError(f"a look has no {strange[0]!r}; it has {', '.join(known)}")
    if set(greys) != set(phases):
        raise ArgumentError(
            f"--greys names {', '.join(greys) or 'nothing'}, and the phases are {', '.join(phases)}: give each its "
            "grey level, as resin=70,filler=160"
        )
    levels = {phases[name]: float(grey) for name, grey in greys.items()}
    return Look(levels, **{name: float(value) for name, value in numbers.items()})


@dataclass(frozen=True)
class SolvedSamples:
    """Samples, the axis of the flux, and how their sections are taken and rendered."""

    samples: tuple[str, ...]
    field: str
    transport: str
    axis: str
    each: int
    greys: Mapping[str, float]
    numbers: Mapping[str, float]
    seed: int

    @cached_property
    def first(self) -> Field:
        """The label field of the first sample; all others are like it."""
        return store.complete_field(self.samples[0], self.field, "generate")

    @cached_property
    def look(self) -> Look:
        """The look; the phases are those of the first sample."""
        if self.first.phases is None:
            raise InputError(
                f"{self.field!r} in {self.samples[0]} holds grey values; sections need phases"
            )
        return look_of(self.greys, self.numbers, self.first.phases)

    @property
    def plane(self) -> tuple[int, int]:
        """Rows along the flux, and columns."""
        return self._edge(self.axis), self._edge(PLANES[self.axis][1])

    @property
    def pixel_nm(self) -> tuple[float, float]:
        """Edges of a pixel along rows and columns."""
        return self._step(self.axis), self._step(PLANES[self.axis][1])

    def check(self) -> None:
        """Refuse samples that cannot be compared, more sections than there are, and too much for the memory."""
        _ = self.look
        names_of(self.samples)  # refuses one that is given twice
        for sample in self.samples[1:]:
            other = store.complete_field(sample, self.field, "generate")
            same = (other.shape, other.spacing_nm, other.phases)
            if same != (self.first.shape, self.first.spacing_nm, self.first.phases):
                raise InputError(
                    f"{self.field!r} in {sample} is {other.shape} of {other.spacing_nm} nm with {other.phases}, and "
                    f"in {self.samples[0]} {self.first.shape} of {self.first.spacing_nm} nm with "
                    f"{self.first.phases}: samples of one training are alike"
                )
        there = self._edge(PLANES[self.axis][0])
        if not 1 <= self.each <= there:
            raise ArgumentError(
                f"--per-sample is {self.each}: a sample has 1 to {there} sections along {self.axis}"
            )
        need, free = 4 * len(self.samples) * self.each * math.prod(self.plane), available_memory()
        if need > free:
            raise MemoryPlanError(
                f"sections need {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free. Use fewer: --per-sample "
                f"{max(1, int(self.each * free / need))}"
            )

    def examples(self) -> tuple[Examples, dict[str, Any]]:
        """Rendered sections and properties, and their description."""
        self.check()
        found = [self._value(sample) for sample in self.samples]
        labels = np.stack([self._sections(sample) for sample in self.samples])
        values = np.array([value for value, _ in found])
        units = {unit for _, unit in found}
        if len(units) > 1:
            raise InputError(
                f"samples have {PROPERTY} in {' and '.join(sorted(units))}: solve them alike"
            )
        images = np.array(
            [
                [render(p, self.look, self.seed, n * self.each + m) for m, p in enumerate(one)]
                for n, one in enumerate(labels)
            ]
        )
        examples = Examples(images, values)
        about = {
            "property": PROPERTY, "axis": self.axis, "units": units.pop(), "pixel_nm": list(self.pixel_nm),
            "greys": {name: float(v) for name, v in self.greys.items()}, "look": dict(self.numbers),
            "section": list(self.plane), "samples": len(values), "scatter_of_one_section": self._limit(labels, values),
        }  # fmt: skip
        return examples, about

    def question(self) -> dict[str, Any]:
        """All that decides the sections and properties, without reading a voxel."""
        known = [store.fingerprint_of(s, self._result(s)) for s in self.samples]
        return {
            "samples": known, "axis": self.axis, "each": self.each, "greys": dict(self.greys),
            "look": dict(self.numbers), "seed": self.seed,
        }  # fmt: skip

    def _limit(self, labels: np.ndarray, values: np.ndarray) -> float:
        """Scatter of the logarithm at equal descriptors of one section."""
        codes = (self.first.phases or Phases()).codes[1:]
        rows = [[_described(plane, codes) for plane in one] for one in labels]
        flat = np.array(rows).reshape(labels.shape[0] * labels.shape[1], -1)
        groups = np.repeat(np.arange(len(values)), labels.shape[1])
        return scatter_at_equal(flat, np.log(np.repeat(values, labels.shape[1])), groups)

    def _result(self, sample: str) -> str:
        """The result of solve along the axis, one of several by `transport`."""
        return solved_along(sample, self.field, self.axis, self.transport)

    def _value(self, sample: str) -> tuple[float, str]:
        one: xr.DataArray = store.open_dataset(sample, self._result(sample))[PROPERTY]
        return float(one.sel(axis=self.axis)), str(one.attrs.get("units", "1"))

    def _sections(self, sample: str) -> np.ndarray:
        normal, across = PLANES[self.axis]
        count = self._edge(normal)
        places = (np.arange(self.each) * count) // self.each + count // (2 * self.each)
        found = store.open_field(sample, self.field).isel({normal: places})
        return np.asarray(found.transpose(normal, self.axis, across).values)

    def _edge(self, axis: str) -> int:
        return int(self.first.shape[AXES.index(axis)])

    def _step(self, axis: str) -> float:
        return float(self.first.spacing_nm[AXES.index(axis)])


def _described(plane: np.ndarray, codes: Sequence[int]) -> list[float]:
    """Share, boundary per area, and changes along and across the flux, of each phase but the first."""
    numbers: list[float] = []
    for code in codes:
        mask = plane == code
        steps = [float(np.mean(mask[1:] != mask[:-1])), float(np.mean(mask[:, 1:] != mask[:, :-1]))]
        numbers += [float(mask.mean()), boundary_per_area(mask), *steps]
    return numbers
