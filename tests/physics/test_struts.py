"""Struts of bodies whose struts are known: tubes at angles, a joint, a lattice, a ring; the log-normal fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.measure import euler_number

from tests.property.test_distance import Spacing, volume
from tests.property.test_skeleton import curves_of, excess
from tim3d.descriptors.struts import Struts, agreement, strut_results
from tim3d.kernels.morphology.strut_graph import NO_NODE, Network, branches, network, struts
from tim3d.kernels.statistics.log_normal import LogNormal

CUBIC = (1.0, 1.0, 1.0)


def found_in(inside: np.ndarray, spacing: Spacing = CUBIC) -> Network:
    """Struts of a body."""
    return struts(network(curves_of(inside.astype(np.uint8), spacing)))


def tube(nm: float, spacing: Spacing, direction: tuple[float, ...], radius: float) -> np.ndarray:
    """A tube through the middle of a cube, which its faces cut."""
    shape = [round(nm / s) | 1 for s in spacing]
    places = np.stack(np.indices(shape), axis=-1) - (np.array(shape) - 1) / 2
    places, along = places * np.array(spacing), np.array(direction) / np.linalg.norm(direction)
    across = places - (places @ along)[..., None] * along
    return np.asarray(np.sqrt((across**2).sum(axis=-1)) < radius)


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 1), (1, 1, 1), (0, 1, 3), (1, 2, 3)])
@pytest.mark.parametrize("spacing", [CUBIC, (2.0, 1.0, 1.0)])
def test_a_tube_is_one_strut_as_wide_as_it_is(
    direction: tuple[float, ...], spacing: Spacing
) -> None:
    radius = 7.0
    found = found_in(tube(81, spacing, direction, radius), spacing)
    assert found.ends.tolist() == [[0, 1]]
    one = branches(found)
    # Distances end at voxel centres outside: up to a voxel more than the radius.
    assert abs(2 * one.middle[0] - 2 * radius) < 2 * max(spacing)
    # The border bounds no phase, so that a tube that it cuts at an angle seems wider there, and its
    # middle bends.
    long = 81 * np.linalg.norm(direction) / max(direction)
    assert long - 3 * radius < one.length[0] < 1.02 * long
    # The stairs of a digital line are averaged out of it.
    assert one.chord[0] * (1 - 1e-12) <= one.length[0] < 1.03 * one.chord[0]
    assert Struts.of(found).is_cut.all()


@pytest.mark.parametrize("spacing", [CUBIC, (2.0, 1.0, 1.0), (4.0, 1.0, 1.0)])
def test_three_tubes_meet_in_one_node_of_six_struts(spacing: Spacing) -> None:
    body = np.any([tube(81, spacing, axis, 7.0) for axis in np.eye(3)], axis=0)
    found = found_in(body, spacing)
    numbers = Struts.of(found).numbers()
    assert sorted(found.coordination.tolist()) == [1, 1, 1, 1, 1, 1, 6]
    assert numbers["strut_node_count"] == 1
    assert numbers["strut_cut_count"] == 6
    assert numbers["strut_end_count"] == 0
    assert branches(found).length == pytest.approx(40, abs=5)


def lattice(edge: int, radius: float, count: int) -> np.ndarray:
    """Struts along all axes, at every multiple of an edge from half of it."""
    places = np.indices([edge * count] * 3) % edge - edge / 2
    pairs = ((0, 1), (0, 2), (1, 2))
    return np.any([places[a] ** 2 + places[b] ** 2 < radius**2 for a, b in pairs], axis=0)


def test_a_cubic_lattice_has_a_node_a_cell_six_struts_each_and_its_edge() -> None:
    edge, count = 24, 3
    one = Struts.of(found_in(lattice(edge, 4.6, count)))
    numbers, cells = one.numbers(), count**3
    assert numbers["strut_node_count"] == cells
    assert numbers["strut_coordination_mean"] == 6
    assert numbers["strut_node_density"] == pytest.approx(edge**-3)
    assert numbers["strut_cut_count"] == 6 * count**2
    inner = (one.network.coordination[one.network.ends] == 6).all(axis=1)
    assert inner.sum() == 3 * count**2 * (count - 1)
    assert one.measured.length[inner] == pytest.approx(edge, abs=0.5)
    assert numbers["strut_length_density"] == pytest.approx(3 * edge**-2, rel=0.05)
    assert one.meetings()[3] == 1
    assert 2 * one.measured.middle == pytest.approx(9.2, abs=1)


def test_a_torus_is_a_ring_without_a_node() -> None:
    z, y, x = np.indices((21, 61, 61)) - np.array([10, 30, 30])[:, None, None, None]
    one = Struts.of(found_in((np.hypot(y, x) - 20) ** 2 + z**2 < 25))
    assert one.network.ends.tolist() == [[NO_NODE, NO_NODE]]
    assert len(one.network.centre) == 0
    assert one.measured.length[0] == pytest.approx(2 * np.pi * 20, rel=0.01)
    assert one.numbers()["strut_ring_count"] == 1
    assert one.spread("along")["mean"] == pytest.approx(10, abs=1)


def test_a_stub_is_a_spur_and_a_longer_one_a_strut() -> None:
    z, y, x = np.indices((31, 41, 81)) - np.array([15, 15, 40])[:, None, None, None]
    rod = z**2 + y**2 < 6**2
    for long, kept in ((10, False), (24, True)):
        stub = (z**2 + x**2 < 4**2) & (y > 0) & (y <= long)
        found = found_in(rod | stub)
        assert (len(found.ends) == 3) is kept
        every = network(curves_of((rod | stub).astype(np.uint8), CUBIC))
        assert len(struts(every, spurs=0.0).ends) == 3


def test_pieces_less_tunnels_are_those_of_the_phase() -> None:
    labels = volume((40, 44, 48), 2, smooth=3.0) == 3
    whole = network(curves_of(labels.astype(np.uint8), CUBIC))
    voids = ndimage.label(~np.pad(labels, 1))[1] - 1
    assert excess(whole) == euler_number(np.pad(labels, 1), 3) - voids
    assert excess(struts(whole)) == excess(whole)


def test_the_fit_finds_the_distribution_that_values_are_drawn_from() -> None:
    values = np.random.default_rng(0).lognormal(4.0, 0.5, 20_000)
    fit = LogNormal.of(values)
    assert (fit.mu, fit.sigma) == pytest.approx((4.0, 0.5), abs=0.01)
    assert fit.mean == pytest.approx(values.mean(), rel=0.01)
    low, high = fit.interval
    assert np.mean((values > low) & (values < high)) == pytest.approx(0.95, abs=0.005)
    assert fit.distance(values) < 0.01
    within = [
        low < np.exp(4.0 + 0.125) < high
        for part in values.reshape(400, 50)
        for low, high in [LogNormal.of(part).mean_interval(50)]
    ]
    assert np.mean(within) == pytest.approx(0.95, abs=0.03)
    assert np.isnan(LogNormal.of(values[:1]).mean_interval(1)).all()
    # Equal values, whose mean logarithm is rounded, spread by nothing at all.
    alike = np.full(43, 100.0)
    assert LogNormal.of(alike).sigma == 0
    assert np.isnan(LogNormal.of(alike).distance(alike))


@pytest.mark.parametrize("count", [2, 3, 8, 40])
def test_the_distance_of_a_fit_is_that_of_kolmogorov_and_smirnov(count: int) -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).exponential(50.0, count)
        fit = LogNormal.of(values)
        logs = np.log(values)
        assert (fit.mu, fit.sigma) == pytest.approx((logs.mean(), logs.std(ddof=1)))
        far = stats.kstest(logs, "norm", (fit.mu, fit.sigma)).statistic
        assert fit.distance(values) == pytest.approx(far)


def test_all_measures_of_a_tube_are_its_diameter() -> None:
    found = strut_results({"solid": Struts.of(found_in(tube(61, CUBIC, (1, 0, 0), 7.0)))}, "nm")
    others = found[["phase"]].assign(
        thickness_mean=("phase", [13.2]), mean_chord_length=(("phase", "axis"), [[12.0, 15.0]])
    )
    made = {name: ratio for name, _, ratio in agreement(found, others).values()}
    assert found.strut_diameter_mean.values == pytest.approx(14, abs=1)
    assert made["strut_diameter_per_thickness"].values == pytest.approx(14 / 13.2, abs=0.1)
    assert made["strut_diameter_per_chord"].values == pytest.approx(14 / 13.5, abs=0.1)
