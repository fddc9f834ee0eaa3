"""Durable record of finished blocks: one small JSON file per block, written by its worker.

When a pass of thousands of blocks has ended, its markers become one file (`gathered`).

The files lie beside the sample, in ``SAMPLE.runs/PASS/FINGERPRINT/``, so that a copy of the sample
does not claim that its blocks are done. On a local disk a marker is written to a temporary name and
renamed; behind a URL it is one atomic put.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tim3d.credentials import without_secrets
from tim3d.engine.state.gathered import GATHERED, Gathered, gathered_at, write_gathered
from tim3d.engine.state.sealing import as_json, damaged, sealed, unsealed
from tim3d.errors import MixedRunError
from tim3d.grid import Triple
from tim3d.storage.files import KEPT, file_system, is_local, writing
from tim3d.storage.outputs import replacing
from tim3d.storage.removal import DONE, MARKERS, check_tree, refuse_link, remove_file, remove_tree

# Markers read at the same time: on a shared disk or behind a URL each read waits for a reply.
READERS = 16
BATCH = 256
# A worker's reply carries its record up to this size, and the client holds this many; others are
# read.
CARRIED_BYTES = 2**15
HELD_RECORDS = 2**13


def runs_folder(sample: str) -> str:
    """Folder of the ledgers of a sample.

    >>> runs_folder("a.zarr/")
    'a.zarr.runs'
    """
    return sample.rstrip("/") + ".runs"


@dataclass(frozen=True)
class Ledger:
    """The done and failed blocks of one pass under one fingerprint.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    name : str
        Name of the pass, for example ``raw/s0``.
    fingerprint : str
        Hash of everything that decides the numbers.
    """

    sample: str
    name: str
    fingerprint: str
    held: dict[Triple, bytes] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Ledger, (self.sample, self.name, self.fingerprint)

    @property
    def folder(self) -> str:
        """Folder (or URL prefix) that holds this ledger."""
        return f"{runs_folder(self.sample)}/{self.name}/{self.fingerprint[:16]}"

    def claim_layout(self, layout: Mapping[str, Any]) -> None:
        """Record how the pass is divided into blocks; refuse a pass begun with another division.

        Raises
        ------
        MixedRunError
            If blocks of another layout are done.
        """
        before = self.layout()
        if before == json.loads(json.dumps(layout)):
            return
        if before is None or not (self.done() or self.failed()):
            write(f"{self.folder}/layout.json", sealed(layout))
        else:
            raise MixedRunError(
                f"{self.name} of {self.sample} was begun with {_differences(before, layout)}. "
                "Finish it with the same blocks, or start again: add --overwrite"
            )

    def layout(self) -> dict[str, Any] | None:
        """Shape, block and shard of the pass as it was begun; None if it was not begun."""
        return known(f"{self.folder}/layout.json")

    def mark_done(
        self, index: Triple, record: Mapping[str, Any], *, durable: bool = False
    ) -> bytes:
        """Record that a block is written, and return the record.

        Call it after the data are stored.
        """
        data = as_json(sealed(record))
        write_bytes(self._marker("done", index), data, durable=durable)
        remove_file(self._marker("failed", index))
        return data

    def mark_failed(self, index: Triple, reason: str) -> None:
        """Set a block aside with the reason."""
        write(self._marker("failed", index), sealed({"reason": without_secrets(reason)}))

    def hold(self, index: Triple, data: bytes) -> None:
        """Keep the record of a block in memory, so that `records` need not read it."""
        if len(self.held) < HELD_RECORDS or index in self.held:
            self.held[index] = data

    def done(self) -> set[Triple]:
        """Indices of the finished blocks."""
        found = set(_indices(f"{self.folder}/done"))
        gathered = self._gathered()
        return found | gathered.places() if gathered else found

    def gather(self) -> None:
        """Make one file of the markers of finished blocks; on a local disk only.

        A kill leaves both, and they agree.
        """
        if not is_local(self.folder):
            return
        places = sorted(self.done())
        write_gathered(self._gathered_path, places, map(self._stored, places))
        remove_tree(runs_folder(self.sample), f"{self._pass_folder}/done", DONE)

    @property
    def _pass_folder(self) -> str:
        return self.folder.removeprefix(runs_folder(self.sample) + "/")

    @property
    def _gathered_path(self) -> str:
        return f"{self.folder}/{GATHERED}"

    def _gathered(self) -> Gathered | None:
        return gathered_at(self._gathered_path) if is_local(self.folder) else None

    def _stored(self, index: Triple) -> bytes:
        """Record of a finished block as it was written: damage is found where it is needed."""
        held = self.held.get(index)
        if held is not None:
            return held
        try:
            return Path(self._marker("done", index)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return as_json(sealed(self.record(index)))

    def failed(self) -> dict[Triple, str]:
        """Reasons of the blocks that were set aside, by index."""
        reasons = {}
        for index in _indices(f"{self.folder}/failed"):
            record = known(self._marker("failed", index)) or {}
            reasons[index] = str(record.get("reason", "unknown"))
        return reasons

    def record(self, index: Triple) -> dict[str, Any]:
        """Record of a finished block; empty if the block is not done."""
        gathered = self._gathered()
        found = gathered.record(index) if gathered else None
        return found or known(self._marker("done", index)) or {}

    def records(self, places: Iterable[Triple]) -> Iterator[dict[str, Any]]:
        """Records of finished blocks, in the order of `places`; many are read at a time.

        Parameters
        ----------
        places : iterable of (z, y, x)
            Indices of the blocks.

        Yields
        ------
        dict
            Record of each block, from memory or from its marker.

        Raises
        ------
        StoreError
            If a marker is damaged.
        """
        left = iter(places)
        with ThreadPoolExecutor(READERS) as readers:
            while some := list(itertools.islice(left, BATCH)):
                yield from readers.map(self._held_or_read, some)

    def _held_or_read(self, index: Triple) -> dict[str, Any]:
        data = self.held.get(index)
        return self.record(index) if data is None else unsealed(json.loads(data)) or {}

    def drop(self, indices: Collection[Triple]) -> None:
        """Remove the markers of blocks: they are not done any more."""
        gathered = self._gathered() if indices else None
        if gathered is not None and (kept := gathered.places().difference(indices)):
            records = (as_json(sealed(gathered.record(index) or {})) for index in sorted(kept))
            write_gathered(self._gathered_path, sorted(kept), records)
        elif gathered is not None:
            remove_file(self._gathered_path)
        for index in indices:
            self.held.pop(index, None)
            remove_file(self._marker("done", index))

    def forget(self, name: str | None = None) -> None:
        """Remove the markers of this pass, or of all below `name`, under every fingerprint."""
        self.held.clear()
        remove_tree(runs_folder(self.sample), name or self.name, MARKERS)

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON file beside the markers, such as the summary of a run."""
        write(f"{self.folder}/{name}.json", content)

    def _marker(self, kind: str, index: Triple) -> str:
        z, y, x = index
        return f"{self.folder}/{kind}/{z}/{y}/{x}.json"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    now = json.loads(json.dumps(now))
    pairs = [
        f"{key} {before.get(key)} (now {now.get(key)})"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return ", ".join(pairs)


def write(url: str, content: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a JSON file, replaced in one piece."""
    write_bytes(url, as_json(content), durable=durable)


def write_bytes(url: str, data: bytes, *, durable: bool = False) -> None:
    """Write a file, replaced in one piece."""
    with writing(url):
        if is_local(url):
            with replacing(url, durable=durable, kept=KEPT) as file:
                file.write(data)
        else:
            fs, path = file_system(url)
            fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            fs.pipe_file(path, data)


def read(url: str) -> dict[str, Any] | None:
    """Content of a JSON file by path or URL; None if it is missing."""
    try:
        if is_local(url):
            content = Path(url).read_bytes()
        else:
            fs, path = file_system(url)
            content = fs.cat_file(path)
        return json.loads(content)  # type: ignore[no-any-return]
    except (FileNotFoundError, NotADirectoryError):
        return None


def known(url: str) -> dict[str, Any] | None:
    """Record of a marker; None if the marker is missing.

    A damaged marker is an error where its record is needed; its block does not count as not done.
    The names of the markers alone state which blocks are done, as reading a million of them first
    would take hours.

    Raises
    ------
    StoreError
        If it is damaged: not a JSON object, or its checksum does not match.
    """
    seen = "it does not contain a JSON object"
    with contextlib.suppress(ValueError):  # not JSON, or not text
        found: Any = read(url)
        if found is None:
            return None
        if isinstance(found, dict):
            if (record := unsealed(found)) is not None:
                return record
            seen = "its checksum does not match its content"
    raise damaged(url, seen)


def shards_below(url: str) -> set[Triple]:
    """Indices of the stored shards of an array, from one listing."""
    return set(_indices(f"{url}/c", ""))


def _indices(url: str, suffix: str = ".json") -> Iterator[Triple]:
    """Indices of the files below a folder, whose name is parsed once for up to a million files."""
    for folder, names in _folders(url):
        place = folder.rsplit("/", 2)[1:]
        if len(place) == 2 and all(part.isdigit() for part in place):
            z, y = map(int, place)
            stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
            yield from ((z, y, int(stem)) for stem in stems if stem.isdigit())


def _folders(url: str) -> Iterator[tuple[str, list[str]]]:
    """Folders below a folder, each with the names of its files."""
    if is_local(url):
        yield from ((root, names) for root, _, names in os.walk(url))
        return
    fs, path = file_system(url)
    for folder, files in itertools.groupby(fs.find(path), lambda file: file.rpartition("/")[0]):
        yield folder, [file.rpartition("/")[2] for file in files]


def forget_sample(sample: str) -> None:
    """Remove the markers of every pass: for a new sample where markers of that name exist.

    Raises
    ------
    StoreError
        If the folder is a link, or holds a file that is not a marker; then nothing is removed.
    """
    folder = runs_folder(sample)
    refuse_link(folder)
    fs, path = file_system(folder)
    entries = fs.ls(path, detail=True) if fs.exists(path) else []
    # The lock is a file, and stays.
    passes = [e["name"].rstrip("/").rpartition("/")[2] for e in entries if e["type"] == "directory"]
    for name in passes:
        check_tree(folder, name, MARKERS)
    for name in passes:
        remove_tree(folder, name, MARKERS)
