"""The local threshold against scikit-image's, in any blocks, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_local

import tim3d
from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.image.threshold import beyond_local_mean
from tim3d.segmenters import LocalThreshold

QUIET = tim3d.Options(progress=False)
TWO = tim3d.Phases(pore=0, solid=1)


@given(
    st.integers(1, 30), st.integers(1, 30), st.sampled_from([3, 5, 21]), st.integers(0, 9), st.booleans(),
    st.integers(0, 99), st.sampled_from([np.uint8, np.uint16]),
)  # fmt: skip
def test_it_is_the_mean_of_scikit_image_less_the_offset(y, x, edge, offset, dark, seed, kind):
    top = np.iinfo(kind).max
    plane = np.random.default_rng(seed).integers(0, top + 1, (y, x)).astype(kind)
    mean = np.rint(threshold_local(plane.astype(float), edge, method="mean", mode="nearest"))
    wanted = plane <= mean - offset if dark else plane >= mean + offset
    assert np.array_equal(beyond_local_mean(plane, edge, offset, dark=dark), wanted)


def test_the_brightest_value_of_16_bits_does_not_overflow():
    plane = np.full((40, 40), 65535, np.uint16)
    plane[20, 20] = 0
    assert beyond_local_mean(plane, 21, 5 * 257).sum() == 1


@pytest.mark.long
@pytest.mark.parametrize("blur", ["none", "binomial"])
def test_no_block_shows(tmp_path: Path, blur: str) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (3, 37, 41)).astype(np.uint8)
    np.save(tmp_path / "g.npy", grey)
    found = []
    for name, shard in (("whole", (3, 37, 41)), ("cut", (1, 8, 16))):
        sample = str(tmp_path / name)
        few = tim3d.Options(progress=False, block=shard)
        tim3d.ingest(
            tmp_path / "g.npy", sample, voxel_size={"z": 20, "y": 5, "x": 5}, shard=shard, options=QUIET
        )  # fmt: skip
        tim3d.segment(sample, method="adaptive", phases=TWO, blur=blur, options=few)
        found.append(tim3d.open_field(sample, "phase").values)
    assert np.array_equal(*found)
    whole = Box((0, 0, 0), grey.shape)
    assert np.array_equal(
        found[0], LocalThreshold(("pore", "solid"), blur=blur).open()(grey, whole)["labels"]
    )


def test_what_has_no_local_threshold_is_refused(tmp_path: Path) -> None:
    for wrong in ({"edge": 4}, {"edge": 1}, {"offset": -1}, {"blur": "much"}, {"polarity": "grey"}):
        with pytest.raises(ArgumentError):
            LocalThreshold(("pore", "solid"), **wrong)
    np.save(tmp_path / "g.npy", np.zeros((2, 9, 9), np.float32))
    sample = str(tmp_path / "s")
    tim3d.ingest(tmp_path / "g.npy", sample, voxel_size={"z": 1, "y": 1, "x": 1}, options=QUIET)
    with pytest.raises(ArgumentError, match="cuts uint8 and uint16"):
        tim3d.segment(sample, method="adaptive", phases=TWO, options=QUIET)
    with pytest.raises(ArgumentError, match="gives 2 classes"):
        tim3d.segment(sample, method="adaptive", phases=tim3d.Phases(a=0, b=1, c=2), options=QUIET)
