"""Colours of phases: the same in figures, in viewers and in files for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

# Distinguishable with any kind of colour vision (Okabe and Ito).
NAMED = {"pore": "#0072b2", "solid": "#e69f00", "shine_through": "#56b4e9"}
COLOURS = ("#009e73", "#cc79a7", "#d55e00", "#f0e442", "#7f7f7f")


def colours(names: Iterable[str]) -> dict[str, str]:
    """Colour of each phase: fixed for pores, solid and shine-through, by order for the others.

    >>> colours(["matrix", "pore"])
    {'matrix': '#009e73', 'pore': '#0072b2'}
    """
    free = itertools.cycle(COLOURS)
    return {name: NAMED.get(name) or next(free) for name in names}


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour, from 0 to 255.

    >>> rgb("#0072b2")
    (0, 114, 178)
    """
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue
