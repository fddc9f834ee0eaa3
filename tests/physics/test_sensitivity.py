"""The derivative of the effective conductivity by every voxel: finite differences, its certificate, bottlenecks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

from tests.rings import on_ranks
from tim3d.errors import ArgumentError
from tim3d.grid import triple
from tim3d.kernels.conduction.conduction import Conduction, Physics, conduct, conduct_slab
from tim3d.kernels.conduction.ghost_layers import Halo, Ring
from tim3d.kernels.conduction.sensitivity import CUBE
from tim3d.kernels.conduction.thread_pool import Team

K: dict[int, Any] = {0: 1.0, 1: 7.0, 2: (0.2, 0.4, 0.3)}
STEP = 1e-4


def mosaic() -> np.ndarray:
    labels = np.random.default_rng(0).integers(0, 3, (7, 6, 5), dtype=np.uint8)
    return labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def scaled(k: Any, factor: float) -> Any:
    return tuple(factor * part for part in k) if isinstance(k, tuple) else factor * k


@pytest.mark.parametrize("area", ["faces", "normal"])
@pytest.mark.parametrize("border", [{"contact": (2.0, 5.0)}, {"cell": True}, {"sides": "periodic"}])
def test_derivatives_are_those_of_finite_differences(border: Any, area: Any) -> None:
    labels = mosaic()
    given: dict[str, Any] = {
        "spacing": (3.0, 1.0, 2.0), "interface": {(0, 1): 0.7, (1, 2): 2.0, (0, 0): 1.5}, "tolerance": 1e-9,
        "particles": np.indices(labels.shape)[1] // 3 + 1, "interface_area": area, **border,
    }  # fmt: skip
    found = conduct(labels, K, 1, keep_sensitivity=True, **given)
    parts, map_of = found.sensitivity, found.derivative
    assert abs(parts.certificate) < 1e-8
    for label, k in K.items():
        high, low = (
            conduct(labels, K | {label: scaled(k, 1 + step)}, 1, **given).conductivity for step in (STEP, -STEP)
        )  # fmt: skip
        assert parts.phases[label] == pytest.approx((high - low) / 2 / STEP, rel=1e-5)
        along = k[1] if isinstance(k, tuple) else k
        assert along * map_of[labels == label].sum() / labels.size == pytest.approx(
            parts.phases[label], rel=1e-5
        )
    for pair, conductance in given["interface"].items():
        high, low = (
            conduct(
                labels, K, 1, **given | {"interface": given["interface"] | {pair: conductance * (1 + step)}}
            ).conductivity
            for step in (STEP, -STEP)
        )  # fmt: skip
        assert parts.interfaces[pair] == pytest.approx((high - low) / 2 / STEP, rel=1e-5)
    assert (min(parts.contacts) > 0) == ("contact" in border)


def test_one_voxel_of_another_conductivity_has_the_derivative_of_its_place() -> None:
    labels = mosaic()
    place = (5, 7, 4)
    found = conduct(labels, K, tolerance=1e-9, keep_sensitivity=True)
    alone = labels.copy()
    alone[place] = 3
    k = K[int(labels[place])]
    high, low = (
        conduct(alone, K | {3: scaled(k, 1 + step)}, tolerance=1e-9).conductivity
        for step in (STEP, -STEP)
    )
    along = k[0] if isinstance(k, tuple) else k
    exact = (high - low) / (2 * STEP * along) * labels.size
    assert found.derivative[place] == pytest.approx(exact, rel=1e-5)


def test_the_certificate_of_a_composite() -> None:
    """At a contrast of 150 with interfaces; 1e-8 at a tolerance that the solver is given for it."""
    noise = ndi.gaussian_filter(np.random.default_rng(1).standard_normal((32,) * 3), 2)
    labels = (noise > 0.03).astype(np.uint8)
    given: dict[str, Any] = {"interface": {(0, 1): 2.0}, "keep_sensitivity": True}
    found = conduct(labels, {0: 0.2, 1: 30.0}, tolerance=1e-7, **given)
    assert abs(found.sensitivity.certificate) < 1e-8
    rough = conduct(labels, {0: 0.2, 1: 30.0}, **given)
    assert abs(rough.sensitivity.certificate) < 1e-4


def test_a_neck_is_the_worst_bottleneck() -> None:
    labels = np.zeros((40, 24, 24), np.uint8)
    labels[:19] = labels[21:] = 1
    labels[19:21, 5:7, 17:19] = 1
    found = conduct(labels, {0: 1e-3, 1: 10.0}, keep_sensitivity=True)
    worst = found.sensitivity.worst
    assert 19 <= worst[0].place[0] <= 20
    assert all(
        a - 1 <= p <= b for p, a, b in zip(worst[0].place[1:], (5, 17), (7, 19), strict=True)
    )
    shares = [one.share for one in worst]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.2
    cubes = [np.array(one.place) // CUBE for one in worst]
    assert all(np.abs(a - b).max() > 1 for n, a in enumerate(cubes) for b in cubes[:n])


def grains(shape: tuple[int, ...], edge: int, strays: float = 0.0) -> np.ndarray:
    """Cubes as particles, numbered with gaps; a share of the voxels belongs to none."""
    z, y, x = (n // edge for n in np.indices(shape))
    numbers = 1 + z + 20 * y + 400 * x
    return np.where(np.random.default_rng(4).random(shape) < strays, 0, numbers)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_particle_has_the_shares_that_it_would_have_as_a_phase(axis: int) -> None:
    """Of the same conductivity, with the same conductance between it and the others."""
    labels = mosaic() % 2
    particles = grains(labels.shape, 4)
    k, interface = {0: 1.0, 1: 9.0}, {(0, 1): 3.0, (1, 1): 0.5}
    given: dict[str, Any] = {
        "spacing": (3.0, 1.0, 2.0), "sides": "periodic", "tolerance": 1e-9, "particles": particles,
        "keep_sensitivity": True, "interface_area": "faces",
    }  # fmt: skip
    single = conduct(labels, k, axis, interface=interface, **given).single
    first, number = (int(n) for n in single.pairs[single.contacts.argmax()])
    alone = np.where((particles == number) & (labels == 1), 2, labels).astype(np.uint8)
    interface |= {(0, 2): 3.0, (1, 2): 0.5}
    other = conduct(alone, k | {2: 9.0}, axis, interface=interface, **given).sensitivity
    its = (single.pairs == number).any(1)
    assert single.contacts[its].sum() == pytest.approx(other.interfaces[1, 2], rel=1e-6)
    assert single.particles[single.numbers == number] == pytest.approx(other.phases[2], rel=1e-6)
    worst = np.moveaxis(particles, axis, 0)[tuple(single.places[single.contacts.argmax()])]
    assert worst in (first, number)


def test_shares_of_particles_and_contacts_add_up_to_those_of_phases_and_interfaces() -> None:
    labels = mosaic()
    given: dict[str, Any] = {"interface": {(0, 1): 0.7, (0, 0): 1.5, (1, 1): 3.0}}
    found = conduct(
        labels, K, 1, particles=grains(labels.shape, 3, 0.1), keep_sensitivity=True, **given
    )
    single, parts = found.single, found.sensitivity
    between = parts.interfaces[0, 0] + parts.interfaces[1, 1]
    assert single.contacts.sum() == pytest.approx(between, rel=1e-12)
    inside = parts.phases[0] + parts.phases[1]
    assert single.particles.sum() + single.missing == pytest.approx(inside, rel=1e-12)
    assert 0 < single.missing < 0.2 * inside
    assert conduct(labels, K, 1, keep_sensitivity=True).single is None


@pytest.mark.parametrize("border", [{}, {"cell": True}])
def test_slabs_change_no_bit(border: Any) -> None:
    labels = np.random.default_rng(2).integers(0, 2, (37, 9, 10), dtype=np.uint8)
    particles = grains(labels.shape, 3, 0.1)
    physics = Physics({0: 1.0, 1: 50.0}, interface={(0, 1): 2.0, (1, 1): 5.0}, **border)

    def read(start: int, stop: int, out: np.ndarray) -> None:
        out[...] = labels[start:stop]

    def read_particles(start: int, stop: int, out: np.ndarray) -> None:
        out[...] = particles[start:stop]

    def work(ring: Ring) -> Conduction:
        halo = Halo(ring, physics.wrap(labels.shape))
        drive = physics.drive(0, (3.0, 1.0, 2.0))
        with Team(1) as team:
            return conduct_slab(
                read, triple(labels.shape), drive, halo, team, keep_sensitivity=True,
                read_particles=read_particles,
            )  # fmt: skip

    (whole,) = on_ranks(1, work)
    for ranks in (2, 3):
        parts = on_ranks(ranks, work)
        assert all(part.sensitivity == whole.sensitivity for part in parts)
        np.testing.assert_array_equal(
            np.concatenate([part.derivative for part in parts]), whole.derivative
        )
        for part in parts:
            for name, values in vars(whole.single).items():
                np.testing.assert_array_equal(getattr(part.single, name), values)


def test_electrodes_on_centres_are_refused_and_what_does_not_conduct_has_zeros() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(ArgumentError, match="sensitivities need electrodes on the outer faces"):
        conduct(labels, {0: 1.0}, electrodes="centres", keep_sensitivity=True)
    found = conduct(labels, {0: 0.0, 1: 1.0}, keep_sensitivity=True)
    assert found.sensitivity is None
    assert not found.derivative.any()
