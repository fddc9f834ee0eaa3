"""Results of `solve` that verbs over samples read: which one is meant, and what it has to be."""

from __future__ import annotations

from typing import Any

from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

NM = 1e-9
# Unit of conductivities that give resistances in K m2 W-1.
UNITS = "W m-1 K-1"


def solved_along(sample: str, field: str, axis: str, transport: str) -> str:
    """Name of the only result along an axis, or of one that is named.

    Raises
    ------
    MissingFieldError
        If there is none.
    ArgumentError
        If there are several.
    MixedRunError
        If its field was replaced since.
    """
    found = list(results_of(sample, "solve", field))
    if transport and transport not in found:
        listed = f"there are {', '.join(found)}" if found else "there are none yet"
        raise MissingFieldError(
            f"{transport!r} holds no results of solve for {field!r} of {sample}; {listed}"
        )
    chosen = [transport] if transport else found
    axes = {n: store.node_attributes(sample, n)["parameters"]["axes"] for n in chosen}
    along = [n for n in chosen if axis in axes[n]]
    if not along:
        known = sorted({one for name in axes.values() for one in name})
        raise MissingFieldError(
            f"{field!r} of {sample} was solved along {', '.join(known) or 'nothing'}, and not along {axis}. "
            f"Run: tim3d solve {sample} --conductivity PHASE=K,... --axis {axis}"
        )
    if len(along) > 1:
        raise ArgumentError(
            f"{sample} has several results of solve along {axis}: {', '.join(along)}. Say which: --transport {along[0]}"
        )
    store.refuse_outdated(sample, along[0])
    return along[0]


def between_faces(sample: str, node: str) -> xr.Dataset:
    """A result between the outer faces, of which a resistance follows.

    Raises
    ------
    InputError
        If the potential was held elsewhere, or conductivities have another unit.
    """
    found = store.open_dataset(sample, node)
    if not str(found.attrs["dirichlet"]).startswith("outer faces"):
        raise InputError(
            f"{node!r} of {sample} was solved with a {found.attrs['dirichlet']}; a resistance is that between outer "
            "faces: solve without --cell and --faces"
        )
    if (units := found["effective_conductivity"].attrs["units"]) != UNITS:
        raise InputError(
            f"{node!r} of {sample} is in {units!r}; a resistance needs conductivities in {UNITS}: solve without --units"
        )
    return found


def component(conductivity: Any, place: int) -> float:
    """Conductivity of a phase, as a result records it, along one axis."""
    return float(conductivity[place] if isinstance(conductivity, list | tuple) else conductivity)
