"""The histogram of floats spans all of their values, and every voxel is counted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d


def test_a_histogram_of_floats_reaches_from_the_least_to_the_largest(tmp_path: Path) -> None:
    """A last slab of one slice, and the extremes in single voxels of it."""
    grey = np.random.default_rng(0).normal(0, 1, (9, 10, 14)).astype(np.float32)
    grey[8, 3, 5], grey[8, 7, 2] = 40.0, -25.0
    np.save(tmp_path / "a.npy", grey)
    url, quiet = str(tmp_path / "a.zarr"), tim3d.Options(progress=False)
    size = {"z": 2, "y": 3, "x": 5}
    tim3d.ingest(tmp_path / "a.npy", url, voxel_size=size, shard=(4, 10, 14), options=quiet)
    tim3d.segment(url, method="otsu", phases=tim3d.Phases(low=0, high=1), options=quiet)
    found = tim3d.open_dataset(url, "raw_histogram")
    width = 65.0 / found.sizes["grey"]
    assert found.grey.values[[0, -1]] == pytest.approx([-25 + width / 2, 40 - width / 2])
    expected, _ = np.histogram(grey.astype(np.float64), found.sizes["grey"], (-25, 40))
    assert int(found.voxels.sum()) == grey.size
    assert np.abs(found.voxels.values - expected).sum() <= 2  # a value on an edge between two bins
    slices = tim3d.open_dataset(url, "raw_slices")
    np.testing.assert_allclose(slices.grey_mean, grey.mean(axis=(1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slices.grey_std, grey.std(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(slices.grey_max, grey.max(axis=(1, 2)))
