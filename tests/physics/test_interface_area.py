"""Interface conductance acts on the true area: exact solutions of slanted and curved interfaces, and of contacts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.rings import on_ranks
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import triple
from tim3d.kernels.conduction.coding import choose_coding, code_labels, colours
from tim3d.kernels.conduction.conduction import Conduction, Physics, conduct, conduct_slab
from tim3d.kernels.conduction.flux_vectors import flux_vectors
from tim3d.kernels.conduction.ghost_layers import Halo, Ring
from tim3d.kernels.conduction.material import material
from tim3d.kernels.conduction.surroundings import MARGIN
from tim3d.kernels.conduction.thread_pool import Team

# Centres of six spheres of radius .168 in a unit cube; none touches another or a side.
CENTRES = [
    (0.276, 0.337, 0.696), (0.567, 0.262, 0.458), (0.230, 0.667, 0.393),
    (0.696, 0.702, 0.263), (0.749, 0.620, 0.719), (0.363, 0.757, 0.786),
]  # fmt: skip
RADIUS = 0.15
K = {0: 1.0, 1: 100.0}
# Spheres of this conductance leave the field around them as it is.
NEUTRAL = 1 / (RADIUS * (1 / K[0] - 1 / K[1]))


def spheres(shape: tuple[int, ...], centres: Any = CENTRES, radius: float = RADIUS) -> np.ndarray:
    """Spheres in a unit cube: labels 1 in 0."""
    places = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    labels = np.zeros(shape, np.uint8)
    for centre in centres:
        square = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
        labels |= square < radius**2
    return labels


def neutral(edge: int, **more: Any) -> Conduction:
    given = {"interface": {(0, 1): NEUTRAL}, "tolerance": 1e-4, **more}
    return conduct(spheres((edge,) * 3), K, spacing=(1 / edge,) * 3, **given)


def test_neutral_spheres_are_not_seen_on_their_true_area_and_are_on_the_faces() -> None:
    """k is that of the matrix whatever their number and place; on the faces it is too high at any size."""
    errors = [neutral(edge).conductivity - 1 for edge in (24, 48)]
    assert errors[0] < 1.5 * errors[1] < 0
    assert abs(errors[1]) < 0.01
    stairs = [neutral(edge, interface_area="faces").conductivity - 1 for edge in (24, 48)]
    assert min(stairs) > 0.02
    assert abs(stairs[1] - stairs[0]) < 0.01


@pytest.mark.parametrize("axis", range(3))
def test_neutral_spheres_of_voxels_three_to_one_to_two(axis: int) -> None:
    shape = (16, 48, 24)
    given: Any = {"spacing": [1 / n for n in shape], "interface": {(0, 1): NEUTRAL}}
    found = conduct(spheres(shape), K, axis, tolerance=1e-4, **given)
    assert -0.015 < found.conductivity - 1 < 0
    stairs = conduct(spheres(shape), K, axis, tolerance=1e-4, interface_area="faces", **given)
    assert stairs.conductivity - 1 > 0.02


@pytest.mark.slow
def test_the_error_of_neutral_spheres_falls_with_the_voxels_at_96() -> None:
    errors = [abs(neutral(edge).conductivity - 1) for edge in (48, 96)]
    assert errors[1] < 0.01
    assert 1.5 < errors[0] / errors[1] < 3


def test_areas_are_those_of_the_spheres_and_of_their_stairs() -> None:
    found = neutral(48).areas
    assert found is not None
    stairs, true = found.interfaces[0, 1]
    exact = len(CENTRES) * 4 * math.pi * RADIUS**2
    assert true == pytest.approx(exact, rel=0.01)
    assert stairs == pytest.approx(1.5 * exact, rel=0.01)
    assert neutral(24, interface_area="faces").areas.interfaces[0, 1][1] == pytest.approx(
        neutral(24).areas.interfaces[0, 1][0]
    )


@pytest.mark.parametrize("biot", [0.5, 2.0, 10.0])
def test_one_sphere_in_a_cube_is_that_of_hasselman_and_johnson(biot: float) -> None:
    """A simple cubic array of a tenth."""
    radius, x = (0.3 / (4 * math.pi)) ** (1 / 3), 1 / biot
    labels = spheres((48,) * 3, [(0.5,) * 3], radius)
    found = conduct(
        labels, K, spacing=(1 / 48,) * 3, interface={(0, 1): biot / radius}, tolerance=1e-4
    )
    f, kp, km = float(labels.mean()), K[1], K[0]
    inner, away = kp * (1 + 2 * x) + 2 * km, f * (kp * (1 - x) - km)
    assert found.conductivity == pytest.approx(km * (inner + 2 * away) / (inner - away), rel=0.005)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 2.0)])
@pytest.mark.parametrize("axis", range(3))
def test_flat_interfaces_are_exact(spacing: Any, axis: int) -> None:
    """Layers in series, some of one voxel: the resistances of layers and interfaces add up."""
    labels = np.zeros((16, 9, 7), np.uint8)
    labels[5:6] = labels[11:16] = 1
    labels = np.moveaxis(labels, 0, axis)
    h = spacing[axis]
    given: dict[str, Any] = {"spacing": spacing, "interface": {(0, 1): 0.3}, "tolerance": 1e-9}
    found = conduct(labels, {0: 1.0, 1: 8.0}, axis, **given)
    resistance = h * (10 / 1.0 + 6 / 8.0) + 3 / 0.3
    assert found.conductivity == pytest.approx(16 * h / resistance, rel=1e-10)


def slanted(edge: int, up: int, across: int) -> np.ndarray:
    """A periodic laminate in a cell, its layers normal to (up, across, 0): half and half."""
    z, y, _ = (np.indices((edge, edge, 4)) + 0.5) / edge
    return ((up * z + across * y + 0.013) % 1.0 < 0.5).astype(np.uint8)


@pytest.mark.parametrize(("up", "across"), [(1, 1), (1, 2)])
def test_slanted_layers_have_the_tensor_of_a_laminate(up: int, across: int) -> None:
    """At 45 and 63 degrees: along the normal in series, with two interfaces a period."""
    edge, k0, k1, conductance = 32, 1.0, 3.0, 4.0
    labels = slanted(edge, up, across)
    given: dict[str, Any] = {"spacing": (1 / edge,) * 3, "cell": True, "tolerance": 1e-7}
    given["interface"] = {(0, 1): conductance}
    period = 1 / math.hypot(up, across)
    series = period / (period / 2 / k0 + period / 2 / k1 + 2 / conductance)
    normal = np.array([up, across]) * period

    def error(area: Any) -> float:
        solved = (conduct(labels, {0: k0, 1: k1}, a, interface_area=area, **given) for a in (0, 1))
        rows = np.array([one.row for one in solved])[:, :2]
        return float(normal @ rows @ normal) / series - 1

    assert abs(error("normal")) < 0.004
    assert error("faces") > 0.17


def test_the_bits_do_not_depend_on_the_order_of_axes_nor_on_threads() -> None:
    labels = spheres((20, 22, 24))
    given: dict[str, Any] = {"interface": {(0, 1): 2.0}, "spacing": (3.0, 1.0, 2.0)}
    one = conduct(labels, K, 1, threads=1, **given)
    assert conduct(labels, K, 1, threads=3, **given).conductivity == one.conductivity
    turned = conduct(np.swapaxes(labels, 0, 1), K, 0, **given | {"spacing": (1.0, 3.0, 2.0)})
    assert turned.conductivity == pytest.approx(one.conductivity, rel=1e-6)
    assert turned.areas.interfaces[0, 1] == pytest.approx(one.areas.interfaces[0, 1])


@pytest.mark.parametrize("area", ["faces", "normal"])
@pytest.mark.parametrize("across", range(3))
def test_a_flat_interface_has_the_area_of_its_plane_whatever_the_voxels_and_the_flux(
    across: int, area: Any
) -> None:
    shape, spacing = (8, 10, 12), (3.0, 1.0, 2.0)
    labels = np.moveaxis(np.zeros(shape, np.uint8), across, 0)
    labels[len(labels) // 2 :] = 1
    labels = np.ascontiguousarray(np.moveaxis(labels, 0, across))
    edges = np.multiply(shape, spacing)
    plane = float(edges.prod() / edges[across])
    for axis in range(3):
        given: dict[str, Any] = {"interface": {(0, 1): 0.5}, "interface_area": area}
        found = conduct(labels, {0: 1.0, 1: 2.0}, axis, spacing=spacing, **given)
        assert found.areas.interfaces[0, 1] == pytest.approx((plane, plane), rel=1e-5)


@pytest.mark.parametrize("area", ["faces", "normal"])
def test_areas_do_not_depend_on_the_axis_of_the_flux(area: Any) -> None:
    labels = spheres((20, 22, 24))
    given: dict[str, Any] = {"interface": {(0, 1): 2.0}, "spacing": (3.0, 1.0, 2.0)}
    each = [
        conduct(labels, K, axis, interface_area=area, **given).areas.interfaces[0, 1]
        for axis in range(3)
    ]
    pairs = np.sum([(np.diff(labels, axis=n) != 0).sum() * 6 / h for n, h in enumerate((3, 1, 2))])
    assert [stairs for stairs, _ in each] == pytest.approx([pairs] * 3)
    assert each[1:] == [pytest.approx(each[0], rel=1e-6)] * 2


def blocks(shape: tuple[int, int, int], edge: int) -> np.ndarray:
    """Cubes that touch, numbered from 1 on."""
    z, y, x = (n // edge for n in np.indices(shape))
    return (1 + z + 10 * y + 100 * x).astype(np.int64)


@pytest.mark.parametrize("area", ["faces", "normal"])
def test_contacts_of_particles_of_one_phase_are_interfaces(area: Any) -> None:
    """Cubes of one phase that fill space: in series with the contacts between them, flat up to their rims."""
    particles = blocks((12, 9, 8), 3)
    labels = np.full(particles.shape, 5, np.uint8)
    given: dict[str, Any] = {"interface": {(5, 5): 0.25}, "tolerance": 1e-9}
    found = conduct(labels, {5: 2.0}, interface_area=area, particles=particles, **given)
    assert found.conductivity == pytest.approx(12 / (12 / 2.0 + 3 / 0.25), rel=1e-9)
    assert conduct(labels, {5: 2.0}).conductivity == pytest.approx(2.0)
    contacts = found.areas.contacts
    assert found.areas.particles == 4 * 3 * 3
    assert len(contacts.areas) == 3 * 9 + 4 * (2 * 3 + 3 * 2)
    assert contacts.areas.sum() == pytest.approx(3 * 72 + 2 * 12 * 8 + 2 * 12 * 9, rel=1e-6)


def test_voxels_without_a_particle_have_no_contacts() -> None:
    labels, particles = np.ones((8, 4, 4), np.uint8), np.zeros((8, 4, 4), np.int32)
    particles[:4] = 7
    found = conduct(labels, {1: 1.0}, interface={(1, 1): 0.1}, particles=particles)
    assert found.conductivity == pytest.approx(1.0)
    assert (found.areas.particles, found.areas.unassigned) == (1, 64)


def test_the_contact_of_two_spheres_has_its_own_normal_and_the_colours_differ() -> None:
    """Two spheres cut by a plane between them: the contact is that disc, however it lies."""
    shape, radius = (40,) * 3, 12.0
    places = np.indices(shape) + 0.5
    for away in (np.array([7.0, 0, 0]), np.array([5.0, 4.0, 3.0])):
        one, other = 20.0 - away, 20.0 + away
        far = [((places - c[:, None, None, None]) ** 2).sum(0) for c in (one, other)]
        labels = (np.minimum(*far) < radius**2).astype(np.uint8)
        particles = np.where(far[0] <= far[1], 1, 2) * labels
        found = conduct(labels, K, interface={(1, 1): 1.0}, particles=particles).areas
        disc = math.pi * (radius**2 - away @ away)
        assert found.contacts.pairs.tolist() == [[1, 2]]
        assert found.contacts.areas[0] == pytest.approx(disc, rel=0.1)
    chosen = colours(np.array([[1, 2], [2, 3], [1, 3], [3, 9], [9, 1]]))
    assert all(chosen[a] != chosen[b] for a, b in [(1, 2), (2, 3), (1, 3), (3, 9), (9, 1)])


def test_two_half_spaces_joined_by_a_disc_have_its_constriction() -> None:
    """1 / (2 a k), less what the sides of a box take away of it: of first order in the voxel size."""
    errors = []
    for edge in (24, 48):
        a, side = edge / 6, edge
        y, x = np.indices((side, side)) + 0.5 - side / 2
        labels = np.ones((2 * edge + 1, side, side), np.uint8)
        labels[edge] = y**2 + x**2 < a**2
        found = conduct(labels, {0: 0.0, 1: 1.0}, tolerance=1e-6)
        area, length = side**2, 2 * edge + 1
        excess = length / (found.conductivity * area) - length / area
        b = side / math.sqrt(math.pi)
        film = 1 / (math.pi * a**2)
        exact = (1 - a / b) ** 1.5 / (2 * a) + film
        errors.append(excess / exact - 1)
    assert abs(errors[1]) < 0.07
    assert abs(errors[1]) < 0.7 * abs(errors[0])


def in_slabs(labels: np.ndarray, particles: np.ndarray, physics: Physics, ranks: int) -> Any:
    drive = physics.drive(0, (3.0, 1.0, 2.0))

    def work(ring: Ring) -> Conduction:
        def read(start: int, stop: int, out: np.ndarray) -> None:
            out[...] = labels[start:stop]

        def read_particles(start: int, stop: int, out: np.ndarray) -> None:
            out[...] = particles[start:stop]

        halo = Halo(ring, physics.wrap(labels.shape))
        with Team(1) as team:
            return conduct_slab(
                read, triple(labels.shape), drive, halo, team, keep_flux=True, read_particles=read_particles
            )  # fmt: skip

    return on_ranks(ranks, work)


@pytest.mark.parametrize("area", ["faces", "normal"])
@pytest.mark.parametrize(
    "border", [{}, {"sides": "periodic"}, {"cell": True}, {"electrodes": "centres"}]
)
def test_slabs_change_no_bit(border: Any, area: Any) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (23, 7, 9), dtype=np.uint8).repeat(2, 1)
    particles = blocks(labels.shape, 4).astype(np.uint32)
    k = {0: 1.0, 1: 40.0, 2: 0.0}
    interface = {(0, 1): 0.5, (1, 1): 0.2}
    physics = Physics(k, interface=interface, interface_area=area, **border)
    (whole,) = in_slabs(labels, particles, physics, 1)
    for ranks in (2, 3, 5):
        parts = in_slabs(labels, particles, physics, ranks)
        for part in parts:
            assert part.conductivity == whole.conductivity
            assert part.areas.interfaces == whole.areas.interfaces
            np.testing.assert_array_equal(part.areas.contacts.areas, whole.areas.contacts.areas)
            np.testing.assert_array_equal(part.local.dissipation, whole.local.dissipation)
        np.testing.assert_array_equal(np.concatenate([part.size for part in parts]), whole.size)


def test_statistics_are_of_labels_not_of_codes() -> None:
    labels = spheres((16, 16, 16))
    found = conduct(labels, K, interface={(0, 1): 20.0}, keep_flux=True, tolerance=1e-8)
    assert found.labels == (0, 1)
    assert found.local.voxels.tolist() == [0, *np.bincount(labels.ravel()).tolist()]
    assert found.local.dissipation.sum() / labels.size < found.conductivity


def test_an_exported_vector_field_sees_the_same_interfaces_as_the_solver() -> None:
    labels = spheres((16, 18, 20))
    given: dict[str, Any] = {"interface": {(0, 1): 4.0}, "spacing": (3.0, 1.0, 2.0)}
    found = conduct(labels, K, keep_potential=True, keep_flux=True, tolerance=1e-8, **given)
    around = np.pad(labels, MARGIN + 1, mode="edge")
    diagonal = {label: (k, k, k) for label, k in K.items()}
    codes, by_code, between = code_labels(
        around, diagonal, given["interface"], "normal", given["spacing"]
    )
    vectors = flux_vectors(
        np.pad(found.potential, 1, constant_values=-1).astype(np.float32), codes, conductivity=by_code,
        interface=between, contact=(math.inf, math.inf), spacing=given["spacing"], axis=0, ends=(1, 16),
    )  # fmt: skip
    np.testing.assert_allclose(
        np.linalg.norm(vectors, axis=-1) / found.conductivity, found.size, rtol=1e-3, atol=1e-3
    )


def test_many_phases_share_the_byte_and_too_many_are_refused() -> None:
    def levels(count: int) -> int:
        k = dict.fromkeys(range(count), (1.0, 1.0, 1.0))
        interface = {(0, n): 1.0 for n in range(1, count)}
        counts = np.ones(256, np.int64)
        return choose_coding(
            material(k, counts, interface, (0, 1, 2)), list(k), interface, "normal", 1
        ).levels

    assert [levels(n) for n in (2, 7, 10, 25)] == [54, 35, 24, 9]
    with pytest.raises(ArgumentError, match=r"60 phases with interfaces.*--interface-area faces"):
        levels(60)


def test_contacts_need_particles_and_particles_are_numbered() -> None:
    box = np.ones((4, 4, 4), np.uint8)
    with pytest.raises(ArgumentError, match="interface of label 1 with itself needs its particles"):
        conduct(box, {1: 1.0}, interface={(1, 1): 1.0})
    with pytest.raises(InputError, match="a particle has a number that is not from 1"):
        conduct(box, {1: 1.0}, interface={(1, 1): 1.0}, particles=box.astype(np.int64) * -3)
    with pytest.raises(
        ArgumentError, match="the interface area is 'true'; use 'faces' or 'normal'"
    ):
        conduct(box, {1: 1.0}, interface_area="true")  # type: ignore[arg-type]
