"""Sides that wrap, cells with a mean gradient, interfaces, contacts and tensors, against a direct solution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from tim3d.errors import ArgumentError
from tim3d.kernels.conduction import local_flux
from tim3d.kernels.conduction.conduction import Physics, conduct
from tim3d.kernels.conduction.local_flux import class_edges


def links(labels: np.ndarray, physics: Physics, spacing: Any, axis: int) -> Any:
    """Voxel pairs, their conductances in lengths times conductivity, and the fall of the mean gradient across them."""
    k = np.array([np.broadcast_to(physics.conductivity[n], 3) for n in range(4)], float)
    cells = np.arange(labels.size).reshape(labels.shape)
    parts = []
    for a in range(3):
        wraps = physics.cell or (physics.sides == "periodic" and a != axis)
        stop = labels.shape[a] if wraps else labels.shape[a] - 1
        first = np.moveaxis(cells, a, 0)[:stop]
        second = np.roll(np.moveaxis(cells, a, 0), -1, 0)[:stop]
        one, other = labels.ravel()[first.ravel()], labels.ravel()[second.ravel()]
        resistance = np.array(
            [[_resistance(physics, k, i, j, a, spacing) for j in range(4)] for i in range(4)]
        )
        g = math.prod(spacing) / spacing[a] / resistance[one, other]
        parts.append(
            (first.ravel(), second.ravel(), g, np.full(first.size, float(a == axis) * spacing[a]))
        )
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _resistance(physics: Physics, k: np.ndarray, i: int, j: int, a: int, spacing: Any) -> float:
    if k[i, a] == 0 or k[j, a] == 0:
        return math.inf
    crossing = (physics.interface or {}).get((min(i, j), max(i, j)), math.inf)
    return spacing[a] / 2 / k[i, a] + spacing[a] / 2 / k[j, a] + (1 / crossing if i != j else 0)


def direct(labels: np.ndarray, physics: Physics, spacing: Any, axis: int) -> float:
    """Effective conductivity between outer faces."""
    i, j, g, _ = links(labels, physics, spacing, axis)
    n = labels.size
    area = math.prod(spacing) / spacing[axis]
    ends = np.moveaxis(np.arange(n).reshape(labels.shape), axis, 0)
    for number, layer in enumerate((ends[0].ravel(), ends[-1].ravel())):
        k = np.array(
            [np.broadcast_to(physics.conductivity[c], 3)[axis] for c in labels.ravel()[layer]],
            float,
        )
        with np.errstate(divide="ignore"):
            to = area / (spacing[axis] / 2 / k + 1 / physics.contact[number])
        i, j, g = np.r_[i, np.full(layer.size, n + number)], np.r_[j, layer], np.r_[g, to]
    graph = sp.coo_matrix((g, (i, j)), (n + 2,) * 2).tocsr()
    graph = graph + graph.T
    graph.eliminate_zeros()
    component = connected_components(graph)[1]
    if component[n] != component[n + 1]:
        return 0.0
    inside = np.flatnonzero(component[:n] == component[n])
    laplace = sp.diags(np.asarray(graph.sum(1)).ravel()) - graph
    x = spsolve(laplace[inside][:, inside].tocsc(), graph[inside][:, n].toarray().ravel())
    current = float(graph[inside][:, n].toarray().ravel() @ (1 - x))
    return current * labels.shape[axis] * spacing[axis] / (area * labels.size / labels.shape[axis])


def tensor(labels: np.ndarray, physics: Physics, spacing: Any) -> np.ndarray:
    """Of a cell that wraps, by least squares."""
    found = np.zeros((3, 3))
    volume = labels.size * math.prod(spacing)
    for axis in range(3):
        i, j, g, fall = links(labels, physics, spacing, axis)
        rows = np.arange(i.size)
        difference = sp.coo_matrix(
            (np.r_[-np.ones(i.size), np.ones(i.size)], (np.r_[rows, rows], np.r_[i, j]))
        )
        laplace = (difference.T @ sp.diags(g) @ difference).toarray()
        x = np.linalg.lstsq(laplace, difference.T @ (g * fall), rcond=1e-12)[0]
        current = g * (fall - difference @ x)
        for other in range(3):
            along = links(labels, physics, spacing, other)[3]
            found[axis, other] = float(current @ along) / volume
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Any, dict[int, Any]]:
    shape = draw(st.tuples(*[st.integers(2, 7)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3))
    scalar = draw(st.booleans())
    k = [0.0, *(10.0 ** rng.uniform(-1, 1, (3,) if scalar else (3, 3)))]
    labels = rng.choice(4, shape, p=rng.dirichlet([0.5, 1, 1, 1])).astype(np.uint8)
    return labels, spacing, {n: v if np.isscalar(v) else tuple(v) for n, v in enumerate(k)}


@given(cases(), st.integers(0, 2), st.sampled_from(["insulated", "periodic"]), st.booleans())
def test_between_electrodes(case: Any, axis: int, sides: Any, resists: bool) -> None:
    labels, spacing, k = case
    border: dict[str, Any] = {"sides": sides}
    if resists:
        border |= {"interface": {(1, 2): 0.3, (2, 3): 5.0}, "contact": (0.5, math.inf)}
        border |= {"interface_area": "faces"}  # as the direct solution
    expected = direct(labels, Physics(k, **border), spacing, axis)
    found = conduct(labels, k, axis, spacing=spacing, tolerance=1e-8, threads=1, **border)
    assert found.percolates == (expected > 0)
    assert found.conductivity == pytest.approx(expected, rel=1e-6)


@given(cases(), st.booleans())
def test_the_tensor_of_a_cell(case: Any, resists: bool) -> None:
    labels, spacing, k = case
    border: dict[str, Any] = {
        "cell": True,
        "interface": {(1, 2): 0.3, (2, 3): 5.0} if resists else None,
        "interface_area": "faces",  # as the direct solution
    }
    expected = tensor(labels, Physics(k, **border), spacing)
    for axis in range(3):
        found = conduct(labels, k, axis, spacing=spacing, tolerance=1e-8, threads=1, **border)
        assert found.percolates == (expected[axis, axis] > 1e-9)
        np.testing.assert_allclose(
            found.row, expected[axis], rtol=0, atol=2e-5 * expected.max() + 1e-12
        )


def test_turning_the_material_turns_the_tensor() -> None:
    """Slanted layers: off-diagonals, known from the two conductivities along and across."""
    z, y, _ = np.indices((16, 16, 4))
    labels = (((z + y) % 8) < 4).astype(np.uint8)
    rows = [conduct(labels, {0: 1.0, 1: 3.0}, a, cell=True, tolerance=1e-6).row for a in range(3)]
    found = np.array(rows)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    assert found[2, 2] == pytest.approx(2.0, rel=1e-6)
    assert found[0, 0] == pytest.approx(found[1, 1], rel=1e-5)
    # A gradient across the layers meets them in series; stairs of voxels still do.
    assert found[0, 0] + found[0, 1] == pytest.approx(1.5, rel=1e-6)
    assert found[0, 1] < 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
@pytest.mark.parametrize("axis", range(3))
def test_a_laminate_with_interfaces_and_contacts(spacing: Any, axis: int) -> None:
    """Layers, their interfaces and both contacts in series."""
    labels = np.moveaxis(
        np.repeat(np.arange(4, dtype=np.uint8) % 2, 3)[:, None, None]
        * np.ones((1, 4, 5), np.uint8),
        0,
        axis,
    )
    h, crossing, contact = spacing[axis], 0.7, (0.4, 2.0)
    resistance = 6 * h / 2.0 + 6 * h / 50.0 + 3 / crossing + 1 / contact[0] + 1 / contact[1]
    found = conduct(
        np.ascontiguousarray(labels), {0: 2.0, 1: 50.0}, axis,
        spacing=spacing, interface={(1, 0): crossing}, contact=contact, tolerance=1e-8,
    )  # fmt: skip
    assert found.conductivity == pytest.approx(12 * h / resistance, rel=1e-7)


def test_periodic_sides_are_as_good_as_a_mosaic() -> None:
    labels = np.random.default_rng(3).integers(0, 3, (9, 5, 6), dtype=np.uint8)
    k = {0: 1.0, 1: 5.0, 2: 0.0}
    one = conduct(labels, k, sides="periodic", tolerance=1e-9)
    four = conduct(np.tile(labels, (1, 2, 2)), k, sides="periodic", tolerance=1e-9)
    assert one.conductivity == pytest.approx(four.conductivity, rel=1e-8)
    cell = conduct(labels, k, cell=True, tolerance=1e-9)
    stack = conduct(np.tile(labels, (2, 1, 1)), k, cell=True, tolerance=1e-9)
    assert cell.conductivity == pytest.approx(stack.conductivity, rel=1e-8)


def test_a_cell_percolates_only_where_the_path_closes() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:, 2, 2] = 1
    assert conduct(labels, {0: 0.0, 1: 1.0}, 0, cell=True).conductivity == pytest.approx(1 / 36)
    assert not conduct(labels, {0: 0.0, 1: 1.0}, 1, cell=True).percolates
    labels[5, 2, 2] = 0
    assert not conduct(labels, {0: 0.0, 1: 1.0}, 0, cell=True).percolates


def test_local_flux_of_parallel_layers() -> None:
    """Each layer carries its conductivity; all of it dissipates; the histogram holds each voxel once."""
    labels = np.zeros((6, 8, 5), np.uint8)
    labels[:, 4:] = 1
    found = conduct(labels, {0: 1.0, 1: 3.0}, keep_flux=True, tolerance=1e-8)
    assert found.local is not None
    assert found.size is not None
    np.testing.assert_allclose(found.size[labels == 0], 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.size[labels == 1], 1.5, rtol=1e-6)
    assert found.labels == (0, 1)
    assert found.local.voxels.tolist() == [0, 120, 120]
    np.testing.assert_allclose(found.local.total[1:], [120, 360], rtol=1e-6)
    np.testing.assert_allclose(found.local.dissipation[1:], [120, 360], rtol=1e-6)
    assert found.local.histogram.sum() == labels.size
    edges = class_edges()
    for code, ratio in ((1, 0.5), (2, 1.5)):
        (place,) = np.flatnonzero(found.local.histogram[code])
        assert edges[place] * 0.999 <= ratio <= edges[place + 1] * 1.001


@given(cases(), st.booleans())
def test_what_is_dissipated_is_what_flows(case: Any, cell: bool) -> None:
    labels, spacing, k = case
    found = conduct(labels, k, spacing=spacing, tolerance=1e-8, keep_flux=True, cell=cell)
    if found.percolates:
        assert found.local is not None
        assert found.local.dissipation.sum() / labels.size == pytest.approx(
            found.conductivity, rel=1e-5
        )


def test_classes_hold_what_lies_between_their_edges() -> None:
    edges = class_edges()
    middle = np.sqrt(edges[1:] * edges[:-1])
    assert [local_flux.class_of.py_func(v) for v in middle] == list(range(local_flux.CLASSES))
    assert local_flux.class_of.py_func(1e-9) == 0
    assert local_flux.class_of.py_func(1e9) == local_flux.CLASSES - 1


BOX = np.zeros((4, 4, 4), np.uint8)
BOX[2:] = 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"sides": "open"}, "sides are 'open'; use 'insulated' or 'periodic'"),
        ({"interface": {(0, 2): 1.0}}, "interface 0-2 is not between two of the labels"),
        ({"interface": {(0, 1): 0.0}}, "interface 0-1 is 0.0; it must be positive"),
        ({"contact": (0.0, 1.0)}, "contact is 0.0; it must be positive"),
        (
            {"contact": (1.0, 1.0), "electrodes": "centres"},
            "a contact resistance needs electrodes on the outer faces",
        ),
        ({"contact": (1.0, 1.0), "cell": True}, "a contact resistance needs electrodes"),
        ({"conductivity": {0: (1.0, 2.0), 1: 1.0}}, "label 0 has 2 numbers"),
        ({"conductivity": {0: (1.0, 0.0, 1.0), 1: 1.0}}, "0 along some axes only is not solved"),
        ({"conductivity": {0: (1.0, 1.0, 1.0), 1: (1.0, math.nan, 1.0)}}, "label 1 is nan"),
    ],
)
def test_bad_borders_are_named(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        conduct(BOX, **{"conductivity": {0: 1.0, 1: 1.0}, **more})
