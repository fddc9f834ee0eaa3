"""Thresholds that lie in no valley of a histogram are said with figures, others are not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d import Phases
from tim3d.kernels.image.threshold import grey_counts, multi_otsu, otsu
from tim3d.kernels.image.valleys import has_two_modes, on_slopes

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
TWO, THREE = {60: 0.4, 180: 0.6}, {40: 0.3, 120: 0.3, 200: 0.4}


def stack(modes: dict[int, float], spread: float = 12.0, seed: int = 0) -> np.ndarray:
    """Grey values drawn about some modes, by their shares."""
    rng = np.random.default_rng(seed)
    centres = rng.choice(list(modes), size=(16, 48, 48), p=list(modes.values()))
    return np.clip(np.rint(rng.normal(centres, spread)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shares", [TWO, THREE, {60: 0.1, 180: 0.9}, {90: 0.5, 150: 0.5}])
def test_as_many_phases_as_modes_are_not_doubted(shares: dict[int, float], seed: int) -> None:
    counts, grey = grey_counts(stack(shares, seed=seed)), np.arange(256)
    assert on_slopes(counts, grey, multi_otsu(counts, grey, len(shares))) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shares", "classes"), [(TWO, 3), (TWO, 4), (THREE, 4), ({120: 1.0}, 2)])
def test_more_phases_than_modes_are_doubted_with_what_a_bin_moves(
    shares: dict[int, float], classes: int, seed: int
) -> None:
    voxels = stack(shares, seed=seed)
    counts, grey = grey_counts(voxels), np.arange(256)
    found = on_slopes(counts, grey, multi_otsu(counts, grey, classes))
    assert len(found) >= classes - len(shares)
    for one in found:
        near = np.abs(voxels.astype(int) - one.threshold) <= 3
        assert one.moved == pytest.approx(near.mean() / 7, rel=0.15)


def test_one_mode_and_one_value_are_not_two() -> None:
    for modes, expected in ((TWO, True), ({120: 1.0}, False)):
        assert has_two_modes(grey_counts(stack(modes)), np.arange(256)) == expected
    assert not has_two_modes(grey_counts(np.full((4, 4, 4), 7, np.uint8)), np.arange(256))


@pytest.mark.parametrize(
    ("method", "phases"), [("multi-otsu", "abc"), ("multi-otsu", "ab"), ("otsu", "ab")]
)
def test_segment_says_what_it_cuts_on_a_slope(
    method: str, phases: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample, names = str(tmp_path / "a.zarr"), Phases(**{name: n for n, name in enumerate(phases)})
    voxels = stack(TWO)
    np.save(tmp_path / "v.npy", voxels)
    tim3d.ingest(
        tmp_path / "v.npy",
        sample,
        voxel_size=SIZE,
        accept=["jumps", "drift", "saturated"],
        options=QUIET,
    )
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "one.npy", voxels[0])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        tim3d.segment(sample, method=method, phases=names, options=QUIET)
        tim3d.segment_images(
            tmp_path / "images", tmp_path / "masks", method=method, phases=names, progress=False
        )
    said = [r.getMessage() for r in caplog.records if "no valley" in r.getMessage()]
    assert (len(said) > 0) == (len(phases) == 3)
    assert all("of all voxels" in one for one in said)
    assert any(one.startswith("one: ") for one in said) == (len(phases) == 3)
    counts = grey_counts(voxels)
    assert otsu(counts, np.arange(256)) == multi_otsu(counts, np.arange(256), 2)[0]


def test_adapt_says_that_the_other_stack_has_one_mode(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, modes in (("two", TWO), ("one", {120: 1.0})):
        np.save(tmp_path / "v.npy", stack(modes))
        tim3d.ingest(
            tmp_path / "v.npy", str(tmp_path / f"{name}.zarr"), voxel_size=SIZE,
            accept=["jumps", "drift", "saturated"], options=QUIET,
        )  # fmt: skip
    two, one = str(tmp_path / "two.zarr"), str(tmp_path / "one.zarr")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        tim3d.adapt(one, like=two, to="histogram", options=QUIET)
        assert "modes" not in caplog.text
        tim3d.adapt(two, like=one, to="histogram", options=QUIET)
    assert f"the histogram of {two} has two modes and that of {one} has one" in caplog.text
