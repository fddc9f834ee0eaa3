"""Voxels and results of samples, on disk or in an object store: create, open, read a box, write whole shards.

With `tim3d.storage.samples`, whose names are found here too, the only module that creates arrays and
groups of zarr.

A sample is named by a path or by a URL that fsspec supports (``memory://``, ``s3://`` ...). Stages
exchange voxels in no other way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from tim3d.errors import MissingFieldError
from tim3d.forecast import expected
from tim3d.grid import Box, Triple, triple
from tim3d.lazy import xarray as xr
from tim3d.storage import advice, digests, schema
from tim3d.storage.array_cache import current_moment
from tim3d.storage.files import is_local, writing
from tim3d.storage.folder import Folder, write
from tim3d.storage.metadata import naming_torn_files
from tim3d.storage.outdated import outdated as outdated
from tim3d.storage.outdated import refuse_outdated as refuse_outdated
from tim3d.storage.outdated import why_outdated as why_outdated
from tim3d.storage.samples import changed as changed
from tim3d.storage.samples import claimed as claimed
from tim3d.storage.samples import create_sample as create_sample
from tim3d.storage.samples import delete_empty_sample as delete_empty_sample
from tim3d.storage.samples import delete_node as delete_node
from tim3d.storage.samples import expect_dataset as expect_dataset
from tim3d.storage.samples import expect_field as expect_field
from tim3d.storage.samples import fingerprint_of as fingerprint_of
from tim3d.storage.samples import is_sample as is_sample
from tim3d.storage.samples import node_attributes as node_attributes
from tim3d.storage.samples import nodes as nodes
from tim3d.storage.samples import open_sample as open_sample
from tim3d.storage.samples import plain_record, unchecked_sample
from tim3d.storage.samples import provenance as provenance
from tim3d.storage.samples import refuse_another_kind as refuse_another_kind
from tim3d.storage.samples import refuse_unwritable_sample as refuse_unwritable_sample
from tim3d.storage.samples import update_node as update_node
from tim3d.storage.schema import AXES, Field
from tim3d.storage.shards import ALWAYS_WRITE
from tim3d.storage.shards import read_box as read_box
from tim3d.storage.shards import read_slices as read_slices
from tim3d.storage.shards import write_box as write_box
from tim3d.storage.small_results import files_of
from tim3d.storage.strict_store import (
    array_at,
    attributes_at,
    looked_at,
    seal,
    values_at,
)

# zstd 3 with a checksum per chunk: a flipped bit is found on reading (figures:
# benchmarks/RESULTS.md, "Codecs").
CODEC: dict[str, Any] = {"level": 3, "checksum": True}


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
    array = array_at(looked_at(unchecked_sample(url, mode), url), f"{name}/s{level}/{name}")
    if array is None:
        raise MissingFieldError(
            f"no field {name!r} in {url}; it has {', '.join(fields(url)) or 'none'}"
        )
    return array.with_config(ALWAYS_WRITE)


def fields(url: str) -> list[str]:
    """Names of the fields of a sample, sorted."""
    return [name for name in nodes(url) if node_attributes(url, name).get("kind") == "field"]


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
        raise MissingFieldError(advice.no_field(url, name, fields(url), verb))
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
        labels=bool(plain_record(own).get("labels")),
        phases=schema.phases_of(attributes, where) if "flag_values" in attributes else None,
        long_name=str(attributes.get("long_name", "")),
    )


@naming_torn_files
def open_field(url: str | Path, name: str, level: int = 0) -> xr.DataArray:
    """A field as a lazy xarray with coordinates in nm; each dask chunk is a whole shard.

    Raises
    ------
    MissingFieldError
        If the sample has no such field.
    """
    url = str(url)
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
        seal(unchecked_sample(url, "r+"), node, attributes, map(str, dataset.variables))


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
def open_dataset(url: str | Path, node: str) -> xr.Dataset:
    """Numbers of a result, read into memory: later changes of the sample do not affect them.

    Raises
    ------
    MissingFieldError
        If the sample has no such node.
    MixedRunError
        If it was made from a field that was replaced since.
    """
    return lazy_dataset(str(url), node).load()


@naming_torn_files
def lazy_dataset(url: str, node: str) -> xr.Dataset:
    """Numbers of a result, read on use: for tables of which a block needs a part.

    Raises what `open_dataset` does.
    """
    record = node_attributes(url, node)
    if record.get("status") != "complete":
        raise MissingFieldError(advice.no_result(url, node, nodes(url)))
    if "variables" not in record:
        raise MissingFieldError(
            f"{node!r} in {url} is a field, not a table of numbers: tim3d.open_field({str(url)!r}, {node!r})"
        )
    refuse_outdated(url, node)
    dataset = _xarray(url, node)
    for path in sorted(set(digests.below(dataset.attrs)) - set(map(str, dataset.variables))):
        raise digests.lost(url, f"{node}/{path}/zarr.json")
    ordered: xr.Dataset = dataset[record["variables"]]  # a folder has no order of its own
    return ordered.assign_attrs(tim3d=record)
