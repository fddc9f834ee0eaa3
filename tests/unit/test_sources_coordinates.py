"""Coordinates beside an array state its voxels, as netCDF and xarray write them; what is no lattice is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tim3d.errors import InputError
from tim3d.sources import open_source
from tim3d.sources.coordinates import Coordinates, coordinates_of, lattice_of

SHAPE = (6, 10, 12)
VOXELS = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
UNEVEN = np.array([0.0, 10, 20, 33, 40, 50])
Z = np.arange(6) * 0.01


def written(folder: Path, kind: str, z: np.ndarray, unit: str, y: np.ndarray | None = None) -> str:
    """A volume with coordinates, as xarray writes zarr, or as netCDF lies in HDF5."""
    along = {
        "z": (z, unit),
        "y": (np.arange(10.0)[::-1] * 5 if y is None else y, "nm"),
        "x": (np.arange(12.0) * 4, "nm"),
    }
    if kind == "zarr":
        coords = {name: (name, values, {"units": one}) for name, (values, one) in along.items()}
        made = xr.Dataset({"grey": (("z", "y", "x"), VOXELS)}, coords=coords)
        made.to_zarr(folder / "a.zarr", consolidated=False)
        return str(folder / "a.zarr")
    with h5py.File(folder / "a.h5", "w") as file:
        grey = file.create_dataset("grey", data=VOXELS)
        for dimension, (name, (values, one)) in zip(grey.dims, along.items(), strict=True):
            file[name] = values
            file[name].attrs["units"] = one
            file[name].make_scale(name)
            dimension.attach_scale(file[name])
    return str(folder / "a.h5")


@pytest.mark.parametrize("kind", ["zarr", "h5"])
def test_even_coordinates_are_voxel_edges_whatever_their_direction(
    tmp_path: Path, kind: str
) -> None:
    source = open_source(written(tmp_path, kind, Z, "um"))
    assert source.voxel_size_nm == pytest.approx((10, 5, 4))
    assert "coordinates" in source.origin
    assert (source.load(0, 6) == VOXELS).all()


@pytest.mark.parametrize("kind", ["zarr", "h5"])
def test_uneven_slices_are_resampled_at_their_positions(tmp_path: Path, kind: str) -> None:
    source = written(tmp_path, kind, UNEVEN, "nm")
    accept = ["blank", "jumps", "duplicates", "drift", "saturated", "gaps"]
    sample = str(tmp_path / "sample.zarr")
    tim3d.ingest(source, sample, accept=accept, options=tim3d.Options(progress=False))
    raw = tim3d.open_field(sample, "raw")
    assert np.diff(raw.z.values) == pytest.approx(10.0)
    assert (raw.values[[0, 1, 2, 4, 5]] == VOXELS[[0, 1, 2, 4, 5]]).all()
    between = VOXELS[2] + (VOXELS[3].astype(float) - VOXELS[2]) * 10 / 13
    assert abs(raw.values[3] - between).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("kind", ["zarr", "h5"])
@pytest.mark.parametrize(
    ("z", "unit", "y", "said"),
    [
        (UNEVEN, "", None, "coordinates z of .* have steps of 7 to 13; .* Write their unit"),
        (UNEVEN[[0, 2, 1, 3, 4, 5]], "nm", None, "coordinates z of .* neither rise nor fall"),
        (Z, "um", np.arange(10.0) ** 2, "coordinates y of .* have steps of 1 to 17; .* Resample"),
    ],
)
def test_what_is_no_lattice_is_refused(
    tmp_path: Path, kind: str, z: np.ndarray, unit: str, y: np.ndarray | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        open_source(written(tmp_path, kind, z, unit, y))


def test_a_scale_without_values_states_nothing() -> None:
    assert coordinates_of(np.zeros(5), "nm") is None
    assert coordinates_of(np.array(["a", "b"]), "nm") is None
    assert coordinates_of(np.arange(4.0), b"nm") is not None


@given(
    step=st.floats(0.1, 1000),
    first=st.floats(-1000, 1000),
    count=st.integers(2, 40),
    sign=st.sampled_from([1, -1]),
)
def test_steps_within_a_hundredth_are_even(
    step: float, first: float, count: int, sign: int
) -> None:
    jitter = 0.002 * step * np.sin(np.arange(count))
    values = first + sign * (np.arange(count) * step + jitter)
    found = lattice_of({"x": Coordinates(values, "nm")}, "a")
    assert found.voxel_size_nm[2] == pytest.approx(step, rel=0.01)
    assert found.positions_nm is None
