"""Flux through volumes that anyone can make again: published values and those of an independent solver.

The references of the smoothed noise were computed by smoothed-aggregation multigrid to a residual
of 1e-10.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi
import tifffile
from numpy.typing import NDArray

from tim3d.kernels.conduction.conduction import Electrodes, conduct

Labels = NDArray[np.uint8]
PORE = {0: 0.0, 1: 1.0}


@cache
def blobs(edge: int = 128) -> Labels:
    """Smoothed noise, 42 % pore (1), periodic."""
    white = np.random.default_rng(20240).standard_normal((edge, edge, edge), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 4.0, mode="wrap")
    labels: Labels = (smooth < np.quantile(smooth, 0.42)).astype(np.uint8)
    if edge == 128:
        assert hashlib.sha256(labels.tobytes()).hexdigest()[:16] == "9ce0f3177af9629a"
    return labels


def test_pores_of_smoothed_noise() -> None:
    found = conduct(blobs(), PORE)
    assert found.spread <= 1e-3
    assert found.tortuosity_total == pytest.approx(2.363004, rel=1e-5)
    assert found.tortuosity_through == pytest.approx(2.361733, rel=1e-5)
    assert found.mean_through == pytest.approx(0.419774, abs=5e-7)
    assert found.iterations <= 8


def test_periodic_sides_conduct_better() -> None:
    """The other value is of a solver that stops at about 1e-4 (TauFactor 1.2.1, PeriodicSolver)."""
    found = conduct(blobs(128), {0: 0.0, 1: 1.0}, sides="periodic")
    assert found.tortuosity_total == pytest.approx(2.2028, rel=2e-4)


def test_a_tighter_tolerance_gives_all_digits() -> None:
    assert conduct(blobs(), PORE, tolerance=1e-5).tortuosity_total == pytest.approx(
        2.363004, abs=6e-7
    )


@pytest.mark.parametrize(
    ("contrast", "k_eff"), [(10, 4.742017), (100, 36.709853), (1000, 353.488320)]
)
def test_two_phases_of_smoothed_noise(contrast: float, k_eff: float) -> None:
    found = conduct(blobs(), {0: contrast, 1: 1.0})
    assert found.conductivity == pytest.approx(k_eff, rel=1e-5)
    assert found.iterations <= 8


@pytest.mark.parametrize(
    ("spacing", "tau"),
    [
        ((1, 1, 1), 2.227399),
        ((2, 1, 1), 1.643063),
        ((3, 1, 1), 1.460072),
        ((1, 2, 1), 2.717378),
        ((1, 1, 2), 2.810836),
    ],
)
def test_anisotropic_voxels(spacing: tuple[float, float, float], tau: float) -> None:
    corner = blobs()[:64, :64, :64]
    assert corner.sum() == 109312
    assert conduct(corner, PORE, spacing=spacing, tolerance=1e-5).tortuosity_total == pytest.approx(
        tau, abs=6e-7
    )
    assert conduct(corner, PORE, spacing=spacing).tortuosity_total == pytest.approx(tau, rel=2e-5)


@pytest.mark.parametrize("spacing", [(5, 1, 1), (10, 1, 1), (1, 10, 1), (1, 10, 10), (10, 3, 1)])
def test_flat_and_long_voxels_need_few_iterations(spacing: tuple[float, float, float]) -> None:
    assert conduct(blobs()[:64, :64, :64], PORE, spacing=spacing).iterations <= 20


def test_doubled_voxels_agree_with_twice_the_spacing() -> None:
    corner = blobs()[:48, :48, :48]
    flat = conduct(corner, PORE, spacing=(2, 1, 1)).tortuosity_total
    doubled = conduct(corner.repeat(2, axis=0), PORE).tortuosity_total
    assert doubled == pytest.approx(flat, rel=0.03)


def test_odd_edges_and_no_rounding_that_adds_up() -> None:
    found = conduct(blobs()[:127, :125, :101], PORE, tolerance=1e-5)
    assert found.tortuosity_total == pytest.approx(2.377041, abs=6e-7)


def test_iterations_hardly_grow_with_size() -> None:
    counts = [conduct(blobs()[:n, :n, :n], PORE).iterations for n in (32, 64, 128)]
    assert max(counts) <= 8


def sphere(edge: int, fraction: float) -> Labels:
    radius = (3 * fraction / (4 * np.pi)) ** (1 / 3) * edge
    z, y, x = (np.indices((edge, edge, edge)) + 0.5 - edge / 2) ** 2
    labels: Labels = (z + y + x < radius**2).astype(np.uint8)
    return labels


def mcphedran(contrast: float, f: float) -> float:
    """Conductivity of a cubic array of spheres in a matrix of conductivity 1."""
    series = (
        (contrast + 2) / (contrast - 1)
        - f
        - 1.306 * (contrast - 1) / (contrast + 4 / 3) * f ** (10 / 3)
    )
    return float(1 + 3 * f / series)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3])
def test_arrays_of_conducting_spheres(fraction: float) -> None:
    labels = sphere(48, fraction)
    found = conduct(labels, {0: 1.0, 1: 10.0}, tolerance=1e-4)
    assert found.conductivity == pytest.approx(mcphedran(10, float(labels.mean())), rel=3e-3)


def test_insulating_spheres_converge_with_the_first_order() -> None:
    errors = []
    for edge in (16, 32, 64):
        labels = sphere(edge, 0.3)
        errors.append(
            conduct(labels, {0: 1.0, 1: 0.0}).conductivity / mcphedran(0, float(labels.mean())) - 1
        )
    assert np.abs(errors[-1]) < 0.015
    assert 0.35 < errors[1] / errors[0] < 0.75
    assert 0.35 < errors[2] / errors[1] < 0.65


@pytest.mark.parametrize(
    ("contrast", "errors"), [(10, (-0.073, -0.043, -0.026)), (100, (-0.52, -0.45, -0.40))]
)
def test_a_checkerboard_starves_at_its_corners(contrast: float, errors: tuple[float, ...]) -> None:
    # A known limit of six-face schemes: the exact value is sqrt(k1 k2), and the way there is slow.
    for edge, error in zip((16, 32, 64), errors, strict=True):
        y, x = np.indices((edge, edge)) // (edge // 2)
        labels = np.broadcast_to((y + x) % 2, (2, edge, edge)).astype(np.uint8)
        found = conduct(labels, {0: 1.0, 1: contrast}, 1, tolerance=1e-5)
        assert found.conductivity / np.sqrt(contrast) - 1 == pytest.approx(error, abs=0.006)


@pytest.mark.parametrize(
    ("axis", "electrodes", "tau"),
    [
        (0, "outer", 1.182935),
        pytest.param(0, "centres", 1.182226, marks=pytest.mark.long),
        pytest.param(1, "outer", 1.133706, marks=pytest.mark.long),
        pytest.param(1, "centres", 1.134078, marks=pytest.mark.long),
        pytest.param(2, "outer", 1.312885, marks=pytest.mark.long),
        (2, "centres", 1.313346),
    ],
)
def test_carbon_fibres(data_dir: Path, axis: int, electrodes: Electrodes, tau: float) -> None:
    labels = (tifffile.imread(data_dir / "volumes" / "fiberform-100.tif") < 90).astype(np.uint8)
    found = conduct(labels, PORE, axis, electrodes=electrodes)
    assert found.tortuosity_total == pytest.approx(tau, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "tau"), [(0, 2.0772), (1, 2.0766), (2, 2.20975)])
def test_pores_of_an_electrode(data_dir: Path, axis: int, tau: float) -> None:
    labels = tifffile.imread(data_dir / "volumes" / "electrode-256.tiff")
    found = conduct(labels, {0: 1.0, 85: 0.0, 170: 0.0}, axis)
    assert found.tortuosity_total == pytest.approx(tau, rel=5e-4)


@pytest.mark.slow
def test_a_larger_volume_of_noise() -> None:
    found = conduct(blobs(256), PORE)
    assert found.tortuosity_total == pytest.approx(2.376811, rel=1e-5)
    assert found.tortuosity_through == pytest.approx(2.373580, rel=1e-5)
