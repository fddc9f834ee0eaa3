"""Grains in a matrix against what is known in closed form, and grains that must not touch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, spatial, stats

from tests.examples import costly
from tim3d.errors import ArgumentError, ConvergenceError
from tim3d.grid import Box
from tim3d.kernels.generation import point_process
from tim3d.kernels.generation.packing import HardCore, Overlapping, Packed
from tim3d.kernels.generation.particles import Grains, draw, lognormal

ONE = Grains((12.0,), (1.0,))
SPACING = (2.0, 1.0, 1.0)
SHAPE = (50, 100, 100)
MIXED = lognormal(10.0, 0.3)
PLATES = Grains(tuple(MIXED), tuple(MIXED.values()), 0.25, (1.0, 0.3, 0.0))


def spread_of(values: list[float]) -> float:
    """Standard error of the mean, with room for so few values."""
    return 4 * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def surfaces(aspect: float) -> float:
    """Surface of a spheroid of unit volume-diameter by quadrature of its profile."""
    e, p = aspect ** (-1 / 3) / 2, aspect ** (2 / 3) / 2
    area, _ = integrate.quad(
        lambda t: 2 * math.pi * e * math.sin(t) * math.hypot(e * math.cos(t), p * math.sin(t)),
        0,
        math.pi,
    )
    return area


@pytest.mark.parametrize("aspect", [0.2, 0.9, 1.0, 1.1, 4.0])
def test_surface_of_a_spheroid(aspect: float) -> None:
    assert Grains((1.0,), (1.0,), aspect).mean_surface == pytest.approx(surfaces(aspect), rel=1e-8)


def test_axes_have_the_law_they_should() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (20000, 3), dtype=np.uint32)
    even = Grains((1.0,), (1.0,), 2.0).axes(words)
    np.testing.assert_allclose((even**2).sum(axis=1), 1, rtol=1e-12)
    assert stats.kstest(even[:, 0], "uniform", (-1, 2)).pvalue > 0.001
    assert np.abs(Grains((1.0,), (1.0,), 2.0, (0.0, 1.0, 1.0)).axes(words)[:, 0]).max() == 0
    np.testing.assert_allclose(
        np.abs(Grains((1.0,), (1.0,), 2.0, (1.0, 0.0, 0.0)).axes(words)[:, 0]), 1
    )


def test_a_drawn_spheroid_is_the_plain_test_of_its_voxels() -> None:
    axis = np.array([2.0, -1.0, 0.5]) / math.sqrt(5.25)
    row = np.array([[9.0, 11.0, 8.5, *axis, 10.0]])
    box = Box((-1, 2, 1), (11, 22, 19))
    places = (
        np.stack(np.meshgrid(*map(np.arange, box.start, box.stop), indexing="ij"), -1) + 0.5
    ) * SPACING
    along = (places - row[0, :3]) @ axis
    across = ((places - row[0, :3]) ** 2).sum(-1) - along**2
    equator, pole = 5 * 3 ** (-1 / 3), 5 * 3 ** (2 / 3)
    expected = across / equator**2 + along**2 / pole**2 <= 1
    assert np.array_equal(draw(row, 3.0, box, SPACING), expected)
    assert expected.sum() * 2 == pytest.approx(math.pi / 6 * 1000, rel=0.03)


@pytest.mark.parametrize("grains", [ONE, PLATES], ids=["spheres", "plates"])
def test_overlapping_grains_fill_what_they_should(grains: Grains) -> None:
    found = [
        float(Overlapping(grains, 0.4, SPACING, seed).labels(Box.whole(SHAPE)).mean())
        for seed in range(8)
    ]
    assert spread_of(found) < 0.05
    assert np.mean(found) == pytest.approx(0.4, abs=spread_of(found))


def test_two_point_function_of_overlapping_spheres() -> None:
    model = Overlapping(ONE, 0.4, SPACING, 0)
    assert model.two_point(0.0) == pytest.approx(0.4)
    assert model.two_point(30.0) == pytest.approx(0.16)
    volumes = [Overlapping(ONE, 0.4, SPACING, s).labels(Box.whole(SHAPE)) for s in range(8)]
    for lag in (2, 4, 8, 16):
        along_x = [float((v[..., lag:] & v[..., :-lag]).mean()) for v in volumes]
        along_z = [float((v[lag // 2 :] & v[: -(lag // 2)]).mean()) for v in volumes]
        for found in (along_x, along_z):
            assert np.mean(found) == pytest.approx(
                model.two_point(lag), abs=max(spread_of(found), 0.004)
            )


def test_numbers_of_points_are_poisson() -> None:
    low, high = np.zeros(3), np.full(3, 80.0)
    counts = [
        len(point_process.strewn(ONE, 2e-4, s, SPACING, (0, 0, 0), low, high)) for s in range(60)
    ]
    mean = 2e-4 * 80**3
    assert np.mean(counts) == pytest.approx(mean, abs=4 * math.sqrt(mean / 60))
    assert np.var(counts, ddof=1) == pytest.approx(mean, rel=0.7)


def test_hard_core_grains_fill_what_they_should_and_never_touch() -> None:
    two = Grains((8.0, 14.0), (3.0, 1.0))
    for grains, loading in ((ONE, 0.1), (two, 0.09)):
        found = []
        for seed in range(8):
            model = HardCore(grains, loading, SPACING, seed)
            box = Box.whole(SHAPE)
            found.append(float(model.labels(box).mean()))
            _apart(model.particles(box))
        assert np.mean(found) == pytest.approx(loading, abs=spread_of(found))
        assert spread_of(found) < 0.015


def _apart(rows: np.ndarray, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
    """No two grains overlap, by all pairs."""
    gaps = spatial.distance.pdist(rows[:, :3] / stretch)
    touch = spatial.distance.pdist(rows[:, 6:7], lambda a, b: (a[0] + b[0]) / 2)
    assert (gaps / touch).min() >= 1 - 1e-9


def test_overlapping_grains_do_touch() -> None:
    """The control of the test before."""
    with pytest.raises(AssertionError):
        _apart(Overlapping(ONE, 0.1, SPACING, 0).particles(Box.whole(SHAPE)))


@pytest.mark.long
@pytest.mark.parametrize(("loading", "aspect"), [(0.3, 1.0), (0.5, 3.0), (0.58, 1.0)])
def test_a_packed_cell(loading: float, aspect: float) -> None:
    sizes = lognormal(10.0, 0.2)
    grains = Grains(tuple(sizes), tuple(sizes.values()), aspect, (0.0, 0.0, 1.0))
    edges = (60.0, 60.0, 120.0)
    model = Packed(grains, loading, SPACING, 3, edges)
    assert model.filled == pytest.approx(loading, abs=0.01)
    around = Box((-10, -20, -20), (40, 80, 140))
    _apart(model.particles(around), grains.stretch)  # type: ignore[arg-type]
    cell = model.labels(Box.whole((30, 60, 120)))
    assert cell.mean() == pytest.approx(model.filled, abs=0.012)
    again = model.labels(Box((30, -60, 120), (60, 0, 240)))
    assert np.array_equal(again, cell)
    first = model.cell().copy()
    point_process.packed_cell.cache_clear()
    assert np.array_equal(first, model.cell())


MODELS = [
    Overlapping(PLATES, 0.35, SPACING, 4),
    Overlapping(ONE, 0.35, SPACING, 4, (24, 48, 60)),
    HardCore(ONE, 0.1, SPACING, 4),
    HardCore(ONE, 0.1, SPACING, 4, (24, 48, 60)),
    Packed(ONE, 0.45, SPACING, 4, (48.0, 48.0, 60.0)),
]
WHOLE: dict[int, np.ndarray] = {}


@pytest.mark.parametrize("number", range(len(MODELS)))
@costly
@given(start=st.tuples(*[st.integers(0, 20)] * 3), edges=st.tuples(*[st.integers(1, 20)] * 3))
def test_any_box_has_the_bits_of_the_whole(
    number: int, start: tuple[int, int, int], edges: tuple[int, int, int]
) -> None:
    model = MODELS[number]
    if number not in WHOLE:
        WHOLE[number] = model.labels(Box.whole((40, 40, 40)))
    box = Box(start, tuple(a + n for a, n in zip(start, edges, strict=True)))  # type: ignore[arg-type]
    assert np.array_equal(model.labels(box), WHOLE[number][box.slices])


@pytest.mark.parametrize("model", [MODELS[1], MODELS[3]], ids=["overlapping", "hard-core"])
def test_periodic_volumes_close(model: Overlapping | HardCore) -> None:
    z, y, x = model.period
    whole = model.labels(Box.whole(model.period))
    assert whole.any()
    assert np.array_equal(model.labels(Box((-z, y, 0), (0, 2 * y, x))), whole)
    if isinstance(model, HardCore):
        _apart(model.particles(Box((-5, -5, -5), (z + 5, y + 5, x + 5))))


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"fill between 0 and 0\.1225, not 0\.2; --kind packed"):
        HardCore(ONE, 0.2, SPACING, 0)
    with pytest.raises(ArgumentError, match="all point along one axis: --orientation 1,0,0"):
        Packed(PLATES, 0.2, SPACING, 0, (100.0, 100.0, 100.0))
    with pytest.raises(ArgumentError, match=r"between 0 and 0\.6, not 0\.7"):
        Packed(ONE, 0.7, SPACING, 0, (100.0, 100.0, 100.0))
    with pytest.raises(ArgumentError, match="narrower than three particles"):
        Packed(ONE, 0.3, SPACING, 0, (100.0, 30.0, 100.0))
    with pytest.raises(ArgumentError, match="8 to 50000 are possible"):
        Packed(ONE, 0.3, SPACING, 0, (1000.0, 1000.0, 1000.0))
    with pytest.raises(ArgumentError, match="period of 20 nm is shorter than two particles"):
        Overlapping(ONE, 0.3, SPACING, 0, (10, 50, 50))
    for wrong in ({"aspect": 0.0}, {"orientation": (0.0, 0.0, 0.0)}):
        with pytest.raises(ArgumentError, match="particles need an aspect"):
            Grains((1.0,), (1.0,), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="positive diameters"):
        Grains((1.0, -1.0), (1.0, 1.0))
    with pytest.raises(ArgumentError, match="0 <= spread"):
        lognormal(10.0, -1.0)
    monkeypatch.setattr(point_process, "SWEEPS", 1)
    with pytest.raises(ConvergenceError, match="still overlap"):
        Packed(ONE, 0.5, SPACING, 99, (60.0, 60.0, 60.0)).cell()
