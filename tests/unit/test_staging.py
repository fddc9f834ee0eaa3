"""A file of two parts is whole or not there, wherever the writer is killed: no header stands before data of another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tim3d.errors import WriteError
from tim3d.storage import files
from tim3d.storage.outputs import replacing
from tim3d.storage.staging import staged


class Killed(BaseException):
    """The end of the process."""


def written(target: Path, companion: Path, text: str) -> None:
    with staged(target, (companion,)) as path:
        path.write_text(text)
        path.with_name(companion.name).write_text(text)


@pytest.mark.parametrize("step", range(6))
def test_a_header_never_stands_before_data_of_another(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, companion = tmp_path / "a.mhd", tmp_path / "a.raw"
    written(target, companion, "old")
    replace, done = Path.replace, []

    def dying(self: Path, to: Any) -> Path:
        if len(done) == step:
            raise Killed
        done.append(to)
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", dying)
    try:
        written(target, companion, "new")
    except Killed:
        assert len(done) == step
    else:
        assert target.read_text() == companion.read_text() == "new"
    if target.exists():
        assert target.read_text() == companion.read_text()
    monkeypatch.undo()
    written(target, companion, "new")
    assert target.read_text() == companion.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mhd", "a.raw"]


def test_what_is_durable_is_flushed_with_the_folder_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose folder was not flushed has no name after the power went."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "a"
    path.write_text("a")
    files.flush(path)
    assert flushed == [path.stat().st_ino, path.parent.stat().st_ino]
    for durable in (False, True):
        flushed.clear()
        with replacing(path, durable=durable) as file:
            file.write(b"b")
        assert ({path.stat().st_ino, path.parent.stat().st_ino} <= set(flushed)) is durable
        assert bool(flushed) is durable


def test_a_file_that_is_replaced_stays_open_to_whom_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for mode in (0o640, 0o604):
        path.write_text("old")
        path.chmod(mode)
        with replacing(path) as file:
            file.write(b"new")
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == mode


def test_a_folder_of_the_companions_name_leaves_the_old_pair(tmp_path: Path) -> None:
    target, companion = tmp_path / "a.mhd", tmp_path / "a.raw"
    target.write_text("old")
    companion.mkdir()
    with pytest.raises(WriteError, match=r"a\.mhd"):
        written(target, companion, "new")
    assert target.read_text() == "old"
    assert companion.is_dir()
