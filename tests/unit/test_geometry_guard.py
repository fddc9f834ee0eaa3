"""Translators with a planted fault are refused by name, and honest ones are not."""

import numpy as np
import pytest
from scipy import ndimage

from tim3d.kernels.image.geometry_guard import Geometry, compare

NAMES = ("pore", "solid")


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Slices with noise, and their phases."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(3, 160, 160)), (0, 6, 6), mode="wrap")
    classes = (field > 0).astype(np.uint8)
    grey = ndimage.gaussian_filter(np.where(classes, 160.0, 60.0), (0, 1, 1))
    return (grey + rng.normal(0, 6, grey.shape)).astype(np.float32), classes


def seen(scene: tuple[np.ndarray, np.ndarray], translated: np.ndarray) -> Geometry:
    grey, classes = scene
    return compare(grey, translated.astype(np.float32), classes, NAMES)


def test_new_contrast_blur_and_noise_are_no_fault(scene: tuple[np.ndarray, np.ndarray]) -> None:
    grey, _ = scene
    noise = np.random.default_rng(1).normal(0, 3, grey.shape)
    for translated in (grey, 0.4 * grey + 90 + noise, ndimage.gaussian_filter(grey, (0, 1, 1))):
        assert seen(scene, translated).faults() == []


def test_planted_faults_are_named(scene: tuple[np.ndarray, np.ndarray]) -> None:
    grey, classes = scene
    moved = seen(scene, np.roll(grey, 1, axis=2))
    assert moved.shift == pytest.approx((0, 1), abs=0.05)
    assert moved.faults()[0].startswith("shifts the structure by 1.0")
    (fault,) = seen(scene, 255 - grey).faults()
    assert fault.startswith("swaps phases: pore has a mean grey of 19")
    pores = grey.copy()
    far = ndimage.distance_transform_edt(classes[1])
    places = [(y, x) for y in range(10, 150, 14) for x in range(10, 150, 14) if far[y, x] > 8]
    assert len(places) > 5
    for y, x in places:
        pores[1, y - 2 : y + 3, x - 2 : x + 3] = 60
    found = seen(scene, pores)
    assert found.before == 0
    assert found.invented == len(places)
    assert any(one.startswith(f"invents {len(places)} objects") for one in found.faults())


def test_the_growth_is_the_mean_signed_distance(scene: tuple[np.ndarray, np.ndarray]) -> None:
    _, classes = scene
    wide = np.stack([ndimage.distance_transform_edt(1 - one) <= 1.0 for one in classes])
    found = compare(
        np.where(classes, 160, 60).astype(np.float32), np.where(wide, 160, 60).astype(np.float32), classes, NAMES
    )  # fmt: skip
    assert found.growth[0] == pytest.approx(0.95, abs=0.15)
    assert any(one.startswith("moves interfaces of solid by") for one in found.faults())
    assert any(one.startswith("changes the fraction of solid by +0.0") for one in found.faults())
