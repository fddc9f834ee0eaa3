"""What a network needs between its layers, and windows that it cannot be called on."""

from __future__ import annotations

import pytest
import torch

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.memory import activation_bytes
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec, build, steps_for

VOLUMES = UNet3DSpec(("a", "b", "c"), ((1, 2, 2), (2, 2, 2)), (3, 5, 9))
SPEC = UNetSpec(("pore", "solid"), depth=2, decoder_channels=(8, 4), norm="instance")


def test_the_bound_grows_with_the_window() -> None:
    assert activation_bytes(SPEC, 1, (64, 128)) == 2 * activation_bytes(SPEC, 1, (64, 64))


def test_windows_that_leave_one_value_to_normalise_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"windows of 4 x 4 pixels .* --norm batch"):
        activation_bytes(SPEC, 1, (4, 4))


def test_a_network_of_volumes_holds_what_it_states() -> None:
    """The outputs of all its layers, counted on tensors without data."""
    counted = 0

    def count(module: object, inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += 4 * output.numel()

    net = build(VOLUMES).to("meta").eval()
    for one in net.modules():
        if not list(one.children()):
            one.register_forward_hook(count)
    net(torch.empty((2, 1, 4, 16, 8), device="meta"))
    assert counted <= VOLUMES.call_bytes(2, (4, 16, 8)) < 1.6 * counted


@pytest.mark.parametrize(
    ("spacing", "strides"),
    [
        ((5.0, 5.0, 5.0), (8, 8, 8)),
        ((10.0, 5.0, 5.0), (4, 8, 8)),
        ((20.0, 5.0, 5.0), (2, 8, 8)),
        ((5.0, 20.0, 5.0), (8, 2, 8)),
        ((8.0, 5.0, 5.0), (8, 8, 8)),
    ],
)
def test_longer_voxels_are_halved_later(
    spacing: tuple[float, float, float], strides: tuple[int, int, int]
) -> None:
    assert UNet3DSpec(("a", "b"), steps_for(spacing, 3), (2, 2, 2, 2)).strides == strides


def test_a_network_of_volumes_has_steps_and_widths_that_fit() -> None:
    with pytest.raises(ArgumentError, match="halve axes"):
        UNet3DSpec(("a", "b"), ((3, 2, 2),), (2, 2))
    with pytest.raises(ArgumentError, match="needs 2 widths"):
        UNet3DSpec(("a", "b"), ((2, 2, 2),), (2, 2, 2))
    with pytest.raises(ArgumentError, match="different names"):
        UNet3DSpec(("a", "a"))
