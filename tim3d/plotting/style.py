"""Common style of all figures: colours of phases and lines, fonts, lengths as text."""

from __future__ import annotations

import math
from typing import Any

from tim3d.colours import COLOURS as COLOURS
from tim3d.colours import NAMED as NAMED
from tim3d.colours import colours as colours

WIDTH = 8.0
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def nice_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... that is not above `most`.

    >>> nice_length(730.0), nice_length(30.0), nice_length(0.15)
    (500.0, 20.0, 0.1)
    """
    power = 10.0 ** math.floor(math.log10(most))
    return float(next(n * power for n in (5, 2, 1) if n * power <= most * (1 + 1e-12)))


def length_text(nm: float) -> str:
    """A length with the unit that suits it.

    >>> length_text(500.0), length_text(2500.0), length_text(3e6)
    ('500 nm', '2.5 µm', '3 mm')
    """
    for unit, size in (("mm", 1e6), ("µm", 1e3)):
        if nm >= size:
            return f"{nm / size:.4g} {unit}"
    return f"{nm:.4g} nm"


def length_in(nm: float, unit: tuple[float, str]) -> str:
    """A length in the unit of its figure.

    >>> length_in(500.0, (1000, "µm"))
    '0.5 µm'
    """
    return f"{nm / unit[0]:.4g} {unit[1]}"


def length_unit(longest: float) -> tuple[float, str]:
    """Unit, in nm and by name, for all axes of a figure whose longest has this length in nm.

    >>> length_unit(1900), length_unit(2560)
    ((1, 'nm'), (1000, 'µm'))
    """
    return (1000, "µm") if longest >= 2000 else (1, "nm")
