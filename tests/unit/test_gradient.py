"""The smoothed-gradient area against a plain floating-point computation of the same formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
from numpy.typing import NDArray

from tim3d.grid import Box
from tim3d.kernels.morphology.gradient_area import HALO, gradient_area, gradient_quantum

TAPS = np.array([5, 55, 248, 408, 248, 55, 5]) / 1024


def reference(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> float:
    """Smooth the volume with repeated border, take central differences, integrate: in float64 with SciPy."""
    smooth = np.pad(mask.astype(float), 8, mode="edge")
    for axis in range(3):
        smooth = ndi.correlate1d(smooth, TAPS, axis=axis, mode="nearest")
    norm = np.sqrt(sum(g**2 for g in np.gradient(smooth, *spacing)))
    return float(norm[8:-8, 8:-8, 8:-8].sum() * np.prod(spacing))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (20.0, 5.0, 7.5)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (11, 12, 13)])
def test_equals_the_formula(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    labels = np.random.default_rng(1).integers(0, 3, shape, dtype=np.uint8)
    area = gradient_area(labels, [0, 2], spacing=spacing) * gradient_quantum(spacing)
    half_quanta = labels.size * gradient_quantum(spacing) / 2
    assert area == pytest.approx(
        reference(np.isin(labels, (0, 2)), spacing), rel=1e-9, abs=half_quanta
    )


def test_taps_are_a_gaussian_of_one_voxel() -> None:
    assert TAPS.sum() == 1
    assert np.sum(TAPS * np.arange(-3, 4) ** 2) == pytest.approx(1, abs=0.003)


def test_a_region_and_its_complement_have_the_same_area() -> None:
    labels = np.random.default_rng(2).integers(0, 2, (9, 8, 7), dtype=np.uint8)
    assert gradient_area(labels, [0], spacing=(3, 2, 1)) == gradient_area(
        labels, [1], spacing=(3, 2, 1)
    )


def test_blocks_of_any_size_add_up_to_the_last_bit() -> None:
    labels = np.random.default_rng(3).integers(0, 2, (13, 9, 11), dtype=np.uint8)
    whole = gradient_area(labels, [1], spacing=(3.3, 1.0, 0.7))
    starts = itertools.product(range(0, 13, 5), range(0, 9, 1), range(0, 11, 4))
    total = 0
    for start in starts:
        core = Box(start, tuple(s + n for s, n in zip(start, (5, 1, 4), strict=True))).clip(
            Box.whole(labels.shape)
        )
        read = core.grow(HALO).clip(Box.whole(labels.shape))
        total += gradient_area(labels[read.slices], [1], core.within(read), (3.3, 1.0, 0.7))
    assert total == whole


def test_nothing_is_found_in_a_uniform_volume() -> None:
    assert gradient_area(np.ones((6, 6, 6), np.uint8), [1]) == 0
