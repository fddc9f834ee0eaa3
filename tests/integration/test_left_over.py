"""Temporary arrays that a killed run leaves are told from damage, with the command that goes on from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.diffusers import saved
from tim3d.maintenance import commands
from tim3d.stages.generation.generate import generate
from tim3d.storage import samples, store

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
HALVES = {"pore": 0.5, "solid": 0.5}


def _source(folder: Path) -> str:
    sample = str(folder / "a.zarr")
    generate(
        sample, kind="field", shape=(12, 16, 16), voxel_size=SIZE, fractions=HALVES,
        correlation_nm=40, options=QUIET,
    )  # fmt: skip
    return sample


def _solve(folder: Path) -> str:
    sample = _source(folder)
    tim3d.solve(
        sample,
        conductivity={"pore": 0.5, "solid": 1},
        axis=["z"],
        keep_potential=True,
        options=QUIET,
    )
    return sample


def _geodesic(folder: Path) -> str:
    sample = _source(folder)
    tim3d.geodesic(sample, phases=["pore"], directions=["+z"], options=QUIET)
    return sample


def _skeleton(folder: Path) -> str:
    sample = _source(folder)
    tim3d.distance(sample, options=QUIET)
    tim3d.skeleton(sample, options=QUIET)
    return sample


def _porosimetry(folder: Path) -> str:
    sample = _source(folder)
    tim3d.distance(sample, options=QUIET)
    tim3d.porosimetry(sample, phase="pore", options=QUIET)
    return sample


def _grown(folder: Path) -> str:
    sample = str(folder / "b.zarr")
    generate(
        sample, kind="spinodal", shape=(1, 32, 32), voxel_size=SIZE, fractions=HALVES,
        wavelength_nm=100, ripening=9, options=QUIET,
    )  # fmt: skip
    return sample


def _diffusion(folder: Path) -> str:
    sample = str(folder / "c.zarr")
    generate(
        sample, kind="diffusion", weights=saved(folder), shape=(16, 16, 16), steps=4, tile=16,
        target={"phase_fraction": 0.5}, options=QUIET,
    )  # fmt: skip
    return sample


@pytest.mark.parametrize(
    ("make", "verb"),
    [
        (_solve, "solve"),
        (_geodesic, "geodesic"),
        (_skeleton, "skeleton"),
        (_porosimetry, "porosimetry"),
        (_grown, "generate"),
        (_diffusion, "generate"),
    ],
)
def test_what_a_killed_run_leaves_is_named_with_what_to_type(
    make: Any, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = store.delete_node

    def kept(url: str, name: str, *more: Any) -> None:
        if not name.endswith("_scratch"):
            removed(url, name, *more)

    monkeypatch.setattr(store, "delete_node", kept)
    sample = make(tmp_path)

    left = [name for name in store.nodes(sample) if name.endswith("_scratch")]
    faults = tim3d.validate(sample)
    shown = [line for line in commands.show(sample) if "_scratch" in line]

    assert left
    assert [fault.where for fault in faults] == left
    assert all("temporary arrays of a run" in str(fault) for fault in faults)
    assert all(f"{sample}/{fault.where}" in fault.cure for fault in faults)
    assert len(shown) == len(left)
    assert all("temporary arrays of a run" in line for line in shown)
    records = [samples.node_attributes(sample, name).get("command") for name in left]
    assert all(
        f"tim3d {verb} {sample}" in f.cure for f, r in zip(faults, records, strict=True) if r
    )
    assert any(records) or verb == "solve"


def test_a_field_of_such_a_name_is_a_field(tmp_path: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[:2] = 9
    np.save(tmp_path / "v.npy", voxels)
    tim3d.ingest(
        str(tmp_path / "v.npy"), sample, voxel_size=SIZE, field="my_scratch", options=QUIET
    )

    assert tim3d.validate(sample) == []
    assert any("my_scratch: 4x4x4" in line for line in commands.show(sample))
