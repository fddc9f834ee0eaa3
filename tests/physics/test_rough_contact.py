"""Contacts that are solved: one disc, spots by another method, and the law of Cooper, Mikic and Yovanovich."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.conduction.contact_spots import (
    disc_resistance,
    mean_spot_radius,
    plastic_conductance,
    spots_resistance,
)
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface


def disc(edge: int, radius: float) -> np.ndarray:
    y, x = np.indices((edge, edge)) + 0.5 - edge / 2
    return np.asarray(y**2 + x**2 < radius**2)


def pressed(refined: int, pressure: float, seed: int = 0) -> RoughContact:
    """The same contact in smaller and smaller voxels."""
    n, h = 48 * refined, 1 / refined
    low = RoughSurface(0.3, 0.8, 16.0, 15.5, (h, h), (n, n), seed)
    return RoughContact(low, replace(low, stream=1), pressure, 32.0, (h, h, h))


def solved(contact: RoughContact, k: tuple[float, float, float] = (1.0, 0.0, 1.0)) -> float:
    """Resistance times area that the contact adds, by the solver."""
    (h, *_), (ny, nx) = contact.spacing_nm, contact.lower.period
    nz = round(contact.thickness_nm / h)
    labels = contact.labels(Box.whole((nz, ny, nx)))
    found = conduct(
        labels, dict(enumerate(k)), spacing=(h,) * 3, sides="periodic", tolerance=1e-4
    ).conductivity
    return contact.thickness_nm * (1 / found - 0.5 / k[0] - 0.5 / k[2])


def test_one_disc_between_half_spaces_is_its_closed_form() -> None:
    """1 / (2 a k), less what a square array of discs takes away; its own law of error is the pixels'."""
    found = spots_resistance(disc(256, 16.0), (1.0, 1.0), (2.0, 2.0))
    alone = disc_resistance(16.0, 2.0, 2.0) * 256**2
    assert alone == 256**2 / (2 * 16 * 2)
    far = [spots_resistance(disc(n, 8.0), (1.0, 1.0), (1.0, 1.0)) / n**2 * 16 for n in (128, 256, 512)]  # fmt: skip
    # The others of the array take away 1.95 a / b: the lattice sum of a square array.
    limit = 2 * far[2] - far[1]
    assert limit == pytest.approx(1.0, abs=0.012)
    assert found / alone == pytest.approx((1 - 16 * math.sqrt(math.pi) / 256) ** 1.5, rel=0.02)


def test_unlike_bodies_share_the_resistance_and_thin_bodies_have_less() -> None:
    spots = disc(64, 8.0)
    alike = spots_resistance(spots, (1.0, 1.0), (1.0, 1.0))
    assert spots_resistance(spots, (1.0, 1.0), (1.0, 3.0)) == pytest.approx(alike * 2 / 3)
    assert spots_resistance(spots, (1.0, 1.0), (1.0, 1.0), (4.0, 4.0)) < 0.8 * alike
    assert spots_resistance(spots, (1.0, 1.0), (1.0, 1.0), (64.0,) * 2) == pytest.approx(alike, rel=1e-2)  # fmt: skip
    stretched = spots_resistance(disc(64, 8.0)[::2], (2.0, 1.0), (1.0, 1.0))
    assert stretched == pytest.approx(alike, rel=0.03)
    with pytest.raises(ArgumentError, match="no pixel is in contact"):
        spots_resistance(np.zeros((8, 8), bool), (1.0, 1.0), (1.0, 1.0))


def test_the_solver_comes_from_above_to_the_resistance_of_the_spots() -> None:
    """Of first order in the voxels: its value at vanishing voxels is that of flat bodies, whatever the roughness."""
    errors = []
    for refined in (1, 2):
        contact = pressed(refined, 0.05)
        overlap = contact.lower.heights((0, 0), contact.lower.period)
        overlap += contact.upper.heights((0, 0), contact.lower.period)
        spots = overlap > contact.separation_nm
        h = contact.spacing_nm[1]
        known = spots_resistance(spots, (h, h), (1.0, 1.0), (16.0, 16.0))
        errors.append(solved(contact) / known - 1)
    assert 0 < errors[1] < errors[0] < 0.45
    assert errors[1] < 0.25
    assert abs(2 * errors[1] - errors[0]) < 0.06


def test_what_fills_the_gap_carries_heat_beside_the_spots() -> None:
    contact = pressed(1, 0.05)
    dry, filled = solved(contact), solved(contact, (1.0, 0.05, 1.0))
    assert 1 / dry < 1 / filled < 1 / dry + 0.05 / (contact.separation_nm / 4)


def test_the_law_of_cooper_mikic_and_yovanovich() -> None:
    """Its correlation is that of its integral to 1.5 %; and Gaussian surfaces without long waves follow it."""
    for pressure in (1e-6, 1e-4, 1e-2, 2e-2):
        exact = plastic_conductance(pressure, 0.2, 3.0, 2.0)
        assert exact == pytest.approx(1.25 * 2 * 0.2 / 3 * pressure**0.95, rel=0.015)
    low = RoughSurface(1.0, 0.8, 32.0, 31.0, (1.0, 1.0), (512, 512), seed=4)
    both = low.heights((0, 0), (512, 512)) + replace(low, stream=1).heights((0, 0), (512, 512))
    pressures = (0.003, 0.01, 0.03, 0.1)
    slope, rms = math.sqrt(2) * low.mean_slope, math.sqrt(2)
    found = []
    for pressure in pressures:
        level = np.quantile(both, 1 - pressure)
        resistance = spots_resistance(both > level, (1.0, 1.0), (1.0, 1.0))
        found.append(1 / resistance / plastic_conductance(pressure, slope, rms, 1.0))
    assert all(0.78 < ratio < 1.1 for ratio in found)
    assert 5 < mean_spot_radius(0.01, slope, rms) < 7


def test_a_pressure_beyond_the_model_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"0\.7; use 0 to 0\.5"):
        plastic_conductance(0.7, 0.1, 1.0, 1.0)
