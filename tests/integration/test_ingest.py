"""Ingest writes the voxels of the source, whatever the shards, blocks and workers; bad input leaves nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tim3d
from tests.examples import costly
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.grid import Triple
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 20.0, "y": 5.0, "x": 5.0}
SHAPE: Triple = (23, 19, 31)


def grey(shape: Triple = SHAPE, dtype: str = "uint8") -> NDArray[Any]:
    values = np.random.default_rng(2).integers(0, 251, shape)
    return (
        values / 7 if dtype == "float32" else values * (200 if dtype == "uint16" else 1)
    ).astype(dtype)


def write_slices(folder: Path, volume: NDArray[Any], pattern: str = "s_{:03d}.tif") -> Path:
    folder.mkdir()
    for z, picture in enumerate(volume):
        tifffile.imwrite(folder / pattern.format(z), picture)
    return folder


def voxels(url: str, name: str = "raw") -> NDArray[Any]:
    return np.asarray(tim3d.open_field(url, name).values)


@given(
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    shard=st.tuples(*[st.integers(1, 25)] * 3),
    slabs=st.integers(1, 4),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
@costly
def test_any_shard_and_block_gives_the_voxels_of_the_source(
    shape: Triple, shard: Triple, slabs: int, dtype: str
) -> None:
    volume = grey(shape, dtype)
    with tempfile.TemporaryDirectory() as folder:
        url, source = f"{folder}/a.zarr", write_slices(Path(folder) / "s", volume)
        edge = min(shard[0], 64, shape[0])
        block = (slabs * max(1, -(-min(shard[0], shape[0]) // edge) * edge), 999, 999)
        options = tim3d.Options(progress=False, block=block)
        opened = tim3d.ingest(source, url, voxel_size=SIZE, shard=shard, options=options)
        assert opened.dtype == dtype
        np.testing.assert_array_equal(opened.values, volume)
        assert tim3d.validate(url, deep=True) == []


def test_two_workers_write_what_one_process_writes(tmp_path: Path, two_workers: str) -> None:
    volume, url = grey(), str(tmp_path / "a.zarr")
    source = write_slices(tmp_path / "s", volume)
    with tim3d.cluster(two_workers):
        tim3d.ingest(source, url, voxel_size=SIZE, shard=(4, 8, 16), options=QUIET)
    np.testing.assert_array_equal(voxels(url), volume)


@pytest.mark.parametrize("kind", ["multi-page", "npy", "raw", "hdf5", "zarr", "list"])
def test_every_kind_of_source_gives_the_same_voxels(tmp_path: Path, kind: str) -> None:
    volume, url = grey(), str(tmp_path / "a.zarr")
    extra: dict[str, Any] = {}
    source: Any = tmp_path / f"in.{kind}"
    if kind == "multi-page":
        source = source.with_suffix(".tif")
        tifffile.imwrite(source, volume)
    elif kind == "npy":
        np.save(source, volume)
    elif kind == "raw":
        volume.tofile(source)
        extra = {"shape": SHAPE, "dtype": "uint8"}
    elif kind == "hdf5":
        source = source.with_suffix(".h5")
        with h5py.File(source, "w") as file:
            file["volume"] = volume
        extra = {"dataset": "volume"}
    elif kind == "zarr":
        source = tmp_path / "first.zarr"
        tim3d.ingest(_saved(tmp_path, volume), str(source), voxel_size=SIZE, options=QUIET)
        extra = {"dataset": "raw", "voxel_size": None}
    else:
        source = sorted(map(str, write_slices(tmp_path / "s", volume).iterdir()))
    tim3d.ingest(source, url, **{"voxel_size": SIZE, "options": QUIET, **extra})
    np.testing.assert_array_equal(voxels(url), volume)
    assert store.read_field(url, "raw").spacing_nm == (20.0, 5.0, 5.0)


def _saved(folder: Path, volume: NDArray[Any]) -> Path:
    np.save(folder / "v.npy", volume)
    return folder / "v.npy"


def test_uneven_slices_are_resampled_to_even_ones(tmp_path: Path) -> None:
    """Grey that grows linearly with z stays linear in z, whatever the positions were."""
    where = np.array([0.0, 10, 25, 30, 47, 60, 66, 80])
    (tmp_path / "s").mkdir()
    for n, z in enumerate(where):
        tifffile.imwrite(
            tmp_path / f"s/slice_{n:05d}_z={z / 1000:.4f}um.tif", np.full((4, 5), 2 * z, np.float32)
        )
    url = str(tmp_path / "a.zarr")
    made = tim3d.ingest(tmp_path / "s", url, voxel_size={"z": 5, "y": 5, "x": 5}, options=QUIET)
    steps = np.diff(made.z.values)
    np.testing.assert_allclose(steps, 5.0)
    np.testing.assert_allclose(np.diff(made.values[:, 0, 0]), 10.0, atol=1e-4)
    np.testing.assert_allclose(made.values[0], 0, atol=1e-6)
    kept = tim3d.ingest(
        tmp_path / "s",
        str(tmp_path / "b.zarr"),
        even_z=False,
        voxel_size={"y": 5, "x": 5},
        options=QUIET,
    )
    np.testing.assert_array_equal(kept.values[:, 0, 0], (2 * where).astype(np.float32))
    assert kept.z.values[1] - kept.z.values[0] == pytest.approx(80 / 7)


def test_labels_are_resampled_by_picking(tmp_path: Path) -> None:
    where = np.array([0.0, 10, 25, 30])
    (tmp_path / "s").mkdir()
    for n, z in enumerate(where):
        tifffile.imwrite(
            tmp_path / f"s/slice_{n}_z={z / 1000:.4f}um.tif", np.full((4, 5), n % 2 * 9, np.uint8)
        )
    made = tim3d.ingest(
        tmp_path / "s", str(tmp_path / "a.zarr"), voxel_size={"z": 5, "y": 5, "x": 5}, field="phase",
        phases=tim3d.Phases(pore=0, solid=9), options=QUIET,
    )  # fmt: skip
    assert set(np.unique(made.values)) == {0, 9}
    nearest = [np.abs(where - z).argmin() % 2 * 9 for z in (0, 10, 25, 30)]
    assert [int(made.values[i, 0, 0]) for i in (0, 2, 5, 6)] == nearest


def test_statistics_of_every_slice_are_kept(tmp_path: Path) -> None:
    volume, url = grey(dtype="uint16"), str(tmp_path / "a.zarr")
    tim3d.ingest(_saved(tmp_path, volume), url, voxel_size=SIZE, shard=(4, 8, 16), options=QUIET)
    table = tim3d.open_dataset(url, "raw_slices")
    np.testing.assert_array_equal(table.z.values, tim3d.open_field(url, "raw").z.values)
    np.testing.assert_allclose(table.grey_mean, volume.mean(axis=(1, 2)), rtol=1e-14)
    np.testing.assert_allclose(table.grey_std, volume.std(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(table.grey_min, volume.min(axis=(1, 2)))
    np.testing.assert_array_equal(table.grey_max, volume.max(axis=(1, 2)))


def test_a_second_ingest_of_the_same_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, url = _saved(tmp_path, grey()), str(tmp_path / "a.zarr")
    tim3d.ingest(source, url, voxel_size=SIZE, options=QUIET)
    monkeypatch.setattr(store, "write_box", None)
    tim3d.ingest(source, url, voxel_size=SIZE, options=QUIET)


def test_another_source_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    tim3d.ingest(_saved(tmp_path, grey()), url, voxel_size=SIZE, options=QUIET)
    (tmp_path / "other").mkdir()
    with pytest.raises(MixedRunError, match="from another source"):
        tim3d.ingest(_saved(tmp_path / "other", grey()[::-1]), url, voxel_size=SIZE, options=QUIET)
    np.testing.assert_array_equal(voxels(url), grey())


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def torn_in_the_middle(folder: Path) -> Path:
    source = write_slices(folder / "torn", np.ones((23, 40, 40), np.uint8))
    path = source / "s_011.tif"
    path.write_bytes(path.read_bytes()[:900])
    return source


def nan_in_the_middle(folder: Path) -> Path:
    volume = grey(dtype="float32")
    volume[11, 3, 4] = np.inf
    return _saved(folder, volume)


@pytest.mark.parametrize("make", [torn_in_the_middle, nan_in_the_middle])
@pytest.mark.parametrize("kind", ["serial", "workers"])
def test_bad_input_in_the_middle_leaves_a_good_sample_as_it_was(
    tmp_path: Path, make: Any, kind: str, two_workers: str
) -> None:
    url = str(tmp_path / "a.zarr")
    tim3d.ingest(_saved(tmp_path, grey()), url, voxel_size=SIZE, options=QUIET)
    source = make(tmp_path)
    before = files(tmp_path)
    with tim3d.cluster("serial" if kind == "serial" else two_workers), pytest.raises(InputError):
        tim3d.ingest(source, url, voxel_size=SIZE, field="other", shard=(4, 64, 64), options=QUIET)
    assert files(tmp_path) == before


@pytest.mark.parametrize("make", [torn_in_the_middle, nan_in_the_middle])
def test_bad_input_in_the_middle_leaves_no_sample(tmp_path: Path, make: Any) -> None:
    source = make(tmp_path)
    with pytest.raises(InputError):
        tim3d.ingest(
            source, str(tmp_path / "a.zarr"), voxel_size=SIZE, shard=(4, 64, 64), options=QUIET
        )
    assert not list(tmp_path.glob("a.zarr*"))


def test_bad_input_does_not_take_the_place_of_a_good_field(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    tim3d.ingest(_saved(tmp_path, grey()), url, voxel_size=SIZE, options=QUIET)
    source = torn_in_the_middle(tmp_path)
    with pytest.raises(InputError, match="s_011"):
        tim3d.ingest(
            source, url, voxel_size=SIZE, options=tim3d.Options(progress=False, overwrite=True)
        )
    np.testing.assert_array_equal(voxels(url), grey())


def test_unknown_codes_are_named_with_their_slices(tmp_path: Path) -> None:
    volume = np.zeros(SHAPE, np.uint8)
    volume[14, 2, 3] = 5
    with pytest.raises(InputError, match=r"codes \[5\] in slices 12 to 15.*Name every code"):
        tim3d.ingest(
            _saved(tmp_path, volume), str(tmp_path / "a.zarr"), voxel_size=SIZE, field="phase",
            phases=tim3d.Phases(pore=0, solid=1), shard=(4, 64, 64), options=QUIET,
        )  # fmt: skip
    assert not list(tmp_path.glob("a.zarr*"))


def test_labels_are_bytes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels are uint16"):
        tim3d.ingest(
            _saved(tmp_path, grey(dtype="uint16")), str(tmp_path / "a.zarr"), voxel_size=SIZE,
            phases=tim3d.Phases(pore=0), options=QUIET,
        )  # fmt: skip


def test_a_block_of_parts_of_slices_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"whole slices; use --block 4,"):
        tim3d.ingest(
            _saved(tmp_path, grey()), str(tmp_path / "a.zarr"), voxel_size=SIZE, shard=(4, 8, 16),
            options=tim3d.Options(progress=False, block=(4, 8, 16)),
        )  # fmt: skip


@pytest.mark.long
def test_a_shale_stack_with_uneven_slices(data_dir: Path, tmp_path: Path) -> None:
    """Real slices whose names carry their positions."""
    made = tim3d.ingest(
        data_dir / "shale-fibsem",
        str(tmp_path / "a.zarr"),
        voxel_size={"y": 10, "x": 10},
        accept=["drift"],
        options=QUIET,
    )
    assert np.ptp(np.diff(made.z.values)) < 1e-6
    assert made.sizes["z"] > 1
    assert tim3d.validate(str(tmp_path / "a.zarr"), deep=True) == []


def test_one_number_is_no_voxel_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    for verb in (tim3d.inspect, tim3d.ingest):
        with pytest.raises(ArgumentError, match=r"--voxel-size 20,10,10\), got 10"):
            verb(tmp_path / "a.npy", *[tmp_path / "s.zarr"][: verb is tim3d.ingest], voxel_size=10)  # type: ignore[operator]
    assert not (tmp_path / "s.zarr").exists()
