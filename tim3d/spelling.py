"""Mistyped names: suggestions for an unknown one, and names given twice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Common terms of users, and the tim3d name.
_ALSO_CALLED = {
    "porosity": "phase_fraction",
    "volume_fraction": "phase_fraction",
    "surface_area": "specific_surface",
    "ssa": "specific_surface",
    "tortuosity": "tortuosity_factor",
    "conductivity": "effective_conductivity",
    "connectivity": "euler_density",
    "euler": "euler_density",
    "info": "show",
    "predict": "segment",
    "threshold": "segment",
    "components": "label",
    "particle_size_distribution": "particles",
    "watershed": "particles",
}
_SIZES = (
    "sizes are those of the local thickness: tim3d distance SAMPLE; tim3d thickness SAMPLE; "
    "tim3d measure SAMPLE --descriptors thickness"
)
_INSTEAD = {
    "pore_size_distribution": f"{_SIZES}; of intrusion: tim3d porosimetry SAMPLE",
    "local_thickness": _SIZES,
    "permeability": "tim3d has none; PoreSpy and OpenPNM have",
}


def given_twice(names: Iterable[str]) -> str:
    """The first name that occurs twice in a list, or "".

    >>> given_twice(["z", "y", "z"]), given_twice(["z", "y"])
    ('z', '')
    """
    listed = list(names)
    return next((name for place, name in enumerate(listed) if name in listed[:place]), "")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Suggestion, in brackets, for an unknown name; empty if no known name is similar.

    >>> suggestion("segmnt", ["segment", "solve"]), suggestion("porosity", ["phase_fraction"]), suggestion("q", ["z"])
    (" (did you mean 'segment'?)", " (here it is 'phase_fraction')", '')
    """
    known, plain = list(known), name.lower().replace("-", "_")
    if plain in _INSTEAD:
        return f" ({_INSTEAD[plain]})"
    if _ALSO_CALLED.get(plain) in known:
        return f" (here it is {_ALSO_CALLED[plain]!r})"
    near = similar(name, known)
    return f" (did you mean {near!r}?)" if near else ""


def similar(name: str, known: Iterable[str]) -> str:
    """The most similar of the known names, or "".

    >>> similar("copper_1", ["copper_2", "silver"]), similar("q", ["z"])
    ('copper_2', '')
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")
