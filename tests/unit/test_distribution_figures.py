"""Figures of thickness, distance, intrusion, clusters and slices are read back as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors import ClusterCorrelation, Correlation, SliceShape, Thickness
from tim3d.descriptors.base import Material, compute_partials
from tim3d.descriptors.lengths import bin_edges
from tim3d.descriptors.porosimetry import ByRadius, porosimetry
from tim3d.grid import Box
from tim3d.phases import Phases
from tim3d.plotting import (
    cluster_figure,
    porosimetry_figure,
    slice_shape_figure,
    thickness_figure,
)  # fmt: skip

MATERIAL = Material(Phases(pore=0, solid=1), (12.0, 10.0, 8.0))
SHAPE = (14, 12, 10)
LABELS = (np.random.default_rng(5).random(SHAPE) < 0.7).astype(np.uint8)


def measured(one: Any, others: dict[Any, np.ndarray] | None = None) -> xr.Dataset:
    """A descriptor of the labels as one block."""
    descriptor = one.descriptor(MATERIAL)
    partials = compute_partials(LABELS, Box.whole(SHAPE), [descriptor], MATERIAL, others)
    return descriptor.finalize(partials, MATERIAL)


def steps(patch: Any) -> tuple[np.ndarray, np.ndarray]:
    """Heights and edges of stairs."""
    values, edges, _ = patch.get_data()
    return np.asarray(values), np.asarray(edges)


@pytest.fixture(scope="module", params=[1.0, 1000.0], ids=["nm", "µm"])
def thick(request: pytest.FixtureRequest) -> tuple[xr.Dataset, np.ndarray, float]:
    """Thickness of some voxels, and the unit in which it is drawn."""
    scale = float(request.param)
    material = Material(MATERIAL.phases, (12.0 * scale, 10.0 * scale, 8.0 * scale))
    values = 8 * scale * np.random.default_rng(1).integers(2, 9, SHAPE).astype(np.float32)
    descriptor = Thickness().descriptor(material)
    others = dict.fromkeys(Thickness().reads[1:], values)
    partials = compute_partials(LABELS, Box.whole(SHAPE), [descriptor], material, others)
    return descriptor.finalize(partials, material), values, scale


def test_a_thickness_is_drawn_as_density_and_share_by_volume(
    thick: tuple[xr.Dataset, np.ndarray, float],
) -> None:
    found, values, unit = thick
    density, below = thickness_figure(found).axes
    name = "nm" if unit == 1 else "µm"
    assert density.get_xlabel() == f"local thickness ({name})"
    assert density.get_ylabel() == f"density by volume (1/{name})"
    own = values[LABELS == 1] / unit
    heights, edges = steps(density.patches[3])  # of each phase a filled and an open one
    assert np.diff(edges).min() >= 8 * (1 - 1e-9)
    assert heights == pytest.approx(np.histogram(own, edges)[0] / own.size / np.diff(edges))
    curve = next(line for line in below.lines if str(line.get_label()).startswith("solid"))
    places, shares = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    # Between edges the share is not known: at an edge it is that of the voxels below.
    assert shares == pytest.approx([float((own < place).mean()) for place in places])
    mean, median = own.mean(), float(found.thickness_median.sel(phase="solid")) / unit
    assert curve.get_label() == f"solid: mean {mean:.4g} {name}, median {median:.4g} {name}"
    dot = next(
        line
        for line in below.lines
        if line.get_marker() == "o" and line.get_color() == curve.get_color()
    )
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((median, 0.5))


def test_a_phase_without_thickness_is_left_out() -> None:
    values = np.where(LABELS == 1, 16.0, 0).astype(np.float32)
    found = measured(Thickness(), dict.fromkeys(Thickness().reads[1:], values))
    below = thickness_figure(found).axes[1]
    assert [
        str(line.get_label())[:5] for line in below.lines if "mean" in str(line.get_label())
    ] == ["solid"]


def test_bins_are_those_of_the_descriptor() -> None:
    values = np.full(SHAPE, 24.0, np.float32)
    found = measured(Thickness(), dict.fromkeys(Thickness().reads[1:], values))
    share = found.thickness_share.sel(phase="solid")
    place = int(share.values.argmax())
    edges = bin_edges(MATERIAL)
    assert edges[place - 1] <= 24 < edges[place]


def intrusion() -> xr.Dataset:
    every = ByRadius(np.array([0.0, 8.0, 12.0, 20.0]), np.array([0, 10, 30, 60]))
    up = ByRadius(np.array([0.0, 8.0, 12.0]), np.array([20, 20, 60]))
    down = ByRadius(np.array([0.0, 8.0, 20.0]), np.array([60, 30, 10]))
    found = porosimetry(every, {"+z": up, "-y": down}, {"+z": 12.0, "-y": 0.0}, 8.0, "nm")
    return found.assign_attrs(phase="pore", spacing_nm=[12.0, 10.0, 8.0])


def test_intrusion_is_drawn_as_share_and_density_by_radius() -> None:
    share, density = porosimetry_figure(intrusion()).axes
    drawn = {str(line.get_label()): line for line in share.lines}
    lines = {
        "anywhere, half at 20 nm": [1.0, 1.0, 0.9, 0.6],
        "from the face: +z, half at 12 nm": [0.8, 0.8, 0.6, 0.0],
        "from the face: -y, never half": [0.4, 0.4, 0.1, 0.1],
    }
    for label, shares in lines.items():
        assert list(drawn[label].get_xdata()) == [0.0, 8.0, 12.0, 20.0]
        assert list(drawn[label].get_ydata()) == pytest.approx(shares)
        # The share at a radius holds down to the next smaller one that there is.
        assert drawn[label].get_drawstyle() == "steps-pre"
    triangles = [
        line.get_xdata()[0]
        for line in share.lines
        if line.get_marker() == "^" and len(line.get_xdata())
    ]
    assert np.isnan(triangles[0])
    assert triangles[1:] == [12.0, 0.0]
    assert share.get_xlabel() == "radius of the ball (nm)"
    assert share.get_ylabel() == "share of pore filled"
    heights, edges = steps(density.patches[0])
    assert edges.tolist() == [0.0, 8.0, 16.0, 24.0]
    assert heights == pytest.approx([0.0, 0.4 / 8, 0.6 / 8])
    heights, _ = steps(density.patches[1])
    assert heights == pytest.approx([0.0, 0.8 / 8, 0.0])


def test_clusters_are_drawn_beside_the_pairs_of_the_phase() -> None:
    numbers = np.zeros(SHAPE, np.uint32)
    numbers[LABELS == 1], numbers[LABELS == 0] = 1, 2 + np.arange((LABELS == 0).sum())
    cluster = ClusterCorrelation(6)
    found = measured(cluster, {cluster.reads[1]: numbers}).merge(
        measured(Correlation(6)), compat="no_conflicts"
    )
    pore, solid = cluster_figure(found).axes
    assert [pore.get_title(), solid.get_title()] == ["pore", "solid"]
    for ax, phase in ((pore, "pore"), (solid, "solid")):
        thin, thick = ax.lines[:3], ax.lines[3:]
        for number, (axis, edge) in enumerate(zip("zyx", MATERIAL.spacing, strict=True)):
            one = found.two_point_cluster_lags_6.sel(phase=phase, lag_direction=axis)
            both = found.two_point_lags_6.sel(phase=phase, phase_other=phase, lag_direction=axis)
            assert list(thick[number].get_xdata()) == pytest.approx([edge * n for n in range(7)])
            assert list(thick[number].get_ydata()) == pytest.approx(one.values.tolist())
            assert list(thin[number].get_ydata()) == pytest.approx(both.values.tolist())
    # All of the solid is one component, and every voxel of the pore its own.
    assert list(solid.lines[3].get_ydata()) == pytest.approx(list(solid.lines[0].get_ydata()))
    assert max(list(pore.lines[3].get_ydata())[1:]) == 0.0
    assert solid.get_ylim()[1] > float(LABELS.mean())


def test_slices_are_drawn_along_each_axis() -> None:
    found = measured(SliceShape())
    axes = np.array(slice_shape_figure(found).axes).reshape(2, 3)
    assert axes[0, 0].get_ylabel() == "perimeter per area (1/µm)"
    assert axes[1, 0].get_ylabel() == "shape index"
    for column, axis in enumerate("zyx"):
        assert axes[1, column].get_xlabel() == f"{axis} (nm)"
        for row, (name, factor) in enumerate((("perimeter", 1000.0), ("shape_index", 1.0))):
            for line, phase in zip(axes[row, column].lines, ("pore", "solid"), strict=True):
                values = found[f"slice_{name}_{axis}"].sel(phase=phase)
                assert list(line.get_xdata()) == pytest.approx(found[axis].values.tolist())
                assert list(line.get_ydata()) == pytest.approx((factor * values).values.tolist())
