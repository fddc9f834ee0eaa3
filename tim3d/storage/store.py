"""Samples on disk or in an object store: create, open, read a box, write whole shards.

The only module that creates arrays and groups of zarr.

A sample is named by a path or by a URL that fsspec supports (``memory://``, ``s3://`` ...). Stages
exchange voxels in no other way.
"""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync
from zarr.errors import ZarrUserWarning

from tim3d.commands import current_command, renewal
from tim3d.errors import InputError, MissingFieldError, MixedRunError
from tim3d.forecast import expect, expected, is_forecasting, names_below
from tim3d.grid import Box, Triple, triple
from tim3d.storage import advice, digests, documents, schema
from tim3d.storage.array_cache import current_moment
from tim3d.storage.files import file_system, is_local, writing
from tim3d.storage.folder import AMISS, Folder, open_group, write
from tim3d.storage.metadata import naming_torn_files
from tim3d.storage.removal import NODE, refuse_foreign_folder, remove_partials, remove_tree
from tim3d.storage.schema import AXES, Field
from tim3d.storage.shards import ALWAYS_WRITE
from tim3d.storage.shards import read_box as read_box
from tim3d.storage.shards import read_slices as read_slices
from tim3d.storage.shards import write_box as write_box
from tim3d.storage.small_results import files_of
from tim3d.storage.strict_store import (
    array_at,
    attributes_at,
    digests_below,
    looked_at,
    seal,
    values_at,
    write_attributes,
)
from tim3d.version import __version__

# zstd 3 with a checksum per chunk: a flipped bit is found on reading (figures:
# benchmarks/RESULTS.md, "Codecs").
CODEC: dict[str, Any] = {"level": 3, "checksum": True}


@naming_torn_files
def create_sample(url: str) -> zarr.Group:
    """The sample at `url`, created if it does not exist.

    Raises
    ------
    SchemaError
        If other files lie there, or a sample of another schema.
    WriteError
        If the folder cannot be written.
    """
    group = _existing_group(url, mode="r+")
    if group is None:
        remove_partials(f"{url}/zarr.json")
        refuse_foreign_folder(url)
        with writing(url):
            group = zarr.open_group(
                url, mode="w-", zarr_format=3, attributes={"tim3d": _identity()}
            )
    schema.check_version(dict(group.attrs), url)
    return group


def _existing_group(url: str, mode: str) -> zarr.Group | None:
    if not is_local(url):
        file_system(url)
    advice.refuse_place(url)
    with contextlib.suppress(*AMISS):  # zarr says what it is
        if is_local(url):
            return open_group(url, read_only=mode == "r")
    try:
        return zarr.open_group(url, mode=mode, zarr_format=3)  # type: ignore[arg-type]
    except FileNotFoundError:
        return None


def _identity() -> dict[str, Any]:
    return {"schema": schema.SCHEMA_VERSION, "version": __version__}


@naming_torn_files
def open_sample(url: str, mode: str = "r") -> zarr.Group:
    """The zarr group of an existing sample, after a check of its schema.

    Reads through a group of mode ``r`` are verified: see `tim3d.storage.strict_store`.

    Raises
    ------
    InputError
        If nothing is there.
    SchemaError
        If it is not a sample, or has another schema.
    """
    group = _unchecked(url, mode)
    return looked_at(group, url) if mode == "r" else group


def _unchecked(url: str, mode: str = "r") -> zarr.Group:
    group = _existing_group(url, mode)
    if group is None:
        raise InputError(advice.no_sample(url))
    schema.check_version(dict(group.attrs), url)
    return group


@naming_torn_files
def is_sample(url: str) -> bool:
    """Whether a zarr group exists at `url`."""
    return _existing_group(url, "r") is not None


@naming_torn_files
def nodes(url: str) -> list[str]:
    """Names of the nodes of a sample (fields and results), sorted."""
    planned = names_below("node", url)
    if is_forecasting() and not is_sample(url):
        return sorted(planned)
    there = documents.names(url)
    return sorted({*planned, *(_members(url) if there is None else there)})


def _members(url: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)  # not a node; validate reports it
        return [name for name, one in _unchecked(url).members() if _is_node(name, one)]


def _is_node(name: str, one: Any) -> bool:
    """Whether a member of a sample is a node, and not the labels that viewers read."""
    return name != schema.LABELS_FOLDER or "tim3d" in one.attrs


@naming_torn_files
def node_attributes(url: str, name: str) -> dict[str, Any]:
    """Provenance that a node records (its attribute ``tim3d``); empty if the node does not exist.

    Raises
    ------
    StoreError
        If the attributes of the node are not what was written.
    """
    return _provenance_of(url, name, _verified)


@naming_torn_files
def claimed(url: str, name: str) -> dict[str, Any]:
    """Provenance of a node without the check of its digest, for code that replaces the node."""
    return _provenance_of(url, name, _claimed)


def _provenance_of(
    url: str, name: str, recorded: Callable[[str, str], dict[str, Any]]
) -> dict[str, Any]:
    if (planned := expected("node", f"{url}/{name}")) is not None:
        return dict(planned)
    return {} if is_forecasting() and not is_sample(url) else recorded(url, name)


def _verified(url: str, name: str) -> dict[str, Any]:
    found = documents.attributes(url, name)
    return _record(open_sample(url), name) if found is None else _plain_record(found)


def _claimed(url: str, name: str) -> dict[str, Any]:
    found = documents.claimed(url, name)
    return _record(_unchecked(url), name) if found is None else _plain_record(found)


def _record(root: zarr.Group, name: str) -> dict[str, Any]:
    node = root.get(name)
    return {} if node is None else _plain_record(dict(node.attrs))


def _plain_record(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return digests.plain(attributes.get("tim3d", {}))


def fingerprint_of(url: str, name: str) -> str:
    """Hash of everything that decided the numbers of a node; empty if it does not exist."""
    return str(node_attributes(url, name).get("fingerprint", ""))


def outdated(url: str, name: str) -> str:
    """Name of a newer field from which a node was made, directly or not; empty if none is newer.

    An input that was removed since is not newer: nothing contradicts what was made from it.
    """
    return _newer(url, name, frozenset())


def _newer(url: str, name: str, seen: frozenset[str]) -> str:
    inputs = node_attributes(url, name).get("inputs", {})
    if elsewhere := _newer_elsewhere(inputs.get("volumes")):
        return elsewhere
    for source, used in inputs.items():
        if source in schema.NOT_FIELDS or source in seen:
            continue
        now = fingerprint_of(url, source)
        if now and now != used:
            return str(source)
        if now and (deeper := _newer(url, source, seen | {name})):
            return deeper
    return ""


def _newer_elsewhere(volumes: Any) -> str:
    """Field of another sample that was replaced: a result may be made from several samples."""
    for other, used in volumes.items() if isinstance(volumes, Mapping) else ():
        for node, before in used.items() if is_sample(other) else ():
            now = fingerprint_of(other, node)
            if now and now != before:
                return f"{node} of {other}"
    return ""


def refuse_outdated(url: str, name: str) -> None:
    """Raise `MixedRunError`, with the cure, if a node was made from a field that was replaced."""
    if source := outdated(url, name):
        command = renewal(node_attributes(url, name), url)
        raise MixedRunError(
            f"{name!r} in {url} was made from another version of {source!r} than the one that is there now. "
            f"Renew it: {command}"
        )


def why_outdated(url: str, name: str) -> str:
    """Line with the input of a node that was replaced, and the cure; empty if none was."""
    if source := outdated(url, name):
        return f"outdated, {source!r} was replaced since. Renew it: {renewal(node_attributes(url, name), url)}"
    return ""


def expect_field(url: str, field: Field, record: Mapping[str, Any]) -> None:
    """Let later steps of a planned chain find this field as if it were written."""
    expect("field", f"{url}/{field.name}", field)
    _expect_node(url, field.name, {**record, "kind": "field", "labels": field.labels})


def expect_dataset(url: str, node: str, record: Mapping[str, Any]) -> None:
    """Let later steps of a planned chain find this result as if it were written."""
    _expect_node(url, node, {**record, "kind": "dataset"})


def _expect_node(url: str, node: str, record: Mapping[str, Any]) -> None:
    expect("node", f"{url}/{node}", {**record, "status": "complete"})


@naming_torn_files
def update_node(url: str, name: str, **record: Any) -> None:
    """Add entries to the provenance of a node; raise `StoreError` if its attributes were changed."""
    before = node_attributes(url, name)
    with writing(url):
        remove_partials(f"{url}/{name}/zarr.json")
        root = _unchecked(url, "r+")
        attributes = attributes_at(root, name)
        added = {**attributes, "tim3d": before | record}
        write_attributes(root, name, digests.sealed(added, digests.below(attributes)))


@naming_torn_files
def provenance(
    fingerprint: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Provenance that every node records: version, command, inputs and parameters."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return _identity() | {
        "status": "writing",
        "fingerprint": fingerprint,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "command": current_command(),
        "created": now,
    }


def delete_node(url: str, name: str) -> None:
    """Remove a node or a group in it; raise `StoreError` if it contains a foreign file."""
    with writing(url):
        remove_tree(url, name, NODE)


@naming_torn_files
def changed(url: str, name: str) -> Iterator[str]:
    """Paths in a node whose metadata are not what was written, each ending with a slash."""
    root = _unchecked(url)
    attributes = dict(root[name].attrs)
    if "tim3d" in attributes and not digests.is_whole(attributes):
        yield ""
        return
    written = digests.below(attributes)
    yield from (
        f"{path}/"
        for path, digest in written.items()
        if digests_below(root, name, [path]).get(path) != digest
    )


@naming_torn_files
def refuse_another_kind(url: str, name: str, kind: str) -> None:
    """Raise `MixedRunError` if a node exists that is not of this `kind`, field or dataset."""
    attributes, is_group = documents.claimed(url, name), True
    if attributes is None:
        node = _unchecked(url).get(name)
        attributes, is_group = dict(node.attrs) if node else {}, not isinstance(node, zarr.Array)
    if (found := schema.kind_of(attributes, is_group, kind)) != kind:
        raise MixedRunError(
            f"{name!r} in {url} is a {found}; a {kind} cannot replace it. Choose another name: --out NAME"
        )


def delete_empty_sample(url: str) -> None:
    """Remove a sample without nodes."""
    group = open_sample(url, "r+")
    if not nodes(url):
        sync(group.store.delete("zarr.json"))
        if is_local(url):
            with contextlib.suppress(OSError):  # other files in it are not ours
                Path(url).rmdir()


@naming_torn_files
def create_field(
    url: str, field: Field, record: Mapping[str, Any], factors: Sequence[Triple] = ((1, 1, 1),)
) -> None:
    """Create the arrays of a field at all pyramid levels, with coordinates and attributes.

    No voxels are written.

    The node's own attributes are written last: a node without them was left by a killed run.
    """
    with writing(url):
        root = open_sample(url, "r+")
        for number, factor in enumerate(factors):
            _create_level(root, level_field(field, factor), number, factor)
        ome = schema.ome_multiscale(field.name, field.spacing_nm, list(factors), field.labels)
        state = {"kind": "field", "labels": field.labels}
        inner = [
            f"s{n}{part}"
            for n in range(len(factors))
            for part in ("", f"/{field.name}", *(f"/{a}" for a in AXES))
        ]
        seal(root, field.name, {"ome": ome, "tim3d": dict(record) | state}, inner)


def level_field(field: Field, factor: Triple) -> Field:
    """Description of a pyramid level of a field: fewer and larger voxels, in equal shards."""
    shape = triple(-(-n // f) for n, f in zip(field.shape, factor, strict=True))
    shard, chunk = schema.shard_and_chunk(shape, field.shard)
    z, y, x = (s * f for s, f in zip(field.spacing_nm, factor, strict=True))
    return replace(field, shape=shape, shard=shard, chunk=chunk, spacing_nm=(z, y, x))


def _create_level(root: zarr.Group, level: Field, number: int, factor: Triple) -> None:
    group = root.require_group(f"{level.name}/s{number}")
    flags = schema.phase_flags(level.phases) if level.phases else {}
    group.create_array(
        level.name,
        shape=level.shape,
        dtype=level.dtype,
        chunks=level.chunk,
        shards=level.shard,
        compressors=ZstdCodec(**CODEC),
        fill_value=0,
        dimension_names=AXES,
        attributes={"long_name": level.long_name or level.name, **flags, **level.attributes},
        overwrite=True,
    )
    for axis, count, fine, step in zip(AXES, level.shape, level.spacing_nm, factor, strict=True):
        values = schema.centres(count, fine / step, step, picked=level.labels)
        _write_coordinate(group, axis, values)


def _write_coordinate(group: zarr.Group, axis: str, values: np.ndarray) -> None:
    attributes: dict[str, Any] = {
        "units": schema.UNIT,
        "long_name": f"voxel centre along {axis}",
        "axis": axis.upper(),
    }
    array = group.create_array(
        axis,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        dimension_names=(axis,),
        attributes=attributes,
        overwrite=True,
        fill_value=float("nan"),
        compressors=ZstdCodec(**CODEC),
    )
    array[:] = values


def field_array(url: str, name: str, level: int = 0, mode: str = "r") -> zarr.Array[Any]:
    """The zarr array of a field, opened once per period (see `tim3d.storage.array_cache`).

    Raises
    ------
    MissingFieldError
        If the sample has no such field.
    StoreError
        If its metadata are not what was written. A missing shard is refused when it is read.
    """
    moment, wanted = current_moment(), (url, name, level, mode)
    return _array_of(moment, *wanted) if moment else _open_array(*wanted)


def write_block(
    url: str, name: str, core: Box, values: np.ndarray, *, level: int = 0, durable: bool = False
) -> None:
    """Write the shards of a block of a field; see `tim3d.storage.shards.write_box`."""
    write_box(field_array(url, name, level, mode="r+"), core, values, durable=durable)


@lru_cache(maxsize=32)
def _array_of(moment: str, url: str, name: str, level: int, mode: str) -> zarr.Array[Any]:
    return _open_array(url, name, level, mode)


@naming_torn_files
def _open_array(url: str, name: str, level: int, mode: str) -> zarr.Array[Any]:
    array = array_at(looked_at(_unchecked(url, mode), url), f"{name}/s{level}/{name}")
    if array is None:
        raise MissingFieldError(
            f"no field {name!r} in {url}; it has {', '.join(nodes(url)) or 'none'}"
        )
    return array.with_config(ALWAYS_WRITE)


def complete_field(url: str, name: str, verb: str = "ingest") -> Field:
    """Description of a finished field; messages name `verb` as the one that makes it.

    Raises
    ------
    MissingFieldError
        If the field is missing, or the run that writes it has not finished.
    MixedRunError
        If it was made from another field that was replaced since.
    """
    if (planned := expected("field", f"{url}/{name}")) is not None:
        return planned  # type: ignore[no-any-return]
    status = node_attributes(url, name).get("status")
    if status is None:
        raise MissingFieldError(advice.no_field(url, name, nodes(url), verb))
    if status != "complete":
        raise MissingFieldError(
            f"field {name!r} in {url} is not finished. Rerun the command that makes it: {verb}"
        )
    refuse_outdated(url, name)
    return read_field(url, name)


@naming_torn_files
def read_field(url: str, name: str, level: int = 0) -> Field:
    """Description of a field as stored; refused if its axes differ from its OME-Zarr attributes."""
    array, root, where = field_array(url, name, level), open_sample(url), f"{url}/{name}"
    axes = {a: values_at(root, f"{name}/s{level}/{a}") for a in AXES}
    own, attributes = attributes_at(root, name), dict(array.attrs)
    spacing = schema.spacing_of(axes, where)
    schema.refuse_other_axes(axes, own.get("ome"), level, where)
    return Field(
        name=name,
        shape=triple(array.shape),
        dtype=str(array.dtype),
        spacing_nm=spacing,
        chunk=triple(array.chunks),
        shard=triple(array.shards or array.chunks),
        labels=bool(_plain_record(own).get("labels")),
        phases=schema.phases_of(attributes, where) if "flag_values" in attributes else None,
        long_name=str(attributes.get("long_name", "")),
    )


@naming_torn_files
def open_field(url: str, name: str, level: int = 0) -> xr.DataArray:
    """A field as a lazy xarray with coordinates in nm; each dask chunk is a whole shard.

    Raises
    ------
    MissingFieldError
        If the sample has no such field.
    """
    array = field_array(url, name, level)
    chunks = dict(zip(AXES, array.shards or array.chunks, strict=True))
    return _xarray(url, f"{name}/s{level}", chunks)[name]


def _xarray(url: str, group: str, chunks: Any = None) -> xr.Dataset:
    """A group of a sample; missing and changed files are refused when they are read."""
    place = open_sample(url).store
    dataset: xr.Dataset = xr.open_zarr(
        place, group=group, chunks=chunks, consolidated=False, zarr_format=3
    )
    return dataset


@naming_torn_files
def write_dataset(url: str, node: str, dataset: xr.Dataset, record: Mapping[str, Any]) -> None:
    """Write a result as a node of the sample, replacing an earlier result.

    It counts as finished when its attributes are written, last.
    """
    refuse_another_kind(url, node, "dataset")
    delete_node(url, node)
    with writing(url):
        _write_arrays(url, node, dataset.drop_attrs(deep=False))
        state = {
            "kind": "dataset",
            "status": "complete",
            "variables": [str(name) for name in dataset.data_vars],
        }
        attributes = {**dataset.attrs, "tim3d": dict(record) | state}
        seal(_unchecked(url, "r+"), node, attributes, map(str, dataset.variables))


def _write_arrays(url: str, node: str, dataset: xr.Dataset) -> None:
    files = files_of(dataset, CODEC) if is_local(url) else None
    for path, data in (files or {}).items():
        write(Path(url, node, path), data)
    if files is None:
        dataset.to_zarr(
            Folder(url) if is_local(url) else url,
            mode="w",
            group=node,
            zarr_format=3,
            consolidated=False,
            write_empty_chunks=True,
            encoding={name: {"compressors": (ZstdCodec(**CODEC),)} for name in dataset.variables},
        )


@naming_torn_files
def open_dataset(url: str, node: str) -> xr.Dataset:
    """Numbers of a result, read into memory: later changes of the sample do not affect them.

    Raises
    ------
    MissingFieldError
        If the sample has no such node.
    MixedRunError
        If it was made from a field that was replaced since.
    """
    return lazy_dataset(url, node).load()


@naming_torn_files
def lazy_dataset(url: str, node: str) -> xr.Dataset:
    """Numbers of a result, read on use: for tables of which a block needs a part.

    Raises what `open_dataset` does.
    """
    record = node_attributes(url, node)
    if record.get("status") != "complete":
        raise MissingFieldError(
            f"no result {node!r} in {url} (has {', '.join(nodes(url)) or 'nothing'}). Run: tim3d measure {url}"
        )
    refuse_outdated(url, node)
    dataset = _xarray(url, node)
    for path in sorted(set(digests.below(dataset.attrs)) - set(map(str, dataset.variables))):
        raise digests.lost(url, f"{node}/{path}/zarr.json")
    ordered: xr.Dataset = dataset[record["variables"]]  # a folder has no order of its own
    return ordered.assign_attrs(tim3d=record)
