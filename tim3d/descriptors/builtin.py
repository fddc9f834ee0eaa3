"""Built-in descriptors by name."""

from __future__ import annotations

from collections.abc import Iterable

from tim3d.descriptors import coupled
from tim3d.descriptors.base import Descriptor
from tim3d.descriptors.coupled import Coupled
from tim3d.descriptors.fraction import PHASE_FRACTION
from tim3d.descriptors.interface import INTERFACE_AREA
from tim3d.descriptors.surface import (
    EULER,
    MEAN_CURVATURE,
    SPECIFIC_SURFACE,
    SPECIFIC_SURFACE_GRADIENT,
)
from tim3d.errors import ArgumentError
from tim3d.spelling import given_twice, suggestion

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

COUPLED: dict[str, Coupled] = {
    c.name: c
    for c in (
        coupled.PERCOLATION,
        coupled.EFFECTIVE_CONDUCTIVITY,
        coupled.TORTUOSITY_FACTOR,
        coupled.LOCAL_FLUX,
        coupled.GEODESIC_TORTUOSITY,
        coupled.REPRESENTATIVE_SIZE,
    )
}


def split_descriptors(
    wanted: Iterable[str | Descriptor | Coupled],
) -> tuple[tuple[Descriptor, ...], tuple[Coupled, ...]]:
    """Descriptors that add up over blocks, and those that a verb computes on the whole volume.

    Raises
    ------
    ArgumentError
        If a name is not known, or given twice.

    Examples
    --------
    >>> split_descriptors(["tortuosity_factor", "euler_density"])[1][0].verb
    'solve'
    """
    items = [COUPLED.get(item, item) if isinstance(item, str) else item for item in wanted]
    if twice := given_twice(item if isinstance(item, str) else item.name for item in items):
        raise ArgumentError(f"descriptor {twice!r} is given twice: give it once")
    return select(i for i in items if not isinstance(i, Coupled)), tuple(
        i for i in items if isinstance(i, Coupled)
    )


def select(wanted: Iterable[str | Descriptor]) -> tuple[Descriptor, ...]:
    """Descriptors by name; a `Descriptor` of the user is returned as it is.

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
        known = [*BUILTIN, *COUPLED]
        raise ArgumentError(
            f"no descriptor {name!r}{suggestion(name, known)}; there are {', '.join(known)}"
        )
    return BUILTIN[name]
