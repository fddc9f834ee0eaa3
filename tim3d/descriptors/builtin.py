"""Built-in descriptors by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from tim3d.descriptors import KINDS, coupled
from tim3d.descriptors.base import Descriptor, Material, inputs_of
from tim3d.descriptors.coupled import Coupled
from tim3d.descriptors.fraction import PHASE_FRACTION
from tim3d.descriptors.inputs import Input
from tim3d.descriptors.interface import INTERFACE_AREA
from tim3d.descriptors.names import known_name
from tim3d.descriptors.parametric import Parametric
from tim3d.descriptors.surface import (
    EULER,
    MEAN_CURVATURE,
    SPECIFIC_SURFACE,
    SPECIFIC_SURFACE_GRADIENT,
)
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.spelling import given_twice
from tim3d.steps import spelt

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
        coupled.PARTICLES,
        coupled.EFFECTIVE_CONDUCTIVITY,
        coupled.TORTUOSITY_FACTOR,
        coupled.LOCAL_FLUX,
        coupled.GEODESIC_TORTUOSITY,
        coupled.STRUTS,
        coupled.POROSIMETRY,
        coupled.REPRESENTATIVE_SIZE,
    )
}


PARAMETRIC: dict[str, type[Parametric]] = {
    kind: getattr(importlib.import_module(module), name) for kind, (module, name) in KINDS.items()
}


def split_descriptors(
    wanted: Iterable[str | Descriptor | Parametric | Coupled],
) -> tuple[tuple[Descriptor | Parametric, ...], tuple[Coupled, ...]]:
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
    named = [_known(item) if isinstance(item, str) else item for item in wanted]
    items = [COUPLED.get(item, item) if isinstance(item, str) else item for item in named]
    additive = select(i for i in items if not isinstance(i, Coupled))
    found = tuple(i for i in items if isinstance(i, Coupled))
    if twice := given_twice(item.name for item in (*additive, *found)):
        raise ArgumentError(f"descriptor {twice!r} is given twice: give it once")
    return additive, found


def select(
    wanted: Iterable[str | Descriptor | Parametric],
) -> tuple[Descriptor | Parametric, ...]:
    """Descriptors by name or word; a value of the user is returned as it is.

    Raises
    ------
    ArgumentError
        If a name is not known.

    Examples
    --------
    >>> [d.name for d in select(["phase_fraction", "correlation:lags=8"])]
    ['phase_fraction', 'correlation:lags=8']
    """
    values = (Descriptor, Parametric)
    return tuple(item if isinstance(item, values) else _by_name(str(item)) for item in wanted)


def settled(
    chosen: Iterable[Descriptor | Parametric], material: Material, shape: Triple
) -> tuple[Descriptor, ...]:
    """Descriptors for a volume: those with parameters become values for its voxels.

    Raises
    ------
    ArgumentError
        If parameters do not fit the volume.
    """
    return tuple(_settled(one, material, shape) for one in chosen)


def _settled(one: Descriptor | Parametric, material: Material, shape: Triple) -> Descriptor:
    if isinstance(one, Descriptor):
        return one
    one.check(shape, material)
    return one.descriptor(material)


def inputs_read(one: Descriptor | Parametric) -> tuple[Input, ...]:
    """Fields that a descriptor reads."""
    return one.reads if isinstance(one, Parametric) else inputs_of(one.needs)


def is_known(name: str) -> bool:
    """Whether a name is that of an additive descriptor that is built in, with parameters or without."""
    return name in BUILTIN or name.partition(":")[0] in PARAMETRIC


def _by_name(name: str) -> Descriptor | Parametric:
    known = _known(name)
    return (
        BUILTIN[known]
        if known in BUILTIN
        else spelt(known, PARAMETRIC, "descriptor with parameters")
    )


def _known(name: str) -> str:
    if is_known(name):
        return name
    return known_name(name, [*BUILTIN, *PARAMETRIC, *COUPLED], "descriptor")
