"""Losses: closed forms, nothing for a perfect prediction, nothing from what is not labelled."""

from __future__ import annotations

import math

import pytest
import torch

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.losses import LOSSES, losses_of, total
from tim3d.models.segmentation.torchvision_shim import import_smp

LABELS = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1]]])
EVEN = torch.zeros(1, 2, 2, 4)
KINDS = list(LOSSES)


def value(words, logits, labels, weights=None):
    found = total(
        losses_of(words.split("+")),
        logits,
        labels,
        None if weights is None else torch.tensor(weights),
    )
    return float(found)


def sure(labels, classes=2, strength=40.0):
    known = labels.clamp(max=classes - 1)
    return torch.nn.functional.one_hot(known, classes).movedim(-1, 1) * strength


def blocks(n=2, edge=16, seed=0):
    """Labels of two classes and some pixels without any."""
    labels = torch.zeros(n, edge, edge, dtype=torch.long)
    labels[:, :, edge // 2 :] = 1
    labels[:, 2:5, 2:6] = 255
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, edge, edge, generator=generator), labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [None, [3.0, 1.0]])
def test_a_perfect_prediction_costs_nothing_and_an_undecided_one_much(kind, weights):
    logits, labels = blocks()
    assert value(kind, sure(labels), labels, weights) == pytest.approx(0, abs=1e-5)
    assert value(kind, 0 * logits, labels, weights) > 0.1


def test_an_undecided_network_has_the_losses_of_the_formulas():
    """p is 1/2 everywhere; each class has 4 of 8 pixels."""
    assert value("cross-entropy", EVEN, LABELS) == pytest.approx(math.log(2))
    assert value("focal:gamma=3", EVEN, LABELS) == pytest.approx(math.log(2) / 8)
    assert value("focal:gamma=0", EVEN, LABELS) == pytest.approx(math.log(2))
    assert value("dice", EVEN, LABELS) == pytest.approx(1 - 2 * 2 / (4 + 4))
    assert value("tversky:alpha=1,beta=3", EVEN, LABELS) == pytest.approx(
        1 - 2 / (2 + 1 * 2 + 3 * 2)
    )
    assert value("tversky:alpha=0.5,beta=0.5", EVEN, LABELS) == pytest.approx(0.5)
    assert value("dice:weight=2+cross-entropy:weight=0.5", EVEN, LABELS) == pytest.approx(
        1 + math.log(2) / 2
    )


def test_a_boundary_counts_as_found_within_the_tolerance():
    """A straight boundary, found two pixels beside the true one."""
    truth = torch.zeros(1, 20, 20, dtype=torch.long)
    truth[:, :, 10:] = 1
    found = torch.zeros_like(truth)
    found[:, :, 12:] = 1
    assert value("boundary:pixels=3", sure(found), truth) == pytest.approx(0, abs=1e-5)
    assert value("boundary:pixels=1", sure(found), truth) == pytest.approx(1, abs=1e-5)
    # Of the first class columns 9 and 11, of the second 10 and 12.
    assert value("boundary:pixels=2", sure(found), truth) == pytest.approx(0, abs=1e-5)


def test_class_weights_are_of_the_true_class():
    """A network that is sure of the first class everywhere."""
    first = torch.zeros(1, 2, 2, 4)
    first[:, 0] = math.log(3)
    right, wrong = -math.log(0.75), -math.log(0.25)
    assert value("cross-entropy", first, LABELS, [3.0, 1.0]) == pytest.approx(
        (3 * right + wrong) / 4
    )
    focal = (3 * right * 0.25**2 + wrong * 0.75**2) / 4
    assert value("focal", first, LABELS, [3.0, 1.0]) == pytest.approx(focal)
    dice = [1 - 2 * 3 / (6 + 4), 1 - 2 * 1 / (2 + 4)]
    assert value("dice", first, LABELS, [3.0, 1.0]) == pytest.approx((3 * dice[0] + dice[1]) / 4)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_class_weights_change_nothing(kind):
    logits, labels = blocks()
    assert value(kind, logits, labels, [2.0, 2.0]) == pytest.approx(
        value(kind, logits, labels), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_numbers_and_none_comes_from_unlabelled_pixels(kind):
    for scale in (1.0, 100.0):
        logits, labels = blocks()
        logits = (logits * scale).requires_grad_()
        total(losses_of([kind]), logits, labels).backward()
        assert torch.isfinite(logits.grad).all()
        assert not logits.grad[:, :, 2:5, 2:6].any()
        assert logits.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_predicted_where_nothing_is_labelled_does_not_count(kind):
    logits, labels = blocks()
    other = logits.clone()
    other[:, :, 2:5, 2:6] += 50 * torch.randn(2, 2, 3, 4)
    assert value(kind, logits, labels) == value(kind, other, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_label_nothing_is_lost(kind):
    logits, labels = blocks()
    assert value(kind, logits, torch.full_like(labels, 255)) == 0


def test_dice_has_the_bits_of_segmentation_models_pytorch():
    logits, labels = blocks(3, 24, seed=4)
    peer = import_smp().losses.DiceLoss("multiclass", ignore_index=255)
    for laid in (logits, logits.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(total(losses_of(["dice"]), laid, labels), peer(laid, labels))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["foocal"], "did you mean 'focal'"),
        (["focal:gama=2"], "did you mean 'gamma'"),
        (["focal:gamma=much"], "gamma is a number, not 'much'"),
        (["focal:gamma=1,gamma=2"], "given twice"),
        (["focal:gamma=-1"], "not be below 0"),
        (["dice", "dice:weight=2"], "each given once"),
        (["dice:weight=0"], "above 0"),
        (["tversky:alpha=0,beta=0"], "nor both 0"),
        (["boundary:pixels=1.5"], "whole number"),
        ([], "one or more losses"),
    ],
)
def test_words_that_mean_no_loss_are_refused(words, says):
    with pytest.raises(ArgumentError, match=says):
        losses_of(words)
