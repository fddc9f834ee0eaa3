"""Local fractions are Gaussian means of the image, and the law fitted to them is the one that they were drawn from."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtri

import tim3d
from tests.micrographs import blobs
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.coarse_field import CoarseField, CoarseLaw, window_deviation
from tim3d.kernels.generation.gaussian_field import GaussianField
from tim3d.kernels.generation.lattice_weights import gaussian_weights
from tim3d.kernels.generation.local_means import (
    LocalMeans,
    Surroundings,
    cells_of,
    counted,
    fitted_law,
)
from tim3d.models.diffusion.examples import Examples, turning
from tim3d.phases import Phases
from tim3d.stages.generation.diffusion_examples import of_field
from tim3d.stages.generation.local_fractions import law_text, with_local_fractions

CUBES = (1.0, 1.0, 1.0)
Point = tuple[float, float, float]


def means(mask: np.ndarray, window: float, spacing: Point = CUBES) -> LocalMeans:
    cell = cells_of(window, mask.shape, spacing)  # type: ignore[arg-type]
    return LocalMeans(counted(mask, cell), mask.shape, cell, spacing, window)  # type: ignore[arg-type]


def drawn(shape: Triple, seed: int, short: float, slow: float, deviation: float) -> np.ndarray:
    """Mask of a level cut whose level varies slowly: 0.4 of all, in voxels of 1 nm."""
    law = CoarseLaw(10.0, 0.4, 0.0, deviation**2, slow, 1.0)
    level = ndtri(CoarseField(law, CUBES, seed).values(Box.whole(shape)))
    return GaussianField((short,) * 3, CUBES, seed).values(Box.whole(shape)) < level


@pytest.mark.parametrize(
    ("shape", "window", "spacing"),
    [((1, 150, 190), 20.0, CUBES), ((1, 150, 150), 30.0, (1.0, 2.0, 2.0)), ((40, 44, 60), 12.0, (1.0, 1.0, 0.5))],
)  # fmt: skip
def test_a_local_fraction_is_the_gaussian_mean_of_what_lies_in_the_image(
    shape: Triple, window: float, spacing: Point
) -> None:
    """Against scipy's filter, voxel by voxel: the cells cost less than 0.02, for noise in single voxels."""
    mask = np.random.default_rng(0).random(shape) < 0.3
    mask[:, :, : shape[2] // 2] |= (
        np.random.default_rng(1).random(mask[:, :, : shape[2] // 2].shape) < 0.4
    )
    sigma = [
        window / math.sqrt(12) / d if n > 1 else 0.0 for n, d in zip(shape, spacing, strict=True)
    ]
    ways = {"sigma": sigma, "mode": "constant", "truncate": 5.0}
    plain = ndimage.gaussian_filter(mask.astype(float), **ways)
    there = ndimage.gaussian_filter(np.ones(shape), **ways)
    found = means(mask, window, spacing)
    assert np.abs(found.box((0, 0, 0), shape) - plain / there).max() < 0.02
    assert found.mean == mask.mean()


def test_a_box_has_the_bits_of_all_and_a_part_knows_what_lies_beyond() -> None:
    mask = blobs(160, 2.0, seed=3)[None] == 0
    found = means(mask, 24.0)
    whole = found.box((0, 0, 0), (1, 160, 160))
    assert np.array_equal(found.box((0, 30, 70), (1, 50, 40)), whole[:, 30:80, 70:110])
    law = fitted_law([found])
    part = Surroundings(found, law, (0, 0, 100))
    expected = law.standardised(whole[0, 5:25, 110:150])
    assert np.array_equal(part[5:25, 10:50], expected)


def test_every_voxel_is_counted_once_whatever_the_cells() -> None:
    mask = np.random.default_rng(4).random((7, 33, 50)) < 0.5
    for cell in [(1, 1, 1), (2, 5, 7), (7, 33, 50), (9, 40, 60)]:
        assert counted(mask, cell).sum() == mask.sum()


def test_weights_of_a_place_do_not_depend_on_those_beside_it() -> None:
    places = np.arange(40, dtype=float)
    whole = gaussian_weights(places, 5.0, 3.3, 0.7)
    for a, b in pairwise((0, 7, 23, 40)):
        part = gaussian_weights(places[a:b], 5.0, 3.3, 0.7)
        assert np.array_equal(part.weights, whole.weights[a:b])
        assert np.array_equal(part.nodes, whole.nodes[a:b])


def test_the_law_of_a_known_material_is_found() -> None:
    """Of eight images: mean, slow variance and length are met, each within what so many windows tell."""
    slow, deviation, window = 90.0, 0.1, 48.0
    found = [
        fitted_law([means(drawn((1, 768, 768), seed, 6.0, slow, deviation), window)])
        for seed in range(8)
    ]
    wide = 2 * window_deviation(window)  # the window itself widens the field, and flattens it
    variance = deviation**2 * slow**2 / (slow**2 + wide**2)
    windows = 768**2 / (math.pi * slow**2)
    error = variance * math.sqrt(2 / windows)
    means_of = np.mean([law.mean for law in found])
    assert abs(means_of - 0.4) < 3 * math.sqrt(variance / windows / 8)
    slows = [law.slow_variance for law in found]
    assert abs(np.mean(slows) - variance) < 3 * (error + np.std(slows)) / math.sqrt(8)
    assert np.median([law.correlation_nm for law in found]) == pytest.approx(
        math.hypot(slow, wide), rel=0.3
    )
    every = [law.variance for law in found]
    known = np.mean([math.sqrt(2 / law.windows) for law in found])
    assert 0.5 < np.std(every, ddof=1) / np.mean(every) / known < 2, "the stated error"


def test_a_material_without_slow_variation_has_none_that_counts() -> None:
    """The fit is to one image: what is left is below a tenth of the short part."""
    mask = GaussianField((6.0,) * 3, CUBES, 11).values(Box((0, 0, 0), (1, 1024, 1024))) < -0.25
    law = fitted_law([means(mask, 48.0)])
    assert law.slow_variance < 0.1 * law.short_variance


def test_a_field_drawn_from_a_fitted_law_is_fitted_by_the_same_law() -> None:
    """The variance of the local fractions is that of a plain filter, and the draw has it."""
    parts = [means(drawn((1, 768, 768), seed, 6.0, 90.0, 0.1), 48.0) for seed in range(4)]
    law = fitted_law(parts)
    far = math.ceil(2 * law.deviation_nm)
    inner = [p.box((0, far, far), (1, 768 - 2 * far, 768 - 2 * far)) for p in parts]
    measured = float(np.mean([np.mean((one - law.mean) ** 2) for one in inner]))
    assert law.variance == pytest.approx(measured, rel=0.15)
    made = CoarseField(law, CUBES, 1).values(Box((0, 0, 0), (1, 3000, 3000)))
    assert made.var(dtype=np.float64) == pytest.approx(law.variance, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "window", "error", "words"),
    [
        ((1, 64, 64), 3.9, ArgumentError, "--coarse-window 4"),
        ((1, 64, 64), -20.0, ArgumentError, "--coarse-window 4"),
        ((1, 64, 64), math.nan, ArgumentError, "--coarse-window 4"),
        ((1, 64, 64), 17.0, InputError, "64 x 64 nm have no room for 16 windows of 17 nm"),
        ((1, 64, 64), 17.0, InputError, "or --coarse-window up to 16"),
        ((1, 64, 1000), 40.0, InputError, "or --coarse-window up to 32"),
        ((20, 64, 64), 12.0, InputError, "20 x 64 x 64 nm .* up to 10"),
    ],
)
def test_a_window_that_does_not_fit_is_refused_with_one_that_does(
    shape: Triple, window: float, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cells_of(window, shape, CUBES)


def test_a_law_of_few_windows_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    law = CoarseLaw(60.0, 0.4, 0.004, 0.012, 150.0, 40.0)
    assert law_text(law, "pore").startswith(
        "local fraction of pore in windows of 60 nm: 0.400, standard deviation 0.126 (to 11 %), of which 0.110 is slow"
    )
    assert not caplog.records
    law_text(replace(law, windows=8.0), "pore")
    assert "of pore follows from 8 independent windows, to about 50 %" in caplog.text


def test_the_same_fraction_everywhere_is_refused() -> None:
    for mask in (np.ones((1, 64, 64), bool), np.zeros((1, 64, 64), bool)):
        with pytest.raises(InputError, match="the same everywhere"):
            fitted_law([means(mask, 16.0)])


def test_crops_and_their_local_fractions_are_of_one_place_and_turned_alike() -> None:
    """The image is its own local fraction here, so that both crops are equal."""

    class Itself:
        counts = np.zeros(1, np.int64)

        def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
            return image[box].astype(np.float32)

    image = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)
    known = np.zeros((1, 0), np.float32)
    examples = Examples([image], known, around=[Itself()])
    values, _, around = examples.surrounded(12, 8, np.random.default_rng(1))
    assert around is not None
    assert np.array_equal(values, around)
    plain, _ = Examples([image], known).crops(12, 8, np.random.default_rng(1))
    assert np.array_equal(values, plain)
    assert examples.sha256() != Examples([image], known).sha256()
    assert turning(2, np.random.default_rng(0))(image).size == image.size
    with pytest.raises(InputError, match="1 arrays with 2 surroundings"):
        Examples([image], known, around=[Itself(), Itself()])


def test_cells_of_a_volume_are_counted_from_the_store_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.stack([blobs(48, 1.5, seed=n // 6) for n in range(40)])
    np.save(tmp_path / "v.npy", np.where(volume > 0, np.uint8(7), np.uint8(3)))
    sample = str(tmp_path / "a.zarr")
    size = {"z": 2, "y": 1, "x": 1}
    tim3d.ingest(
        tmp_path / "v.npy", sample, voxel_size=size, field="phase", phases=Phases(pore=3, solid=7)
    )
    plain = means(volume == 0, 14.0, (2.0, 1.0, 1.0))
    for at_once in (2**24, 2000, 1):
        monkeypatch.setattr("tim3d.stages.generation.local_fractions.AT_ONCE", at_once)
        made = with_local_fractions(of_field(sample, "phase"), 14.0)
        assert np.array_equal(made.means[0].counts, plain.counts)
        assert made.coarse == fitted_law([plain])
    seen, judged, _ = made.parts(8, 0.3)
    whole = made.means[0].box((0, 0, 0), (40, 48, 48))
    held = 12
    box = (slice(2, 10), slice(3, 11), slice(4, 12))
    law = made.coarse
    assert law is not None
    assert np.array_equal(seen.around[0][box], law.standardised(whole[2:10, 3:11, 4:12]))
    later = whole[40 - held + 2 : 40 - held + 10, 3:11, 4:12]
    assert np.array_equal(judged.around[0][box], law.standardised(later))
