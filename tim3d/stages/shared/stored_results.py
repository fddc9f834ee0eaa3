"""Results that other verbs store for a whole volume, to be joined with measured ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np

from tim3d.descriptors.builtin import COUPLED
from tim3d.descriptors.coupled import ROW_DIMENSIONS, Coupled
from tim3d.descriptors.geodesic import DIRECTIONS
from tim3d.errors import ArgumentError, MissingFieldError, StoreError
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field

log = logging.getLogger(__name__)

# A result of these verbs is one of several alternatives that no axis distinguishes: they are always
# listed by name.
LISTED = ("study",)


def answers(
    sample: str,
    labels: Field,
    phases: Phases,
    wanted: Sequence[Coupled] | None,
    transport: str = "",
    *,
    whole: bool = True,
) -> list[xr.Dataset]:
    """Return the coupled results of a label field, one Dataset for each descriptor; read no voxel.

    A verb may have answered several questions about the field. Answers that differ in phase, axis
    or direction only are joined along these; answers under other conditions are placed side by side
    along a dimension named after the kind of result (``transport``), with the names of the nodes as
    its labels.

    Parameters
    ----------
    sample, labels, phases
        The sample, its label field and the phases of the field.
    wanted : sequence of Coupled, optional
        Descriptors to return. By default all stored ones; one that was computed from another
        version of the field is left out with a warning.
    transport : str
        Node of the results of `solve` to return (default: all).
    whole : bool
        Whether the whole volume is described: coupled results exist for it only.

    Raises
    ------
    ArgumentError
        If `wanted` names a descriptor for a part of the volume.
    MissingFieldError
        If a wanted one was not computed, or `transport` is not a result of `solve`.
    MixedRunError
        If a wanted one was computed from another version of the field.
    """
    if transport and transport not in (there := list(results_of(sample, "solve", labels.name))):
        listed = f"there are {', '.join(there)}" if there else "there are none yet"
        raise MissingFieldError(
            f"{transport!r} holds no results of solve for {labels.name!r} of {sample}; {listed}"
        )
    if not whole:
        for one in wanted or ():
            raise ArgumentError(_regional(one, sample))
        return []
    if wanted is not None:
        opened = cache(partial(attributed, sample))
        return [read(sample, labels, phases, one, transport, opened) for one in wanted]
    left_out: dict[str, None] = {}  # most quantities of a verb miss the same result
    opened = cache(partial(attributed, sample))  # and most are read from the same
    found = [
        _if_there(sample, labels, phases, one, transport, left_out, opened)
        for one in COUPLED.values()
    ]
    for line in left_out:
        log.warning("left out: %s", line)
    return [one for one in found if one is not None]


def _regional(one: Coupled, sample: str) -> str:
    cure = (
        f"; apparent values of windows: tim3d study {sample} --quantity {one.name} ..."
        if one.windows
        else ""
    )
    return (
        f"{one.name} couples all blocks: the value of the whole volume is not that of a region, and none was computed "
        f"for this one. Leave out z, y, x and windows for the whole{cure}"
    )


def read(
    sample: str,
    labels: Field,
    phases: Phases,
    one: Coupled,
    transport: str = "",
    opened: Callable[[str], xr.Dataset] | None = None,
) -> xr.Dataset:
    """Return the results of one coupled descriptor.

    For `solve` only the results in the node `transport` are read, if it is given. `opened` returns
    the numbers of a node (default: read them now, see `attributed`).

    Raises
    ------
    MissingFieldError
        If the results were not computed; the message names the command.
    MixedRunError
        If the results were computed from another version of the label field.
    """
    there = _nodes(sample, labels, one, transport)
    if not there and one.whole is not None:
        raise MissingFieldError(
            f"{one.name!r} was not computed on {labels.name!r} of {sample}. It is a value of Python: "
            f"tim3d.measure({sample!r}, [{one.name}])"
        )
    if not there:
        raise MissingFieldError(
            f"{one.name!r} needs results of {one.verb} for {labels.name!r}, not in {sample} (has "
            f"{', '.join(store.nodes(sample))}). Run: {one.command(sample, labels.name, phases)}"
        )
    current = [node for node in there if not store.outdated(sample, node)]
    if not current:
        store.refuse_outdated(sample, there[0])
    opened = opened or partial(attributed, sample)
    answering = side_by_side({node: opened(node) for node in current}, one, phases)
    if answering is None:
        again = one.command(sample, labels.name, phases)
        raise MissingFieldError(
            f"{there[0]!r} of {sample} holds no {' or '.join(one.variables)}. Run: {again}"
        )
    return answering


def _nodes(sample: str, labels: Field, one: Coupled, transport: str) -> list[str]:
    """Finished nodes that may answer: `transport` for `solve`, or the node of a user's quantity."""
    found = list(results_of(sample, one.verb, labels.name))
    if one.whole is not None:
        return [node for node in found if node == f"{labels.name}_{one.node}"]
    return [transport] if transport and one.verb == "solve" else found


def side_by_side(
    found: Mapping[str, xr.Dataset], one: Coupled, phases: Phases
) -> xr.Dataset | None:
    """Merge answers that differ in coordinates only; list the others along a new dimension."""
    groups: dict[str, dict[str, xr.Dataset]] = {}
    for node, result in found.items():
        groups.setdefault(one.conditions(result.attrs), {})[node] = one.take(result, phases)
    parts = [
        part
        for group in groups.values()
        for part in _united({n: d for n, d in group.items() if d.data_vars})
    ]
    if not parts:
        return None
    if len(groups) == len(parts) == 1 and one.verb not in LISTED:
        return parts[0][1]
    names = np.array([name for name, _ in parts], dtype=object)
    along = xr.Variable(one.node, names, {"long_name": f"result of {one.verb}"})
    return xr.concat(
        [result for _, result in parts], along, data_vars="all", coords="minimal", compat="equals", join="outer",
        combine_attrs="drop_conflicts",
    )  # fmt: skip


def _united(group: Mapping[str, xr.Dataset]) -> list[tuple[str, xr.Dataset]]:
    """Merge results under the same conditions, named after the first, unless they conflict."""
    if not group:
        return []
    try:
        merged = xr.merge(
            list(group.values()),
            join="outer",
            compat="no_conflicts",
            combine_attrs="drop_conflicts",
        )
    except xr.MergeError:
        return list(group.items())
    return [(next(iter(group)), merged)]


def attributed(sample: str, node: str) -> xr.Dataset:
    """Read a result node, without variables that have a row for each component, particle, node or strut."""
    return store.open_dataset(sample, node).drop_dims(ROW_DIMENSIONS, errors="ignore")


def _if_there(
    sample: str,
    labels: Field,
    phases: Phases,
    one: Coupled,
    transport: str,
    left_out: dict[str, None],
    opened: Callable[[str], xr.Dataset],
) -> xr.Dataset | None:
    """Read results if there are any; note in `left_out`, once, why they cannot be used."""
    try:
        return read(sample, labels, phases, one, transport, opened)
    except MissingFieldError:
        return None
    except StoreError as error:
        left_out[str(error)] = None
        return None


def joined(results: Sequence[xr.Dataset], labels: Field) -> xr.Dataset:
    """Merge results over the union of their axes, with the attributes of the first."""
    axes = [
        a
        for a in AXES
        if any("axis" in found.coords and a in found["axis"].values for found in results)
    ]
    ways = [
        d
        for d in DIRECTIONS
        if any("direction" in found.coords and d in found["direction"].values for found in results)
    ]
    fitted = [_fitted(_listed(found, results), axes, ways, labels) for found in results]
    return xr.merge(fitted, join="exact", compat="equals", combine_attrs="override")


def _listed(found: xr.Dataset, results: Sequence[xr.Dataset]) -> xr.Dataset:
    """Reindex to the names of all nodes of its kind: not every node answers every descriptor."""
    for kind in {one.node for one in COUPLED.values()} & set(found.dims):
        names = sorted(
            {str(name) for other in results if kind in other.dims for name in other[kind].values}
        )
        found = found.reindex({kind: np.array(names, dtype=object)})
    return found


def _fitted(found: xr.Dataset, axes: list[str], ways: list[str], labels: Field) -> xr.Dataset:
    """Reindex to all axes and directions and to exact plane centres, on which results are joined."""
    if "axis" in found.dims:
        found = found.reindex(axis=np.array(axes, dtype=object))
    if "direction" in found.dims:  # joined results have them in alphabetical order
        found = found.reindex(direction=np.array(ways, dtype=object))
    for name, count, step in zip(AXES, labels.shape, labels.spacing_nm, strict=True):
        centres = (np.arange(count) + 0.5) * step
        if found.sizes.get(name) == count and np.allclose(found[name].values, centres):
            found = found.assign_coords({name: (name, centres, found[name].attrs)})
    return found
