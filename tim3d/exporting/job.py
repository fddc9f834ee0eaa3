"""An export as a task: is it there already, may it be written, does it fit, and write it."""

from __future__ import annotations

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tim3d.engine import Outline, Plan, current_cluster, progress_bar
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import BASE_BYTES, LOADED_LATER_BYTES
from tim3d.errors import ArgumentError, MixedRunError, Tim3dError, WriteError
from tim3d.exporting.asked import Asked
from tim3d.forecast import expect, is_forecasting
from tim3d.sources import open_source
from tim3d.storage import schema, store
from tim3d.storage.staging import free_bytes, staged

log = logging.getLogger(__name__)
MARK = "tim3d export "
# Digits of the fingerprint that a file keeps, and how far into a file (and from its end) they are
# looked for.
DIGITS, LOOKED_AT = 16, 2**17


@dataclass(frozen=True)
class Export(ABC):
    """An export; kinds differ in what they read, what they plan and how they write."""

    asked: Asked

    @abstractmethod
    def inputs(self) -> dict[str, str]:
        """Fingerprint of everything that is read, by name."""

    @abstractmethod
    def steps(self) -> Sequence[Plan | Outline]:
        """Plans of the export when nothing is there."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the file or folder to `path`, which does not exist."""

    def size_bytes(self) -> int:
        """Bytes that will be written, as far as they are known; 0 if they are not."""
        return 0

    @cached_property
    def mark(self) -> str:
        """Line that a file keeps: the hash of everything that decides its content."""
        digest = schema.fingerprint(
            verb="export", inputs=self.inputs(), parameters=self.asked.description
        )
        return MARK + digest[:DIGITS]

    def plans(self) -> Sequence[Plan | Outline]:
        """Plans of what is left: nothing if the file is this export already."""
        expect("file", str(self.asked.target), "an export")
        return [] if self._is_there() else self.steps()

    def run(self) -> Path:
        """Write the file, unless it is there.

        Raises
        ------
        MemoryPlanError
            If it does not fit into memory.
        WriteError
            If it does not fit onto the disk, or the folder cannot be written.
        """
        asked = self.asked
        if self._is_there():
            return asked.target
        for step in self.steps():
            step.check()
        self._refuse_full_disk()
        companions = asked.format.companions(asked.target)
        with staged(asked.target, companions, durable=asked.options.durable) as path:
            self.write(path)
        log.info("wrote %s", asked.target)
        return asked.target

    def _is_there(self) -> bool:
        """Whether the target is this export; what must not be replaced is refused.

        Raises
        ------
        MixedRunError
            If it is another export, and `overwrite` is not set.
        ArgumentError
            If it is something else, or the source of a field.
        """
        asked, target = self.asked, self.asked.target
        _refuse_companions(asked)
        if not os.path.lexists(target):
            return False
        found = mark_of(target) if asked.format.keeps_mark else ""
        if found == self.mark and not asked.options.overwrite:
            return True
        _refuse_foreign(asked, found)
        if not asked.options.overwrite:
            held = (
                "holds another export, or an earlier version of this one"
                if found
                else f"a {asked.format.name} file does not say whether tim3d wrote it"
            )
            raise MixedRunError(
                f"{target} exists, and {held}. Give another name, or, if it may go: --overwrite"
            )
        return False

    def _refuse_full_disk(self) -> None:
        folder, needed = self.asked.target.resolve().parent, self.size_bytes()
        if needed > (free := free_bytes(folder)):
            raise WriteError(
                f"{self.asked.target} needs {size_text(needed)}, and the disk of {folder} has "
                f"{size_text(free)} left. Make room, or give a smaller region: --z, --y, --x"
            )

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Any]:
        """Progress bar of the export."""
        shown = self.asked.options.progress
        with progress_bar(
            total=total, desc=f"export {self.asked.target.name}", unit=unit, shown=shown
        ) as bar:
            yield bar


def resident_base() -> int:
    """Bytes that the process needs besides the buffers of an export."""
    return max(BASE_BYTES, current_cluster().resident_bytes() + LOADED_LATER_BYTES)


def limit_bytes() -> int:
    """Bytes of memory that may be used."""
    return current_cluster().memory_bytes


def mark_of(path: Path) -> str:
    """Line of an export that a file keeps, or all files of a folder; empty for other files."""
    if path.is_dir():
        marks = {mark_of(one) for one in path.iterdir()}
        return marks.pop() if len(marks) == 1 else ""
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
        file.seek(max(0, path.stat().st_size - LOOKED_AT))
        tail = file.read()
    for part in (head, tail):
        start = part.find(MARK.encode())
        if start >= 0:
            return part[start : start + len(MARK) + DIGITS].decode("ascii", "replace")
    return ""


def _refuse_companions(asked: Asked) -> None:
    """Refuse to replace a file beside the target that did not come with an earlier export."""
    is_ours = asked.target.exists() and mark_of(asked.target)
    for one in asked.format.companions(asked.target):
        if one.exists() and not is_ours:
            raise ArgumentError(
                f"{one} exists, and {asked.target} would be written with a file of that name; it was "
                "not changed. Give another name"
            )


def _refuse_foreign(asked: Asked, mark: str) -> None:
    """Refuse to replace what no export wrote; where files keep no mark, the source of a field."""
    target = asked.target
    if not mark and (asked.format.keeps_mark or target.is_dir()):
        raise ArgumentError(
            f"{target} exists and is not an export of tim3d; it was not changed. Give another name"
        )
    if not mark and asked.options.overwrite and (field := source_of(asked.sample, target)):
        raise ArgumentError(
            f"{target} is the source of {field!r} in {asked.sample}; it was not changed. Give another name"
        )


def source_of(sample: str, path: Path) -> str:
    """Name of the field of a sample that was ingested from this file; empty if none was."""
    if is_forecasting() and not store.is_sample(sample):
        return ""
    for name in store.nodes(sample):
        used = store.node_attributes(sample, name).get("inputs", {}).get("source")
        if used and used == _identity(path, sample, name):
            return name
    return ""


def _identity(path: Path, sample: str, name: str) -> str:
    made = store.node_attributes(sample, name).get("parameters", {})
    convert = made.get("convert", "exact")
    try:
        return open_source(path, convert=convert).identity()
    except Tim3dError:
        field = store.read_field(sample, name)
    try:
        return open_source(path, shape=field.shape, dtype=field.dtype).identity()
    except Tim3dError:
        return ""
