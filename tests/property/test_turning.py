"""Nothing but its name and its spacing tells one axis from another: a turned volume has the turned results.

Edges of a voxel and numbers of voxels differ along all axes, so that none can be taken for another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage as ndi

from tim3d.descriptors.base import Descriptor, Material
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.percolation import percolation
from tim3d.grid import Box, triple
from tim3d.kernels.geodesic.eikonal import UNREACHED
from tim3d.kernels.geodesic.geodesic import UNIT, plane_sums, tortuosity
from tim3d.kernels.image.denoise import median, nonlocal_means, reach
from tim3d.kernels.image.pixel_features import FeatureSet, features_of, gaussians
from tim3d.kernels.image.total_variation import total_variation
from tim3d.kernels.morphology import ball
from tim3d.kernels.morphology.components import label_volume
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.painting import largest_ball
from tim3d.phases import Phases

SPACING, SHAPE = (2.0, 3.0, 5.0), (7, 8, 11)
PHASES = Phases(pore=0, matrix=1, filler=2)
ALL: list[Descriptor] = list(BUILTIN.values())
LABELS = np.digitize(
    ndi.gaussian_filter(np.random.default_rng(5).normal(size=SHAPE), 0.8), (-0.15, 0.2)
).astype(np.uint8)
TURNS = [t for t in itertools.permutations(range(3)) if t != (0, 1, 2)]
Spacing = tuple[float, float, float]


def turned(values: Any, turn: tuple[int, ...]) -> Any:
    """The lengths of the axes in the order of the turned volume."""
    return tuple(values[t] for t in turn)


def described(labels: NDArray[np.uint8], spacing: Spacing, block: Any = None) -> xr.Dataset:
    return describe_array(np.ascontiguousarray(labels), ALL, Material(PHASES, spacing), block)


@pytest.mark.parametrize("turn", TURNS)
def test_every_descriptor_turns_with_the_volume(turn: tuple[int, ...]) -> None:
    whole = described(LABELS, SPACING)
    found = described(LABELS.transpose(turn), turned(SPACING, turn))
    for name, values in whole.data_vars.items():
        other = str(name)
        if other[-2:] in ("_z", "_y", "_x"):
            other = other[:-1] + "zyx"[turn.index("zyx".index(other[-1]))]
        np.testing.assert_allclose(found[other].values, values.values, rtol=1e-9, err_msg=other)
    for place, axis in enumerate(turn):
        np.testing.assert_allclose(found["zyx"[place]], whole["zyx"[axis]])


@pytest.mark.parametrize("scale", [10.0, 0.125])
def test_every_descriptor_scales_with_the_power_of_length_in_its_unit(scale: float) -> None:
    whole = described(LABELS, SPACING)
    found = described(LABELS, tuple(scale * s for s in SPACING))  # type: ignore[arg-type]
    for name, values in whole.data_vars.items():
        units = values.attrs["units"]
        power = 0 if units == "1" else int(units.removeprefix("nm"))
        expected = values.values * scale**power
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, err_msg=str(name))


def test_every_descriptor_is_blind_to_mirrors() -> None:
    whole = described(LABELS, SPACING)
    for axis in range(3):
        found = described(np.flip(LABELS, axis), SPACING)
        for name, values in whole.data_vars.items():
            along = f"_{'zyx'[axis]}"
            expected = values.values[..., ::-1] if str(name).endswith(along) else values.values
            np.testing.assert_allclose(found[name], expected, rtol=1e-9, err_msg=str(name))


@pytest.mark.parametrize("block", [(3, 5, 4), (6, 7, 10), (7, 8, 10), (1, 8, 11)])
def test_a_thin_block_at_the_end_counts_as_any_other(block: tuple[int, int, int]) -> None:
    xr.testing.assert_identical(described(LABELS, SPACING, block), described(LABELS, SPACING))


COARSE = (ndi.gaussian_filter(np.random.default_rng(6).normal(size=(13, 14, 17)), 1.3) > 0).astype(
    np.uint8
)


def features(grey: NDArray[np.float32], spacing: Spacing) -> NDArray[np.float32]:
    """All features of every voxel in one number, but for its neighbours before and after it."""
    asked = FeatureSet((4.0, 8.0), spacing, planar=False)
    points = np.argwhere(np.ones(grey.shape, bool))
    found = features_of(grey, gaussians(grey, asked), points, asked)
    own = [n for n, name in enumerate(asked.names) if name not in ("grey_before", "grey_after")]
    return (found[:, own] @ np.arange(1, len(own) + 1, dtype=np.float32)).reshape(grey.shape)


def distances(labels: NDArray[np.uint8], spacing: Spacing) -> NDArray[np.float32]:
    """Distance of every voxel to another phase, in nm."""
    metric = metric_of(spacing)
    return lengths(squared_distances(labels, metric), metric)


def shaded(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey values that differ within a phase."""
    return ndi.gaussian_filter(labels * np.float32(90), 1.0, mode="reflect")


KERNELS: dict[str, Callable[[NDArray[np.uint8], Spacing], Any]] = {
    "opening": lambda v, s: ball.opened(v == 1, 5.5, s),
    "closing": lambda v, s: ball.closed(v == 1, 5.5, s),
    "majority": lambda v, s: ball.majority(v, PHASES.codes, 6.5, s),
    "median": lambda v, s: median(v * np.uint8(90), reach(6.5, s)),
    "dilation": lambda v, s: ball.dilated(v == 1, 5.5, s),
    "largest ball": lambda v, s: largest_ball(
        distances(v, s), metric_of(s), Box((0, 0, 0), triple(v.shape))
    ),
    "other means": lambda v, s: nonlocal_means(shaded(v), 9.0, reach(5.5, s), reach(3.5, s)),
    "features": lambda v, s: features(shaded(v) / 90, s),
    "variation": lambda v, s: total_variation(v.astype(np.float32) * 90, 20.0, 12, s),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_with_a_length_turns_with_the_volume(name: str, turn: tuple[int, ...]) -> None:
    kernel = KERNELS[name]
    expected = np.asarray(kernel(COARSE, SPACING)).transpose(turn)
    other = np.ascontiguousarray(COARSE.transpose(turn))
    found = np.asarray(kernel(other, turned(SPACING, turn)))
    assert not np.array_equal(found, kernel(other, turned(SPACING, turn[::-1])))
    if found.dtype == np.float32:
        np.testing.assert_allclose(found, expected, atol=1e-3)
    else:
        assert np.array_equal(found, expected)


# Differences are taken to the next voxel, so that a variation has a direction.
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", sorted(set(KERNELS) - {"variation"}))
def test_a_kernel_is_blind_to_mirrors(name: str, axis: int) -> None:
    kernel = KERNELS[name]
    found = kernel(np.ascontiguousarray(np.flip(COARSE, axis)), SPACING)
    expected = np.flip(kernel(COARSE, SPACING), axis)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("turn", TURNS)
def test_components_turn_with_the_volume(turn: tuple[int, ...]) -> None:
    def shares(labels: NDArray[np.uint8]) -> xr.Dataset:
        _, table = label_volume(np.ascontiguousarray(labels), PHASES.codes)
        return percolation(table, PHASES, labels.shape, 6)

    whole, found = shares(LABELS), shares(LABELS.transpose(turn))
    kinds = ("percolating_fraction", "dead_end_fraction", "isolated_fraction", "percolates")
    for name in kinds:
        for place, axis in enumerate(turn):
            there, here = found[name].isel(axis=place), whole[name].isel(axis=axis)
            np.testing.assert_allclose(there, here, err_msg=name)
    assert np.array_equal(found.component_count, whole.component_count)
    for phase in PHASES.codes:
        extents = [
            sorted(
                map(tuple, (d.component_stop - d.component_start).values[d.component_phase == phase][:, order])
            )
            for d, order in ((whole, list(turn)), (found, [0, 1, 2]))
        ]  # fmt: skip
        assert extents[0] == extents[1]


@pytest.mark.parametrize("axis", range(3))
def test_the_straight_way_is_that_of_its_own_axis(axis: int) -> None:
    """Ways that are a quarter longer than straight have the tortuosity 1.25 in planes of any spacing."""
    shape = [4, 5, 6]
    planes = np.arange(shape[axis]) * (SPACING[axis] / min(SPACING) * UNIT * 1.25)
    units = np.broadcast_to(
        planes.round().reshape([-1 if a == axis else 1 for a in range(3)]), shape
    ).astype(np.uint32)
    units[tuple(slice(None) if a == axis else 0 for a in range(3))] = UNREACHED
    found = tortuosity(*plane_sums(units, np.ones(shape, np.uint8), axis), SPACING, axis)
    assert np.isnan(found.profile[0])
    np.testing.assert_allclose(found.profile[1:], 1.25, rtol=1e-6)
    assert (found.last_quarter, found.last_plane, found.all_planes) == pytest.approx((1.25,) * 3)
    assert found.reached == pytest.approx(1 - shape[axis] / np.prod(shape))
