"""Features that are made of others: each a value of `FORMULAS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.regression import F64
from tim3d.spelling import suggestion

_LENGTH = re.compile(r"^(nm|um|mm|cm|m)\s*\^?(-?\d+)?$")
_METRES = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}


@dataclass(frozen=True)
class Formula:
    """A feature as a function of other columns.

    Parameters
    ----------
    arguments : tuple of str
        What the columns are, in their order.
    powers : tuple of int, optional
        Power of a length in the unit of each column; they are brought to metres. Without it units
        are not looked at.
    compute : callable
        Returns the feature of all samples; nan or infinite where it is not defined.
    meaning, domain : str
        Formula, and where it is defined.
    reference : str
        Source of the formula.
    """

    arguments: tuple[str, ...]
    compute: Callable[..., F64]
    meaning: str
    domain: str
    powers: tuple[int, ...] = ()
    reference: str = ""


def bruggeman(tortuosity: F64, density: F64) -> F64:
    """Bruggeman exponent, ``-ln tau / ln D``; nan unless tau >= 1 and 0 < D < 1.

    >>> bruggeman(np.array([1.039]), np.array([0.576])).round(4)
    array([0.0694])
    """
    inside = (tortuosity >= 1) & (density > 0) & (density < 1)
    ratio = -np.log(np.where(inside, tortuosity, 1.0)) / np.log(np.where(inside, density, 0.5))
    return np.asarray(np.where(inside, ratio, np.nan))


def curvature_ratio(mean: F64, gauss: F64, diameter: F64) -> F64:
    """Mean over Gaussian curvature and diameter of struts, ``M / (|G| phi)``; infinite at G = 0.

    >>> curvature_ratio(np.array([2.18]), np.array([-146.0]), np.array([0.1])).round(4)
    array([0.1493])
    """
    below = np.abs(gauss) * diameter
    return np.asarray(np.where(below > 0, mean / np.where(below > 0, below, 1.0), np.inf))


STUDY = "doi:10.1038/s43246-024-00493-5"
FORMULAS: Mapping[str, Formula] = {
    "bruggeman": Formula(
        ("tortuosity", "relative density"),
        bruggeman,
        "-ln(tortuosity) / ln(relative density)",
        "a tortuosity of at least 1 and a density between 0 and 1",
        (0, 0),
        STUDY,
    ),
    "curvature_ratio": Formula(
        ("mean curvature", "Gaussian curvature", "strut diameter"),
        curvature_ratio,
        "mean curvature / (|Gaussian curvature| * strut diameter)",
        "a Gaussian curvature and a diameter other than 0",
        (-1, -2, 1),
        STUDY,
    ),
    "ratio": Formula(
        ("numerator", "denominator"),
        lambda a, b: np.asarray(np.where(b != 0, a / np.where(b != 0, b, 1.0), np.inf)),
        "numerator / denominator",
        "a denominator other than 0",
    ),
    "product": Formula(("factor", "factor"), lambda a, b: a * b, "product", "all numbers"),
}


@dataclass(frozen=True)
class Derived:
    """A feature to be made: its formula and its columns."""

    name: str
    formula: Formula
    columns: tuple[str, ...]

    def factors(self, units: Mapping[str, str]) -> list[float]:
        """Factors that bring the columns to metres.

        Raises
        ------
        ArgumentError
            If a column has another dimension, or a length has no unit.
        """
        if not self.formula.powers:
            return [1.0] * len(self.columns)
        pairs = zip(self.formula.powers, self.columns, strict=True)
        return [self._factor(power, name, units[name]) for power, name in pairs]

    def _factor(self, power: int, name: str, unit: str) -> float:
        said = unit.strip().replace("µ", "u").replace("μ", "u").replace("−", "-")
        found = _LENGTH.match(said)
        if power == 0 and said in ("", "1", "-"):
            return 1.0
        if found is None or int(found[2] or 1) != power:
            wanted = "no unit" if power == 0 else f"a unit such as um{power if power != 1 else ''}"
            raise ArgumentError(
                f"{self.name} needs {name} with {wanted}, and it has {unit!r}. Write the unit behind the name of the "
                f"column: {name} [{'um' + (str(power) if power != 1 else '') if power else '1'}]"
            )
        return float(_METRES[found[1]] ** power)

    def of(self, columns: Mapping[str, F64], units: Mapping[str, str]) -> F64:
        """The feature of all samples."""
        scaled = [
            columns[name] * f for name, f in zip(self.columns, self.factors(units), strict=True)
        ]
        return self.formula.compute(*scaled)


def derived(name: str, text: str) -> Derived:
    """A feature from its text, ``bruggeman:tau:density``.

    Raises
    ------
    ArgumentError
        If there is no such formula, or it takes another number of columns.
    """
    kind, *columns = [part.strip() for part in text.split(":")]
    if kind not in FORMULAS:
        raise ArgumentError(
            f"no formula {kind!r}{suggestion(kind, FORMULAS)}; there are {', '.join(FORMULAS)}"
        )
    formula = FORMULAS[kind]
    if len(columns) != len(formula.arguments) or not all(columns):
        raise ArgumentError(
            f"{kind} takes {' and '.join(formula.arguments)}, got {text!r}. Write: --derive "
            f"{name}={kind}:{':'.join(c.upper().replace(' ', '_') for c in formula.arguments)}"
        )
    return Derived(name, formula, tuple(columns))
