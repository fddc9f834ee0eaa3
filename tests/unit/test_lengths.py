"""A length in micrometres that is typed as nanometres does not pass in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.errors import ArgumentError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.sources.units import LEAST_NM, refuse_mistyped
from tim3d.storage import store

TINY = {"z": 0.02, "y": 0.01, "x": 0.01}
QUIET = tim3d.Options(progress=False)


def ingest(folder: Path, **how: object) -> object:
    np.save(folder / "a.npy", np.zeros((4, 8, 8), np.uint8))
    return tim3d.ingest(folder / "a.npy", str(folder / "a.zarr"), options=QUIET, **how)  # type: ignore[arg-type]


def simulate(folder: Path, voxel_size: dict[str, float] = TINY) -> object:
    return tim3d.simulate(folder / "s", shape=(4, 8, 8), voxel_size=voxel_size, progress=False)


def generate(folder: Path, voxel_size: dict[str, float] = TINY) -> object:
    cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=1), (0.4, 0.6))
    how = {"shape": (8, 8, 8), "voxel_size": voxel_size, "options": QUIET}
    return tim3d.generate(str(folder / "g.zarr"), cuts, **how)  # type: ignore[arg-type]


def import_generator(folder: Path, voxel_size: dict[str, float] = TINY) -> object:
    return tim3d.import_generator(
        folder / "a_Gen.pt", folder / "a.safetensors", voxel_size=voxel_size
    )


@pytest.mark.parametrize(
    "work", [lambda f: ingest(f, voxel_size=TINY), simulate, generate, import_generator]
)
def test_voxels_smaller_than_an_atom_are_refused(
    work: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=r"0\.02 nm along z is less than an atom.*type 20"):
        work(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".npy"] == []


@pytest.mark.parametrize("work", [ingest, simulate, generate, import_generator])
def test_voxels_longer_than_a_metre_are_refused(
    work: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=r"1e\+10 nm along y, more than a metre"):
        work(tmp_path, voxel_size={"z": 1e9, "y": 1e10, "x": 1e10})


def fidelity(folder: Path) -> object:
    labels = np.indices((8, 8, 8)).sum(axis=0, dtype=np.uint8) % 2
    np.save(folder / "a.npy", labels)
    how = {"field": "phase", "phases": tim3d.Phases(pore=0, solid=1), "options": QUIET}
    url, size = str(folder / "a.zarr"), dict.fromkeys("zyx", 10.0)
    tim3d.ingest(folder / "a.npy", url, voxel_size=size, **how)  # type: ignore[arg-type]
    return tim3d.fidelity(url, micrograph=folder / "b.npy", pixel_size=0.01, options=QUIET)


def measure_images(folder: Path) -> object:
    return tim3d.measure_images(folder, pixel_size=0.01, csv=folder / "a.csv")


def train_generator(folder: Path) -> object:
    how = {"phases": tim3d.Phases(pore=0, solid=255), "progress": False}
    return tim3d.train_generator(
        [folder / f"{axis}.npy" for axis in "zyx"], folder / "gen", pixel_size=(1, 0.01, 1), **how
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("work", [fidelity, measure_images, train_generator])
def test_pixels_smaller_than_an_atom_are_refused(
    work: Callable[[Path], object], tmp_path: Path
) -> None:
    """Before an image is read: there is none."""
    with pytest.raises(ArgumentError, match=r"0\.01 nm along y is less than an atom.*type 10"):
        work(tmp_path)


@pytest.mark.parametrize(
    ("typed", "units", "expected"),
    [(0.02, "um", 20.0), (20, "pm", 0.02), (LEAST_NM, "nm", LEAST_NM)],
)
def test_a_stated_unit_is_believed_where_its_length_is_accepted(
    tmp_path: Path, typed: float, units: str, expected: float
) -> None:
    ingest(tmp_path, voxel_size=dict.fromkeys("zyx", typed), units=units, accept=("voxel",))
    assert store.read_field(str(tmp_path / "a.zarr"), "raw").spacing_nm == (expected,) * 3


def test_the_cure_names_the_units(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"--units um; if it is meant as it is, --units pm"):
        ingest(tmp_path, voxel_size=TINY)


def test_what_is_not_given_or_not_positive_is_judged_elsewhere() -> None:
    refuse_mistyped({"z": None, "y": 0.0, "x": -1.0})
