"""Descriptors with parameters through the store: as in memory, beside each other, by region, in the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.integration.test_measure import PHASES, assert_same, ingested, quiet, volume
from tim3d.cli.main import main
from tim3d.descriptors import ChordLength, ClusterCorrelation, Correlation
from tim3d.descriptors.base import Material
from tim3d.descriptors.fraction import PHASE_FRACTION
from tim3d.descriptors.in_memory import describe_array
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.kernels.morphology.triple_edges import triple_edges
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.storage import store

SHAPE = (13, 18, 21)
MATERIAL = Material(PHASES, (20.0, 5.0, 4.0))
WORDS = ["phase_fraction", "correlation:lags=5", "chord_length:lags=4"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ingested(tmp_path, volume(SHAPE, seed=5), (4, 6, 7))


def in_memory(box: tuple[slice, ...] = (slice(None),) * 3) -> xr.Dataset:
    wanted = [
        PHASE_FRACTION,
        Correlation(5).descriptor(MATERIAL),
        ChordLength(4).descriptor(MATERIAL),
    ]
    return describe_array(volume(SHAPE, seed=5)[box], wanted, MATERIAL)


def test_blocks_give_what_the_array_gives_at_once(url: str) -> None:
    assert_same(tim3d.measure(url, WORDS, options=quiet()), in_memory())
    assert_same(tim3d.describe(url, plain=True).load(), in_memory())
    again = tim3d.measure(url, WORDS, options=quiet((8, 12, 14), overwrite=True))
    assert_same(again, in_memory())


def test_other_parameters_stand_beside_the_first(url: str) -> None:
    tim3d.measure(url, ["correlation:lags=5"], options=quiet())
    tim3d.measure(url, [Correlation(3)], options=quiet())
    both = tim3d.describe(url, plain=True)
    assert both["two_point_lags_5"].sizes["lag_5"] == 6
    assert both["two_point_lags_3"].sizes["lag_3"] == 4
    mine = both["two_point_lags_3"].values
    np.testing.assert_array_equal(mine, both["two_point_lags_5"].values[..., :4])
    record = store.node_attributes(url, "phase_descriptors")
    assert record["parameters"]["descriptors"] == ["correlation:lags=5", "correlation:lags=3"]
    assert record["command"] == "tim3d measure SAMPLE --descriptors correlation:lags=3"
    assert "two_point_lags_3" in tim3d.measure(
        url, ["phase_fraction", "correlation:lags=3"], options=quiet()
    )


def test_pairs_of_a_region_belong_to_it_by_their_first_voxel(url: str) -> None:
    tim3d.measure(url, ["correlation:lags=5"], options=quiet((4, 6, 7)))
    halves = [
        tim3d.describe(url, ["correlation:lags=5"], z=z) for z in (slice(0, 160), slice(160, 260))
    ]
    whole = tim3d.describe(url, ["correlation:lags=5"])
    shares = np.array([8, 5]) / 13
    mean = sum(s * half["two_point_lags_5"][..., 0] for s, half in zip(shares, halves, strict=True))
    np.testing.assert_allclose(mean, whole["two_point_lags_5"][..., 0])


def test_clusters_are_read_from_the_components(url: str) -> None:
    with pytest.raises(MissingFieldError, match=r"tim3d label .* --keep --component component"):
        tim3d.measure(url, ["cluster_correlation:lags=3"], options=quiet())
    tim3d.label(url, keep=True, options=quiet())
    found = tim3d.measure(url, [ClusterCorrelation(3), Correlation(3)], options=quiet())
    within, pairs = found["two_point_cluster_lags_3"], found["two_point_lags_3"]
    assert (within[:, :, 0] == np.einsum("iid->id", pairs.values[..., 0])).all()
    assert (within.values <= np.einsum("iidr->idr", pairs.values) + 1e-12).all()


def test_the_shell_takes_words_with_parameters(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = "correlation:lags=5,phase_fraction,chord_length:lags=4"
    assert main(["measure", url, "--descriptors", given, "--quiet"]) == 0
    assert "specific_surface_two_point_lags_5" in capsys.readouterr().out
    assert_same(tim3d.describe(url, plain=True).load(), in_memory())
    assert main(["measure", url, "--descriptors", "correlation:lags=40", "--quiet"]) == 2
    assert "give lags=20 or less" in capsys.readouterr().err


def test_what_was_not_measured_is_refused_with_the_command(url: str) -> None:
    tim3d.measure(url, ["phase_fraction"], options=quiet())
    with pytest.raises(
        ArgumentError, match=r"Run: tim3d measure .* --descriptors correlation:lags=9"
    ):
        tim3d.describe(url, ["correlation:lags=9"])


def test_lines_of_three_phases_are_active_where_all_percolate(url: str) -> None:
    word = "triple_phase_boundary:components=component"
    with pytest.raises(MissingFieldError, match=r"tim3d label .* --keep --component component"):
        tim3d.measure(url, [word], options=quiet())
    tim3d.label(url, keep=True, connectivity=26, options=quiet())
    found = tim3d.measure(url, [word], options=quiet())
    total = found["triple_phase_boundary_components_component"].sel(triple="pore+solid+filler")
    active = found["triple_phase_boundary_active_components_component"].sel(
        triple="pore+solid+filler"
    )
    numbers = tim3d.open_field(url, "component").values
    table = tim3d.open_dataset(url, "phase_components_connectivity=26")
    for axis in "zyx":
        both = table["component_touches"].sel(axis=axis).values.all(axis=1)
        through = np.isin(numbers, table["component"].values[both])
        bits = through.astype(np.uint8)
        edges = triple_edges(ranks_of(volume(SHAPE, seed=5), PHASES.codes), 3, None, bits)[:2, :, 0]
        windows = [np.prod([n - (a != b) for b, n in enumerate(SHAPE)]) for a in range(3)]
        lengths = (
            (edges / windows * np.array(MATERIAL.spacing)).sum(axis=1) / MATERIAL.voxel_volume / 1.5
        )
        assert [total.item(), active.sel(axis=axis).item()] == pytest.approx(lengths.tolist())
    assert 0 < active.min() <= active.max() <= total


@pytest.mark.long
def test_the_report_shows_correlations_and_curvatures(tmp_path: Path) -> None:
    url = ingested(tmp_path, volume((13, 40, 46), seed=5), (13, 20, 46))
    words = [
        "phase_fraction",
        "correlation:lags=5",
        "chord_length:lags=4",
        "curvature:sigma=1,bins=8",
    ]
    tim3d.measure(url, words, options=quiet())
    tim3d.report(url, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Correlations and curvatures" in page
    assert "Radii below 100 nm are smoothed away" in page
