"""What a network needs between its layers, and windows that it cannot be called on."""

from __future__ import annotations

import pytest

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.memory import activation_bytes
from tim3d.models.segmentation.unet import UNetSpec

SPEC = UNetSpec(("pore", "solid"), depth=2, decoder_channels=(8, 4), norm="instance")


def test_the_bound_grows_with_the_window() -> None:
    assert activation_bytes(SPEC, 1, (64, 128)) == 2 * activation_bytes(SPEC, 1, (64, 64))


def test_windows_that_leave_one_value_to_normalise_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"windows of 4 x 4 pixels .* --norm batch"):
        activation_bytes(SPEC, 1, (4, 4))
