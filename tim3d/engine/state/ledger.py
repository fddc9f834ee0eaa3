"""What is done, durably: one small JSON file per finished block, beside the sample, written by the worker.

The files lie in ``SAMPLE.runs/PASS/FINGERPRINT/`` and not inside the sample, so that copying a sample does not carry
the claim that its blocks are done. On a local disk a marker is written to a temporary name and renamed; behind a URL it
is one atomic put.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tim3d.credentials import without_secrets
from tim3d.errors import MixedRunError, StoreError
from tim3d.grid import Triple
from tim3d.storage.files import KEPT, file_system, is_local, writing
from tim3d.storage.outputs import replacing
from tim3d.storage.removal import MARKERS, check_tree, refuse_link, remove_file, remove_tree

# Markers that are read at the same time: on a shared disk or behind a URL each read waits for an answer.
READERS = 16
BATCH = 256
# A worker's answer carries what it recorded up to this size, and the client holds this many: the others are read.
CARRIED_BYTES = 2**15
HELD_RECORDS = 2**13
CHECKSUM = "sha256"


def runs_folder(sample: str) -> str:
    """Where the ledgers of a sample lie.

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
        """Remember how the pass is cut into blocks; refuse a pass that was begun with another cut.

        Raises
        ------
        MixedRunError
            If blocks of another layout are done.
        """
        before = self.layout()
        if before is None or not (self.done() or self.failed()):
            write(f"{self.folder}/layout.json", sealed(layout))
        elif before != json.loads(json.dumps(layout)):
            raise MixedRunError(
                f"{self.name} of {self.sample} was begun with {_differences(before, layout)}. "
                "Finish it with the same blocks, or start anew: add --overwrite"
            )

    def layout(self) -> dict[str, Any] | None:
        """How the pass was cut into blocks; None if it was not begun."""
        return known(f"{self.folder}/layout.json")

    def mark_done(self, index: Triple, record: Mapping[str, Any], *, durable: bool = False) -> bytes:
        """Record that a block is written, and return what was recorded; call it only after the data is."""
        data = as_json(sealed(record))
        write_bytes(self._marker("done", index), data, durable=durable)
        remove_file(self._marker("failed", index))
        return data

    def mark_failed(self, index: Triple, reason: str) -> None:
        """Set a block aside with the reason."""
        write(self._marker("failed", index), sealed({"reason": without_secrets(reason)}))

    def hold(self, index: Triple, data: bytes) -> None:
        """Keep in memory what a block recorded just now, so that `records` need not read it."""
        if len(self.held) < HELD_RECORDS or index in self.held:
            self.held[index] = data

    def done(self) -> set[Triple]:
        """Places of the finished blocks."""
        return set(_indices(f"{self.folder}/done"))

    def failed(self) -> dict[Triple, str]:
        """Places of the blocks that were set aside, with the reason."""
        reasons = {}
        for index in _indices(f"{self.folder}/failed"):
            record = known(self._marker("failed", index)) or {}
            reasons[index] = str(record.get("reason", "unknown"))
        return reasons

    def record(self, index: Triple) -> dict[str, Any]:
        """What a finished block reported."""
        return known(self._marker("done", index)) or {}

    def records(self, places: Iterable[Triple]) -> Iterator[dict[str, Any]]:
        """What finished blocks reported, in the order of `places`; those not held in memory are read many at a time.

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

    def drop(self, index: Triple) -> None:
        """Forget that a block is done."""
        self.held.pop(index, None)
        remove_file(self._marker("done", index))

    def forget(self, name: str | None = None) -> None:
        """Drop all that is remembered of this pass (or of all passes below `name`), under every fingerprint."""
        self.held.clear()
        remove_tree(runs_folder(self.sample), name or self.name, MARKERS)

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a JSON file beside the markers (a run's summary, for example)."""
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


def as_json(content: Mapping[str, Any]) -> bytes:
    """The shortest JSON of a mapping."""
    return json.dumps(content, separators=(",", ":")).encode()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the checksum of what it says.

    >>> unsealed(sealed({"a": (1, 2)})), unsealed(sealed({"a": 1}) | {"a": 2})
    ({'a': (1, 2)}, None)
    """
    return {**content, CHECKSUM: _checksum(content)}


def unsealed(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a sealed record says; None if its checksum is another."""
    said = {key: value for key, value in content.items() if key != CHECKSUM}
    return said if content.get(CHECKSUM) == _checksum(said) else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(as_json(content)).hexdigest()[:32]


def write(url: str, content: Mapping[str, Any], *, durable: bool = False) -> None:
    """A JSON file, replaced in one piece."""
    write_bytes(url, as_json(content), durable=durable)


def write_bytes(url: str, data: bytes, *, durable: bool = False) -> None:
    """A file, replaced in one piece."""
    with writing(url):
        if is_local(url):
            with replacing(url, durable=durable, kept=KEPT) as file:
                file.write(data)
        else:
            fs, path = file_system(url)
            fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            fs.pipe_file(path, data)


def read(url: str) -> dict[str, Any] | None:
    """A JSON file by path or URL; None if there is none."""
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
    """What a marker says; None if there is none.

    A damaged one is refused where its record is wanted, and not taken for a block that is to be done again: which
    blocks are done is seen from the names of the markers, and to read a million of them first would take hours.

    Raises
    ------
    StoreError
        If it is damaged: no JSON object, or not what its checksum was taken of.
    """
    seen = "it holds no JSON object"
    with contextlib.suppress(ValueError):  # no JSON, or no text
        found: Any = read(url)
        if found is None:
            return None
        if isinstance(found, dict):
            if (said := unsealed(found)) is not None:
                return said
            seen = "its checksum is not that of what it says"
    raise StoreError(f"{url} is damaged: {seen}. Delete it and run the same command again: its block is done anew")


def shards_below(url: str) -> set[Triple]:
    """Places of the shards of an array that are stored, from one listing."""
    return set(_indices(f"{url}/c", ""))


def _indices(url: str, suffix: str = ".json") -> Iterator[Triple]:
    """Places of the files below a folder; the folder's name is taken apart once, for there may be a million in it."""
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
    """Drop the markers of every pass: for a sample that is new although markers of that name are there.

    Raises
    ------
    StoreError
        If the folder is a link, or holds what is not a marker; then nothing is dropped.
    """
    folder = runs_folder(sample)
    refuse_link(folder)
    fs, path = file_system(folder)
    entries = fs.ls(path, detail=True) if fs.exists(path) else []
    # The lock is a file, and stays.
    passes = [e["name"].rstrip("/").rpartition("/")[2] for e in entries if e["type"] == "directory"]
    for one in passes:
        check_tree(folder, one, MARKERS)
    for one in passes:
        remove_tree(folder, one, MARKERS)
