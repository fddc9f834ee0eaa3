"""Thermal interfaces: packed between walls that are not touched, rough surfaces, voids and gaps of a known law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import spatial

from tests.examples import costly
from tim3d.errors import ArgumentError, ConvergenceError
from tim3d.generators import Delamination, Grains, RoughSurface, ThermalInterface, Voids
from tim3d.generators import squeezed_bond_line_nm as squeezed
from tim3d.grid import Box
from tim3d.kernels.generation import point_process
from tim3d.kernels.generation.particles import draw
from tim3d.kernels.generation.slab_packing import Gap, packed_slab

ONE = Grains((10.0,), (1.0,))
PLATES = Grains((8.0, 12.0), (2.0, 1.0), 0.4, (1.0, 0.0, 0.0))
FIBRES = Grains((10.0,), (1.0,), 3.0, (0.0, 0.0, 1.0))
SPACING = (2.0, 1.0, 1.5)
CELL = (64, 48)


def rough(rms: float, seed: int = 3) -> dict[str, RoughSurface]:
    """Two surfaces of the cell."""
    low, high = (
        RoughSurface(rms, 0.8, 48.0, 6.0, SPACING[1:], CELL, seed, stream) for stream in (8, 9)
    )
    return {"lower": low, "upper": high}


WAVES = rough(1.5)
RESIN, FILLER, BELOW, ABOVE, VOID = range(5)


def model(grains: Grains = ONE, loading: float = 0.4, **more: Any) -> ThermalInterface:
    """An interface of 24 voxels of bond line on 4 of a substrate."""
    given = {"seed": 3, "bond_line_nm": 48.0, "substrate_nm": 8.0, "cell": CELL, **more}
    return ThermalInterface(grains, loading, SPACING, **given)


def whole(interface: ThermalInterface) -> np.ndarray:
    return interface.labels(Box.whole((33, *interface.cell)))


KINDS = {
    "flat": model(),
    "plates": model(PLATES, 0.35),
    "fibres": model(FIBRES, 0.35),
    "rough": model(**WAVES),
    "films": model(loading=0.25, film_nm=2.0),
    "rough plates": model(PLATES, 0.3, **WAVES),
    "all": model(
        **WAVES, voids=Voids(0.2, 5.0), delamination=Delamination(12.0, 2.0, 0.3, 0.1)
    ),
}  # fmt: skip
WHOLE: dict[str, np.ndarray] = {}


@pytest.mark.parametrize("name", ["plates", "all"])
@costly
@given(
    start=st.tuples(st.integers(0, 12), *[st.integers(-20, 40)] * 2),
    edges=st.tuples(*[st.integers(1, 20)] * 3),
)
def test_any_box_has_the_bits_of_the_whole(
    name: str, start: tuple[int, int, int], edges: tuple[int, int, int]
) -> None:
    """Along y and x the cell is repeated."""
    if name not in WHOLE:
        WHOLE[name] = np.tile(whole(KINDS[name]), (1, 3, 3))
    box = Box(start, tuple(a + n for a, n in zip(start, edges, strict=True)))  # type: ignore[arg-type]
    assert np.array_equal(KINDS[name].labels(box), WHOLE[name][_moved(box).slices])


def _moved(box: Box) -> Box:
    step = (0, *CELL)
    low, high = ([a + d for a, d in zip(end, step, strict=True)] for end in (box.start, box.stop))
    return Box(tuple(low), tuple(high))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
def test_particles_touch_neither_each_other_nor_a_substrate(name: str) -> None:
    interface = KINDS[name]
    rows = interface.particles(Box((-20, -10, -10), (60, 74, 58)))
    stretch = np.array(interface.grains.stretch)
    gaps = spatial.distance.pdist(rows[:, :3] / stretch)
    touch = spatial.distance.pdist(rows[:, 6:7], lambda a, b: (a[0] + b[0]) / 2) + interface.film_nm
    assert (gaps / touch).min() >= 1 - 1e-9
    box = Box.whole((33, *CELL))
    alone = draw(interface.particles(box), interface.grains.aspect, box, SPACING)
    labels = whole(interface)
    assert not ((alone == 1) & np.isin(labels, (BELOW, ABOVE))).any()
    assert alone.mean() * 33 / 24 == pytest.approx(interface.loading, abs=0.02)


def test_particles_on_a_rough_substrate_reach_into_its_valleys() -> None:
    """Walls at the highest peak would leave a layer of resin there."""
    interface = KINDS["rough"]
    low, _ = interface.heights()
    lowest = interface.particles_of_cell()[:, 0].min() - 5.0
    assert lowest < low.max() - 1.0


def test_a_flat_wall_is_a_rough_one_without_heights() -> None:
    """The short way for flat walls has the bits of the lattice of heights."""
    edges, flat = np.array([48.0, 64.0, 72.0]), np.zeros((1, 1))
    short = packed_slab(ONE, 120, 5, Gap(edges, flat, flat))
    level = np.zeros((64, 48))
    assert np.array_equal(short, packed_slab(ONE, 120, 5, Gap(edges, level, level)))


def test_the_mean_bond_line_is_that_asked_for() -> None:
    for name in ("flat", "rough"):
        share = np.isin(whole(KINDS[name]), (BELOW, ABOVE)).mean()
        assert (1 - share) * 33 * 2.0 == pytest.approx(48.0, abs=0.1)


def test_the_voids_fill_their_share_of_the_resin() -> None:
    found = []
    for seed in range(8):
        labels = whole(model(seed=seed, voids=Voids(0.2, 5.0)))
        found.append((labels == VOID).sum() / np.isin(labels, (RESIN, VOID)).sum())
    assert np.mean(found) == pytest.approx(0.2, abs=4 * np.std(found) / np.sqrt(8))
    assert np.std(found) < 0.02


def test_the_gaps_cover_their_shares_of_both_substrates() -> None:
    """One voxel thick, on the particles too, and elsewhere nothing is another phase."""
    found = []
    plain = [np.isin(whole(model(seed=s)), (BELOW, ABOVE)) for s in range(8)]
    for seed in range(8):
        labels = whole(model(seed=seed, delamination=Delamination(10.0, 2.0, 0.4, 0.1)))
        void = labels == VOID
        assert np.array_equal(np.isin(labels, (BELOW, ABOVE)), plain[seed])
        assert void.sum() == void[4].sum() + void[27].sum()
        found.append((void[4].mean(), void[27].mean()))
    errors = 4 * np.std(found, axis=0) / np.sqrt(8)
    assert np.abs(np.mean(found, axis=0) - (0.4, 0.1)).max() < errors.max() < 0.2


def test_packing_is_the_same_when_it_is_packed_again() -> None:
    """Surfaces and packings are kept for a while: others have pushed these out when they are asked for again."""
    before = KINDS["rough"].particles_of_cell().copy()
    for seed in range(5):
        model(seed=seed, **rough(1.5, seed), loading=0.2).particles_of_cell()
    assert np.array_equal(before, KINDS["rough"].particles_of_cell())


REFUSED = [
    ({"bond_line_nm": 1.0}, "bond line of 1 nm is thinner than a voxel of 2 nm"),
    ({"substrate_nm": 1.0}, "substrate of 1 nm is thinner than a voxel of 2 nm"),
    ({"bond_line_nm": 47.0}, r"is 23\.5 voxels of 2 nm along z; it takes whole ones, as 48 nm"),
    ({"bond_line_nm": 8.0}, "do not fit into a bond line of 8 nm"),
    ({"loading": 0.7}, r"between 0 and 0\.6, not 0\.7"),
    ({"loading": 0.5, "film_nm": 2.0}, r"not 0\.5 \(0\.864 with their films\)"),
    ({"film_nm": -1.0}, "a film of -1 nm: its thickness is 0 or more"),
    ({"cell": (20, 48)}, "narrower than three particles"),
    ({"bond_line_nm": 12.0, "loading": 0.01}, "8 to 50000 are possible"),
    ({"grains": Grains((10.0,), (1.0,), 3.0)}, "all point along one axis: --orientation 1,0,0"),
    ({"voids": Voids(0.1, 60.0)}, "wider than half of the interface"),
    ({"delamination": Delamination(10.0, 1.0, 0.1)}, "a gap of 1 nm is thinner than a voxel of 2"),
    ({"delamination": Delamination(40.0, 2.0, 0.1)}, "at most a quarter of the edges"),
    ({"lower": RoughSurface(1.0, 0.8, 40.0, 6.0, (1.0, 1.0), CELL, 0)}, "those of the interface"),
    ({"upper": RoughSurface(1.0, 0.8, 40.0, 6.0, (1.0, 1.5), (64, 50), 0)}, "those of the interface"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), REFUSED, ids=[says[:30] for _, says in REFUSED])
def test_what_cannot_be_is_refused_at_once(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        model(**wrong)


def test_parts_that_cannot_be_are_refused() -> None:
    for share in (-0.1, 1.0):
        with pytest.raises(ArgumentError, match=r"it lies in \[0, 1\)"):
            Delamination(10.0, 2.0, share)
    with pytest.raises(ArgumentError, match="nothing is delaminated"):
        Delamination(10.0, 2.0)
    with pytest.raises(ArgumentError, match=r"share of the resin between 0 and 0\.9"):
        Voids(0.95, 5.0)


def test_a_substrate_covers_its_face_and_does_not_touch_the_other() -> None:
    with pytest.raises(ArgumentError, match="the upper substrate is thinner than a voxel"):
        model().of_shape((28, *CELL))
    assert model().of_shape((29, *CELL)) == model()
    high = rough(4.0)
    with pytest.raises(ArgumentError, match="the deepest valley of the upper substrate"):
        model(**high, substrate_nm=40.0).of_shape((45, *CELL))
    with pytest.raises(ArgumentError, match=r"come within .* nm of each other"):
        model(**high, bond_line_nm=14.0, substrate_nm=40.0).check()


def test_a_packing_that_cannot_be_reached_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_process, "SWEEPS", 30)
    with pytest.raises(
        ConvergenceError, match="a lower loading, thinner films or a thicker bond line"
    ):
        model(loading=0.59, bond_line_nm=24.0).check()


def test_the_bond_line_of_a_pressure_falls_by_the_published_power() -> None:
    assert squeezed(1.0, 1.0) == pytest.approx(131e3)
    assert squeezed(2.0, 1.0) / squeezed(1.0, 1.0) == pytest.approx(2**-0.166)
    for pressure, stress in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ArgumentError, match="above 0"):
            squeezed(pressure, stress)
