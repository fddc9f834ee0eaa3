"""A zarr store under which nothing passes that is missing or was changed: every read is looked at, no request is added.

zarr takes a chunk that is not there for one of fill values, which in a field of labels is a phase. tim3d writes every
chunk, so one that is not there is damage.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.group import AsyncGroup
from zarr.core.sync import sync
from zarr.storage import StorePath, WrapperStore

from tim3d.errors import StoreError
from tim3d.storage import digests

DOCUMENT = "zarr.json"


class Intact(WrapperStore[Any]):
    """The store of a sample, to be read.

    Parameters
    ----------
    store : zarr.abc.store.Store
        What it reads from; its root is the sample.
    sample : str
        Path or URL of the sample, for messages.

    Raises
    ------
    StoreError
        By every read of a chunk that is not there, or of a ``zarr.json`` that is not what its node's digest was taken
        of: which file, and what helps.
    """

    def __init__(self, store: Any, sample: str = "") -> None:
        super().__init__(store)
        self.sample = sample
        self._below: dict[str, dict[str, str]] = {}

    def _with_store(self, store: Any) -> Intact:
        return Intact(store, self.sample)

    @property
    def root(self) -> Any:
        """Folder of a store that is one, else None."""
        return getattr(self._store, "root", None)

    def __dask_tokenize__(self) -> str:
        # A field may be replaced under the same name: what was read before must not be taken for it.
        return uuid.uuid4().hex

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """What lies under a key; None only for a ``zarr.json`` that no node lists."""
        found = await self._store.get(key, prototype, byte_range)
        await self._look_at(key, found, prototype)
        return found

    async def _get_many(self, requests: Iterable[tuple[str, Any, Any]]) -> AsyncGenerator[tuple[str, Any], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def _look_at(self, key: str, found: Any, prototype: Any) -> None:
        path, _, name = key.rpartition("/")
        if name == DOCUMENT:
            await self._look_at_document(path, found, prototype)
        elif found is None and not name.startswith(".z"):  # those are names of another format
            raise missing(self.sample, key)

    async def _look_at_document(self, path: str, found: Any, prototype: Any) -> None:
        node, _, inner = path.partition("/")
        if inner:
            expected = (await self._digests_below(node, prototype)).get(inner)
            if expected and found is None:
                raise digests.lost(self.sample, f"{path}/{DOCUMENT}")
            if expected and digests.of_document(json.loads(found.to_bytes())) != expected:
                raise digests.changed(self.sample, f"{path}/{DOCUMENT}")
        elif node and found is not None:
            self._below[node] = self._digests_of(node, json.loads(found.to_bytes()))

    async def _digests_below(self, node: str, prototype: Any) -> dict[str, str]:
        if node not in self._below:
            found = await self._store.get(f"{node}/{DOCUMENT}", prototype)
            self._below[node] = {} if found is None else self._digests_of(node, json.loads(found.to_bytes()))
        return self._below[node]

    def _digests_of(self, node: str, document: dict[str, Any]) -> dict[str, str]:
        attributes = document.get("attributes", {})
        if "tim3d" in attributes and not digests.is_whole(attributes):
            raise digests.changed(self.sample, f"{node}/{DOCUMENT}")
        return digests.below(attributes)


def missing(sample: str, key: str) -> StoreError:
    """What is said of a chunk or shard that is not there."""
    path, _, place = key.partition("/c/")
    name = path.rpartition("/")[2]
    where = f"shard ({place.replace('/', ', ')}) of {name!r}" if place else f"a part of {name!r}"
    return StoreError(
        f"{where} is missing: there is no {sample}/{key}, and missing is not zero. "
        f"Type: tim3d validate {sample} --deep --repair"
    )


def looked_at(group: zarr.Group, sample: str) -> zarr.Group:
    """The group of a sample, over a store of which nothing missing or changed is read."""
    place: Any = AsyncGroup(group.metadata, StorePath(Intact(group.store, sample.rstrip("/")), group.path))
    return zarr.Group(place)


def seal(root: zarr.Group, name: str, attributes: Mapping[str, Any], inner: Iterable[str]) -> None:
    """Write attributes of a node with the digests of its inner groups and arrays: from here on it is what it is."""
    node = root[name]
    node.attrs.update(digests.sealed({**node.attrs, **attributes}, digests_below(root, name, inner)))


def digests_below(root: zarr.Group, name: str, inner: Iterable[str]) -> dict[str, str]:
    """Digests of the inner groups and arrays of a node, by path, as they are stored now; of those that are there."""
    read = {path: sync(root.store.get(f"{name}/{path}/{DOCUMENT}", default_buffer_prototype())) for path in inner}
    return {path: digests.of_document(json.loads(text.to_bytes())) for path, text in read.items() if text}
