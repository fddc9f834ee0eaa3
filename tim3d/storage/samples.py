"""Samples and their nodes: created, opened, listed, described by what decided their numbers, and removed."""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.core.sync import sync
from zarr.errors import ZarrUserWarning

from tim3d.commands import current_command
from tim3d.errors import InputError, MixedRunError
from tim3d.forecast import expect, expected, is_forecasting, names_below
from tim3d.storage import advice, digests, documents, schema
from tim3d.storage.files import file_system, is_local, refuse_unwritable, writing
from tim3d.storage.folder import AMISS, open_group
from tim3d.storage.metadata import naming_torn_files
from tim3d.storage.removal import NODE, refuse_foreign_folder, remove_partials, remove_tree
from tim3d.storage.schema import Field
from tim3d.storage.strict_store import (
    attributes_at,
    digests_below,
    looked_at,
    write_attributes,
)
from tim3d.version import __version__


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


def refuse_unwritable_sample(url: str) -> None:
    """Raise `WriteError` if a sample on this machine, or what is kept beside it, cannot be written."""
    refuse_unwritable(url)
    refuse_unwritable(f"{url.rstrip('/')}.runs")


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
    group = unchecked_sample(url, mode)
    return looked_at(group, url) if mode == "r" else group


def unchecked_sample(url: str, mode: str = "r") -> zarr.Group:
    """The zarr group of an existing sample, whose reads are not verified; raises what `open_sample` does."""
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
        return [name for name, one in unchecked_sample(url).members() if _is_node(name, one)]


def _is_node(name: str, one: Any) -> bool:
    """Whether a member of a sample is a node, and not the labels that viewers read."""
    return name != schema.LABELS_FOLDER or "tim3d" in one.attrs


@naming_torn_files
def node_attributes(url: str, name: str) -> dict[str, Any]:
    """Provenance that a node records (its attribute ``tim3d``); empty if the node does not exist.

    Raises
    ------
    ArgumentError
        If no node can have that name.
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
    if {".", ".."} & set(name.split("/")):
        schema.check_name(name)
    if (planned := expected("node", f"{url}/{name}")) is not None:
        return dict(planned)
    return {} if is_forecasting() and not is_sample(url) else recorded(url, name)


def _verified(url: str, name: str) -> dict[str, Any]:
    found = documents.attributes(url, name)
    return _record(open_sample(url), name) if found is None else plain_record(found)


def _claimed(url: str, name: str) -> dict[str, Any]:
    found = documents.claimed(url, name)
    return _record(unchecked_sample(url), name) if found is None else plain_record(found)


def _record(root: zarr.Group, name: str) -> dict[str, Any]:
    node = root.get(name)
    return {} if node is None else plain_record(dict(node.attrs))


def plain_record(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of a node out of its attributes, without the digest; empty if there is none."""
    return digests.plain(attributes.get("tim3d", {}))


def fingerprint_of(url: str, name: str) -> str:
    """Hash of everything that decided the numbers of a node; empty if it does not exist."""
    return str(node_attributes(url, name).get("fingerprint", ""))


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
        root = unchecked_sample(url, "r+")
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
    root = unchecked_sample(url)
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
        node = unchecked_sample(url).get(name)
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
