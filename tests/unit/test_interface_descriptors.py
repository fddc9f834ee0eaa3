"""Curvature, orientation, triple-phase boundaries and slices: closed forms, definitions, any blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.examples import costly
from tim3d.descriptors import (
    Curvature,
    InterfaceOrientation,
    ProjectedInterface,
    SliceShape,
    TriplePhaseBoundary,
)
from tim3d.descriptors.base import Material
from tim3d.descriptors.builtin import settled
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.inputs import Input
from tim3d.descriptors.parametric import Parametric
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.morphology.interface_geometry import interface_sums, reach
from tim3d.kernels.morphology.planar import boundary_per_area
from tim3d.phases import Phases

PHASES = Phases(pore=0, solid=1)
TWO = Material(PHASES)
THREE = Material(Phases(pore=0, matrix=3, filler=7), (3.0, 1.0, 2.0))
Spacing = tuple[float, float, float]


def places(shape: Triple, spacing: Spacing) -> list[NDArray[np.float64]]:
    """Coordinates from the middle, of the centres of voxels, a little off the lattice."""
    axes = [(np.arange(n) - n / 2 + 0.31) * d for n, d in zip(shape, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def measured(
    labels: NDArray[np.uint8], *wanted: Parametric, material: Material = TWO, block: Triple | None = None,
    bits: NDArray[np.uint8] | None = None,
) -> xr.Dataset:  # fmt: skip
    descriptors = [one.descriptor(material) for one in wanted]
    others = {} if bits is None else {Input("through", "component"): bits}
    return describe_array(labels, descriptors, material, block, others)


def ball(radius: float, spacing: Spacing = (1.0, 1.0, 1.0), rim: float = 26.0) -> NDArray[np.uint8]:
    z, y, x = places(tuple(math.ceil((2 * radius + rim) / d) for d in spacing), spacing)  # type: ignore[arg-type]
    return (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)


def torus(shape: Triple, large: float, small: float) -> NDArray[np.uint8]:
    z, y, x = places(shape, TWO.spacing)
    return ((np.hypot(y, x) - large) ** 2 + z**2 < small**2).astype(np.uint8)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
def test_a_ball_is_convex_with_the_curvatures_of_its_radius(spacing: Spacing) -> None:
    radius = 10 * max(spacing)
    found = measured(
        ball(radius, spacing, 26 * max(spacing)), Curvature(), material=Material(PHASES, spacing)
    )
    solid, pore = found.sel(phase="solid"), found.sel(phase="pore")
    assert solid["mean_curvature_mean"] * radius == pytest.approx(1, abs=0.06)
    assert solid["gauss_curvature_mean"] * radius**2 == pytest.approx(1, abs=0.12)
    assert solid["mean_curvature_deviation"] * radius < 0.15
    assert solid["curvature_quadrant"].values == pytest.approx([1, 0, 0, 0])
    assert pore["curvature_quadrant"].values == pytest.approx([0, 1, 0, 0])
    assert pore["mean_curvature_mean"] == pytest.approx(
        -solid["mean_curvature_mean"].item(), rel=1e-4
    )
    assert solid["curvature_certificate"].values == pytest.approx([0.95, 1], abs=0.03)
    assert found["curvature_smallest_radius"] == radius


def test_curvature_of_balls_converges() -> None:
    errors = [
        abs(measured(ball(r), Curvature())["mean_curvature_mean"][1].item() * r - 1)
        for r in (8, 16)
    ]
    assert errors[1] < 0.4 * errors[0]


def test_a_torus_has_no_gaussian_curvature_in_all_and_8_pi_of_its_size() -> None:
    large, small = 24.0, 10.0
    labels = torus((46, 92, 92), large, small)
    found = measured(labels, Curvature()).sel(phase="solid")
    area, volume = 4 * math.pi**2 * large * small, labels.size
    assert found["euler_density_smoothed"] * volume == pytest.approx(0, abs=0.06)
    size = found["gauss_curvature_size_mean"].item() * area
    assert size == pytest.approx(8 * math.pi, rel=0.12)
    assert found["mean_curvature_mean"] == pytest.approx(1 / (2 * small), rel=0.08)
    assert found["mean_curvature_integral_smoothed"] * volume == pytest.approx(
        2 * math.pi**2 * large, rel=0.07
    )
    saddle = found["curvature_quadrant"].sel(quadrant="saddle, outwards (M > 0, G < 0)").item()
    assert saddle == pytest.approx(0.5 - small / large / math.pi, abs=0.04)


def gyroid(cell: int, cells: int) -> NDArray[np.uint8]:
    z, y, x = np.meshgrid(
        *[(np.arange(cell * cells) + 0.5) * 2 * math.pi / cell] * 3, indexing="ij"
    )
    return (np.sin(z) * np.cos(y) + np.sin(y) * np.cos(x) + np.sin(x) * np.cos(z) > 0).astype(
        np.uint8
    )


def test_a_gyroid_is_minimal_and_all_saddle() -> None:
    found = measured(gyroid(40, 2), Curvature()).sel(phase="solid")
    assert abs(found["mean_curvature_mean"].item()) < 0.001
    assert found["curvature_quadrant"].values[2:].sum() > 0.97
    # chi of a side is -4 a cubic cell, and its integral of G is 4 pi chi, over 3.0915 a^2 of area.
    expected = 4 * math.pi * -4 / (3.09165 * 40**2)
    assert found["gauss_curvature_mean"] == pytest.approx(expected, rel=0.04)


def test_the_joint_distribution_has_the_marginals_of_its_means() -> None:
    found = measured(torus((46, 92, 92), 24, 10), Curvature()).sel(phase="solid")
    share = found["curvature_area"]
    assert share.sum() == pytest.approx(1)
    mean = (share.sum("gauss_curvature_bin") * found["mean_curvature_bin"]).sum()
    assert mean == pytest.approx(found["mean_curvature_mean"].item(), abs=0.001)
    gauss = (share.sum("mean_curvature_bin") * found["gauss_curvature_bin"]).sum()
    assert gauss == pytest.approx(found["gauss_curvature_mean"].item(), abs=0.0004)


def test_layers_have_one_normal_and_a_ball_all() -> None:
    layers = (np.arange(48) // 12 % 2).astype(np.uint8)[:, None, None].repeat(24, 1).repeat(24, 2)
    found = measured(layers, InterfaceOrientation()).sel(phase="solid")
    assert found["interface_fabric"].values == pytest.approx(np.diag([1, 0, 0]), abs=1e-6)
    assert found["interface_anisotropy"] == pytest.approx(1)
    assert found["interface_direction"].sel(principal="first").values == pytest.approx([1, 0, 0])
    for spacing in ((1.0, 1.0, 1.0), (2.0, 1.0, 1.5)):
        radius, material = 12 * max(spacing), Material(PHASES, spacing)
        found = measured(
            ball(radius, spacing, 26 * max(spacing)), InterfaceOrientation(), material=material
        )
        assert found["interface_fabric"][1].values == pytest.approx(np.eye(3) / 3, abs=0.01)
        assert found["interface_anisotropy"][1] < 0.04


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
def test_two_bubbles_meet_in_a_circle(spacing: Spacing) -> None:
    radius, rng = 14.0, np.random.default_rng(4)
    material = Material(Phases(out=0, one=1, two=2), spacing)
    shape = tuple(math.ceil(4 * radius / d) for d in spacing)
    ratios = []
    for _ in range(8):
        z, y, x = places(shape, spacing)  # type: ignore[arg-type]
        u = rng.normal(size=3)
        u /= np.linalg.norm(u)
        side = u[0] * z + u[1] * y + u[2] * x
        square = z**2 + y**2 + x**2 + radius**2 / 4
        labels = np.where(
            square - np.abs(side) * radius < radius**2, np.where(side > 0, 1, 2), 0
        ).astype(np.uint8)
        found = measured(labels, TriplePhaseBoundary(), material=material)
        windows = np.mean([(1 - 1 / a) * (1 - 1 / b) for a, b in itertools.pairwise(shape)])
        volume = labels.size * material.voxel_volume * windows
        ratios.append(found["triple_phase_boundary"][0].item() * volume)
    circle = 2 * math.pi * radius * math.sqrt(0.75)
    assert np.mean(ratios) == pytest.approx(circle, rel=0.06)


def test_three_columns_meet_along_a_line_and_four_at_a_corner() -> None:
    columns = np.zeros((4, 6, 6), np.uint8)
    columns[:, :, 3:], columns[:, 3:] = 3, 7
    bits = np.full(columns.shape, 1, np.uint8)
    bits[:, :3, :3] = 3
    found = measured(columns, TriplePhaseBoundary("component"), material=THREE, bits=bits)
    name = "_components_component"
    along = found[f"triple_phase_boundary_along{name}"].sel(triple="pore+matrix+filler")
    one = 1 / (25 * 2)  # a line for 25 windows of 1 x 2 nm
    assert along.values == pytest.approx([one, 0, 0])
    assert found[f"triple_phase_boundary{name}"][0] == pytest.approx(one / 1.5)
    active = found[f"triple_phase_boundary_active{name}"].sel(triple="pore+matrix+filler")
    assert active.values == pytest.approx([one / 1.5, 0, 0])
    four = np.array([[[0, 1], [2, 3]]] * 2, np.uint8)
    material = Material(Phases(a=0, b=1, c=2, d=3))
    found = measured(four, TriplePhaseBoundary(), material=material)
    assert found["triple_phase_boundary_edges"].values.tolist() == [0, 0, 0, 0, 1]


def test_slices_have_the_perimeter_of_a_plane_alone() -> None:
    labels = np.random.default_rng(2).integers(0, 2, (5, 9, 7)).astype(np.uint8)
    material = Material(PHASES, (3.0, 1.0, 2.0))
    found = measured(labels, SliceShape(), material=material).sel(phase="solid")
    for axis, edges in (("z", (1.0, 2.0)), ("y", (3.0, 2.0)), ("x", (3.0, 1.0))):
        planes = np.moveaxis(labels == 1, "zyx".index(axis), 0)
        expected = [boundary_per_area(plane, edges) for plane in planes]
        assert found[f"slice_perimeter_{axis}"].values == pytest.approx(expected)
        assert found["slice_perimeter_mean"].sel(axis=axis) == pytest.approx(np.mean(expected))
        assert found["slice_perimeter_deviation"].sel(axis=axis) == pytest.approx(np.std(expected))
    assert found["slice_fraction_mean"].values == pytest.approx(labels.mean())


def test_the_shape_index_of_a_disc_is_1() -> None:
    _, y, x = places((3, 120, 120), TWO.spacing)
    rod = (y**2 + x**2 < 40**2).astype(np.uint8)
    found = measured(rod, SliceShape()).sel(phase="solid")
    assert found["slice_shape_index_z"].values == pytest.approx(1, abs=0.02)
    assert np.isnan(found["slice_shape_index_y"].values[0])


@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    block=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 99),
)
@costly
def test_blocks_of_any_size_give_the_same_bits(shape: Triple, block: Triple, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 3, 7], np.uint8), shape)
    bits = rng.integers(0, 8, shape).astype(np.uint8)
    wanted = (
        SliceShape(),
        TriplePhaseBoundary("component"),
        Curvature(1.0, 8),
        InterfaceOrientation(1.0),
    )
    how: dict[str, object] = {"material": THREE, "bits": bits}
    whole = measured(labels, *wanted, **how)  # type: ignore[arg-type]
    assert measured(labels, *wanted, block=block, **how).identical(whole)  # type: ignore[arg-type]


def test_curvature_in_blocks_of_a_smooth_volume_has_the_same_bits() -> None:
    labels = torus((30, 50, 46), 13, 6)
    whole = measured(labels, Curvature(1.5, 16))
    assert (
        whole["curvature_area_sigma_1.5_bins_16"].sum(
            ["mean_curvature_sigma_1.5_bins_16_bin", "gauss_curvature_sigma_1.5_bins_16_bin"]
        )
        > 0.99
    ).all()
    for block in ((7, 19, 46), (30, 11, 13)):
        assert measured(labels, Curvature(1.5, 16), block=block).identical(whole)


def test_away_from_the_border_is_what_a_larger_volume_says() -> None:
    labels = np.pad(ball(6, rim=14), 8)
    halo = reach(1.0, TWO.spacing)
    inner, _ = interface_sums(labels, [1], 1.0, TWO.spacing, 8, 0.5)
    assert np.array_equal(inner[0], inner[1])
    cut = labels[:, :, : labels.shape[2] // 2]
    sums, _ = interface_sums(cut, [1], 1.0, TWO.spacing, 8, 0.5)
    assert 0 < sums[1, 0] < sums[0, 0]
    assert halo == (5, 5, 5)


def refusals() -> list[tuple[Parametric, Triple, Material, str]]:
    return [
        (
            Curvature(),
            (30, 30, 16),
            TWO,
            r"9 x 9 x 9 voxels from the border.* along x",
        ),
        (Curvature(0.5), (30, 30, 30), TWO, "give at least 1"),
        (Curvature(bins=2), (30, 30, 30), TWO, "give 4 to 512"),
        (InterfaceOrientation(9.0), (30, 30, 30), TWO, "give a smaller sigma"),
        (TriplePhaseBoundary(), (30, 30, 30), TWO, "needs three phases, and there are pore, solid"),
    ]


@pytest.mark.parametrize(("one", "shape", "material", "message"), refusals())
def test_what_does_not_fit_is_refused(
    one: Parametric, shape: Triple, material: Material, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        settled([one], material, shape)


def test_an_anisotropy_is_that_of_the_least_and_the_largest_axis_of_the_fabric() -> None:
    place = np.indices((30, 30, 30)) - 14.5
    stretched = np.array([12.0, 8.0, 5.0])[:, None, None, None]
    labels = ((place / stretched) ** 2).sum(axis=0) < 1
    found = measured(labels.astype(np.uint8), InterfaceOrientation()).sel(phase="solid")
    fabric = found["interface_fabric"].values
    assert np.trace(fabric) == pytest.approx(1)
    values = np.sort(np.diag(fabric))[::-1]
    assert found["interface_eigenvalue"].values == pytest.approx(values, abs=1e-3)
    assert float(found["interface_anisotropy"]) == pytest.approx(
        1 - values[2] / values[0], abs=5e-3
    )
    # Most of the interface looks along the shortest axis.
    assert np.abs(found["interface_direction"].values) == pytest.approx(np.eye(3)[::-1], abs=0.02)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (20.0, 10.0, 5.0)])
@pytest.mark.parametrize("one", [Curvature(1.0), InterfaceOrientation(1.5)])
def test_a_volume_fits_from_one_voxel_away_from_all_borders_on(
    one: Parametric, spacing: tuple[float, float, float]
) -> None:
    material = Material(TWO.phases, spacing)
    halo = reach(getattr(one, "sigma") * max(spacing), spacing)  # noqa: B009
    fits = tuple(2 * h + 1 for h in halo)
    settled([one], material, fits)
    for axis in range(3):
        short = tuple(n - (a == axis) for a, n in enumerate(fits))
        with pytest.raises(ArgumentError, match=f"has none there along {'zyx'[axis]}:"):
            settled([one], material, short)


@pytest.mark.parametrize("make", [np.zeros, np.ones])
def test_a_phase_that_is_not_there_has_no_curvature(make: Callable[..., NDArray[np.uint8]]) -> None:
    found = measured(
        make((22, 22, 22), np.uint8), Curvature(), InterfaceOrientation(), SliceShape()
    )
    assert np.isnan(found["mean_curvature_mean"]).all()
    assert np.isnan(found["interface_anisotropy"]).all()
    assert (found["slice_perimeter_z"] == 0).all()


def test_projected_interfaces_are_the_contacts_of_layers() -> None:
    """Columns that touch and columns with a gap: the share of the cross-section is area times thickness."""
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[3:] = 7
    labels[2:4, :2] = 3
    found = measured(labels, ProjectedInterface(), material=THREE)["projected_interface"]
    thickness = 6 * THREE.spacing[0]
    along = found.sel(phase="pore", phase_other="filler") * thickness
    assert along.values == pytest.approx([0.6, 0.0, 0.0])
    assert found.sel(phase="filler", phase_other="pore").values.tolist() == pytest.approx(
        found.sel(phase="pore", phase_other="filler").values.tolist()
    )
    pores = found.sel(phase="pore", phase_other="matrix", axis="z") * thickness
    assert float(pores) == pytest.approx(0.4)
    assert np.isnan(found.sel(phase="pore", phase_other="pore")).all()
