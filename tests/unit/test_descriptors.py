"""Named results with units, and the algebra's refusals."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from numpy.typing import NDArray

from tim3d.descriptors.base import (
    Material,
    add_blocks,
    compute_partials,
    partials_of,
)
from tim3d.descriptors.builtin import BUILTIN, select
from tim3d.descriptors.fraction import PHASE_FRACTION, PLANES
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.surface import CONFIGURATIONS, GRADIENT, SPECIFIC_SURFACE, region_sets
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Grid
from tim3d.kernels.morphology.gradient_area import gradient_area, gradient_quantum
from tim3d.kernels.morphology.surface import (
    crofton_weights,
    density,
    euler_weights,
    face_weights,
    mean_curvature_weights,
)
from tim3d.kernels.morphology.voxel_configurations import octant_histogram
from tim3d.phases import Phases

ALL = list(BUILTIN.values())
TWO = Material(Phases(pore=0, solid=1), (10.0, 5.0, 5.0))


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 2, (6, 7, 8), dtype=np.uint8)


def test_every_result_has_its_unit_name_method_and_reference(labels: NDArray[np.uint8]) -> None:
    ds = describe_array(labels, ALL, TWO)
    assert {str(k): v.attrs["units"] for k, v in ds.data_vars.items()} == {
        "phase_fraction": "1",
        "relative_density": "1",
        "phase_fraction_z": "1",
        "phase_fraction_y": "1",
        "phase_fraction_x": "1",
        "specific_surface": "nm-1",
        "specific_surface_marching_cubes": "nm-1",
        "specific_surface_faces": "nm-1",
        "mean_curvature_integral": "nm-2",
        "euler_density": "nm-3",
        "euler_density_6": "nm-3",
        "specific_surface_gradient": "nm-1",
        "interface_area": "nm-1",
        "interface_area_faces": "nm-1",
    }
    for variable in ds.data_vars.values():
        assert variable.attrs["reference"].startswith("doi:")
        assert min(len(variable.attrs[key]) for key in ("long_name", "method")) > 5
    assert ds.phase.values.tolist() == ["pore", "solid"]


def assert_close(found: xr.DataArray, expected: NDArray[np.float64]) -> None:
    assert found.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-18)


def test_values_are_those_of_the_kernels(labels: NDArray[np.uint8]) -> None:
    ds = describe_array(labels, ALL, TWO).sel(phase="solid")
    hist, spacing = octant_histogram(labels, [1]), TWO.spacing
    assert_close(ds.specific_surface, density(hist, crofton_weights(spacing), spacing))
    assert_close(ds.specific_surface_faces, density(hist, face_weights(spacing), spacing))
    assert_close(
        ds.mean_curvature_integral, density(hist, mean_curvature_weights(spacing), spacing)
    )
    assert_close(ds.euler_density, density(hist, euler_weights(26), spacing))
    assert_close(ds.euler_density_6, density(hist, euler_weights(6), spacing))
    gradient = (
        gradient_area(labels, [1], spacing=spacing)
        * gradient_quantum(spacing)
        / (labels.size * 250)
    )
    assert float(ds.specific_surface_gradient) == pytest.approx(gradient, rel=1e-14)


def test_fractions_profiles_and_density(labels: NDArray[np.uint8]) -> None:
    ds = describe_array(labels, [PHASE_FRACTION], TWO)
    solid = ds.sel(phase="solid")
    assert solid.phase_fraction == labels.mean()
    assert ds.relative_density == pytest.approx(labels.mean())
    for axis, others in (("z", (1, 2)), ("y", (0, 2)), ("x", (0, 1))):
        assert solid[f"phase_fraction_{axis}"].values == pytest.approx(labels.mean(axis=others))
    assert ds.z.values.tolist() == [5, 15, 25, 35, 45, 55]
    assert ds.z.attrs["units"] == "nm"


def test_without_a_phase_named_pore_there_is_no_relative_density(labels: NDArray[np.uint8]) -> None:
    assert "relative_density" not in describe_array(
        labels, ALL, Material(Phases(polymer=0, metal=1))
    )


def test_a_region_keeps_its_place_along_the_axis(labels: NDArray[np.uint8]) -> None:
    totals = compute_partials(labels, Box((2, 0, 0), (4, 7, 8)), [PHASE_FRACTION], TWO)
    ds = PHASE_FRACTION.finalize(totals, TWO, origin=(2, 0, 0))
    assert ds.z.values.tolist() == [25, 35]
    assert ds.phase_fraction.sel(phase="solid") == labels[2:4].mean()


def test_a_shared_partial_is_computed_once() -> None:
    assert partials_of(ALL) == (*PLANES, CONFIGURATIONS, GRADIENT)
    assert SPECIFIC_SURFACE.halo == (1, 1, 1)


def test_descriptors_travel_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(ALL)) == ALL
    assert partials_of([*ALL, *(pickle.loads(pickle.dumps(d)) for d in ALL)]) == partials_of(ALL)


def test_two_partials_of_one_name_are_refused() -> None:
    other = dataclasses.replace(
        SPECIFIC_SURFACE, needs=(dataclasses.replace(CONFIGURATIONS, halo=(2, 2, 2)),)
    )
    with pytest.raises(ArgumentError, match="two partials are named 'configurations'"):
        partials_of([SPECIFIC_SURFACE, other])


def test_a_label_without_a_phase_is_refused(labels: NDArray[np.uint8]) -> None:
    stray = labels.copy()
    stray[0, 0, 0] = 9
    with pytest.raises(InputError, match=r"labels \[9\] belong to no phase"):
        describe_array(stray, [PHASE_FRACTION], TWO)


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    assert select(["euler_density", PHASE_FRACTION]) == (BUILTIN["euler_density"], PHASE_FRACTION)
    with pytest.raises(ArgumentError, match=r"'curl'.*; there are phase_fraction"):
        select(["curl"])


def test_usual_names_are_taken_and_one_of_two_meanings_is_refused_with_both() -> None:
    assert select(["porosity", "ssa"]) == select(["phase_fraction", "specific_surface"])
    with pytest.raises(ArgumentError, match="tortuosity_factor or geodesic_tortuosity"):
        select(["tortuosity"])


def test_the_gradient_of_two_phases_is_each_ones_own(labels: NDArray[np.uint8]) -> None:
    core = Box((1, 0, 2), (5, 7, 6))
    shared = GRADIENT.compute(labels, core, TWO)
    assert shared.tolist() == [gradient_area(labels, [code], core, TWO.spacing) for code in (0, 1)]


@pytest.mark.parametrize(("phases", "regions"), [(1, 1), (2, 2), (3, 3), (4, 7), (5, 15)])
def test_unions_are_counted_only_where_needed(phases: int, regions: int) -> None:
    assert len(region_sets(Phases(**{f"p{n}": n for n in range(phases)}))) == regions


def test_interface_of_a_layer_between_two_others() -> None:
    stack = np.repeat(np.array([0, 1, 2], np.uint8), 4)[:, None, None] * np.ones(
        (1, 5, 5), np.uint8
    )
    ds = describe_array(stack, ALL, Material(Phases(a=0, b=1, c=2), (2, 1, 1)))
    faces = ds.interface_area_faces
    assert float(faces.sel(phase="a", phase_other="b")) == pytest.approx(1 / 24)
    assert float(faces.sel(phase="a", phase_other="c")) == pytest.approx(0, abs=1e-15)
    assert np.isnan(faces.sel(phase="a", phase_other="a"))


def test_an_electrode_in_odd_blocks_has_the_published_numbers(data_dir: Path) -> None:
    path = data_dir / "volumes" / "electrode-256.tiff"
    if not path.is_file():
        pytest.skip(f"no {path}")
    volume = np.ascontiguousarray(tifffile.imread(path)).astype(np.uint8)
    pore, *others = np.unique(volume).tolist()
    material = Material(Phases(pore=pore, **{f"p{code}": code for code in others}))
    ds = describe_array(volume, [PHASE_FRACTION, SPECIFIC_SURFACE], material, (101, 64, 129))
    assert sorted(ds.phase_fraction.values.round(8)) == [0.14961630, 0.40046632, 0.44991738]
    assert sorted(ds.specific_surface_faces.values.tolist()) == [
        0.14610451459884644,
        0.30683690309524536,
        0.34222638607025146,
    ]


def test_add_blocks_joins_planes(labels: NDArray[np.uint8]) -> None:
    grid, own = Grid((6, 7, 8), (4, 3, 8)), PLANES[1]
    pieces = (
        (b, {own.name: own.compute(labels[b.core.slices], Box.whole(b.core.shape), TWO)})
        for b in grid
    )
    total = add_blocks([own], grid.shape, pieces, TWO)[own.name]
    assert total[:, 1].tolist() == labels.sum(axis=(0, 2)).tolist()
