"""Laws of every descriptor of the package, also of those with parameters: a new one is under them by its name.

Edges of a voxel and numbers of voxels differ along all axes. Coordinates in nm are compared as the numbers are.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage as ndi

from tests.turns import Change, assert_alike, power_of_length
from tim3d.descriptors.base import Material, Voxels, inputs_of, partials_of
from tim3d.descriptors.builtin import BUILTIN, PARAMETRIC, settled
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.grid import triple
from tim3d.kernels.morphology.components import label_volume
from tim3d.phases import Phases

PHASES = Phases(pore=0, matrix=1, filler=2)
SPACING, SHAPE = (5.0, 4.0, 3.0), (13, 14, 18)
LABELS_ZYX = np.digitize(
    ndi.gaussian_filter(np.random.default_rng(5).normal(size=SHAPE), 1.2), (-0.08, 0.1)
).astype(np.uint8)
# Small values of parameters that a descriptor may have: the laws hold for any.
SMALL: dict[str, Any] = {"lags": 4, "bins": 8, "sigma": 1.0}
ASKED = [
    *BUILTIN.values(),
    *(
        kind(**{one.name: SMALL[one.name] for one in fields(kind) if one.name in SMALL})  # type: ignore[arg-type]
        for kind in PARAMETRIC.values()
    ),
]
# What is NaN in a volume as small as this one.
LONG_VOLUMES = ("integral_range", "phase_fraction_error")
Spacing = tuple[float, float, float]


def field_of(one: Input, labels: NDArray[np.uint8], spacing: Spacing) -> NDArray[Any]:
    """A field of the role of an input, as a function of the labels."""
    if one.role == "values":
        inside = [ndi.distance_transform_edt(labels == code, spacing) for code in PHASES.codes]
        return np.sum(inside, axis=0).astype(np.float32)
    assert one.role == "numbers", f"say here how a field of the role {one.role!r} is made of labels"
    return np.asarray(label_volume(labels, PHASES.codes)[0])


def described(labels: NDArray[np.uint8], spacing: Spacing, block: Any = None) -> xr.Dataset:
    labels = np.ascontiguousarray(labels)
    material = Material(PHASES, spacing)
    every = settled(ASKED, material, triple(labels.shape))
    others: Voxels = {
        one: field_of(one, labels, spacing)
        for one in inputs_of(partials_of(every))
        if one != LABELS
    }
    return describe_array(labels, every, material, block, others)


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return described(LABELS_ZYX, SPACING)


def test_every_descriptor_has_numbers_here(whole: xr.Dataset) -> None:
    """Else the other laws would hold for NaN alone."""
    for name, values in whole.data_vars.items():
        if str(name).startswith(LONG_VOLUMES):
            continue
        assert np.isfinite(values.values).any(), name
        assert len(np.unique(values.values)) > 1 or values.size == 1, name


@pytest.mark.parametrize("turn", [(1, 2, 0), (0, 2, 1)])
def test_every_descriptor_turns_with_the_volume(
    whole: xr.Dataset, turn: tuple[int, int, int]
) -> None:
    """These two turns make all others."""
    spacing = (SPACING[turn[0]], SPACING[turn[1]], SPACING[turn[2]])
    found = described(LABELS_ZYX.transpose(turn), spacing)
    assert_alike(found, Change(turn).expected(whole, found), 1e-5)


def test_every_descriptor_is_that_of_the_mirrored_volume(whole: xr.Dataset) -> None:
    change = Change(mirrored=True)
    found = described(change.voxels(LABELS_ZYX), SPACING)
    assert_alike(found, change.expected(whole, found), 1e-5)


def test_every_number_scales_with_the_power_of_length_in_its_unit(whole: xr.Dataset) -> None:
    scale = 4.0
    found = described(LABELS_ZYX, (scale * SPACING[0], scale * SPACING[1], scale * SPACING[2]))
    for name, values in whole.variables.items():
        if values.dtype.kind not in "fiub":
            continue
        units = str(values.attrs["units"])
        assert re.fullmatch(r"1|nm-?\d*", units), f"{name} has the unit {units!r}"
        power = power_of_length(units)
        assert found[name].attrs["units"] == units
        np.testing.assert_allclose(
            found[name].values, values.values * scale**power, rtol=1e-5, err_msg=str(name)
        )


def test_no_block_shows_in_any_descriptor(whole: xr.Dataset) -> None:
    """Blocks of other edges along each axis, the last ones a voxel thick."""
    assert_alike(described(LABELS_ZYX, SPACING, (12, 6, 17)), whole, 0)
