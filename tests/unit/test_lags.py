"""Lengths along the axes of results are given in nm and in voxels."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.descriptors import KINDS
from tim3d.descriptors.base import Descriptor, Material
from tim3d.descriptors.builtin import BUILTIN, select, settled
from tim3d.phases import Phases

MATERIAL = Material(Phases(pore=0, solid=1, filler=2), (20.0, 5.0, 10.0))
EVERY = settled(select([*BUILTIN, *KINDS, "correlation:lags=8"]), MATERIAL, (99, 99, 99))


@pytest.mark.parametrize("one", EVERY, ids=lambda d: d.name)
def test_an_axis_of_lengths_has_them_in_nm_and_in_voxels(one: Descriptor) -> None:
    totals = {p.name: np.ones(p.shape((99, 99, 99), MATERIAL), np.int64) for p in one.needs}
    with np.errstate(all="ignore"):
        found = one.finalize(totals, MATERIAL)
    lengths = [d for d in found.dims if found[d].attrs.get("units") == "nm" and d not in "zyx"]
    for dim in map(str, lengths):
        np.testing.assert_array_equal(found[f"{dim}_voxels"] * 5.0, found[dim])
    for dim in map(str, found.dims):
        if dim.startswith(("lag", "chord_voxels")) and dim not in (*lengths, "lag_direction"):
            assert found[dim].attrs["units"] == "1"
            in_nm = [
                c for c in found.coords.values() if dim in c.dims and c.attrs.get("units") == "nm"
            ]
            assert in_nm
            assert all("length" in str(c.name) for c in in_nm)
