"""Thermal impedance of solved samples, and the line through it: R'' = bond line / k + 2 R_c."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.commands import shell_text
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics.straight_line import Line
from tim3d.lazy import xarray as xr
from tim3d.relating.samples import names_of
from tim3d.relating.solved import NM, UNITS, between_faces, component, solved_along
from tim3d.storage import store
from tim3d.storage.schema import AXES

log = logging.getLogger(__name__)

# A line through two points has no error.
FEWEST = 3
# Beginning of the names of phases that are substrates if none are named.
SUBSTRATE = "substrate"
# What has to be the same in all samples.
CONDITIONS = ("conductivity", "interface", "interface_area", "contact", "sides")
STANDARD = "doi:10.1520/D5470-17"


@dataclass(frozen=True)
class Question:
    """Arguments of `tim3d.bond_line` that decide numbers, as it documents them."""

    substrates: tuple[str, ...] | None
    field: str
    transport: str
    axis: str
    level: float

    def check(self) -> None:
        """Refuse what no samples could answer.

        Raises
        ------
        ArgumentError
            If the level is out of range, or the axis is not one.
        """
        if not 0.5 <= self.level < 1:
            raise ArgumentError(
                f"--level is {self.level:g}; the probability that an interval holds the true value is 0.5 to 1"
            )
        if self.axis not in AXES:
            raise ArgumentError(f"--axis is {self.axis!r}; heat flows along z, y or x")


@dataclass(frozen=True)
class Impedance:
    """Bond line of a solved sample in nm, and resistances times area in K m2 W-1."""

    bond_line: float
    resistance: float
    substrates: float
    error: float
    conditions: dict[str, Any]

    @property
    def own(self) -> float:
        """Resistance without the substrates: R''."""
        return self.resistance - self.substrates


def fitted(samples: Sequence[str], question: Question) -> xr.Dataset:
    """The line through the impedances of samples.

    Raises
    ------
    InputError
        If samples were solved under different conditions, or all have one bond line.
    """
    names = names_of(samples)
    found = [impedance_of(sample, question) for sample in samples]
    _refuse_unlike(names, found)
    _refuse_other_bodies(names, found)
    thickness = np.array([one.bond_line for one in found])
    if np.ptp(thickness) < 1e-6 * thickness.max():
        raise InputError(
            f"all samples have a bond line of {thickness[0]:g} nm: a line needs several"
        )
    line = Line(thickness * NM, np.array([one.own for one in found]))
    result = _dataset(names, found, line, question)
    _warn(result)
    return result


def impedance_of(sample: str, question: Question) -> Impedance:
    """Bond line and resistance of a solved sample.

    Raises
    ------
    MissingFieldError
        If it was not solved along the axis.
    InputError
        If the result is not one between the outer faces, in W m-1 K-1, that counted its voxels.
    """
    node = solved_along(sample, question.field, question.axis, question.transport)
    found = between_faces(sample, node)
    field = store.read_field(sample, question.field)
    place = AXES.index(question.axis)
    length = field.shape[place] * field.spacing_nm[place]
    shares, chosen = _shares(sample, node, found), _substrates(found, question)
    k = {name: component(found.attrs["conductivity"][name], place) for name in chosen}
    at = found.sel(axis=question.axis)
    solved = value = float(at["effective_conductivity"])
    error = math.nan
    if "effective_conductivity_limit" in at:
        value = float(at["effective_conductivity_limit"])
        # The whole extrapolation, and not 0.35 of it: beside walls the order is not near 1.
        error = length * NM * abs(1 / value - 1 / solved) if value > 0 < solved else math.nan
    if not value > 0 or any(not k[name] > 0 for name in chosen):
        raise InputError(
            f"{node!r} of {sample} conducts nothing along {question.axis}: its impedance is infinite"
        )
    return Impedance(
        bond_line=length * (1 - sum(shares[name] for name in chosen)),
        resistance=length * NM / value,
        substrates=sum(length * shares[name] * NM / k[name] for name in chosen),
        error=error,
        conditions={key: found.attrs.get(key) for key in CONDITIONS},
    )


def _shares(sample: str, node: str, found: xr.Dataset) -> dict[str, float]:
    """Share of each phase in the voxels."""
    if "phase_voxels" not in found.attrs:
        raise InputError(
            f"{node!r} of {sample} was solved by an earlier version, which did not keep the voxels of each phase: "
            "solve it again with --overwrite"
        )
    voxels = {str(name): int(count) for name, count in found.attrs["phase_voxels"].items()}
    total = sum(voxels.values())
    return {name: count / total for name, count in voxels.items()}


def _substrates(found: xr.Dataset, question: Question) -> list[str]:
    phases = list(found.attrs["conductivity"])
    if question.substrates is None:
        return [name for name in phases if name.startswith(SUBSTRATE)]
    if unknown := [name for name in question.substrates if name not in phases]:
        raise ArgumentError(f"--substrates: no phase {unknown[0]!r}; there are {', '.join(phases)}")
    if set(question.substrates) == set(phases):
        raise ArgumentError("--substrates names all phases: nothing is left between them")
    return list(question.substrates)


def _refuse_unlike(names: Sequence[str], found: Sequence[Impedance]) -> None:
    """Refuse samples that were solved under different conditions."""
    first = found[0].conditions
    for name, one in zip(names, found, strict=True):
        for key in CONDITIONS:
            if one.conditions[key] != first[key]:
                said = " and ".join(
                    f"{shell_text(value) if value else 'none'} in {of}"
                    for of, value in ((names[0], first[key]), (name, one.conditions[key]))
                )
                raise InputError(
                    f"bond lines of one material are compared, and {key} is {said}: solve them alike, or name the "
                    "results that are (--transport)"
                )


def _refuse_other_bodies(names: Sequence[str], found: Sequence[Impedance]) -> None:
    """Refuse substrates that resist more than the whole: they are not what lies beside the bond line."""
    for name, one in zip(names, found, strict=True):
        if not one.own > 0:
            raise InputError(
                f"the substrates of {name} alone would resist {one.substrates:.3g} K m2 W-1, and the whole resists "
                f"{one.resistance:.3g}: --substrates names the bodies on both sides of the bond line"
            )


def _dataset(
    names: Sequence[str], found: Sequence[Impedance], line: Line, question: Question
) -> xr.Dataset:
    own = np.array([one.own for one in found])
    errors = np.array([one.error for one in found])
    per_sample = {
        "bond_line": (np.array([one.bond_line for one in found]), "nm"),
        "thermal_impedance": (own, "K m2 W-1"),
        "thermal_impedance_error": (errors, "K m2 W-1"),
        "substrate_resistance": (np.array([one.substrates for one in found]), "K m2 W-1"),
        "fitted": (own - line.residuals, "K m2 W-1"),
        "residual": (line.residuals, "K m2 W-1"),
    }
    values: dict[str, Any] = {
        name: ("sample", value, {"units": units, "long_name": TEXTS[name]})
        for name, (value, units) in per_sample.items()
    }
    for name, (number, units) in _numbers(line, errors, question.level).items():
        values[name] = ((), number, {"units": units, "long_name": TEXTS[name]})
    about = {
        "kind": "bond lines",
        "level": question.level,
        "axis": question.axis,
        "freedom": line.freedom,
        "includes_voxels": int(np.isfinite(errors).all()),
        "method": "least squares; intervals by Student's t, widened by the error of the voxels if it is known",
        "reference": STANDARD,
    }
    return xr.Dataset(values, {"sample": np.array(names, object)}, about)


def _numbers(line: Line, errors: np.ndarray, level: float) -> dict[str, tuple[float, str]]:
    """Numbers of the line with their units."""
    wide = line.half_widths(level)
    voxel = {
        "slope": _together(line.slope_weights, errors),
        "intercept": _together(line.intercept_weights, errors),
    }
    slope, half = line.slope, wide * line.slope_error + voxel["slope"]
    low, high = slope - half, slope + half
    rest = (line.intercept, wide * line.intercept_error + voxel["intercept"])
    per_length, per_area = "K m W-1", "K m2 W-1"
    return {
        "slope": (slope, per_length),
        "slope_error": (line.slope_error, per_length),
        "slope_low": (low, per_length),
        "slope_high": (high, per_length),
        "intercept": (rest[0], per_area),
        "intercept_error": (line.intercept_error, per_area),
        "intercept_low": (rest[0] - rest[1], per_area),
        "intercept_high": (rest[0] + rest[1], per_area),
        "conductivity": (1 / slope, UNITS),
        "conductivity_error": (line.slope_error / slope**2, UNITS),
        "conductivity_low": (1 / high if high > 0 else math.nan, UNITS),
        "conductivity_high": (1 / low if low > 0 else math.inf, UNITS),
        "contact_resistance": (rest[0] / 2, per_area),
        "contact_resistance_error": (line.intercept_error / 2, per_area),
        "contact_resistance_low": ((rest[0] - rest[1]) / 2, per_area),
        "contact_resistance_high": ((rest[0] + rest[1]) / 2, per_area),
        "residual_deviation": (line.deviation, per_area),
        "r_squared": (line.r2, "1"),
    }


def _together(weights: np.ndarray, errors: np.ndarray) -> float:
    """Change of a number of the line if all voxel errors have one sign; 0 if they are not known."""
    return abs(float(weights @ errors)) if np.isfinite(errors).all() else 0.0


def _warn(found: xr.Dataset) -> None:
    if not found.attrs["includes_voxels"]:
        log.warning(
            "the intervals say how well the points lie on a line, and not how far off the voxels put all of them: "
            "solve with --richardson to include that"
        )
    if not float(found.slope_low) > 0:
        log.warning(
            "the conductivity cannot be distinguished from an infinite one: the slope is %.3g ± %.2g K m W-1. "
            "Use thicker bond lines or larger samples",
            float(found.slope), float(found.slope_error),
        )  # fmt: skip


TEXTS = {
    "bond_line": "volume between the substrates over the area: their mean distance",
    "thermal_impedance": "R'', temperature drop over flux density without that of the substrates",
    "thermal_impedance_error": "error of the voxels in R'': difference of that as solved and at vanishing voxel size",
    "substrate_resistance": "mean thickness of the substrates over their conductivities, which is taken off",
    "fitted": "R'' of the line at the bond line of the sample",
    "residual": "R'' less that of the line",
    "slope": "slope of R'' against the bond line: 1 / k",
    "slope_error": "standard error of the slope, from the residuals",
    "slope_low": "lower end of the interval of the slope",
    "slope_high": "upper end of the interval of the slope",
    "intercept": "R'' at no bond line: 2 R_c, the contact resistance of both substrates",
    "intercept_error": "standard error of the intercept, from the residuals",
    "intercept_low": "lower end of the interval of the intercept",
    "intercept_high": "upper end of the interval of the intercept",
    "conductivity": "apparent thermal conductivity of the material: 1 / slope",
    "conductivity_error": "standard error of the conductivity",
    "conductivity_low": "lower end of the interval of the conductivity",
    "conductivity_high": "upper end of the interval of the conductivity",
    "contact_resistance": "R_c, contact resistance of one substrate, the mean of both: intercept / 2",
    "contact_resistance_error": "standard error of the contact resistance",
    "contact_resistance_low": "lower end of the interval of the contact resistance",
    "contact_resistance_high": "upper end of the interval of the contact resistance",
    "residual_deviation": "standard deviation of R'' from the line",
    "r_squared": "share of the variance of R'' that the line explains",
}
