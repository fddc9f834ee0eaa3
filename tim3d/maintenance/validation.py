"""Check of a sample against the data model: every fault found, each with what to type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tim3d.commands import renewal
from tim3d.errors import StoreError, Tim3dError
from tim3d.grid import Box, Grid, triple
from tim3d.kernels.image.threshold import grey_counts
from tim3d.storage import digests, metadata, sample_image, schema, scratch, shards, store
from tim3d.storage.schema import AXES, Field

REPAIR = "Type: tim3d validate SAMPLE --deep --repair"


@dataclass(frozen=True)
class Damage:
    """Repairable damage: voxels of a level of a field, or (without box) a whole node of results."""

    node: str
    level: int = 0
    box: Box | None = None


@dataclass(frozen=True)
class Fault:
    """One fault: where it is, what was found, and the cure."""

    where: str
    seen: str
    cure: str
    damage: Damage | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.seen}. {self.cure}"


def validate(sample: str | Path, *, deep: bool = False) -> list[Fault]:
    """Check a sample against the data model.

    Parameters
    ----------
    sample : str or Path
        Path or URL of the sample.
    deep : bool
        Also read every shard: finds torn and missing shards, flipped bits, and codes without a
        phase.

    Returns
    -------
    list of Fault
        Empty if none is found.

    Raises
    ------
    InputError, SchemaError
        If the sample is missing, or its schema is newer.
    """
    sample = str(sample)
    if torn := [Fault(one.path, one.seen, one.cure) for one in metadata.damaged(sample)]:
        return torn  # the other nodes cannot be listed
    root = store.open_sample(sample)
    faults = [
        fault for name in store.nodes(sample) for fault in _check_node(sample, name, root, deep)
    ]
    return faults or list(_check_image(sample, deep))


def _check_image(sample: str, deep: bool) -> Iterator[Fault]:
    """Faults of the root that viewers read; a sample of an older tim3d has nothing there."""
    now = sample_image.found(sample)
    if (now.ome or now.labels) and now != sample_image.expected(sample):
        seen = "the image that viewers open does not list the fields that are there"
        yield Fault("zarr.json", seen, f"Type: tim3d validate {sample} --repair")
    for name in sample_image.differing(sample) if deep else ():
        seen = "is not a copy of the field any more; viewers read it, and tim3d does not"
        yield Fault(f"labels/{name}", seen, f"Type: tim3d validate {sample} --repair")


def _check_node(sample: str, name: str, root: zarr.Group, deep: bool) -> Iterator[Fault]:
    if changed := list(_changed(sample, name)):
        yield from changed
        return
    node = root[name]
    record: Any = node.attrs.get("tim3d")
    if owner := scratch.owner(name, record or {}):
        yield _left_over(sample, name, owner, record or {})
        return
    if not isinstance(node, zarr.Group) or not record:
        yield Fault(
            name, "is not a node of tim3d (no attribute 'tim3d')", "Delete it, or move it elsewhere"
        )
        return
    if record.get("status") != "complete":
        yield Fault(name, "is not finished", f"Run again: {renewal(record, sample)}")
    missing = [
        key for key in ("version", "fingerprint", "parameters", "inputs") if key not in record
    ]
    if missing:
        yield Fault(name, f"does not record {', '.join(missing)}", "Make it again")
    yield from _outdated(sample, name, record)
    whole = deep and record.get("status") == "complete"
    if record.get("kind") == "field":
        yield from _check_field(sample, name, node, whole)
    elif whole:
        yield from _check_arrays(name, node, Damage(name))


def _left_over(sample: str, name: str, owner: str, record: Mapping[str, Any]) -> Fault:
    """Temporary arrays that a killed run left, with the command that goes on from them."""
    command = ended_by(sample, owner, record)
    return Fault(
        name,
        "holds temporary arrays of a run that has not ended",
        f"Run again: {command} - it removes them. If you want no such run, delete the folder {sample}/{name}",
    )


def ended_by(sample: str, owner: str, record: Mapping[str, Any]) -> str:
    """Command that goes on from the temporary arrays of a killed run, or what it makes where none is recorded."""
    return renewal(record, sample) if record.get("command") else f"what makes {owner!r}"


def _outdated(sample: str, name: str, record: Mapping[str, Any]) -> Iterator[Fault]:
    """Report an input that was replaced; faults of the input itself are found elsewhere."""
    try:
        source = store.outdated(sample, name)
    except StoreError:
        return
    if source:
        cure = f"Renew it: {renewal(record, sample)}"
        yield Fault(
            name,
            f"was made from another version of {source!r} than the one that is there now",
            cure,
        )


def _changed(sample: str, name: str) -> Iterator[Fault]:
    """Files of metadata of a node that are changed or missing."""
    for path in store.changed(sample, name):
        seen = "its metadata are not what was written (the digest differs), or are missing"
        yield Fault(f"{name}/{path}zarr.json", seen, digests.cure(name))


def _check_field(sample: str, name: str, node: zarr.Group, deep: bool) -> Iterator[Fault]:
    try:
        datasets: list[Any] = node.attrs["ome"]["multiscales"][0]["datasets"]  # type: ignore[index, call-overload, assignment]
        finest = store.read_field(sample, name)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, Tim3dError) as error:
        yield Fault(name, f"cannot be read as a field ({error})", "Make it again")
        return
    expected = schema.ome_multiscale(name, finest.spacing_nm, _factors(datasets), finest.labels)
    if node.attrs["ome"] != expected:
        yield Fault(name, "its OME-Zarr attributes do not match its arrays", "Make it again")
    counted = np.zeros(256, np.int64)
    for number in range(len(datasets)):
        yield from _check_level(name, node, number)
        if deep:
            yield from _check_arrays(f"{name}/s{number}", node[f"s{number}"], None, but=name)
            damaged = list(_check_shards(sample, name, number, None if number else counted))
            yield from damaged
            if number == 0 and finest.phases and not damaged:
                yield from _check_sums(sample, finest, counted)


def _factors(datasets: list[Any]) -> list[Any]:
    base = datasets[0]["coordinateTransformations"][0]["scale"]
    scales = [d["coordinateTransformations"][0]["scale"] for d in datasets]
    return [triple(round(s / b) for s, b in zip(scale, base, strict=True)) for scale in scales]


def _check_level(name: str, node: zarr.Group, number: int) -> Iterator[Fault]:
    where = f"{name}/s{number}"
    array = node.get(f"s{number}/{name}")
    if not isinstance(array, zarr.Array):
        yield Fault(where, "has no array", "Make the field again")
        return
    for axis, count in zip(AXES, array.shape, strict=True):
        coordinate = node.get(f"s{number}/{axis}")
        if not isinstance(coordinate, zarr.Array) or coordinate.shape != (count,):
            yield Fault(
                where, f"has no coordinate {axis} of {count} values", "Make the field again"
            )
        elif coordinate.attrs.get("units") != schema.UNIT:
            yield Fault(
                where,
                f"coordinate {axis} is in {coordinate.attrs.get('units')}, not nm",
                "Make the field again",
            )


def _check_shards(
    sample: str, name: str, number: int, counted: np.ndarray | None
) -> Iterator[Fault]:
    """Read every shard, and add its counts of each code to `counted`; a missing shard is damage."""
    array = store.field_array(sample, name, number)
    phases = store.read_field(sample, name).phases
    for block in Grid(triple(array.shape), triple(array.shards or array.chunks)):
        where = f"{name}/s{number} block {block.index}"
        damage = Damage(name, number, block.core)
        if not shards.has_shard(array, block.core):
            yield Fault(where, "its shard is missing", REPAIR, damage)
            continue
        try:
            voxels = store.read_box(array, block.core)
        except Exception as error:  # a codec's own errors share no base class
            yield Fault(
                where, f"cannot be decoded ({type(error).__name__}: {error})", REPAIR, damage
            )
            continue
        if phases and counted is not None:
            counted += grey_counts(voxels)
        yield from _check_values(where, voxels, phases.codes if phases else None, block.core)


def _check_sums(sample: str, labels: Field, counted: np.ndarray) -> Iterator[Fault]:
    """Check that the planes counted by `measure` sum to the voxels of each phase, on every axis."""
    node, phases = f"{labels.name}_partials", dict(labels.phases or {})
    if store.node_attributes(sample, node).get("status") != "complete" or store.outdated(
        sample, node
    ):
        return
    try:
        partials = store.open_dataset(sample, node)
    except Tim3dError:
        return  # its own faults are found when it is checked
    voxels = {name: int(counted[code]) for name, code in phases.items()}
    for planes in (f"phase_planes_{axis}" for axis in AXES if f"phase_planes_{axis}" in partials):
        stored = partials[planes].values.reshape(-1, len(phases)).sum(axis=0)
        sums = dict(zip(phases, map(int, stored), strict=True))
        if sums != voxels:
            cure = "Measure it again: add --overwrite"
            yield Fault(
                f"{node}/{planes}", f"counts {sums} voxels, and {labels.name!r} has {voxels}", cure
            )


def _check_arrays(where: str, group: Any, damage: Damage | None, but: str = "") -> Iterator[Fault]:
    """Read every array of a group: results, or (without `damage`) coordinates of a field."""
    cure = REPAIR if damage else "Make the field again: add --overwrite"
    for name, array in sorted(group.members()):
        if not isinstance(array, zarr.Array) or name == but:
            continue
        try:
            if array.nchunks_initialized < array.nchunks:
                yield Fault(f"{where}/{name}", "a part of it is missing", cure, damage)
                continue
            array[...]
        except Exception as error:  # a codec's own errors share no base class
            yield Fault(
                f"{where}/{name}",
                f"cannot be decoded ({type(error).__name__}: {error})",
                cure,
                damage,
            )


def _check_values(
    where: str, voxels: np.ndarray, codes: tuple[int, ...] | None, core: Box
) -> Iterator[Fault]:
    if codes is not None:
        strays = sorted(set(np.flatnonzero(grey_counts(voxels)).tolist()) - set(codes))
        if strays:
            yield Fault(
                where, f"has codes {strays} without a phase, in {core}", "Make the field again"
            )
    elif voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        yield Fault(where, f"has values that are not finite, in {core}", "Make the field again")
