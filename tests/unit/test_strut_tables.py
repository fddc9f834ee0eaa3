"""Numbers of struts are those of the rows that stand beside them, by the formulas of the test."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from tests.property.test_skeleton import curves_of
from tim3d.descriptors.coupled import ROW_DIMENSIONS, STRUTS
from tim3d.descriptors.struts import Struts, strut_results
from tim3d.kernels.morphology.strut_graph import Network, network, struts
from tim3d.phases import Phases

SPACING = (20.0, 10.0, 10.0)


def lattice() -> np.ndarray:
    """Tubes along x that get wider, and tubes across them, cut by the faces of the volume."""
    z, y, x = (place.astype(float) for place in np.indices((16, 48, 96)))
    along = np.hypot(2 * (z - 7.5), y % 24 - 11.5) < 3.5 + x / 32
    across = np.hypot(2 * (z - 7.5), x % 32 - 15.5) < 4.5
    return np.asarray(along | across)


def ring_and_fork() -> np.ndarray:
    """A torus beside a rod with an arm, one end of which lies in the volume."""
    z, y, x = np.indices((16, 48, 96)) - np.array([7.5, 24, 24])[:, None, None, None]
    ring = (np.hypot(y, x) - 15) ** 2 + (2 * z) ** 2 < 17
    rod = (np.abs(y) < 20) & (np.hypot(2 * z, x - 40) < 4.5)
    arm = (x > 38) & (x < 65) & (np.hypot(2 * z, y) < 3.5)
    return np.asarray(ring | rod | arm)


BODIES = {"metal": lattice(), "dirt": ring_and_fork()}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Network]:
    """Graph of the struts of each phase."""
    curves = {name: curves_of(body.astype(np.uint8), SPACING) for name, body in BODIES.items()}
    return {name: struts(network(one)) for name, one in curves.items()}


@pytest.fixture(scope="module")
def found(graphs: dict[str, Network]) -> xr.Dataset:
    """Results of two phases."""
    return strut_results({name: Struts.of(one) for name, one in graphs.items()}, "nm")


def rows(found: xr.Dataset, table: str, phase: str) -> dict[str, np.ndarray]:
    """Columns of the nodes, branches or points of a phase."""
    number = list(BODIES).index(phase)
    of_branch = found["branch_phase"].values
    own = of_branch[found["point_branch"]] if table == "point" else found[f"{table}_phase"].values
    names = [str(n) for n in found.data_vars if str(n).startswith(f"{table}_")]
    return {n.partition("_")[2]: found[n].values[own == number] for n in names}


def own_diameters(graphs: dict[str, Network]) -> list[np.ndarray]:
    """Diameters at the voxels of each strut; the centres of its nodes need not be among them."""
    return [2 * one.curves.radius[path] for one in graphs.values() for path in one.paths]


def test_the_bodies_hold_all_kinds_of_ends(found: xr.Dataset) -> None:
    for name in ("ring", "end", "cut", "node"):
        assert found[f"strut_{name}_count"].sum() > 0
    assert found.strut_end_count.sel(phase="dirt") == 3
    assert found.strut_ring_count.values.tolist() == [0, 1]
    assert len(set(found.node_coordination.values.tolist())) > 2


def test_a_description_has_every_number_that_is_not_a_row(found: xr.Dataset) -> None:
    taken = STRUTS.take(found, Phases(metal=1, dirt=2))
    numbers = {n for n, v in found.data_vars.items() if not set(v.dims) & set(ROW_DIMENSIONS)}
    assert numbers <= set(taken.data_vars)
    for name in numbers:
        np.testing.assert_array_equal(taken[name].sel(phase=list(BODIES)), found[name])


@pytest.mark.parametrize("phase", BODIES)
def test_counts_and_densities_are_those_of_the_rows(found: xr.Dataset, phase: str) -> None:
    one = found.sel(phase=phase)
    nodes, branches = rows(found, "node", phase), rows(found, "branch", phase)
    ends = np.concatenate([branches["from"], branches["to"]])
    meets = np.bincount(ends[ends >= 0], minlength=found.sizes["node"])
    own = found.node_phase.values == list(BODIES).index(phase)
    assert np.array_equal(meets[own], nodes["coordination"])
    assert not meets[~own].any()
    is_node, is_end, is_cut = (
        nodes["coordination"] > 2,
        nodes["coordination"] == 1,
        nodes["cut"] > 0,
    )
    volume = BODIES[phase].size * np.prod(SPACING)
    assert not (is_cut & ~is_end).any()
    length, chord = branches["length"], branches["chord"]
    for name, value in {
        "strut_count": len(length),
        "strut_ring_count": (branches["from"] == -1).sum(),
        "strut_node_count": is_node.sum(),
        "strut_end_count": (is_end & ~is_cut).sum(),
        "strut_cut_count": is_cut.sum(),
        "strut_node_density": is_node.sum() / volume,
        "strut_length_density": length.sum() / volume,
        "strut_coordination_mean": nodes["coordination"][is_node].mean(),
        "strut_length_mean": length.mean(),
        "strut_length_median": np.median(length),
        "strut_straightness": (chord / length).mean(),
    }.items():
        assert float(one[name]) == pytest.approx(float(value)), name
    shares = {int(m): float(one.strut_node_share.sel(meeting=m)) for m in one.meeting.values}
    for meeting, share in shares.items():
        assert share == pytest.approx((nodes["coordination"] == meeting).sum() / is_node.sum())
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("phase", BODIES)
def test_diameters_are_those_of_the_points(
    found: xr.Dataset, graphs: dict[str, Network], phase: str
) -> None:
    one, paths = found.sel(phase=phase), own_diameters(graphs)
    branches = rows(found, "branch", phase)
    own = np.flatnonzero(found.branch_phase.values == list(BODIES).index(phase))
    for n in own:
        shown = found["point_diameter"].values[found["point_branch"].values == n]
        more = len(shown) - len(paths[n])
        assert more <= 2
        assert any(np.allclose(shown[k : k + len(paths[n])], paths[n]) for k in range(more + 1))
    assert branches["least"] == pytest.approx([paths[n].min() for n in own])
    assert branches["mean"] == pytest.approx([paths[n].mean() for n in own])
    # Struts with an odd number of points along x, where half of the way is the point in the middle.
    for n, diameter in zip(own, branches["middle"], strict=True):
        assert paths[n].min() <= diameter <= paths[n].max()
        if len(paths[n]) > 8 and found.branch_from.values[n] >= 0:
            near = paths[n][len(paths[n]) // 2 - 2 : len(paths[n]) // 2 + 3]
            assert near.min() <= diameter <= near.max()
    every = {
        "strut_diameter": np.concatenate([paths[n] for n in own]).astype(float),
        "strut_middle_diameter": branches["middle"],
    }
    for name, values in every.items():
        logs, n = np.log(values), len(own)
        mu, sigma = logs.mean(), logs.std(ddof=1)
        middle, wide = mu + sigma**2 / 2, 1.96 * np.sqrt(sigma**2 / n + sigma**4 / (2 * (n - 1)))
        for ending, value in {
            "mean": values.mean(),
            "std": values.std(ddof=1),
            "median": np.median(values),
            "fit_mu": mu,
            "fit_sigma": sigma,
            "fit_mean": np.exp(middle),
            "fit_low": np.exp(mu - 1.96 * sigma),
            "fit_high": np.exp(mu + 1.96 * sigma),
            "fit_mean_low": np.exp(middle - wide),
            "fit_mean_high": np.exp(middle + wide),
            "fit_distance": stats.kstest(logs, "norm", (mu, sigma)).statistic,
        }.items():
            assert float(one[f"{name}_{ending}"]) == pytest.approx(value, rel=1e-4), ending


@pytest.mark.parametrize("phase", BODIES)
def test_rows_lie_at_centres_of_voxels_of_their_phase(found: xr.Dataset, phase: str) -> None:
    for table in ("node", "point"):
        own = rows(found, table, phase)
        places = np.stack([own[axis] for axis in "zyx"], axis=1) / SPACING - 0.5
        assert places == pytest.approx(np.rint(places), abs=1e-3)
        assert BODIES[phase][tuple(np.rint(places).astype(int).T)].all()
    branches, points = rows(found, "branch", phase), rows(found, "point", phase)
    nodes = np.stack([found[f"node_{axis}"].values for axis in "zyx"], axis=1)
    first = np.flatnonzero(found.branch_phase.values == list(BODIES).index(phase))
    for number, begin, end, chord in zip(
        first, branches["from"], branches["to"], branches["chord"], strict=True
    ):
        path = np.stack([points[axis][points["branch"] == number] for axis in "zyx"], axis=1)
        if begin >= 0:
            assert path[[0, -1]] == pytest.approx(nodes[[begin, end]], rel=1e-6)
        assert chord == pytest.approx(np.linalg.norm(path[0] - path[-1]), abs=1e-3)


def test_the_ball_of_a_node_is_the_largest_of_its_voxels() -> None:
    """Paths begin and end in voxels of their nodes."""
    differs = 0
    for body in BODIES.values():
        found = network(curves_of(body.astype(np.uint8), SPACING))
        radius = found.curves.radius
        for (begin, end), path in zip(found.ends, found.paths, strict=True):
            for node, voxel in ((begin, path[0]), (end, path[-1])):
                assert node < 0 or found.radius[node] >= radius[voxel]
                differs += node >= 0 and found.radius[node] > radius[voxel]
    assert differs


def test_struts_end_at_nodes_of_their_own_phase(found: xr.Dataset) -> None:
    for end in ("branch_from", "branch_to"):
        place = found[end].values
        known = place >= 0
        assert known.any()
        phase = found["node_phase"].values[place[known]]
        assert np.array_equal(phase, found["branch_phase"].values[known])
    ends = np.concatenate([found["branch_from"].values, found["branch_to"].values])
    counts = np.bincount(ends[ends >= 0], minlength=found.sizes["node"])
    assert np.array_equal(counts, found["node_coordination"].values)
