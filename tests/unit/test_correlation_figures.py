"""Figures of correlations, chords and curvatures are read back as numbers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors import ChordLength, Correlation, Curvature
from tim3d.descriptors.base import Material
from tim3d.descriptors.in_memory import describe_array
from tim3d.phases import Phases
from tim3d.plotting import chord_figure, correlation_figure, curvature_figure
from tim3d.plotting.correlations import endings
from tim3d.plotting.style import colours

MATERIAL = Material(Phases(pore=0, solid=1, filler=2), (12.0, 10.0, 8.0))


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    z, y, x = np.indices((26, 28, 30)) - 14.3
    radius = np.sqrt(z**2 + y**2 + x**2)
    labels = np.where(radius < 8, 1, np.where(x > 9, 2, 0)).astype(np.uint8)
    wanted = (Correlation(9), ChordLength(9), Curvature(1.0, 16))
    return describe_array(labels, [one.descriptor(MATERIAL) for one in wanted], MATERIAL)


def test_two_point_probabilities_are_drawn_over_their_distance(found: xr.Dataset) -> None:
    own, mixed = correlation_figure(found).axes
    lines = {line.get_label(): line for line in own.lines}
    solid = found["two_point_radial_lags_9"].sel(phase="solid", phase_other="solid")
    assert lines["solid"].get_ydata() == pytest.approx(solid.values)
    assert lines["solid"].get_xdata() == pytest.approx(np.arange(10) * 8.0)
    assert own.get_xlabel() == "distance (nm)"
    # Along z a step is 12 nm: six of them stay within the radii, which end at 72 nm.
    along = found["two_point_lags_9"].sel(phase="pore", phase_other="pore", lag_direction="z")
    thin = next(line for line in own.lines if line.get_linewidth() == 0.8)
    assert thin.get_ydata() == pytest.approx(along.values[:7])
    pairs = {line.get_label(): line for line in mixed.lines}
    both = found["two_point_radial_lags_9"].sel(phase="solid", phase_other="filler")
    assert pairs["solid and filler"].get_ydata() == pytest.approx(both.values)


def test_chords_are_drawn_as_a_density_over_their_length(found: xr.Dataset) -> None:
    path, chords = chord_figure(found).axes
    assert path.get_yscale() == "log"
    first = path.lines[0]
    assert first.get_xdata() == pytest.approx(np.arange(10) * 12.0)
    assert first.get_ydata() == pytest.approx(
        found["lineal_path_lags_9"].sel(phase="pore", axis="z").values
    )
    for line in chords.lines:
        places = np.asarray(line.get_xdata())
        assert np.sum(np.asarray(line.get_ydata()) * np.diff(places, prepend=0.0)) == pytest.approx(
            1
        )


def test_each_axis_has_the_style_that_the_title_says_and_its_own_numbers(
    found: xr.Dataset,
) -> None:
    path, chords = chord_figure(found).axes
    assert path.get_title().endswith("— z, – – y, ··· x")
    lines = iter(path.lines)
    drawn = iter(chords.lines)
    for phase, shade in colours(list(MATERIAL.phases)).items():
        for axis, style, step in (("z", "-", 12.0), ("y", "--", 10.0), ("x", ":", 8.0)):
            one = next(lines)
            assert (one.get_linestyle(), one.get_color()) == (style, shade)
            assert one.get_xdata() == pytest.approx(np.arange(10) * step)
            along = found["lineal_path_lags_9"].sel(phase=phase, axis=axis)
            assert one.get_ydata() == pytest.approx(along.values)
            counts = found["chord_length_count_lags_9"].sel(phase=phase, axis=axis).values
            if not counts.sum():
                continue
            one = next(drawn)
            assert (one.get_linestyle(), one.get_color()) == (style, shade)
            shares = np.asarray(one.get_ydata()) * np.diff(one.get_xdata(), prepend=0.0)
            assert shares == pytest.approx(counts / counts.sum())


def test_curvatures_are_drawn_by_phase_with_their_quadrants(found: xr.Dataset) -> None:
    figure = curvature_figure(found)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [
        f"{phase}: share of the interface" for phase in MATERIAL.phases
    ]
    joint = found["curvature_area_sigma_1_bins_16"].sel(phase="pore").values
    main = next(ax for ax in figure.axes if ax.collections and ax.texts)
    drawn = np.ma.filled(main.collections[0].get_array().astype(float), np.nan)
    np.testing.assert_allclose(np.nan_to_num(drawn).reshape(16, 16), joint.T)
    shares = found["curvature_quadrant_sigma_1_bins_16"].sel(phase="pore").values
    names = ("convex", "concave", "saddle,\ninwards", "saddle,\noutwards")
    assert [text.get_text() for text in main.texts] == [
        f"{name} {100 * share:.0f} %" for name, share in zip(names, shares, strict=True)
    ]


def test_each_set_of_parameters_has_a_figure(found: xr.Dataset) -> None:
    assert endings(found, "two_point_radial") == ["_lags_9"]
    assert endings(found, "curvature_area") == ["_sigma_1_bins_16"]
