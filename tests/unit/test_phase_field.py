"""Laws of the Cahn-Hilliard equation, and of the structures that it makes."""

import math

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.generators import Box, Noise, Spinodal
from tim3d.kernels.generation.phase_field import Cell, lowest

NM = (1.0, 1.0, 1.0)


def mixture(shape: tuple[int, int, int], seed: int = 3) -> np.ndarray:
    return Noise(seed).normals(Box.whole(shape)) * np.float32(0.05)


@pytest.mark.parametrize("shape", [(1, 64, 64), (24, 32, 27)])
def test_the_mean_is_kept_and_the_energy_never_rises(shape: tuple[int, int, int]) -> None:
    cell = Cell(shape, NM, 1.2)
    waves = cell.begin(0.4, mixture(shape))
    energies = [cell.energy(waves)]
    for _ in range(150):
        cell.step(waves)
        energies.append(cell.energy(waves))
    assert abs(float(cell.concentration(waves).mean(dtype=np.float64)) - 0.4) < 1e-6
    assert max(np.diff(energies)) <= 1e-9
    assert energies[-1] < 0.7 * energies[0]


def test_an_interface_is_a_hyperbolic_tangent() -> None:
    """A layer between two interfaces far apart relaxes to the closed form."""
    cell = Cell((1, 1, 128), NM, 1.4)
    x = np.arange(128) + 0.5
    begun = np.where((x > 32) & (x < 96), 1.0, 0.0)[None, None]
    waves = cell.begin(0.5, (begun - 0.5).astype(np.float32))
    for _ in range(2000):
        cell.step(waves)
    exact = (np.tanh((x - 32) / 1.4) - np.tanh((x - 96) / 1.4)) / 2
    assert np.abs(cell.concentration(waves)[0, 0] - exact).max() < 0.02


def test_the_energy_of_an_interface_is_that_of_its_closed_form() -> None:
    """The integral of kappa (dc/dx)^2 over a tanh profile is delta / 6 (1 / delta)^2 delta^2 = delta / 6."""
    cell = Cell((1, 1, 256), NM, 3.0)
    x = np.arange(256) + 0.5
    profile = (np.tanh((x - 64) / 3) - np.tanh((x - 192) / 3)) / 2
    waves = cell.begin(float(profile.mean()), (profile - profile.mean())[None, None])
    assert cell.energy(waves) * 256 / 2 == pytest.approx(3.0 / 6, rel=1e-3)


def test_a_wave_has_its_wavelength() -> None:
    cell = Cell((1, 1, 60), (1.0, 1.0, 2.0), 1.2)
    wave = np.cos(2 * math.pi * 5 * np.arange(60) / 60)[None, None]
    assert cell.wavelength(cell.begin(0.5, wave)) == pytest.approx(120 / 5, rel=1e-6)


def test_a_step_is_that_of_the_equation_written_down() -> None:
    """Against plain complex transforms in double precision."""
    shape, edges, delta = (6, 9, 8), (1.0, 0.8, 0.5), 1.3
    cell = Cell(shape, edges, delta)
    waves = cell.begin(0.5, mixture(shape))
    c = cell.concentration(waves).astype(np.float64)
    k2 = sum(
        np.meshgrid(
            *((2 * math.pi * np.fft.fftfreq(n, d)) ** 2 for n, d in zip(shape, edges, strict=True)),
            indexing="ij",
        )
    )
    force = np.fft.fftn(2 * c * (1 - c) * (1 - 2 * c) - 1.32 * c)
    dt, kappa = delta**2, delta**2 / 2
    after = (np.fft.fftn(c) - dt * k2 * force) / (1 + dt * (1.32 * k2 + kappa * k2**2))
    cell.step(waves)
    assert np.abs(cell.concentration(waves) - np.fft.ifftn(after).real).max() < 1e-6


def test_the_lowest_are_counted_exactly_where_values_are_equal() -> None:
    values = np.array([2, 1, 1, 1, 0, 2], np.float32)
    assert lowest(values, 3).tolist() == [1, 0, 0, 1, 0, 1]
    assert [int(lowest(values, n).sum()) for n in (0, 6)] == [6, 0]


def structure(**other: object) -> Spinodal:
    given: dict[str, object] = {
        "fractions": (0.4, 0.6),
        "wavelength_nm": (30.0, 15.0, 15.0),
        "spacing_nm": (2.0, 1.0, 1.0),
        "seed": 5,
        "cell": (45, 45, 48),
        "ripening": 10.0,
    }
    return Spinodal(**(given | other))  # type: ignore[arg-type]


def test_a_structure_has_its_fraction_and_wavelength_and_repeats() -> None:
    one = structure()
    cell = one.labels(Box.whole((45, 45, 48)))
    assert int((cell == 0).sum()) == round(0.4 * 45 * 45 * 48)
    beyond = Box((-3, 40, 30), (50, 60, 100))
    index = [
        np.arange(a, b) % n for a, b, n in zip(beyond.start, beyond.stop, one.cell, strict=True)
    ]
    assert np.array_equal(one.labels(beyond), cell[np.ix_(*index)])
    square = np.abs(np.fft.rfftn(cell - cell.mean())) ** 2
    kz, ky, kx = np.meshgrid(
        np.fft.fftfreq(45, 2.0) * 30,
        np.fft.fftfreq(45, 1.0) * 15,
        np.fft.rfftfreq(48, 1.0) * 15,
        indexing="ij",
    )
    k = np.sqrt(kz**2 + ky**2 + kx**2)
    square[k > 2] = 0  # a sharp cut has harmonics
    assert (square * k).sum() / square.sum() == pytest.approx(1.0, abs=0.12)


def test_a_plane_structure_ignores_the_length_across_it() -> None:
    flat = structure(cell=(1, 48, 48), wavelength_nm=(1.0, 16.0, 16.0), spacing_nm=(7.0, 1.0, 1.0))
    thick = structure(
        cell=(1, 48, 48), wavelength_nm=(99.0, 16.0, 16.0), spacing_nm=(1.0, 1.0, 1.0)
    )
    box = Box.whole((1, 48, 48))
    assert np.array_equal(flat.labels(box), thick.labels(box))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"fractions": (0.1, 0.9)}, "each between 0.22 and 0.78"),
        ({"fractions": (0.3, 0.3, 0.4)}, "has two phases"),
        ({"wavelength_nm": (16.0, 8.0, 8.0)}, "needs 11: take smaller voxels"),
        ({"cell": (45, 45, 40)}, "along x is shorter than 3 wavelengths"),
        ({"ripening": 5.0}, "out of range"),
        ({"spacing_nm": (0.0, 1.0, 1.0)}, "positive lengths"),
        ({"cell": (1, 1, 1)}, "too small"),
    ],
)
def test_what_the_equation_cannot_make_is_refused(other: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        structure(**other)
