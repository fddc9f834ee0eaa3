"""The surface of any voxels is closed, a manifold, and the same for any division into blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from tests.each import each
from tests.examples import costly
from tim3d.errors import ArgumentError
from tim3d.grid import Grid, Triple, triple
from tim3d.kernels.morphology import marching_cubes, mesh

Mesh = tuple[np.ndarray, np.ndarray]


def surface(voxels: np.ndarray, block: Triple | None = None) -> Mesh:
    """Vertices x, y, z in voxels, and faces; blocks of cells in the order of Morton."""
    padded = np.pad(voxels.astype(np.uint8), 1)
    cells = triple(n - 1 for n in padded.shape)
    parts = [
        marching_cubes.triangles(
            np.ascontiguousarray(padded[one.core.grow((0, 0, 0), (1, 1, 1)).slices]),
            one.core.start,
            triple(padded.shape),
        )
        for one in Grid(cells, block or cells)
    ]
    numbers, faces = mesh.welded(*(np.concatenate(found) for found in zip(*parts, strict=True)))
    places = mesh.positions(numbers, triple(padded.shape))
    return np.ascontiguousarray(places[:, ::-1]), faces


def smooth(shape: Triple, seed: int = 0, sigma: float = 2.0) -> np.ndarray:
    noise = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.asarray(noise > 0)


def is_manifold(faces: np.ndarray) -> bool:
    """Whether the triangles around every vertex are one fan."""
    around: dict[int, dict[int, int]] = {}
    for a, b, c in faces.tolist():
        for tip, low, high in ((a, b, c), (b, c, a), (c, a, b)):
            if low in around.setdefault(tip, {}):
                return False
            around[tip][low] = high
    for ring in around.values():
        start = at = next(iter(ring))
        steps = 0
        while at in ring and (steps == 0 or at != start):
            at, steps = ring[at], steps + 1
        if steps != len(ring):
            return False
    return True


voxels = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.builds(
        lambda seed, share: np.random.default_rng(seed).random(shape) < share,
        st.integers(0, 2**32),
        st.floats(0.05, 1.0),
    )
)


@given(voxels, st.tuples(*[st.integers(1, 5)] * 3))
def test_any_voxels_have_one_closed_manifold_whatever_the_blocks(
    found: np.ndarray, block: Triple
) -> None:
    whole, divided = surface(found), surface(found, block)
    assert mesh.is_closed(whole[1])
    assert is_manifold(whole[1])
    for one, other in zip(whole, divided, strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_configurations_fit_all_their_neighbours() -> None:
    """Two cells that share a face: every pair of configurations that agrees on it."""
    for code in range(0, 2**12, 7):
        bits = np.array([code >> n & 1 for n in range(12)], bool).reshape(3, 2, 2)
        _, faces = surface(bits)
        assert mesh.is_closed(faces)


def test_a_voxel_is_an_octahedron_with_its_corners_on_the_faces() -> None:
    vertices, faces = surface(np.ones((1, 1, 1), bool))
    assert (len(vertices), len(faces)) == (6, 8)
    assert mesh.volume(vertices, faces) == pytest.approx(1 / 6)
    assert vertices.min(axis=0).tolist() == [0, 0, 0]
    assert vertices.max(axis=0).tolist() == [1, 1, 1]


def test_voxels_that_touch_along_an_edge_are_two_bodies() -> None:
    touching = np.zeros((1, 2, 2), bool)
    touching[0, 0, 0] = touching[0, 1, 1] = True
    vertices, faces = surface(touching)
    assert (len(vertices), len(faces)) == (12, 16)


def test_normals_point_out_of_the_phase() -> None:
    for found in (np.ones((3, 4, 5), bool), smooth((9, 8, 7))):
        vertices, faces = surface(found)
        assert mesh.volume(vertices, faces) > 0


def test_as_many_triangles_as_scikit_image_where_no_face_is_ambiguous() -> None:
    from skimage.measure import marching_cubes as other

    z, y, x = np.indices((20, 22, 24))
    ball = (z - 9) ** 2 + (y - 10) ** 2 + (x - 11) ** 2 < 60
    _, faces = surface(ball)
    _, theirs, *_ = other(np.pad(ball, 1).astype(np.float32), 0.5)
    assert len(faces) == len(theirs)


def test_smoothing_makes_a_ball_round_and_keeps_its_volume() -> None:
    z, y, x = np.indices((44, 44, 44)) - 21.5
    ball = z**2 + y**2 + x**2 < 18**2
    vertices, faces = surface(ball)
    held = mesh.on_border(vertices, triple(ball.shape))
    moved = mesh.smoothed(vertices, faces, held, 30, float(ball.sum()))
    assert mesh.volume(moved, faces) == pytest.approx(ball.sum(), rel=1e-6)

    def roughness(places: np.ndarray) -> float:
        return float(np.linalg.norm(places - 22, axis=1).std())

    assert roughness(moved) < 0.4 * roughness(vertices)


def test_what_lies_on_an_outer_face_stays_on_it() -> None:
    found = smooth((16, 18, 20))
    vertices, faces = surface(found)
    held = mesh.on_border(vertices, triple(found.shape[::-1]))
    assert held.any()
    moved = mesh.smoothed(vertices, faces, held, 10, float(found.sum()))
    np.testing.assert_array_equal(moved[held], vertices[held])
    assert mesh.volume(moved, faces) == pytest.approx(found.sum(), rel=1e-6)


@each([0.5, 0.2, 0.08], str)
def test_a_decimated_surface_is_closed(keep: float) -> None:
    pytest.importorskip("fast_simplification", reason="pip install 'tim3d[export]'")
    found = smooth((30, 30, 30), sigma=2.5)
    vertices, faces = surface(found)
    places, fewer = mesh.decimated(vertices, faces, keep)
    assert len(fewer) == pytest.approx(keep * len(faces), rel=0.1)
    assert mesh.is_closed(fewer)
    assert fewer.max() < len(places)
    assert mesh.volume(places, fewer) == pytest.approx(mesh.volume(vertices, faces), rel=0.02)


def test_too_few_triangles_are_refused() -> None:
    pytest.importorskip("fast_simplification", reason="pip install 'tim3d[export]'")
    with pytest.raises(
        ArgumentError, match=r"would not be closed\. Keep more of them: --keep 0\.002"
    ):
        mesh.decimated(*surface(smooth((24, 24, 24), sigma=1.0)), 0.001)


def test_sheets_that_touch_along_an_edge_get_vertices_of_their_own() -> None:
    corners = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    other = [[0, 5, 1], [0, 1, 4], [0, 4, 5], [1, 5, 4]]
    both = np.array(corners + other)
    assert not mesh.is_closed(both)
    faces, origins = mesh.untouching(both, 6)
    assert mesh.is_closed(faces)
    assert origins.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    np.testing.assert_array_equal(origins[faces], both)


def test_pairs_of_opposite_triangles_go() -> None:
    solid = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    flap = np.array([[1, 2, 7], [2, 1, 7]])
    np.testing.assert_array_equal(mesh.without_flaps(np.concatenate([solid, flap])), solid)


@costly
@given(st.integers(0, 1000))
def test_any_order_of_blocks_gives_the_same_faces(seed: int) -> None:
    found = smooth((7, 8, 9), seed, 1.0)
    padded = np.pad(found.astype(np.uint8), 1)
    corners, cells = marching_cubes.triangles(padded, (0, 0, 0), triple(padded.shape))
    order = np.random.default_rng(seed).permutation(cells.max() + 1)
    mixed = np.concatenate([np.flatnonzero(cells == cell) for cell in order])
    for one, other in zip(
        mesh.welded(corners, cells), mesh.welded(corners[mixed], cells[mixed]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_faces_of_a_cell_are_seen_from_outside() -> None:
    corners = np.array(list(itertools.product((0, 1), repeat=3)))[:, ::-1]  # x, y, z
    for ring in marching_cubes.FACES:
        a, b, c, _ = (corners[n] for n in ring)
        outward = corners[ring].mean(axis=0) - 0.5
        assert np.dot(np.cross(b - a, c - b), outward) > 0
