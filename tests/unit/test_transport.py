"""The flux solver against a direct solution of the same equations, its laws, its memory and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from tests.traced import traced_peak
from tim3d.errors import ArgumentError, ConvergenceError, InputError
from tim3d.kernels.conduction import multigrid, solver, stencil
from tim3d.kernels.conduction.conduction import Electrodes, Physics, conduct, conduct_bytes
from tim3d.kernels.conduction.ghost_layers import Alone, Halo
from tim3d.kernels.conduction.thread_pool import Team

Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]


def direct(
    labels: Labels, k_of: dict[int, float], axis: int, spacing: Spacing, electrodes: Electrodes
) -> float:
    """Effective conductivity by a sparse direct solution; the two electrodes are two more unknowns, then fixed."""
    k = np.moveaxis(np.vectorize(k_of.get)(labels).astype(float), axis, 0)
    h = (spacing[axis], *(s for a, s in enumerate(spacing) if a != axis))
    cells = np.arange(k.size).reshape(k.shape)
    low, high = k.size, k.size + 1
    if electrodes == "centres":
        cells[0], cells[-1] = low, high
    links: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for a in range(3):
        area = float(np.prod(h)) / h[a]
        first, second = (
            (np.moveaxis(v, a, 0)[:-1] for v in (k, cells)),
            (np.moveaxis(v, a, 0)[1:] for v in (k, cells)),
        )
        (k1, c1), (k2, c2) = tuple(first), tuple(second)
        g = np.where(k1 * k2 > 0, 2 * k1 * k2 / np.maximum(k1 + k2, 1e-300), 0) * area / h[a]
        links.append((c1.ravel(), c2.ravel(), g.ravel()))
    if electrodes == "outer":
        area = h[1] * h[2]
        for electrode, layer in ((low, 0), (high, -1)):
            g = 2 * k[layer].ravel() * area / h[0]
            links.append((np.full(g.size, electrode), cells[layer].ravel(), g))
    i, j, g = (np.concatenate(part) for part in zip(*links, strict=True))
    graph = sp.coo_matrix((g, (i, j)), (k.size + 2,) * 2).tocsr()
    graph = graph + graph.T
    graph.eliminate_zeros()
    component = connected_components(graph)[1]
    if component[low] != component[high]:
        return 0.0
    inside = np.flatnonzero(component == component[low])
    inside = inside[inside < k.size]
    laplace = sp.diags(np.asarray(graph.sum(1)).ravel()) - graph
    inflow = graph[inside][:, low].toarray().ravel()
    x = spsolve(laplace[inside][:, inside].tocsc(), inflow) if inside.size else np.zeros(0)
    current = graph[low, high] + float(inflow @ (1 - x))
    length = h[0] * (k.shape[0] - (electrodes == "centres"))
    return float(current * length / (k.shape[1] * k.shape[2] * h[1] * h[2]))


@st.composite
def volumes(draw: st.DrawFn) -> tuple[Labels, dict[int, float], Spacing]:
    shape = draw(st.tuples(*[st.integers(3, 9)] * 3))
    ks = draw(st.lists(st.sampled_from([0.0, 1.0, 3.0, 40.0, 1000.0, 1e5]), min_size=2, max_size=3))
    seed = draw(st.integers(0, 2**32 - 1))
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(ks)))
    labels = np.random.default_rng(seed + 1).choice(len(ks), shape, p=shares).astype(np.uint8)
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 5.0])] * 3))
    return labels, dict(enumerate(ks)), spacing


@given(volumes(), st.integers(0, 2), st.sampled_from(["outer", "centres"]))
def test_it_equals_a_direct_solution(
    case: tuple[Labels, dict[int, float], Spacing], axis: int, electrodes: Electrodes
) -> None:
    labels, k_of, spacing = case
    expected = direct(labels, k_of, axis, spacing, electrodes)
    found = conduct(
        labels, k_of, axis, spacing=spacing, electrodes=electrodes, tolerance=1e-7, threads=1
    )
    assert found.percolates == (expected > 0)
    assert found.conductivity == pytest.approx(expected, rel=1e-6)
    assert found.spread <= 1e-7


def test_a_solution_that_is_exact_at_once_ends_there() -> None:
    labels = np.array(
        [[2, 1, 1, 1, 2, 0, 0, 0, 2], [1, 0, 2, 2, 2, 0, 2, 1, 2], [2, 2, 1, 0, 2, 0, 0, 0, 2]],
        np.uint8,
    )
    found = conduct(
        labels.reshape(3, 3, 3), {0: 1.0, 1: 1.0, 2: 0.0}, 0, electrodes="centres", tolerance=1e-7
    )
    expected = direct(labels.reshape(3, 3, 3), {0: 1.0, 1: 1.0, 2: 0.0}, 0, (1, 1, 1), "centres")
    assert found.conductivity == pytest.approx(expected, rel=1e-12)


@given(volumes(), st.integers(0, 2))
def test_turning_the_volume_turns_the_answer(
    case: tuple[Labels, dict[int, float], Spacing], axis: int
) -> None:
    labels, k_of, spacing = case
    turned = np.moveaxis(labels, axis, 0)
    edges = (spacing[axis], *(s for a, s in enumerate(spacing) if a != axis))
    one = conduct(labels, k_of, axis, spacing=spacing, threads=1)
    other = conduct(turned, k_of, 0, spacing=edges, threads=1)
    assert one.conductivity == other.conductivity
    np.testing.assert_array_equal(one.flux, other.flux)


def random_labels(shape: tuple[int, int, int], phases: int = 2, seed: int = 0) -> Labels:
    return np.random.default_rng(seed).integers(0, phases, shape, dtype=np.uint8)


def test_the_number_of_threads_changes_no_bit() -> None:
    labels = random_labels((40, 37, 45), 3)
    k = {0: 0.5, 1: 3.0, 2: 100.0}
    one, three = (conduct(labels, k, threads=n, keep_potential=True) for n in (1, 3))
    np.testing.assert_array_equal(one.flux, three.flux)
    np.testing.assert_array_equal(one.potential, three.potential)


@pytest.mark.parametrize("electrodes", ["outer", "centres"])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 2, 2), (2, 1, 1), (3, 1, 1), (10, 1, 1)])
def test_an_open_box_is_exact_at_once(axis: int, spacing: Spacing, electrodes: Electrodes) -> None:
    found = conduct(
        np.zeros((7, 6, 5), np.uint8), {0: 3.0}, axis, spacing=spacing, electrodes=electrodes
    )
    assert found.tortuosity_total == found.tortuosity_through == pytest.approx(1, abs=1e-14)
    assert found.conductivity == pytest.approx(3, abs=1e-14)
    assert found.iterations == 0


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("contrast", [10, 100, 1000, 1e5])
@pytest.mark.parametrize("shape", [(16, 6, 5), (31, 6, 5)])
def test_layers_in_series_and_parallel(
    axis: int, contrast: float, shape: tuple[int, int, int]
) -> None:
    layers = np.zeros(shape, np.uint8)
    layers[shape[0] // 2 :] = 1
    share = layers.mean()
    series, parallel = 1 / (1 - share + share / contrast), 1 - share + share * contrast
    labels = np.moveaxis(layers, 0, axis)
    found = conduct(labels, {0: 1.0, 1: contrast}, axis, tolerance=1e-6)
    assert found.conductivity == pytest.approx(series, rel=1e-6)
    beside = conduct(labels, {0: 1.0, 1: contrast}, (axis + 1) % 3, tolerance=1e-6)
    assert beside.conductivity == pytest.approx(parallel, rel=1e-12)


def test_a_wall_stops_everything_at_once() -> None:
    labels = np.zeros((20, 8, 8), np.uint8)
    labels[9] = 1
    found = conduct(labels, {0: 1.0, 1: 0.0}, keep_potential=True)
    assert (found.conductivity, found.percolates, found.iterations) == (0.0, False, 0)
    assert found.tortuosity_total == found.tortuosity_through == np.inf
    assert found.mean_total == 0.95
    assert found.potential is not None
    assert np.isnan(found.potential).all()
    assert found.flux.tolist() == [0.0] * 21
    assert conduct(labels, {0: 1.0, 1: 0.0}, 1).percolates


def test_contact_over_an_edge_does_not_conduct() -> None:
    labels = np.ones((4, 4, 4), np.uint8)
    labels[:2, :2], labels[2:, 2:] = 0, 0
    assert not conduct(labels, {0: 1.0, 1: 0.0}).percolates


def test_islands_count_in_one_convention_only() -> None:
    labels = np.ones((32, 32, 32), np.uint8)
    labels[:, :16] = 0
    labels[8:24, 20:28, 8:24] = 0
    found = conduct(labels, {0: 2.0, 1: 0.0})
    assert (found.tortuosity_total, found.tortuosity_through) == pytest.approx(
        (1.125, 1.0), abs=1e-12
    )


def test_the_slanted_strip() -> None:
    labels = np.zeros((20, 21, 21), np.uint8)
    for i in range(20):
        labels[i, i : i + 2, i : i + 2] = 1
    assert conduct(labels, {0: 0, 1: 1}, tolerance=1e-6).tortuosity_total == pytest.approx(
        7.51667, abs=5e-6
    )


def test_equal_fluxes_alone_are_not_believed() -> None:
    # A staircase of equal contacts: every plane carries the same flux also when the planes are not
    # at rest.
    labels = np.zeros((12, 3, 40), np.uint8)
    for i in range(12):
        labels[i, :, 3 * i : 3 * i + 6] = 1
    expected = direct(labels, {0: 0, 1: 1}, 0, (1, 1, 1), "centres")
    found = conduct(labels, {0: 0, 1: 1}, electrodes="centres", tolerance=0.5)
    assert found.iterations > 0
    assert found.conductivity == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("electrodes", ["outer", "centres"])
@pytest.mark.parametrize("axis", range(3))
def test_the_potential_is_at_rest_and_spans_one(axis: int, electrodes: Electrodes) -> None:
    labels = random_labels((9, 8, 10), 3, seed=4)
    found = conduct(
        labels,
        {0: 1.0, 1: 4.0, 2: 0.0},
        axis,
        electrodes=electrodes,
        tolerance=1e-8,
        keep_potential=True,
    )
    assert found.potential is not None
    assert found.potential.shape == labels.shape
    k = np.moveaxis(np.array([1.0, 4.0, 0.0])[labels], axis, 0)
    potential = np.moveaxis(found.potential, axis, 0).astype(float)
    flows = np.isfinite(potential)
    assert not flows[k == 0].any()
    k, potential = np.where(flows, k, 0), np.where(flows, potential, 0)
    assert (potential[0][flows[0]].min(), potential[-1][flows[-1]].max()) == ((1, 0) if electrodes == "centres" else (
        pytest.approx(1, abs=0.4), pytest.approx(0, abs=0.4)))  # fmt: skip
    pairs = 2 * k[:-1] * k[1:] / np.maximum(k[:-1] + k[1:], 1e-30)
    steps = labels.shape[axis] - (electrodes == "centres")
    inner = (pairs * (potential[:-1] - potential[1:])).sum((1, 2)) * steps / k[0].size
    np.testing.assert_allclose(inner, found.conductivity, rtol=1e-5)


@pytest.mark.long
def test_the_plan_of_memory_holds() -> None:
    labels = random_labels((64, 61, 67))
    for axis, spacing in ((0, (1.0, 1.0, 1.0)), (2, (4.0, 1.0, 1.0)), (1, (1.0, 3.0, 3.0))):
        conduct(labels[:8], {0: 1.0, 1: 9.0})  # compiled
        peak = traced_peak(
            lambda axis=axis, spacing=spacing: conduct(
                labels, {0: 1.0, 1: 9.0}, axis, spacing=spacing
            )
        )
        drive = Physics({0: 1.0, 1: 9.0}).drive(axis, spacing)
        planned = conduct_bytes(tuple(labels.shape[a] for a in drive.order), drive)
        assert 0.95 * planned < peak < planned + 2**19


def test_the_multigrid_is_symmetric() -> None:
    codes = np.zeros((14, 13, 12), np.uint8)
    codes[1:-1, 1:-1, 1:-1] = random_labels((12, 11, 10)) + 1
    codes[0, 1:-1, 1:-1] = 3
    pairs = np.ones((3, 4, 4), np.float32)
    pairs[:, 0] = pairs[:, :, 0] = 0
    pairs[:, 2, 2] = 50
    rng = np.random.default_rng(1)
    a, b = (np.pad(rng.standard_normal((12, 11, 10)), 1).astype(np.float32) for _ in range(2))
    x, y = np.zeros_like(a), np.zeros_like(a)
    with Team(1) as team:
        cycle = multigrid.Multigrid(
            multigrid.voxel_level(codes, pairs, team, Halo(Alone())), (12, 11, 10), (1, 1, 1), team
        )
        cycle.apply(x, a)
        cycle.apply(y, b)
    assert np.vdot(x, b) == pytest.approx(np.vdot(y, a), rel=1e-4)
    assert np.vdot(x, a) > 0


def test_a_coarse_cell_of_one_material_is_a_larger_voxel() -> None:
    codes = np.pad(np.ones((8, 6, 4), np.uint8), 1)
    pairs = np.zeros((3, 2, 2), np.float32)
    pairs[:, 1, 1] = (1, 4, 9)
    with Team(1) as team:
        coarse = multigrid.coarse_level(
            multigrid.voxel_level(codes, pairs, team, Halo(Alone())), (1, 1, 0), team
        )
    faces = coarse.conductances[0]
    assert coarse.shape == (4, 3, 4)
    # (area ratio) / (distance ratio) along each axis.
    assert set(faces[0, 2:5, 1:-1, 1:-1].ravel()) == {1 * 2 / 2}
    assert set(faces[1, 1:-1, 2:4, 1:-1].ravel()) == {4 * 2 / 2}
    assert set(faces[2, 1:-1, 1:-1, 2:5].ravel()) == {9 * 4 / 1}
    assert faces[0, 1].sum() == faces[0, 5].sum() == 0


def test_a_team_passes_errors_on_and_covers_every_plane() -> None:
    seen = np.zeros(11, int)

    def count(start: int, stop: int) -> None:
        seen[start:stop] += 1
        if stop == 11 and start == stop:
            raise RuntimeError

    for threads in (1, 2, 3, 7):
        with Team(threads) as team:
            team.run(count, range(1, 11), 10**9)
    assert seen.tolist() == [0] + [4] * 10

    def fail(start: int, stop: int) -> None:
        if stop == 11:
            raise ZeroDivisionError

    with Team(3) as team, pytest.raises(ZeroDivisionError):
        team.run(fail, range(1, 11), 10**9)


BOX = np.zeros((4, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("labels", "k", "more", "says"),
    [
        (BOX, {0: -1.0}, {}, "label 0 is -1.0; it must be 0 or positive"),
        (BOX, {0: np.nan}, {}, "label 0 is nan"),
        (BOX, {0: np.inf}, {}, "label 0 is inf"),
        (BOX, {0: 1.0, 1: 3e5}, {}, "a contrast of 3e"),
        (BOX, {0: 1.0}, {"axis": 3}, "axis is 3; use 0 for z"),
        (BOX, {0: 1.0}, {"electrodes": "faces"}, "electrodes are 'faces'; use 'outer'"),
        (BOX, {0: 1.0}, {"tolerance": 0.0}, "tolerance is 0.0"),
        (BOX, {0: 1.0}, {"tolerance": np.nan}, "tolerance is nan"),
        (BOX, {0: 1.0}, {"spacing": (1, 0, 1)}, "expected three positive lengths"),
        (BOX[:1], {0: 1.0}, {}, "the volume has 1 voxel"),
        (BOX[:2], {0: 1.0}, {"electrodes": "centres"}, "'centres' electrodes need 3"),
        (BOX.astype(float), {0: 1.0}, {}, "expected 3-D uint8"),
    ],
)
def test_bad_arguments_are_named(
    labels: Labels, k: dict[int, float], more: dict[str, object], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        conduct(labels, k, **more)  # type: ignore[arg-type]


def test_labels_without_a_conductivity_are_bad_input() -> None:
    with pytest.raises(
        InputError, match=r"labels \[3\] belong to no phase and have no conductivity.*\[0, 5\]"
    ):
        conduct(BOX + np.uint8(3), {0: 1.0, 5: 0.0})


def test_every_label_is_counted() -> None:
    labels = random_labels((6, 7, 8)) * np.uint8(9)
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    for k in (0.0, 1.0):  # with islands and without
        assert conduct(labels, {0: k, 9: 1.0, 200: 3.0}).voxels == counts


def test_too_many_conducting_labels_are_refused() -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    with pytest.raises(ArgumentError, match="256 labels conduct; up to 253"):
        conduct(labels, {n: n + 1.0 for n in range(256)})


def test_what_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "MOST_ITERATIONS", 2)
    with pytest.raises(
        ConvergenceError, match="after 2 iterations the flux differs between planes by"
    ):
        conduct(random_labels((24, 24, 24)), {0: 1.0, 1: 1e5}, tolerance=1e-8)


def test_a_half_sweep_balances_one_colour() -> None:
    codes = np.pad(np.ones((4, 4, 4), np.uint8), 1)
    pairs = np.ones((3, 2, 2), np.float32)
    pairs[:, 0] = pairs[:, :, 0] = 0
    x = np.pad(np.random.default_rng(0).random((4, 4, 4), np.float32), 1)
    b = np.zeros_like(x)
    stencil.relax_codes(1, 5, x, b, codes, pairs, 0)
    residual, flux = np.zeros_like(x), np.zeros(6)
    stencil.balance(1, 6, residual, flux, x.astype(float), codes, pairs.astype(float), np.zeros(6))
    z, y, i = np.indices(x.shape)
    swept = (codes > 0) & ((z + y + i) % 2 == 1)
    assert np.abs(residual[swept]).max() < 1e-5 < np.abs(residual[(codes > 0) & ~swept]).max()


def test_a_dead_end_carries_nothing() -> None:
    """A pocket beside a channel changes the volume that is counted, not the flux; it is no island."""
    channel = np.zeros((12, 9, 9), np.uint8)
    channel[:, 4, 4] = 1
    pocket = channel.copy()
    pocket[6, 5:, 4] = 1
    plain, dead = (
        conduct(labels, {0: 0.0, 1: 1.0}, tolerance=1e-8) for labels in (channel, pocket)
    )
    assert dead.conductivity == pytest.approx(plain.conductivity, rel=1e-12)
    assert plain.tortuosity_total == pytest.approx(1.0)
    assert dead.tortuosity_total == dead.tortuosity_through == pytest.approx(16 / 12)


@pytest.mark.parametrize("axis", range(3))
def test_the_mean_conductivity_counts_the_whole_volume_and_only_what_may_carry(axis: int) -> None:
    """Islands are in the mean of all voxels, and not in that of the voxels on a way through."""
    labels = np.zeros((6, 7, 8), np.uint8)
    through = np.moveaxis(labels, axis, 0)
    through[:, 2:4, 3:6] = 1
    through[:, 2, 4] = 2
    through[2:4, 5:, :2] = 2  # an island
    carrying = {1: (6 - 1) * len(through), 2: len(through)}
    found = conduct(np.ascontiguousarray(labels), {0: 0.0, 1: 2.0, 2: 5.0}, axis)
    islands = int((labels == 2).sum()) - carrying[2]
    assert islands > 0
    share = (2.0 * carrying[1] + 5.0 * carrying[2]) / labels.size
    assert found.mean_through == pytest.approx(share)
    assert found.mean_total == pytest.approx(share + 5.0 * islands / labels.size)
