"""The law of parameters for `inspect`, which keeps nothing: changed alone, each shows in the table, or is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tim3d.cli.parsing import verb
from tim3d.errors import Tim3dError

GIVEN: dict[str, Any] = {"source": "grey.npy", "voxel_size": {"z": 2, "y": 1, "x": 1}}
OTHERS: dict[str, Any] = {
    "source": "other.npy", "voxel_size": {"z": 3, "y": 1, "x": 1}, "units": "um", "labels": True,
    "dataset": "raw", "shape": (8, 64, 64), "dtype": "uint8", "missing_chunks": "fill", "scene": 1,
    "time": "1", "channel": 1, "level": 1, "convert": "shift", "deep": True, "progress": False,
}  # fmt: skip
# What says how it runs only.
ALIKE = {"progress"}
VERBS = {"inspect"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of grey values, large enough for an audit that is not deep to leave rows out."""
    grey = np.random.default_rng(0).integers(60, 180, (8, 64, 64), np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    np.save(tmp_path / "other.npy", grey[::-1])
    monkeypatch.chdir(tmp_path)


def outcome(**changes: Any) -> xr.Dataset | None:
    """The table without a progress bar; None if the call was refused."""
    try:
        found = verb("inspect")(**{"progress": False, **GIVEN, **changes})
        assert isinstance(found, xr.Dataset)
        return found
    except Tim3dError:
        return None


def test_the_table_holds_every_parameter() -> None:
    assert set(inspect.signature(tim3d.inspect).parameters) == set(OTHERS)


@pytest.mark.parametrize("parameter", OTHERS)
def test_a_parameter_changed_alone_shows_or_is_refused(parameter: str) -> None:
    first = outcome()
    assert first is not None
    changed = outcome(**{parameter: OTHERS[parameter]})
    alike = changed is not None and changed.identical(first)
    assert alike == (parameter in ALIKE)
