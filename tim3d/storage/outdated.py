"""Nodes that were made from a field which was replaced since, and what renews them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tim3d.commands import renewal
from tim3d.errors import MixedRunError
from tim3d.storage import schema
from tim3d.storage.samples import fingerprint_of, is_sample, node_attributes


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
