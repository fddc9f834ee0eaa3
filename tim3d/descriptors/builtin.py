"""The descriptors that tim3d brings, by name."""

from __future__ import annotations

from collections.abc import Iterable

from tim3d.descriptors.base import Descriptor
from tim3d.descriptors.fraction import PHASE_FRACTION
from tim3d.descriptors.interface import INTERFACE_AREA
from tim3d.descriptors.surface import EULER, MEAN_CURVATURE, SPECIFIC_SURFACE, SPECIFIC_SURFACE_GRADIENT
from tim3d.errors import ArgumentError

BUILTIN: dict[str, Descriptor] = {
    d.name: d
    for d in (
        PHASE_FRACTION,
        SPECIFIC_SURFACE,
        MEAN_CURVATURE,
        EULER,
        SPECIFIC_SURFACE_GRADIENT,
        INTERFACE_AREA,
    )
}


def select(wanted: Iterable[str | Descriptor]) -> tuple[Descriptor, ...]:
    """Descriptors by name; a `Descriptor` of one's own stands for itself.

    Raises
    ------
    ArgumentError
        If a name is not known.

    Examples
    --------
    >>> [d.halo for d in select(["phase_fraction", "specific_surface"])]
    [(0, 0, 0), (1, 1, 1)]
    """
    return tuple(item if isinstance(item, Descriptor) else _by_name(item) for item in wanted)


def _by_name(name: str) -> Descriptor:
    if name not in BUILTIN:
        raise ArgumentError(f"no descriptor {name!r}; there are {', '.join(BUILTIN)}")
    return BUILTIN[name]
