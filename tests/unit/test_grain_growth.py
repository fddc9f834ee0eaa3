"""Laws of grain growth by a multi-phase field, and of the polycrystals that it makes."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from tim3d.errors import ArgumentError
from tim3d.generators import Box, Polycrystal
from tim3d.kernels.generation.grain_growth import (
    SLOTS,
    WIDTH,
    GrainCell,
    boundaries,
    grains,
    step_bytes,
)

NM = (1.0, 1.0, 1.0)


def two_grains(inside: np.ndarray) -> np.ndarray:
    """A state of grain 2 in grain 1."""
    state = np.zeros((2, *inside.shape, SLOTS), np.float32)
    state[0, ..., 0] = np.where(inside, 2, 1)
    state[1, ..., 0] = 1
    return state


def share(state: np.ndarray, number: int) -> np.ndarray:
    return np.where(state[0] == number, state[1], 0).sum(-1, dtype=np.float64)


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (1.0, 0.8, 1.0), (3.0, 1.0, 0.7)])
def test_a_circle_loses_area_at_the_rate_of_its_law(edges: tuple[float, float, float]) -> None:
    """2 pi in the unit of time, less the error of a thin boundary; radius and voxels do not show."""
    cell = GrainCell((1, 60, 60), edges)
    y, x = ((np.arange(60) - 29.5) * d for d in edges[1:])
    state = two_grains(np.hypot(y[:, None], x[None])[None] < 17)
    areas = []
    for _ in range(60):
        cell.step(state)
    for _ in range(3):
        areas.append(share(state, 2).sum() * edges[1] * edges[2])
        for _ in range(100):
            cell.step(state)
    rates = -np.diff(areas) / (100 * cell.time_step) / (2 * math.pi)
    assert rates == pytest.approx(np.full(2, 0.94), abs=0.03)


def test_a_boundary_is_a_sine_of_its_width() -> None:
    cell = GrainCell((1, 2, 64), NM)
    x = np.arange(64) + 0.5
    state = two_grains(np.broadcast_to((x > 16) & (x < 48), (1, 2, 64)))
    for _ in range(400):
        cell.step(state)
    inward = np.minimum(x - 16, 48 - x)
    exact = (1 + np.sin(math.pi * np.clip(inward / WIDTH, -0.5, 0.5))) / 2
    assert np.abs(share(state, 2)[0, 0] - exact).max() < 0.02


def test_shares_sum_to_one_and_no_grain_comes_back() -> None:
    cell = GrainCell((6, 14, 15), (1.0, 0.9, 0.8))
    state = cell.begin(np.random.default_rng(2).random((12, 3)) * (6, 14, 15))
    left = grains(state)
    assert left == 12
    for _ in range(25):
        cell.step(state)
        assert np.abs(state[1].sum(-1) - 1).max() < 1e-6
        assert (np.diff(state[1], axis=-1) <= 0).all(), "the largest first"
        assert grains(state) <= left
        left = grains(state)


def test_a_step_is_that_of_the_equation_written_down() -> None:
    """Against one field for each grain, where no voxel holds more than its slots."""
    cell = GrainCell((1, 12, 13), (1.0, 0.8, 1.0))
    state = cell.begin(np.random.default_rng(3).random((3, 3)) * (1, 12, 13))
    for _ in range(5):
        phi = np.stack([share(state, n) for n in (1, 2, 3)])
        lap = sum(
            (np.roll(phi, 1, a) + np.roll(phi, -1, a) - 2 * phi) / d**2
            for a, d in ((2, 0.8), (3, 1.0))
        )
        near = sum(np.roll(phi, s, a) for a in (2, 3) for s in (1, -1)) + phi > 0
        force = np.where(near, lap / 2 + (math.pi / WIDTH) ** 2 / 2 * phi, 0)
        phi += np.where(near, 2 * cell.time_step * (force - force.sum(0) / near.sum(0)), 0)
        phi = np.maximum(phi, 0)
        phi /= phi.sum(0)
        cell.step(state)
        assert max(np.abs(share(state, n) - phi[n - 1]).max() for n in (1, 2, 3)) < 1e-5


def test_planes_of_a_cell_do_not_show() -> None:
    """The same structure with its axes exchanged, by planes of other neighbours."""
    points = np.random.default_rng(4).random((9, 3)) * (10, 12, 14)
    one, other = GrainCell((10, 12, 14), NM), GrainCell((14, 12, 10), NM)
    a, b = one.begin(points), other.begin(points[:, ::-1])
    for _ in range(15):
        one.step(a)
        other.step(b)
    for n in range(1, 10):
        assert share(a, n) == pytest.approx(share(b, n).transpose(2, 1, 0), abs=1e-4)


@cache
def plane() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the grains of a plane structure, some time later, and its labels."""
    model = Polycrystal(18.0, NM, 1, (1, 80, 80), growth=4.0)
    state = model.begin()
    while model.grow(state) < 1:
        pass
    labels, before = model.grown(state)[0], state[0, 0, ..., 0].copy()
    cell = GrainCell(model.cell, NM)
    for _ in range(60):
        cell.step(state)
    return before, state[0, 0, ..., 0].copy(), labels


def sides(numbers: np.ndarray) -> dict[int, int]:
    """Neighbours of every grain."""
    pairs = set()
    for axis in (0, 1):
        other = np.roll(numbers, 1, axis)
        at = numbers != other
        pairs |= set(zip(numbers[at].tolist(), other[at].tolist(), strict=True))
    pairs |= {(b, a) for a, b in pairs}
    return {n: sum(a == n for a, _ in pairs) for n in set(numbers.ravel().tolist())}


@pytest.mark.long
def test_grains_have_six_sides_and_von_neumanns_law() -> None:
    before, after, _ = plane()
    count = sides(before)
    assert np.mean(list(count.values())) == pytest.approx(6, abs=0.15)
    gained = {n: int((after == n).sum() - (before == n).sum()) for n in count}
    few, many = (
        [gained[n] for n in count if keep(count[n])] for keep in (lambda s: s < 6, lambda s: s > 6)
    )
    assert np.mean(few) < 0 < np.mean(many)
    slope = np.polyfit(list(count.values()), list(gained.values()), 1)[0]
    wanted = math.pi / 3 * 60 * GrainCell((1, 80, 80), NM).time_step
    assert slope == pytest.approx(wanted, rel=0.35), "small grains vanish on the way"


@pytest.mark.long
def test_grains_that_are_left_have_the_size_and_share_no_face() -> None:
    before, _, labels = plane()
    assert len(np.unique(before)) <= round(80**2 / (math.pi / 4 * 18**2))
    for axis in (0, 1):
        crossing = (before != np.roll(before, 1, axis)) & (labels == 1)
        assert not (crossing & (np.roll(labels, 1, axis) == 1)).any()


def test_boundaries_have_their_thickness() -> None:
    cell = GrainCell((1, 2, 64), NM)
    state = two_grains(np.broadcast_to((np.arange(64) > 15) & (np.arange(64) < 48), (1, 2, 64)))
    for _ in range(400):
        cell.step(state)
    for thickness, voxels in ((0.0, 1), (2.0, 2), (4.0, 4)):
        assert int((boundaries(state, thickness)[0, 0] == 0).sum()) == 2 * voxels, thickness


def test_a_polycrystal_repeats_and_its_memory_is_known() -> None:
    model = Polycrystal(11.0, (2.0, 1.0, 1.0), 5, (1, 34, 36), growth=2.0)
    cell = model.labels(Box.whole(model.cell))
    beyond = model.labels(Box((-2, 30, 30), (3, 80, 50)))
    index = [np.arange(a, b) % n for a, b, n in ((-2, 3, 1), (30, 80, 34), (30, 50, 36))]
    assert np.array_equal(beyond, cell[np.ix_(*index)])
    assert model.growth_bytes >= step_bytes(model.cell) > model.begin().nbytes
    assert ndimage.label(cell[0])[1] > 5


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"grain_nm": -1.0}, "positive lengths"),
        ({"growth": 1.0}, "out of range: 2 to 1000"),
        ({"boundary_nm": 6.0}, "a boundary of 6 nm is out of range: up to 5 voxels, 5 nm"),
        ({"grain_nm": 7.0}, "a growth of 2 needs 7.07: take smaller voxels"),
        ({"cell": (1, 34, 30)}, "along x is shorter than 3 grains"),
        ({"cell": (1, 1, 36)}, "needs two long axes"),
    ],
)
def test_what_cannot_be_grown_is_refused(other: dict[str, object], words: str) -> None:
    given: dict[str, object] = {
        "grain_nm": 11.0, "spacing_nm": NM, "seed": 1, "cell": (1, 34, 36), "growth": 2.0
    }  # fmt: skip
    with pytest.raises(ArgumentError, match=words):
        Polycrystal(**(given | other))  # type: ignore[arg-type]
