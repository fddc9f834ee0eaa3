"""Labelled images: what is read, how they are made smaller, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.labelled_image import downscaled, read_micrograph

TWO = {"pore": 0, "solid": 255}


def blobs(
    shape: tuple[int, int], seed: int, levels: tuple[float, ...] = (0.3,)
) -> NDArray[np.uint8]:
    """Phases 0, 1, ... as cuts through smooth noise, with the shares between the levels."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3, mode="wrap")
    return np.digitize(noise, np.quantile(noise, levels)).astype(np.uint8)


def written(path: Path, grey: NDArray[np.generic]) -> Path:
    if path.suffix == ".npy":
        np.save(path, grey)
    elif path.suffix == ".png":
        Image.fromarray(grey).save(path)
    else:
        tifffile.imwrite(path, grey)
    return path


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy"])
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    grey = blobs((30, 41), 1) * np.uint8(255)
    path = written(tmp_path / name, grey)
    found = read_micrograph(path, TWO)
    assert np.array_equal(found.labels, grey)
    assert np.array_equal(found.ranks, grey // 255)
    assert found.labels.dtype == np.uint8
    assert found.pixel_nm is None
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.fractions["pore"] == np.mean(grey == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.bool_])
def test_values_may_be_of_any_type_that_is_read(tmp_path: Path, dtype: type) -> None:
    grey = blobs((30, 41), 1)
    found = read_micrograph(
        written(tmp_path / "a.npy", grey.astype(dtype)), {"pore": 0, "solid": 1}
    )
    assert np.array_equal(found.labels, grey)


def test_pixel_size_comes_from_the_user_or_the_file_and_grows_with_the_scale(
    tmp_path: Path,
) -> None:
    path, grey = tmp_path / "a.tif", blobs((32, 40), 2)
    tifffile.imwrite(path, grey, imagej=True, resolution=(0.5, 0.25), metadata={"unit": "nm"})
    named = {"pore": 0, "solid": 1}
    assert read_micrograph(path, named).pixel_nm == (4.0, 2.0)
    assert read_micrograph(path, named, pixel_size=7).pixel_nm == (7.0, 7.0)
    assert read_micrograph(path, named, pixel_size=(7, 5), scale=4).pixel_nm == (28.0, 20.0)


@given(st.integers(0, 999), st.integers(2, 4), st.floats(0.1, 0.9))
def test_two_phases_are_cut_at_the_quantile_of_their_averages(
    seed: int, scale: int, share: float
) -> None:
    labels = blobs((96, 120), seed, (share,))
    small = downscaled(labels, (0, 1), scale)
    assert small.shape == (96 // scale, 120 // scale)
    averages = labels.reshape(96 // scale, scale, 120 // scale, scale).mean(axis=(1, 3))
    assert averages[small == 1].min() >= averages[small == 0].max()
    assert np.mean(small == 1) == pytest.approx(np.mean(labels == 1), abs=0.02)


@given(st.integers(0, 999), st.integers(2, 4))
def test_three_phases_keep_their_shares(seed: int, scale: int) -> None:
    labels = blobs((160, 160), seed, (0.2, 0.6))
    small = downscaled(labels, (0, 1, 2), scale)
    for code in (0, 1, 2):
        assert np.mean(small == code) == pytest.approx(np.mean(labels == code), abs=0.02)


def test_scale_one_and_whole_squares_change_nothing() -> None:
    labels = blobs((24, 36), 4, (0.2, 0.6))
    assert np.array_equal(downscaled(labels, (0, 1, 2), 1), labels)
    assert np.array_equal(downscaled(labels.repeat(3, 0).repeat(3, 1), (0, 1, 2), 3), labels)


def test_the_porous_silver_keeps_its_fraction(data_dir: Path) -> None:
    found = read_micrograph(data_dir / "micrographs" / "porous-silver.tif", TWO, scale=4)
    assert found.labels.shape == (181, 181)
    assert read_micrograph(data_dir / "micrographs" / "porous-silver.tif", TWO).fractions[
        "solid"
    ] == pytest.approx(0.71598, abs=5e-6)
    assert found.fractions["solid"] == pytest.approx(0.71598, abs=0.001)
    three = {"matrix": 0, "fibre": 1, "void": 2}
    composite = read_micrograph(data_dir / "micrographs" / "composite.npy", three)
    assert list(composite.fractions.values()) == pytest.approx(
        [0.56178, 0.26901, 0.16920], abs=5e-6
    )


GOOD = blobs((16, 16), 0) * np.uint8(255)
NOT_FINITE = np.where(np.arange(16) == 3, np.nan, GOOD.astype(np.float32)).astype(np.float32)
WRONG = [
    ("a.npy", NOT_FINITE, TWO, r"16 values that are NaN"),
    ("a.tif", NOT_FINITE, TWO, r"16 values that are NaN"),
    ("a.png", np.full((9, 9), 255, np.uint8), TWO, r"all 255: one phase has no structure"),
    (
        "a.png",
        GOOD,
        {"pore": 0, "solid": 1},
        r"holds the values 0 \(.* %\), 255 \(.* %\); the phases are pore=0,solid=1",
    ),
    (
        "a.png",
        GOOD,
        {"pore": 0, "solid": 255, "oxide": 128},
        r"the phases are pore=0,oxide=128",
    ),
    (
        "a.npy",
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        TWO,
        r"and 248 more; .* Label a grey image first",
    ),
    ("a.png", np.zeros((9, 9, 3), np.uint8), TWO, r"3 channels .*Leave out --phases"),
    ("a.tif", np.zeros((9, 9, 3), np.uint8), TWO, r"3 channels"),
    ("a.npy", np.zeros((9, 9, 3), np.uint8), TWO, r"3 channels"),
    ("a.npy", np.zeros((5, 9, 9), np.uint8), TWO, r"has 3 axes, shape \(5, 9, 9\)"),
    ("a.tif", np.zeros((5, 9, 9), np.uint8), TWO, r"holds 5 pages"),
    ("a.npy", np.zeros((9, 9), np.complex64), TWO, r"complex64"),
]


@pytest.mark.parametrize(("name", "grey", "phases", "says"), WRONG)
def test_bad_images_are_refused(
    tmp_path: Path, name: str, grey: NDArray[np.generic], phases: dict[str, int], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_micrograph(written(tmp_path / name, grey), phases)


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", GOOD)
    for size in (0, -1.0, (1.0, float("nan")), (1.0, 2.0, 3.0)):
        with pytest.raises(ArgumentError, match="pixel size"):
            read_micrograph(path, TWO, pixel_size=size)
    for scale in (0, -2, 17, 1.5):
        with pytest.raises(ArgumentError, match="takes 1 to 16"):
            read_micrograph(path, TWO, scale=scale)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="names one"):
        read_micrograph(path, {"pore": 0})
    with pytest.raises(InputError, match="no micrograph at"):
        read_micrograph(tmp_path / "none.tif", TWO)
    with pytest.raises(InputError, match="is not a micrograph"):
        read_micrograph(written(tmp_path / "b.npy", GOOD).rename(tmp_path / "b.gif"), TWO)
    rare = GOOD.copy() * 0
    rare[0, 0] = 255
    with pytest.raises(InputError, match="no 'solid' left at scale 4"):
        read_micrograph(written(tmp_path / "c.npy", rare), TWO, scale=4)
