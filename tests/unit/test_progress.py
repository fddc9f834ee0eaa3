"""A bar is for somebody who watches: a terminal gets it, a pipe or a file gets none."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.engine import progress_bar

STACK = {"shape": (4, 16, 16), "voxel_size": {"z": 20, "y": 10, "x": 10}, "correlation_nm": 40}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Notebook(io.StringIO):
    __module__ = "ipykernel.iostream"


@pytest.mark.parametrize(
    ("stream", "expected"), [(Terminal, True), (Notebook, True), (io.StringIO, False)]
)
def test_who_watches_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, stream: Callable[[], io.StringIO], expected: bool
) -> None:
    out = stream()
    monkeypatch.setattr(sys, "stderr", out)
    for shown in (True, False):
        out.truncate(0)
        for _ in progress_bar(range(3), desc="laps", shown=shown):
            pass
        assert ("laps" in out.getvalue()) == (expected and shown)


def simulate(folder: Path) -> object:
    return tim3d.simulate(folder / "s", **STACK)  # type: ignore[arg-type]


def passes(folder: Path) -> object:
    np.save(folder / "a.npy", np.zeros((4, 16, 16), np.uint8))
    return tim3d.ingest(folder / "a.npy", str(folder / "a.zarr"), voxel_size=STACK["voxel_size"])  # type: ignore[arg-type]


@pytest.mark.parametrize("work", [simulate, passes])
def test_a_pipe_gets_no_bar(
    work: Callable[[Path], object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work(tmp_path)
    err = capfd.readouterr().err
    assert "\r" not in err
    assert "%|" not in err


def test_a_real_terminal_gets_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        simulate(tmp_path)
        terminal.flush()
        assert select.select([leader], [], [], 10)[0]
        assert b"simulate" in os.read(leader, 10_000)
    os.close(leader)
