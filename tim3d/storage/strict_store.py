"""A zarr store that refuses missing or changed files on every read, without extra requests.

zarr returns fill values for a missing chunk, which in a field of labels are a phase. tim3d writes
every chunk, so a missing one is damage.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import numpy as np
import zarr
from zarr.core.array import AsyncArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.group import AsyncGroup
from zarr.core.sync import sync
from zarr.storage import StorePath, WrapperStore

from tim3d.errors import StoreError
from tim3d.storage import digests, folder
from tim3d.storage.folder import DOCUMENT, Folder


class Intact(WrapperStore[Any]):
    """The store of a sample, for reading.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The store to read from; its root is the sample.
    sample : str
        Path or URL of the sample, for messages.

    Raises
    ------
    StoreError
        On reading a missing chunk, or a ``zarr.json`` that does not match the digest in its node;
        the message names the file and the cure.
    """

    def __init__(self, store: Any, sample: str = "") -> None:
        super().__init__(store)
        self.sample = sample
        self._below: dict[str, dict[str, str]] = {}

    def _with_store(self, store: Any) -> Intact:
        return Intact(store, self.sample)

    @property
    def root(self) -> Any:
        """Root folder if the store is a folder, else None."""
        return getattr(self._store, "root", None)

    def __dask_tokenize__(self) -> str:
        # A field may be replaced under the same name: dask must not reuse what was read before.
        return uuid.uuid4().hex

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Bytes stored under a key; None only for a ``zarr.json`` that no node lists."""
        found = await self._store.get(key, prototype, byte_range)
        await self._look_at(key, found, prototype)
        return found

    async def _get_many(
        self, requests: Iterable[tuple[str, Any, Any]]
    ) -> AsyncGenerator[tuple[str, Any], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def _look_at(self, key: str, found: Any, prototype: Any) -> None:
        path, _, name = key.rpartition("/")
        if name == DOCUMENT:
            await self._look_at_document(path, found, prototype)
        elif found is None and not name.startswith(".z"):  # names of zarr format 2
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
            self._below[node] = (
                {} if found is None else self._digests_of(node, json.loads(found.to_bytes()))
            )
        return self._below[node]

    def _digests_of(self, node: str, document: dict[str, Any]) -> dict[str, str]:
        attributes = document.get("attributes", {})
        if "tim3d" in attributes and not digests.is_whole(attributes):
            raise digests.changed(self.sample, f"{node}/{DOCUMENT}")
        return digests.below(attributes)


def missing(sample: str, key: str) -> StoreError:
    """Error for a missing chunk or shard."""
    path, _, place = key.partition("/c/")
    name = path.rpartition("/")[2]
    where = f"shard ({place.replace('/', ', ')}) of {name!r}" if place else f"a part of {name!r}"
    return StoreError(
        f"{where} is missing: there is no {sample}/{key}, and missing is not zero. "
        f"Type: tim3d validate {sample} --deep --repair"
    )


def looked_at(group: zarr.Group, sample: str) -> zarr.Group:
    """The group of a sample, on a store that refuses missing or changed files."""
    place: Any = AsyncGroup(
        group.metadata, StorePath(Intact(group.store, sample.rstrip("/")), group.path)
    )
    return zarr.Group(place)


def seal(root: zarr.Group, name: str, attributes: Mapping[str, Any], inner: Iterable[str]) -> None:
    """Write attributes of a node with the digests of its inner groups and arrays; completes it."""
    before = attributes_at(root, name)
    below = digests_below(root, name, inner)
    write_attributes(root, name, digests.sealed({**before, **attributes}, below))


def digests_below(root: zarr.Group, name: str, inner: Iterable[str]) -> dict[str, str]:
    """Current digests of the existing inner groups and arrays of a node, by path."""
    read = {path: document(root, f"{name}/{path}") for path in inner}
    return {path: digests.of_document(json.loads(text)) for path, text in read.items() if text}


def attributes_at(root: zarr.Group, path: str) -> dict[str, Any]:
    """Attributes of a group or array below a group; raise `KeyError` if there is none."""
    try:
        return dict(folder.group_metadata(document(root, path)).attributes)
    except folder.AMISS:  # zarr says what it is
        return dict(root[path].attrs)


def write_attributes(root: zarr.Group, path: str, attributes: Mapping[str, Any]) -> None:
    """Replace attributes of a group below a group; those that are not given stay."""
    if not in_folder(root):
        root[path].attrs.update(attributes)
        return
    data = folder.group_document({**attributes_at(root, path), **attributes})
    folder.at_once(root.store.set(f"{path}/{DOCUMENT}", data))


def array_at(root: zarr.Group, path: str) -> zarr.Array[Any] | None:
    """The array below a group; None if there is none."""
    try:
        metadata = folder.array_metadata(document(root, path))
    except folder.AMISS:
        found = root.get(path)
        return found if isinstance(found, zarr.Array) else None
    place: Any = AsyncArray(metadata, StorePath(root.store, path))
    return zarr.Array(place)


def values_at(root: zarr.Group, path: str) -> np.ndarray:
    """Numbers of a small array below a group, such as a coordinate."""
    try:
        key = f"{path}/c/0"
        found = folder.decoded(folder.array_metadata(document(root, path)), stored(root, key))
    except folder.AMISS:
        found = None
    return np.asarray(root[path][:]) if found is None else found  # type: ignore[index]


def document(root: zarr.Group, path: str) -> bytes:
    """The ``zarr.json`` of a group or array below a group; empty if there is none."""
    return stored(root, f"{path}/{DOCUMENT}")


def stored(root: zarr.Group, key: str) -> bytes:
    """Bytes stored under a key; empty if there are none."""
    get = functools.partial(root.store.get, key, default_buffer_prototype())
    try:
        found = folder.at_once(get()) if in_folder(root) else sync(get())
    except RuntimeError:  # a large file, which takes a thread
        found = sync(get())
    return b"" if found is None else bytes(found.to_bytes())


def in_folder(root: zarr.Group) -> bool:
    """Whether the store of a group is a folder, which answers at once."""
    store = root.store
    return isinstance(store._store if isinstance(store, Intact) else store, Folder)
