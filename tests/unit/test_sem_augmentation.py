"""Changes of crops: what each does to a known image, that labels go with it, and what the draws depend on."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.kernels.image import sem_changes
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops import Augmentation, Slices, augment, prepare, random_batches
from tim3d.models.segmentation.sem_augmentation import CHANGES, apply, changes_of
from tim3d.models.segmentation.unet import UNetSpec

STILL = Augmentation(False, False, 0, 0, 0)


def stripes_of(edge=48):
    """An image whose grey value is its label, with an interface along y."""
    labels = np.zeros((edge, edge), np.uint8)
    labels[:, edge // 2 :] = 1
    return (2.0 * labels - 1).astype(np.float32)[None], labels


def changed(word, seed=0, pixel_nm=(1.0, 1.0), edge=48):
    grey, labels = stripes_of(edge)
    always = f"{word}{',' if ':' in word else ':'}share=1"
    return apply(changes_of([always]), grey, labels, pixel_nm, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_keeps_the_shape_and_follows_from_the_generator_alone(kind):
    grey, labels = changed(kind)
    again, _ = changed(kind)
    other, _ = changed(kind, seed=1)
    assert (grey.dtype, grey.shape, labels.dtype, labels.shape) == (
        np.float32,
        (1, 48, 48),
        np.uint8,
        (48, 48),
    )
    assert np.array_equal(grey, again)
    assert not np.array_equal(grey, other)
    assert np.array_equal(labels, stripes_of()[1]) == (kind != "elastic")


def test_labels_bend_with_the_grey_values():
    grey, labels = changed("elastic:pixels=4", seed=3)
    assert not np.array_equal(labels, stripes_of()[1])
    assert np.array_equal(grey[0] > 0, labels == 1)


def test_a_blur_has_the_width_that_is_asked_for_in_nm():
    """A step blurred by a Gaussian has its greatest slope 2 / (sigma sqrt(2 pi)) at the interface."""
    step = stripes_of()[0]
    slope = np.diff(sem_changes.blurred(step, (3.0, 3.0))[0, 24]).max()
    assert slope == pytest.approx(2 / (3 * np.sqrt(2 * np.pi)), rel=0.02)
    assert np.array_equal(
        changed("blur:pixels=3")[0], changed("blur:nm=15", pixel_nm=(5.0, 5.0))[0]
    )
    assert not np.array_equal(
        changed("blur:pixels=3")[0], changed("blur:nm=15", pixel_nm=(5.0, 10.0))[0]
    )


@pytest.mark.parametrize("word", ["elastic", "charging", "curtain"])
def test_other_lengths_may_be_given_in_nm_too(word):
    pixels = {"elastic": "pixels=2,length=16", "charging": "pixels=2", "curtain": "pixels=2"}[word]
    one = changed(f"{word}:{pixels}")[0]
    assert np.array_equal(one, changed(f"{word}:nm=10", pixel_nm=(5.0, 5.0))[0])


def test_curtains_are_the_same_along_y_and_in_all_slices():
    random = np.random.default_rng(0)
    found = sem_changes.curtained(np.zeros((3, 20, 4096), np.float32), 2.0, 0.5, random)
    assert np.array_equal(found, np.broadcast_to(found[:1, :1], found.shape))
    assert found[0, 0].std() == pytest.approx(0.5, rel=0.1)


def test_charging_leaves_a_tail_that_decays_over_its_length():
    grey = np.zeros((1, 3, 200), np.float32)
    grey[:, :, 50] = 1
    tail = sem_changes.charged(grey, 12.0, 1.0)[0, 1] - grey[0, 1]
    assert not tail[:50].any()
    assert tail[62] / tail[50] == pytest.approx(np.exp(-1), rel=1e-3)
    assert tail.sum() == pytest.approx(1, rel=1e-3)


def test_a_gamma_keeps_the_ends_and_the_order():
    grey = np.linspace(-3, 3, 50, dtype=np.float32)[None, None]
    for gamma in (0.5, 2.0):
        found = sem_changes.bent(grey, gamma)[0, 0]
        assert (found[0], found[-1]) == (-3, 3)
        assert (np.diff(found) >= 0).all()


def test_the_share_is_that_of_the_crops_that_change():
    grey, labels = stripes_of(16)
    rng, changes = np.random.default_rng(0), changes_of(["gamma:share=0.25"])
    moved = [apply(changes, grey, labels, (1, 1), rng)[0] is not grey for _ in range(800)]
    assert np.mean(moved) == pytest.approx(0.25, abs=0.05)


def test_without_words_the_draws_are_those_of_before():
    grey, labels = stripes_of()
    plain = augment(grey, labels, Augmentation(), np.random.default_rng(5))
    assert np.array_equal(
        plain[0], augment(grey, labels, Augmentation(more=()), np.random.default_rng(5))[0]
    )
    assert not np.array_equal(
        plain[0], augment(grey, labels, Augmentation(more=("sem",)), np.random.default_rng(5))[0]
    )


def test_balanced_crops_hold_every_class_alike():
    """A class of one pixel in four thousand is in half of the crops, and in a hundredth of the others."""
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[0, 40, 30] = labels[1, 30, 40] = 1
    spec = UNetSpec(("pore", "solid"))
    grey = np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8)
    slices: Slices = prepare(grey, labels, spec, Normalisation("volume", (120.0,), (40.0,)))[0]

    def share(crops):
        rng = np.random.default_rng(1)
        found = random_batches(slices, 16, 1, 200, STILL, rng, crops=crops)
        return np.mean([bool((k == 1).any()) for _, k in found])

    assert share("balanced") > 0.45
    assert share("random") < 0.15


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["blurr"], "did you mean 'blur'"),
        (["blur:width=2"], "it has share, pixels, nm"),
        (["blur:pixels=0"], "above 0"),
        (["blur:share=2"], "up to 1"),
        (["sem", "blur:pixels=2"], "'blur' is given twice"),
    ],
)
def test_words_that_mean_no_change_are_refused(words, says):
    with pytest.raises(ArgumentError, match=says):
        changes_of(words)


@pytest.mark.parametrize("kind", ["elastic", "blur", "charging", "curtain"])
def test_a_length_in_nm_is_as_many_pixels_as_the_edge_along_its_axis_says(kind):
    """Tails and curtains have a length along x only; the others have one along both axes."""
    grey = np.random.default_rng(0).normal(size=(1, 48, 48)).astype(np.float32)
    change = changes_of([f"{kind}:nm=20,share=1"])

    def made(*pixel_nm, of=grey):
        return apply(change, of, stripes_of()[1], pixel_nm, np.random.default_rng(1))[0]

    assert not np.array_equal(made(4.0, 8.0), made(4.0, 4.0))
    assert np.array_equal(made(4.0, 8.0), made(8.0, 8.0)) == (kind in ("charging", "curtain"))
    if kind == "blur":
        turned = made(8.0, 4.0, of=grey.swapaxes(1, 2)).swapaxes(1, 2)
        np.testing.assert_allclose(turned, made(4.0, 8.0), atol=1e-6)
