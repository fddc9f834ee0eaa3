"""Laws of every descriptor of the package, also of those with parameters: a new one is under them by its name.

Edges of a voxel and numbers of voxels differ along all axes. Coordinates in nm are compared as the numbers are.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage as ndi

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
TURNS = [turn for turn in itertools.permutations(range(3)) if turn != (0, 1, 2)]
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


def turned_word(text: str, turn: tuple[int, ...], known: list[str]) -> str:
    """Name of an axis or a direction in the turned volume, among those that are known there."""
    letters = {"zyx"[axis]: "zyx"[place] for place, axis in enumerate(turn)}
    steps = {letters[letter]: sign for sign, letter in re.findall(r"([+-]?)([zyx])", text)}
    for flip in ("", "-"):  # a direction and its reverse are one
        signs = {a: -1 if (s == "-") != bool(flip) else 1 for a, s in steps.items()}
        word = "".join(f"{'-' if signs[a] < 0 else '+'}{a}" for a in "zyx" if a in signs)
        if word.lstrip("+") in known:
            return word.lstrip("+")
    raise AssertionError(f"{text} has no place among {known}")


def is_directions(values: xr.DataArray) -> bool:
    """Whether a coordinate holds names of axes, or of directions between them."""
    return values.dtype == object and all(re.fullmatch(r"[+\-zyx]+", str(v)) for v in values.values)


def turned(whole: xr.Dataset, turn: tuple[int, ...], like: xr.Dataset) -> xr.Dataset:
    """Results as they have to be for the turned volume, laid out as `like`."""
    new = {"zyx"[axis]: "zyx"[place] for place, axis in enumerate(turn)}
    ends = {
        str(name): f"{str(name)[:-1]}{new[str(name)[-1]]}"
        for name in whole.variables
        if re.search(r"(^|_)[zyx]$", str(name))
    }
    found = whole.rename({old: f"-{name}" for old, name in ends.items()})
    found = found.rename({f"-{name}": name for name in ends.values()})
    for dim in [str(d) for d in found.dims if d in found.coords and is_directions(found[d])]:
        known = [str(v) for v in like[dim].values]
        words = [turned_word(str(v), turn, known) for v in found[dim].values]
        found = found.assign_coords({dim: np.array(words, dtype=object)}).sel({dim: known})
    return found


def assert_alike(found: xr.Dataset, expected: xr.Dataset, rounding: float) -> None:
    """Every number and every coordinate that is one; sums of floats depend on their order."""
    assert set(found.variables) == set(expected.variables)
    for name, values in expected.variables.items():
        if values.dtype.kind in "fiub":
            other = found[name].transpose(*values.dims)
            largest = np.nanmax(np.abs(values.values), initial=0)
            np.testing.assert_allclose(
                other.values,
                values.values,
                rtol=10 * rounding,
                atol=rounding * largest,
                err_msg=str(name),
            )


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
def test_every_descriptor_turns_with_the_volume(whole: xr.Dataset, turn: tuple[int, ...]) -> None:
    """These two turns make all others."""
    spacing = (SPACING[turn[0]], SPACING[turn[1]], SPACING[turn[2]])
    found = described(LABELS_ZYX.transpose(turn), spacing)
    assert_alike(found, turned(whole, turn, found), 1e-5)


def test_every_number_scales_with_the_power_of_length_in_its_unit(whole: xr.Dataset) -> None:
    scale = 4.0
    found = described(LABELS_ZYX, (scale * SPACING[0], scale * SPACING[1], scale * SPACING[2]))
    for name, values in whole.variables.items():
        if values.dtype.kind not in "fiub":
            continue
        units = str(values.attrs["units"])
        assert re.fullmatch(r"1|nm-?\d*", units), f"{name} has the unit {units!r}"
        power = 0 if units == "1" else int(units.removeprefix("nm") or 1)
        assert found[name].attrs["units"] == units
        np.testing.assert_allclose(
            found[name].values, values.values * scale**power, rtol=1e-5, err_msg=str(name)
        )


def test_no_block_shows_in_any_descriptor(whole: xr.Dataset) -> None:
    """Blocks of other edges along each axis, the last ones a voxel thick."""
    assert_alike(described(LABELS_ZYX, SPACING, (12, 6, 17)), whole, 0)
