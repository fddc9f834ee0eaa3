"""Results that `solve`, `geodesic` and `label` keep for a whole volume, ready to stand beside what was measured."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from tim3d import store
from tim3d.descriptors.builtin import COUPLED
from tim3d.descriptors.coupled import Coupled
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError, StoreError
from tim3d.phases import Phases
from tim3d.schema import AXES, Field

log = logging.getLogger(__name__)

ALL = (slice(None), slice(None), slice(None))


def answers(
    sample: str,
    labels: Field,
    phases: Phases,
    wanted: Sequence[Coupled] | None,
    region: tuple[slice, slice, slice] = ALL,
    transport: str = "",
) -> list[xr.Dataset]:
    """The coupled results of a label field, one Dataset for each descriptor; no voxel is read.

    Parameters
    ----------
    sample, labels, phases
        The sample, its label field and the phases of it.
    wanted : sequence of Coupled, optional
        Those asked for by name. By default all that are there; one that was computed from another version of the field
        is left out with a warning.
    region : (slice, slice, slice) of nm
        What is described. Of a part of the volume there are no coupled results.
    transport : str
        The results of `solve` that are meant (default ``FIELD_transport``).

    Raises
    ------
    ArgumentError
        If one is asked for of a part of the volume.
    MissingFieldError
        If one is asked for that was not computed, or there are no such results of `solve`.
    MixedRunError
        If one is asked for that was computed from another version of the field.
    """
    if transport and transport not in (there := solutions(sample, labels.name)):
        listed = f"there are {', '.join(there)}" if there else "there are none yet"
        raise MissingFieldError(f"{transport!r} holds no results of solve for {labels.name!r} of {sample}; {listed}")
    if not _is_whole(region, labels):
        for one in wanted or ():
            raise ArgumentError(_regional(one, sample))
        return []
    if wanted is not None:
        return [read(sample, labels, phases, one, transport) for one in wanted]
    found = (_if_there(sample, labels, phases, one, transport) for one in COUPLED.values())
    return [one for one in found if one is not None]


def solutions(sample: str, field: str) -> list[str]:
    """The finished results of `solve` for a label field, ``FIELD_transport`` first."""
    records = {node: store.node_attributes(sample, node) for node in store.nodes(sample)}
    first = f"{field}_transport"
    found = [node for node, r in records.items() if r.get("status") == "complete" and _is_solution(r, field)]
    default = [first] if records.get(first, {}).get("status") == "complete" else []
    return [*default, *sorted(node for node in found if node != first)]


def _is_solution(record: Mapping[str, Any], field: str) -> bool:
    names = {"tortuosity_factor_total", "flux_spread"}
    return field in record.get("inputs", {}) and names <= set(record.get("variables", []))


def _is_whole(region: tuple[slice, slice, slice], labels: Field) -> bool:
    """Whether a region in nm is the whole volume."""
    for wanted, count, step in zip(region, labels.shape, labels.spacing_nm, strict=True):
        begins = wanted.start is None or math.isclose(wanted.start, 0.0, abs_tol=1e-6)
        ends = wanted.stop is None or math.isclose(wanted.stop, count * step, rel_tol=1e-9, abs_tol=1e-6)
        if not (begins and ends):
            return False
    return True


def _regional(one: Coupled, sample: str) -> str:
    cure = f"; apparent values of windows: tim3d study {sample} --quantity {one.name} ..." if one.windows else ""
    return (
        f"{one.name} couples all blocks: the value of the whole volume is not that of a region, and none was computed "
        f"for this one. Leave out z, y and x for the whole{cure}"
    )


def read(sample: str, labels: Field, phases: Phases, one: Coupled, transport: str = "") -> xr.Dataset:
    """The results of one coupled descriptor; of `solve` those in the node `transport`, if one is named.

    Raises
    ------
    MissingFieldError
        If they were not computed; the message names the command.
    MixedRunError
        If they were computed from another version of the label field.
    """
    named = transport if one.verb == "solve" else ""
    record = store.node_attributes(sample, node := named or f"{labels.name}_{one.node}")
    if record.get("status") != "complete":
        raise MissingFieldError(
            f"{one.name!r} needs the results {node!r}, not in {sample} (has {', '.join(store.nodes(sample))}). "
            f"Run: {one.command(sample, labels.name, phases)}"
        )
    found = attributed(sample, node)
    again = one.command(sample, labels.name, phases, found.attrs.get("conductivity")) + (named and f" --out {named}")
    if is_stale(sample, labels.name, node):
        raise MixedRunError(
            f"{node!r} of {sample} was computed from another version of {labels.name!r}, so it says nothing of "
            f"{one.name!r} now. Run: {again}"
        )
    taken = one.take(found, phases)
    if not taken.data_vars:
        raise MissingFieldError(f"{node!r} of {sample} holds no {' or '.join(one.variables)}. Run: {again} --overwrite")
    return taken


def is_stale(sample: str, field: str, node: str) -> bool:
    """Whether a node was computed from another version of a field than the one that is there."""
    used: Any = store.node_attributes(sample, node).get("inputs", {}).get(field)
    return bool(used != store.fingerprint_of(sample, field))


def attributed(sample: str, node: str) -> xr.Dataset:
    """A result node; those of its dimensions that number components are left out."""
    found = store.open_dataset(sample, node)
    return found.drop_dims("component", errors="ignore")


def _if_there(sample: str, labels: Field, phases: Phases, one: Coupled, transport: str) -> xr.Dataset | None:
    try:
        return read(sample, labels, phases, one, transport)
    except MissingFieldError:
        return None
    except StoreError as error:
        log.warning("left out: %s", error)
        return None


def joined(results: Sequence[xr.Dataset], labels: Field) -> xr.Dataset:
    """One Dataset of all results, over all axes that any of them has, with the attributes of the first."""
    axes = [a for a in AXES if any("axis" in found.coords and a in found["axis"].values for found in results)]
    fitted = [_fitted(found, axes, labels) for found in results]
    return xr.merge(fitted, join="exact", compat="equals", combine_attrs="override")


def _fitted(found: xr.Dataset, axes: list[str], labels: Field) -> xr.Dataset:
    """Over all axes, and on the centres of planes to the last bit: exact coordinates are what results are joined on."""
    if "axis" in found.dims:
        found = found.reindex(axis=np.array(axes, dtype=object))
    for name, count, step in zip(AXES, labels.shape, labels.spacing_nm, strict=True):
        centres = (np.arange(count) + 0.5) * step
        if found.sizes.get(name) == count and np.allclose(found[name].values, centres):
            found = found.assign_coords({name: (name, centres, found[name].attrs)})
    return found
