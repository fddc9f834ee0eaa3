"""The histogram of 2x2x2 configurations against its definition and against published counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
from numpy.typing import NDArray
from skimage.measure import euler_number
from skimage.morphology import ball

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.morphology.surface import (
    DIRECTIONS,
    crofton_weights,
    density,
    euler_weights,
    face_weights,
    marching_cubes_weights,
    pair_weights,
    volume_weights,
)
from tim3d.kernels.morphology.voxel_configurations import (
    BOUNDARIES,
    complement,
    configuration_histogram,
    octant_histogram,
)

PADS = {
    "mirror": {"mode": "edge"},
    "zero": {"mode": "constant"},
    "periodic": {"mode": "wrap"},
}


def brute_codes(padded: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Code of every corner between eight voxels, straight from the definition."""
    nz, ny, nx = (n - 1 for n in padded.shape)
    codes = np.zeros((nz, ny, nx), np.int64)
    for bit, (z, y, x) in enumerate(itertools.product((0, 1), repeat=3)):
        codes += padded[z : z + nz, y : y + ny, x : x + nx].astype(np.int64) << bit
    return codes


def brute_octants(mask: NDArray[np.uint8], core: Box | None = None) -> NDArray[np.int64]:
    """Octant by octant: each voxel of the core adds one to the code of each of its corners."""
    codes = brute_codes(np.pad(mask, 1, mode="edge"))
    core = core or Box.whole(mask.shape)
    hist = np.zeros(256, np.int64)
    for z, y, x in itertools.product(
        *(range(a, b) for a, b in zip(core.start, core.stop, strict=True))
    ):
        np.add.at(hist, codes[z : z + 2, y : y + 2, x : x + 2].ravel(), 1)
    return hist


def noise(shape: tuple[int, int, int], seed: int = 0, labels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, labels, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def blobs() -> NDArray[np.uint8]:
    """The volume `blobs_128` of the literature comparison: periodic, 880804 voxels inside."""
    white = np.random.default_rng(20240).standard_normal((128, 128, 128), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 4.0, mode="wrap")
    return (smooth < np.quantile(smooth, 0.42)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (3, 1, 2), (4, 5, 6), (2, 3, 19)])
@pytest.mark.parametrize("codes", [(1,), (0, 2)])
def test_octants_are_counted_one_by_one(
    shape: tuple[int, int, int], codes: tuple[int, ...]
) -> None:
    labels = noise(shape)
    expected = brute_octants(np.isin(labels, codes).astype(np.uint8))
    assert np.array_equal(octant_histogram(labels, codes), expected)
    assert expected.sum() == 8 * labels.size


def test_a_core_reads_one_voxel_around_it() -> None:
    labels = noise((6, 7, 8))
    core = Box((1, 2, 3), (4, 7, 6))
    mask = (labels == 1).astype(np.uint8)
    assert np.array_equal(octant_histogram(labels, [1], core), brute_octants(mask, core))


@pytest.mark.parametrize("boundary", ["zero", "inside", "periodic"])
def test_boundaries_count_every_corner_once(boundary: str) -> None:
    labels = noise((5, 4, 6))
    mask = (labels == 1).astype(np.uint8)
    padded = mask if boundary == "inside" else np.pad(mask, 1, **PADS[boundary])
    if boundary == "periodic":
        padded = padded[:-1, :-1, :-1]
    expected = np.bincount(brute_codes(padded).ravel(), minlength=256)
    assert np.array_equal(configuration_histogram(labels, [1], boundary), expected)


def test_zero_boundary_ends_a_region_that_holds_code_zero() -> None:
    labels = np.zeros((2, 2, 2), np.uint8)
    assert configuration_histogram(labels, [0], "zero") @ volume_weights() == 8


def test_mirror_is_the_periodic_volume_of_reflections() -> None:
    labels = noise((4, 3, 5))
    reflected = np.pad(labels, [(0, n) for n in labels.shape], mode="symmetric")
    periodic = configuration_histogram(reflected, [1], "periodic")
    mirror = configuration_histogram(labels, [1])
    for weights in (
        crofton_weights((3, 2, 1)),
        face_weights(),
        euler_weights(6),
        euler_weights(26),
        volume_weights(),
    ):
        assert density(mirror, weights) == pytest.approx(
            density(periodic, weights), rel=1e-12, abs=1e-14
        )


def test_complement_is_the_reversed_histogram() -> None:
    labels = noise((5, 6, 7))
    assert np.array_equal(
        complement(octant_histogram(labels, [1])), octant_histogram(labels, [0, 2])
    )


def test_bool_and_strided_labels_give_the_same() -> None:
    labels = noise((6, 6, 6), labels=2)
    whole = octant_histogram(labels, [1])
    assert np.array_equal(octant_histogram(labels.astype(bool), [1]), whole)
    assert np.array_equal(octant_histogram(np.asfortranarray(labels), [1]), whole)


def test_pair_counts_in_all_13_directions(blobs: NDArray[np.uint8]) -> None:
    hist = configuration_histogram(blobs, [1], "periodic")
    for direction, weights in zip(DIRECTIONS, pair_weights(), strict=True):
        shifted = np.roll(blobs, [-d for d in direction], axis=(0, 1, 2))
        assert hist @ weights == np.count_nonzero(blobs != shifted), direction


def test_axis_pairs_of_the_open_box_are_exact() -> None:
    labels = noise((5, 6, 7), labels=2)
    hist = octant_histogram(labels, [1])
    for axis in range(3):
        assert hist @ pair_weights()[axis] / 8 == np.count_nonzero(
            np.diff(labels.astype(int), axis=axis)
        )


def test_blobs_128_reproduce_the_reference_values(blobs: NDArray[np.uint8]) -> None:
    hist = {b: configuration_histogram(blobs, [1], b) for b in BOUNDARIES}
    euler_26 = {b: float(h @ euler_weights(26)) for b, h in hist.items()}
    euler_6 = {b: float(h @ euler_weights(6)) for b, h in hist.items()}
    assert (euler_26["zero"], euler_26["inside"], euler_26["periodic"]) == (-250, -271.75, -279)
    assert (euler_6["zero"], euler_6["inside"], euler_6["periodic"]) == (-249, -270.75, -278)
    assert round(float(density(hist["inside"], crofton_weights())), 6) == 0.109358
    assert round(float(density(hist["periodic"], crofton_weights())), 6) == 0.109354
    assert round(float(density(hist["mirror"], face_weights())), 6) == 0.163291
    assert hist["inside"] @ marching_cubes_weights() == pytest.approx(244_590.86, abs=0.05)
    assert density(hist["mirror"], volume_weights()) == 880_804 / 128**3


def test_blocks_cut_at_37_64_101_add_up(blobs: NDArray[np.uint8]) -> None:
    cuts = list(itertools.pairwise((0, 37, 64, 101, 128)))
    total = np.zeros(256, np.int64)
    for bounds in itertools.product(cuts, repeat=3):
        core = Box(tuple(a for a, _ in bounds), tuple(b for _, b in bounds))
        read = core.grow((1, 1, 1)).clip(Box.whole(blobs.shape))
        total += octant_histogram(blobs[read.slices], [1], core.within(read))
    assert np.array_equal(total, octant_histogram(blobs, [1]))


def test_ball_10_reproduces_the_reference_values() -> None:
    hist = configuration_histogram(ball(10), [1], "zero")
    assert hist @ volume_weights() == 4169
    assert hist @ face_weights() == 1902
    assert hist @ crofton_weights() == pytest.approx(1262.51, abs=0.01)
    assert (hist @ euler_weights(26), hist @ euler_weights(6)) == (1, 1)


@pytest.mark.parametrize(("connectivity", "skimage"), [(6, 1), (26, 3)])
def test_zero_boundary_gives_the_euler_number_of_skimage(connectivity: int, skimage: int) -> None:
    labels = noise((9, 8, 7), labels=2)
    hist = configuration_histogram(labels, [1], "zero")
    assert hist @ euler_weights(connectivity) == euler_number(labels, connectivity=skimage)


@pytest.mark.parametrize("codes", [(), (-1,), (256,)])
def test_codes_out_of_range_are_refused(codes: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="codes of a region"):
        octant_histogram(noise((2, 2, 2)), codes)


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.float32)])
def test_other_arrays_are_refused(labels: NDArray[np.uint8]) -> None:
    with pytest.raises(ArgumentError, match="expected 3-D uint8 or bool"):
        octant_histogram(labels, [1])


@pytest.mark.parametrize(
    "core", [Box((0, 0, 0), (3, 2, 2)), Box((1, 1, 1), (1, 2, 2)), Box((-1, 0, 0), (2, 2, 2))]
)
def test_a_core_outside_the_labels_is_refused(core: Box) -> None:
    with pytest.raises(ArgumentError, match="leaves the labels"):
        octant_histogram(noise((2, 2, 2)), [1], core)


def test_boundary_names_and_thin_volumes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="use one of mirror, zero"):
        configuration_histogram(noise((2, 2, 2)), [1], "open")
    with pytest.raises(ArgumentError, match="no corner inside"):
        configuration_histogram(noise((1, 4, 4)), [1], "inside")
