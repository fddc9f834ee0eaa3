"""A body is the same bits for every cut, and as many voxels, faces and pieces as its closed form says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.phantoms import Ball, Balls, Cuboid, Gyroid, HalfSpace, Layers, draw

SPACING = (2.0, 1.0, 0.5)
SHAPE = (13, 17, 19)
BODIES = [
    Ball((12.0, 8.0, 5.0), 7.3),
    Balls((Ball((5.0, 5.0, 5.0), 3.0), Ball((15.0, 9.0, 5.0), 4.0))),
    Cuboid((2.0, 3.0, 1.0), (20.0, 9.0, 7.7)),
    HalfSpace((1.0, -2.0, 0.7), 5.0),
    Layers(1, 3.0, 5.5),
    Gyroid(9.0),
]


@st.composite
def boxes(draw_):
    edges = [
        sorted(draw_(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))
        for n in SHAPE
    ]
    return Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
@given(box=boxes())
def test_a_body_drawn_in_any_box_is_that_part_of_the_whole(body, box):
    whole = draw(body, Box.whole(SHAPE), SPACING)
    assert 0 < whole.mean() < 1
    assert np.array_equal(draw(body, box, SPACING), whole[box.slices])


@given(box=boxes())
def test_a_level_cut_in_any_box_is_that_part_of_the_whole(box):
    cut = LevelCut(0.6, 6.0, seed=3, waves=40)
    field = cut.field(Box.whole(SHAPE), SPACING)
    assert np.array_equal(cut.field(box, SPACING), field[box.slices])
    assert np.array_equal(cut.labels(box, SPACING), field[box.slices] > cut.level)


@given(
    normal=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda n: math.hypot(*n) > 0.1),
    place=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_half_space_truth_against_a_fine_count(normal, place):
    extent = (5.0, 3.0, 2.0)
    point = [p * e for p, e in zip(place, extent, strict=True)]
    body = HalfSpace(normal, float(np.dot(normal, point)))
    count = 60
    spacing = tuple(e / count for e in extent)
    counted = draw(body, Box.whole((count,) * 3), spacing).mean() * math.prod(extent)
    truth = body.truth_in(extent)
    # A cut plane passes through at most 3 count^2 cells, and misjudges half a cell on average far
    # less.
    assert truth.volume == pytest.approx(counted, abs=math.prod(extent) * 1.0 / count)
    thick = 1e-3
    unit = math.hypot(*normal)
    above = HalfSpace(normal, body.offset + thick * unit / 2).truth_in(extent).volume
    below = HalfSpace(normal, body.offset - thick * unit / 2).truth_in(extent).volume
    touches_flat_face = min(abs(n) / unit for n in normal) < 0.01
    if not touches_flat_face:
        assert truth.area == pytest.approx((above - below) / thick, rel=0.05, abs=0.05)


def test_axis_planes_have_the_section_of_the_box():
    truth = HalfSpace((0.0, 0.0, -3.0), -3.0).truth_in((4.0, 5.0, 6.0))
    assert truth.volume == pytest.approx(4 * 5 * 5)
    assert truth.area == pytest.approx(20)
    diagonal = HalfSpace((0.0, 1.0, 1.0), 2.0).truth_in((3.0, 2.0, 2.0))
    assert (diagonal.volume, diagonal.area) == (pytest.approx(6.0), pytest.approx(3 * math.sqrt(8)))


@pytest.mark.parametrize(
    "body", [HalfSpace((1.0, 1.0, 1.0), -1.0), HalfSpace((1.0, 1.0, 1.0), 99.0)]
)
def test_planes_that_miss_the_box_have_no_area(body):
    truth = body.truth_in((4.0, 4.0, 4.0))
    assert truth.area == pytest.approx(0.0, abs=1e-9)
    assert truth.volume == pytest.approx(0.0 if body.offset < 0 else 64.0)


@pytest.mark.parametrize(("radius", "tolerance"), [(5.0, 0.03), (10.0, 0.01), (20.0, 0.003)])
def test_ball_volume(radius, tolerance):
    ball = Ball((22.3, 21.9, 22.1), radius)
    count = int(draw(ball, Box.whole((22, 44, 88)), SPACING).sum())
    assert count * math.prod(SPACING) == pytest.approx(ball.truth.volume, rel=tolerance)
    assert ball.truth.area == pytest.approx(4 * math.pi * radius**2)
    assert ball.truth.mean_curvature == pytest.approx(ball.truth.area / radius)


@pytest.mark.parametrize("body", [BODIES[0], BODIES[1], BODIES[2]], ids=["ball", "balls", "cuboid"])
def test_euler_number_of_pieces(body):
    padded = np.pad(draw(body, Box.whole(SHAPE), SPACING), 1)
    assert measure.euler_number(padded, connectivity=3) == body.truth.euler


@pytest.mark.parametrize("length", [11.0, 12.0, 15.0, 16.5])
def test_layers_against_a_count(length):
    layers = Layers(0, 2.0, 5.0)
    column = draw(layers, Box.whole((int(length * 2), 1, 1)), (0.5, 1.0, 1.0)).ravel()
    truth = layers.truth_in((length, 1.0, 1.0))
    assert truth.volume == pytest.approx(column.sum() * 0.5)
    assert truth.area == np.count_nonzero(np.diff(column))
    assert truth.euler == np.count_nonzero(np.diff(np.concatenate([[0], column])) == 1)


def test_gyroid_truth():
    cells, period = 8, 24
    solid = draw(Gyroid(float(period)), Box.whole((2 * period,) * 3))
    truth = Gyroid(float(period)).truth_of(cells)
    assert solid.sum() == pytest.approx(truth.volume, rel=1e-3)
    assert periodic_euler(solid) == truth.euler
    z, y, x = (
        2 * math.pi / period * (np.arange(period + 1)).reshape(s)
        for s in [(-1, 1, 1), (1, -1, 1), (1, 1, -1)]
    )
    field = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    vertices, faces, _, _ = measure.marching_cubes(field, 0.0)
    assert 8 * measure.mesh_surface_area(vertices, faces) == pytest.approx(truth.area, rel=5e-3)


def periodic_euler(solid: np.ndarray) -> int:
    """Vertices - edges + faces - cells of the union of closed voxels on a torus, from their definition."""
    total = 0
    for spread in np.ndindex(2, 2, 2):
        cells = solid.astype(bool)
        for axis, open_ in enumerate(spread):
            cells = cells | np.roll(cells, 1, axis) if not open_ else cells
        total += (-1) ** sum(spread) * int(cells.sum())
    return total


def test_random_packing_keeps_its_distances():
    packing = Balls.random((30.0, 30.0, 30.0), 4.0, count=20, seed=1)
    places = np.array([ball.centre for ball in packing.members])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)[~np.eye(20, dtype=bool)]
    assert gaps.min() > 8
    assert 4 <= places.min() <= places.max() <= 26
    assert packing == Balls.random((30.0, 30.0, 30.0), 4.0, count=20, seed=1)
    assert packing.truth.volume == pytest.approx(20 * Ball((0, 0, 0), 4.0).truth.volume)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Ball((0, 0, 0), 0.0),
        lambda: Balls(()),
        lambda: Balls((Ball((0, 0, 0), 1.0), Ball((0, 0, 2.0), 1.0))),
        lambda: Balls.random((9.0, 9.0, 9.0), 4.0, count=5, seed=0, tries=50),
        lambda: Balls.random((5.0, 9.0, 9.0), 4.0, count=1, seed=0),
        lambda: Cuboid((0, 0, 0), (1, 0, 1)),
        lambda: HalfSpace((0, 0, 0), 1.0),
        lambda: Layers(3, 1.0, 2.0),
        lambda: Layers(0, 2.0, 2.0),
        lambda: Gyroid(-1.0),
        lambda: draw(Gyroid(5.0), Box.whole((2, 2, 2)), (1.0, 0.0, 1.0)),
        lambda: LevelCut(1.0, 5.0, 0),
        lambda: LevelCut(0.5, 0.0, 0),
    ],
)
def test_impossible_bodies_are_refused(build):
    with pytest.raises(ArgumentError):
        build()
