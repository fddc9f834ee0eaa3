"""Correlations, chords and clusters against closed forms, definitions and themselves in other blocks."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.examples import costly
from tim3d.descriptors import ChordLength, ClusterCorrelation, Correlation
from tim3d.descriptors.base import Material
from tim3d.descriptors.builtin import PARAMETRIC, select, settled
from tim3d.descriptors.correlation import Pairs, integral_ranges
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.inputs import Input
from tim3d.descriptors.lags import direction_names, displacements
from tim3d.descriptors.parametric import Parametric
from tim3d.descriptors.surface import SPECIFIC_SURFACE
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.morphology.components import label_volume
from tim3d.kernels.morphology.surface import DIRECTIONS
from tim3d.phases import Phases

TWO = Material(Phases(pore=0, solid=1))
THREE = Material(Phases(pore=0, matrix=3, filler=7), (3.0, 1.0, 2.0))
COMPONENT = Input("numbers", "component")


def measured(
    labels: NDArray[np.uint8],
    *wanted: Parametric,
    material: Material = TWO,
    block: Triple | None = None,
) -> xr.Dataset:
    """Results of a volume in memory, with its components where they are read."""
    descriptors = [one.descriptor(material) for one in wanted]
    numbers, _ = label_volume(labels, material.phases.codes)
    others = {COMPONENT: numbers.astype(np.uint32)}
    return describe_array(labels, descriptors, material, block, others)


def boolean_model(size: int, radius: float, eta: float, seed: int) -> NDArray[np.uint8]:
    """Periodic balls at random places in a cube of voxels: solid 1, pore 0."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(eta * size**3 / (4 / 3 * math.pi * radius**3))
    solid = np.zeros((size,) * 3, np.uint8)
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    for centre in rng.random((number, 3)) * size:
        whole = np.floor(centre).astype(int)
        away = np.meshgrid(
            *(reach + w - c for w, c in zip(whole, centre, strict=True)), indexing="ij"
        )
        inside = sum(a**2 for a in away) < radius**2
        places = np.ix_(*((reach + w) % size for w in whole))
        solid[places] |= inside.astype(np.uint8)
    return solid


def test_slabs_have_the_wave_of_their_period_across_and_no_lag_along() -> None:
    slabs = np.zeros((64, 5, 6), np.uint8)
    slabs[np.arange(64) % 8 < 3] = 1
    found = measured(slabs, Correlation(16), ChordLength(16))
    both = found["two_point_lags_16"].sel(phase="solid", phase_other="solid")
    shifted = [np.roll(np.arange(8) % 8 < 3, -r) & (np.arange(8) % 8 < 3) for r in range(9)]
    expected = [one.mean() for one in shifted]
    across = both.sel(lag_direction="z").values
    assert across[[0, 8, 16]] == pytest.approx([expected[0], 3 / 8, 3 / 8])
    assert np.argmin(across[:9]) in (3, 4, 5)
    assert both.sel(lag_direction="y").values[:5] == pytest.approx(24 / 64)
    assert np.isnan(both.sel(lag_direction="x").values[6:]).all()
    chords = found["chord_length_count_lags_16"].sel(phase="solid", axis="z").values
    assert np.flatnonzero(chords).tolist() == [2]  # three voxels
    assert chords[2] == 7 * 30
    assert found["chord_length_count_cut_lags_16"].sel(phase="solid", axis="z").values.sum() == 30
    assert found["chord_cut_share_lags_16"].sel(phase="solid", axis="y") == 1


def test_a_checkerboard_changes_at_every_odd_step() -> None:
    board = (np.indices((8, 8, 8)).sum(axis=0) % 2).astype(np.uint8)
    found = measured(board, Correlation(4))["two_point_lags_4"].sel(phase="pore")
    for direction, step in zip(direction_names(), DIRECTIONS, strict=True):
        odd = np.arange(5) * sum(step) % 2 == 1
        along = found.sel(lag_direction=direction)
        assert along.sel(phase_other="pore").values == pytest.approx(np.where(odd, 0, 0.5))
        assert along.sel(phase_other="solid").values == pytest.approx(np.where(odd, 0.5, 0))


def test_a_ball_has_the_two_point_probability_of_its_overlap_with_itself() -> None:
    errors = []
    for radius in (6, 12):
        z, y, x = np.indices((3 * radius,) * 3) - 1.5 * radius + 0.3
        ball = (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)
        lags = radius
        found = measured(ball, Correlation(lags))[f"two_point_lags_{lags}"]
        shares = found.sel(phase="solid", phase_other="solid", lag_direction="y+x").values
        every = (3 * radius - np.arange(lags + 1)) ** 2 * 3 * radius
        r = np.minimum(math.sqrt(2) * np.arange(lags + 1) / radius, 2)
        exact = 4 / 3 * math.pi * radius**3 * (1 - 3 * r / 4 + r**3 / 16)
        errors.append(np.abs(shares * every - exact).max() / exact[0])
    assert errors[1] < 0.004
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("phases", [2, 3, 4])
def test_pairs_are_those_of_the_definition(phases: int) -> None:
    labels = np.random.default_rng(phases).integers(0, phases, (4, 6, 5), dtype=np.uint8)
    material = Material(Phases(**{f"p{n}": n for n in range(phases)}))
    found = measured(labels, Correlation(3), material=material)["two_point_lags_3"]
    for (d, lag), step in zip(np.ndindex(13, 4), displacements(range(4)), strict=True):
        pairs = [
            (labels[one], labels[tuple(np.add(one, step))])
            for one in np.ndindex(labels.shape)
            if all(0 <= p + s < n for p, s, n in zip(one, step, labels.shape, strict=True))
        ]
        for i, j in itertools.product(range(phases), repeat=2):
            mean = np.mean([((a, b) == (i, j)) + ((a, b) == (j, i)) for a, b in pairs]) / 2
            assert found[i, j, d, lag].item() == pytest.approx(mean)


def test_a_boolean_model_has_the_curves_of_its_formulas() -> None:
    radius, eta, size = 6.0, 0.8, 96
    found = measured(boolean_model(size, radius, eta, 1), Correlation(), ChordLength())
    intensity = eta / (4 / 3 * math.pi * radius**3)
    phi = math.exp(-eta)
    pore = found.sel(phase="pore")
    assert pore["two_point_radial"].sel(phase_other="pore", lag_radius=0) == pytest.approx(
        phi, abs=0.015
    )
    r = np.arange(12.0)
    union = 4 / 3 * math.pi * radius**3 * (1 + 3 * r / 4 / radius - r**3 / 16 / radius**3)
    radial = pore["two_point_radial"].sel(phase_other="pore").values[:12]
    assert radial == pytest.approx(np.exp(-intensity * union), abs=0.015)
    path = phi * np.exp(-intensity * math.pi * radius**2 * np.arange(25))
    assert pore["lineal_path"].mean("axis").values[:25] == pytest.approx(path, abs=0.015)
    chord = 4 * radius / (3 * eta)
    assert pore["mean_chord_length"].mean("axis").item() == pytest.approx(chord, rel=0.05)
    surface = 3 * eta * phi / radius
    assert pore["specific_surface_two_point"] == pytest.approx(surface, rel=0.06)
    assert pore["interface_area_two_point"].sel(phase_other="solid") == pytest.approx(
        surface, rel=0.06
    )
    covariance = np.exp(-intensity * (4 / 3 * math.pi * radius**3) * (1 + _rises(radius))) - phi**2
    s = np.linspace(0, 2 * radius, 200)
    exact = np.trapezoid(4 * math.pi * s**2 * covariance, s) / (phi * (1 - phi))
    assert pore["integral_range"] == pytest.approx(exact, rel=0.3)
    error = math.sqrt(phi * (1 - phi) * exact / size**3)
    assert pore["phase_fraction_error"] == pytest.approx(error, rel=0.2)


def _rises(radius: float) -> NDArray[np.float64]:
    s = np.linspace(0, 2 * radius, 200)
    return np.asarray(3 * s / 4 / radius - s**3 / 16 / radius**3)


def test_the_surface_by_the_slope_at_0_is_that_of_crofton() -> None:
    solid = boolean_model(64, 8.0, 0.6, 2)
    for spacing in ((1.0, 1.0, 1.0), (1.5, 1.0, 1.25)):
        material = Material(TWO.phases, spacing)
        found = describe_array(
            solid, [Correlation().descriptor(material), SPECIFIC_SURFACE], material
        )
        ratio = found["specific_surface_two_point"] / found["specific_surface"]
        assert ratio.values == pytest.approx(1, abs=0.03)


def test_the_error_of_a_fraction_is_that_of_independent_volumes() -> None:
    volumes = [boolean_model(48, 4.0, 0.7, seed) for seed in range(24)]
    spread = np.std([v.mean() for v in volumes], ddof=1)
    told = np.mean(
        [measured(v, Correlation(23))["phase_fraction_error_lags_23"][0] for v in volumes[:6]]
    )
    assert told == pytest.approx(spread, rel=0.25)


def test_a_component_is_correlated_with_itself_only() -> None:
    labels = np.zeros((3, 3, 12), np.uint8)
    labels[:, :, :4] = labels[:, :, 6:9] = 1
    found = measured(labels, Correlation(8), ClusterCorrelation(8))
    pairs = found["two_point_lags_8"].sel(phase="solid", phase_other="solid", lag_direction="x")
    within = found["two_point_cluster_lags_8"].sel(phase="solid", lag_direction="x")
    assert within.values[:4] == pytest.approx(np.array([7, 5, 3, 1]) / (12 - np.arange(4)))
    assert (within.values[4:] == 0).all()
    assert pairs.values[6] == pytest.approx(3 / 6)
    assert (within <= pairs + 1e-12).all()


@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    block=st.tuples(*[st.integers(1, 9)] * 3),
    lags=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@costly
def test_blocks_of_any_size_give_the_same_bits(
    shape: Triple, block: Triple, lags: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).choice(np.array([0, 3, 7], np.uint8), shape)
    wanted = (Correlation(lags), ChordLength(lags), ClusterCorrelation(lags))
    whole = measured(labels, *wanted, material=THREE)
    assert measured(labels, *wanted, material=THREE, block=block).identical(whole)


@pytest.mark.parametrize("pairs", [10**5, 10**6])
def test_the_integral_range_of_a_covariance_that_falls_linearly_is_its_cone(pairs: int) -> None:
    """In four dimensions, over the share of the volume that the known lags leave."""
    reach, spacing, phi = 20, (2.0, 2.0, 2.0), 0.3
    lengths = np.linalg.norm(np.array(DIRECTIONS), axis=1)[:, None] * np.arange(reach + 5)
    covariance = phi * (1 - phi) * np.maximum(1 - lengths / reach, 0)
    own = [share**2 + covariance for share in (1 - phi, phi)]
    counts = np.rint(np.array([*own, np.ones_like(covariance)]) * pairs).astype(np.int64)
    found = integral_ranges(Pairs(counts, Material(Phases(pore=0, solid=1), spacing)))
    ball = 4 / 3 * np.pi * (2 * reach) ** 3
    expected = ball / 4 / (1 - ball / (pairs * 8))
    assert found == pytest.approx([expected] * 2, rel=0.01)


def test_lags_have_lengths_in_nm_and_names_carry_what_is_not_a_default() -> None:
    found = measured(
        np.eye(9, dtype=np.uint8)[None].repeat(9, 0) * 3,
        Correlation(4),
        ChordLength(),
        material=THREE,
    )
    length = found["lag_4_length"]
    assert length.sel(lag_direction="z", lag_4=2) == 6
    assert length.sel(lag_direction="z+y+x", lag_4=1) == pytest.approx(math.sqrt(14))
    assert length.attrs["units"] == "nm"
    assert found["chord_voxels_length"].sel(axis="x", chord_voxels=5) == 10
    assert {"two_point_lags_4", "lineal_path"} <= set(found.data_vars)


def test_a_phase_that_is_not_there_has_no_chord_and_a_full_one_no_range() -> None:
    found = measured(np.ones((9, 9, 9), np.uint8), Correlation(4), ChordLength(4))
    pore, solid = found.sel(phase="pore"), found.sel(phase="solid")
    assert (pore["two_point_lags_4"] == 0).all()
    assert (solid["two_point_lags_4"].sel(phase_other="solid") == 1).all()
    assert np.isnan(found["integral_range_lags_4"]).all()
    assert (found["specific_surface_two_point_lags_4"] == 0).all()
    assert (pore["chord_length_count_lags_4"] == 0).all()
    assert (solid["chord_longer_share_lags_4"] == 1).all()
    assert np.isnan(found["mean_chord_length_lags_4"].sel(phase="pore")).all()


def test_a_plane_has_correlations_within_it() -> None:
    plane = (np.arange(12) % 4 < 2).astype(np.uint8)[None, None].repeat(12, 1)
    found = measured(plane, Correlation(3))["two_point_lags_3"].sel(
        phase="solid", phase_other="solid"
    )
    assert found.sel(lag_direction="y").values == pytest.approx(0.5)
    assert np.isnan(found.sel(lag_direction="z").values[1:]).all()


def test_words_are_read_and_bad_ones_refused() -> None:
    (found,) = select(["correlation:lags=64"])
    assert found == Correlation(64)
    assert str(found) == "correlation:lags=64"
    assert select(["cluster_correlation:components=parts,lags=8"]) == (
        ClusterCorrelation(8, "parts"),
    )
    for word, message in {
        "correlation:lag=3": "has no .lag. .did you mean .lags",
        "correlation:lags=x": "lags is a whole number, not 'x', as lags=32",
        "correlation:lags=3,lags=4": "given twice",
        "corelation:lags=3": "did you mean .correlation",
    }.items():
        with pytest.raises(ArgumentError, match=message):
            select([word])
    for one in (Correlation(20), ChordLength(20), ClusterCorrelation(20)):
        with pytest.raises(
            ArgumentError, match=r"reach beyond the volume of 5 x 20 x 6 voxels .* give lags=19"
        ):
            settled([one], TWO, (5, 20, 6))
    with pytest.raises(ArgumentError, match="from 1 on"):
        settled([Correlation(0)], TWO, (5, 20, 6))


KINDS = (
    *("correlation", "chord_length", "cluster_correlation"),
    *("curvature", "interface_orientation", "triple_phase_boundary"),
)


def others_of(of: type[Parametric]) -> list[tuple[Parametric, Parametric]]:
    """A descriptor as it stands, and with each of its parameters changed alone."""
    changed: dict[str, Any] = {"lags": 5, "components": "parts", "sigma": 1.5, "bins": 12}
    return [(of(), replace(of(), **{one.name: changed[one.name]})) for one in fields(of)]  # type: ignore[arg-type,type-var]


@pytest.mark.parametrize(
    ("plain", "other"), [pair for kind in KINDS for pair in others_of(PARAMETRIC[kind])], ids=str
)
def test_every_parameter_makes_other_names_of_variables_and_partials(
    plain: Parametric, other: Parametric
) -> None:
    one, two = plain.descriptor(THREE), other.descriptor(THREE)
    assert not {v.name for v in one.variables} & {v.name for v in two.variables}
    shared = {p.name for p in one.needs} & {p.name for p in two.needs}
    assert shared <= {"configurations"}
    assert select([str(other)]) == (other,)
