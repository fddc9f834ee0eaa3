"""Distributions of thickness and distance are those of the voxels that have one, by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors import DistanceDistribution, Thickness
from tim3d.descriptors.base import Material
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.lengths import QUANTILES, STEPS
from tim3d.phases import Phases

MATERIAL = Material(Phases(pore=0, solid=1, dirt=4), (24.0, 10.0, 8.0))
SHAPE = (11, 12, 13)
DRAW = np.random.default_rng(2)
LABELS = DRAW.choice(np.array([0, 1], np.uint8), SHAPE)
# Of a fifth of the voxels no length is known: their phase was left out.
LENGTHS = (8 * DRAW.lognormal(1.0, 0.7, SHAPE) * (DRAW.random(SHAPE) < 0.8)).astype(np.float32)


@pytest.fixture(scope="module", params=[Thickness, DistanceDistribution])
def found(request: pytest.FixtureRequest) -> xr.Dataset:
    """The distribution in blocks, by names that are the same for all kinds."""
    one = request.param()
    made = one.descriptor(MATERIAL)
    found = describe_array(LABELS, [made], MATERIAL, (4, 5, 7), {one.reads[1]: LENGTHS})
    return found.rename({n: str(n).replace(one.kind, "length") for n in found.variables})


@pytest.mark.parametrize("phase", ["pore", "solid"])
def test_numbers_are_those_of_the_voxels_with_a_length(found: xr.Dataset, phase: str) -> None:
    own = LENGTHS[np.isin(LABELS, MATERIAL.phases[phase]) & (LENGTHS > 0)].astype(float)
    one, bin_width = found.sel(phase=phase), 2 ** (1 / STEPS)
    assert float(one.length_mean) == pytest.approx(own.mean(), rel=1e-4)
    assert float(one.length_std) == pytest.approx(own.std(), rel=1e-3)
    assert float(one.length_median) == pytest.approx(np.median(own), rel=bin_width - 1)
    quantiles = np.quantile(own, QUANTILES, method="inverted_cdf")
    assert (np.abs(np.log(one.length_quantile.values / quantiles)) < np.log(bin_width)).all()
    edges = [*found.length_bin.values, np.inf]
    shares = np.histogram(own, edges)[0] / own.size
    assert one.length_share.values == pytest.approx(shares)
    assert one.length_share.sum() == pytest.approx(1)


def test_a_phase_without_voxels_has_no_length(found: xr.Dataset) -> None:
    one = found.sel(phase="dirt")
    assert all(np.isnan(one[f"length_{n}"]).all() for n in ("mean", "std", "median", "quantile"))


def test_every_length_has_its_unit(found: xr.Dataset) -> None:
    assert {found[f"length_{n}"].attrs["units"] for n in ("mean", "std", "median", "bin")} == {"nm"}
    assert found.length_share.attrs["units"] == "1"
