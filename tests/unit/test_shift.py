"""Displacements between images: known ones are found to a fraction of a pixel, and their error is told."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from tim3d.kernels.image.shift import Tiles, shift_between, tile_edge

Image = npt.NDArray[np.float64]


def moved(image: Image, y: float, x: float) -> Image:
    """The periodic image, displaced exactly: by the shift theorem."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (y, x))).real


def blobs(shape: tuple[int, int], seed: int = 0, noise: float = 0.0) -> Image:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    return smooth / smooth.std() + noise * rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("shape", "within"), [((64, 64), 0.5), ((96, 65), 0.5), ((250, 233), 0.15)]
)
@pytest.mark.parametrize(("y", "x"), [(0.0, 0.0), (0.37, -0.81), (-7.25, 5.5), (4.0, -3.0)])
def test_a_known_displacement_is_found_to_a_fraction_of_a_pixel(
    shape: tuple[int, int], within: float, y: float, x: float
) -> None:
    """Rows and columns that come in at the edges are another material, as under a microscope."""
    wide = blobs((shape[0] + 40, shape[1] + 40))
    first, second = (w[20:-20, 20:-20] for w in (wide, moved(wide, y, x)))
    found = shift_between(first, second)
    assert math.hypot(found.y - y, found.x - x) < within
    assert found.correlation > 0.8


def test_the_displacement_back_is_the_opposite_and_mirrors_with_the_image() -> None:
    first, second = blobs((96, 128)), moved(blobs((96, 128)), 1.3, -0.4) + 0.2 * blobs((96, 128), 1)
    there, back = shift_between(first, second), shift_between(second, first)
    assert (back.y, back.x) == pytest.approx((-there.y, -there.x), abs=0.02)
    mirrored = shift_between(first[:, ::-1], second[:, ::-1])
    assert (mirrored.y, mirrored.x) == pytest.approx((there.y, -there.x), abs=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_brightness_and_type_of_the_images_do_not_matter(dtype: type) -> None:
    first = blobs((80, 80))
    second = moved(first, 2.5, 1.25)
    plain = shift_between(first, second)
    scaled = shift_between(*((100 + 20 * image).astype(dtype) for image in (first, second)))
    assert (scaled.y, scaled.x) == pytest.approx((plain.y, plain.x), abs=0.15)


def test_four_tiles_tell_the_error_of_a_common_displacement() -> None:
    """Over 40 pairs that differ by noise the told error is the true one, to a factor of 1.5."""
    wide = blobs((240, 240))
    errors, told = [], []
    for seed in range(40):
        first, second = (
            w[20:-20, 20:-20] + blobs((200, 200), seed * 2 + k, noise=1.0)
            for k, w in enumerate((wide, moved(wide, 0.6, -0.3)), 1)
        )
        found = Tiles.quarters(first).shift_to(Tiles.quarters(second))
        errors.append((found.y - 0.6) ** 2 + (found.x + 0.3) ** 2)
        told.append(found.error**2)
    assert 1 / 1.5 < math.sqrt(np.mean(told) / np.mean(errors)) < 1.5


def test_images_that_share_nothing_tell_a_large_error_and_no_correlation() -> None:
    found = [
        Tiles.quarters(blobs((128, 128), seed)).shift_to(
            Tiles.quarters(blobs((128, 128), 90 + seed))
        )
        for seed in range(5)
    ]
    assert np.median([one.error for one in found]) > 1
    assert abs(np.mean([one.correlation for one in found])) < 0.2


def test_an_image_without_contrast_has_no_displacement() -> None:
    flat = np.full((64, 64), 7, np.uint8)
    assert shift_between(flat, flat)[:2] == (0.0, 0.0)
    assert shift_between(flat, flat).correlation == 0.0


@pytest.mark.parametrize("shape", [(64, 64), (65, 97), (511, 700), (2048, 4096)])
def test_tiles_lie_inside_do_not_overlap_and_have_one_shape(shape: tuple[int, int]) -> None:
    rows = np.arange(shape[0] * shape[1]).reshape(shape)
    tiles = Tiles.quarters(rows).images
    assert len({tile.shape for tile in tiles}) == 1
    assert tiles[0].shape == tuple(tile_edge(shape, n) for n in shape)
    seen = np.concatenate([tile.ravel() for tile in tiles])
    assert len(np.unique(seen)) == seen.size
