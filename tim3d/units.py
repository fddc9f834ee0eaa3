"""Units for display: one that fits the size of the numbers of a column, and how a unit is written.

Stored numbers and the numbers of CSV files keep the unit that their `units` attribute states.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LENGTHS = {"nm": 1.0, "µm": 1e3, "mm": 1e6}
# Numbers near this power of ten are read best: between 1 and 1000.
_BEST = 1.5


@dataclass(frozen=True)
class Shown:
    """Unit of a column: its name, and the factor that brings stored numbers to it.

    Parameters
    ----------
    units : str
        Name in UDUNITS spelling.
    factor : float
        Shown number over stored number.
    """

    units: str
    factor: float = 1.0


def fitting(units: str, values: Iterable[float]) -> Shown:
    """Unit that suits the largest of some numbers; powers of a length change, others stay.

    Parameters
    ----------
    units : str
        Unit of the numbers, for example ``nm-1``.
    values : iterable of float
        All numbers of the column. Zero, nan and inf suit any unit.

    Examples
    --------
    >>> fitting("nm-1", [0.0103, 0.0009])
    Shown(units='µm-1', factor=1000.0)
    >>> fitting("nm", [480.0, 120.0]).units, fitting("nm", [1920.0]).units, fitting("1", [0.3]).units
    ('nm', 'µm', '1')
    """
    power = power_of(units)
    sizes = [abs(v) for v in values if math.isfinite(v) and v]
    if not power or not sizes:
        return Shown(units)
    largest = math.log10(max(sizes))
    name, edge = min(
        LENGTHS.items(), key=lambda one: abs(largest - power * math.log10(one[1]) - _BEST)
    )
    return Shown(name if power == 1 else f"{name}{power}", edge**-power)


def power_of(units: str) -> int:
    """Power of a unit of length in nm; 0 for other units.

    >>> power_of("nm-1"), power_of("nm"), power_of("nm3"), power_of("1")
    (-1, 1, 3, 0)
    """
    found = re.fullmatch(r"nm(-?\d+)?", units)
    return int(found[1] or 1) if found else 0


def quotient(units: str) -> str:
    """Unit of several factors, written as a quotient.

    >>> quotient("W m-1 K-1"), quotient("S m-1"), quotient("nm-1"), quotient("1")
    ('W/(m K)', 'S/m', 'nm-1', '1')
    """
    parts = units.split(" ")
    below = [part.replace("-1", "", 1) for part in parts if re.search(r"-1$", part)]
    above = [part for part in parts if not re.search(r"-\d+$", part)]
    if not below or not above or len(above) + len(below) != len(parts):
        return units
    joined = " ".join(below)
    return f"{' '.join(above)}/{joined if len(below) == 1 else f'({joined})'}"


def with_typed_conductances(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with conductances per area as they were typed, per m2; they are stored with lengths in nm.

    Parameters
    ----------
    parameters : mapping
        Parameters of a verb by name, of which ``contact`` and ``interface`` may be such.

    Examples
    --------
    >>> with_typed_conductances({"contact": ["0.01", "inf"], "interface": {"0:1": 0.1}, "axes": ["z"]})
    {'contact': ['10000000', 'inf'], 'interface': {'0:1': 100000000.0}, 'axes': ['z']}
    """
    found = dict(parameters)
    if isinstance(ends := found.get("contact"), list):
        found["contact"] = [f"{float(end) * 1e9:.9g}" for end in ends]
    if isinstance(pairs := found.get("interface"), Mapping):
        found["interface"] = {pair: float(f"{value * 1e9:.9g}") for pair, value in pairs.items()}
    return found
