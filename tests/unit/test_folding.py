"""Batch normalisation folded into convolutions: another network only by rounding, or the same one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from tests.nets import tiny_checkpoint_3d
from tim3d.models.common.folding import folded, followed
from tim3d.models.segmentation.checkpoint import load
from tim3d.models.segmentation.precision import trial_image
from tim3d.models.segmentation.unet import UNetSpec, build


def with_statistics(net: nn.Module) -> nn.Module:
    """The network with statistics that are not those of the start."""
    torch.manual_seed(1)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.bias):
                nn.init.normal_(values)  # type: ignore[arg-type]
            for values in (layer.running_var, layer.weight):
                nn.init.uniform_(values, 0.5, 2.0)  # type: ignore[arg-type]
    return net.eval()


def unet(**how: Any) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    spec = UNetSpec(("pore", "solid", "dirt"), depth=2, decoder_channels=(8, 4), **how)
    return with_statistics(build(spec)), torch.from_numpy(trial_image(spec))


def norms(net: nn.Module, given: torch.Tensor) -> int:
    """Passes of batch normalisation in a call; layers that a shallow network lacks are there and not called."""
    with torch.inference_mode(), torch.profiler.profile() as seen:
        net(given)
    return sum(one.count for one in seen.key_averages() if one.key == "aten::batch_norm")


def shares(net: nn.Module, given: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return net(given).softmax(dim=1)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2"])
def test_a_network_of_slices_has_none_left(encoder: str) -> None:
    net, given = unet(encoder=encoder)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    made = folded(net, given)
    assert norms(net, given) > 5
    assert norms(made, given) == 0
    other = torch.rand(2, 1, 24, 40)
    torch.testing.assert_close(shares(made, other), shares(net, other), atol=1e-4, rtol=0)
    for name, values in net.state_dict().items():
        assert torch.equal(values, before[name])


@pytest.mark.parametrize(("norm", "left"), [("batch", 0), ("instance", 10)])
def test_a_network_of_volumes_has_only_those_of_a_window_left(
    tmp_path: Any, norm: Any, left: int
) -> None:
    read = load(str(tiny_checkpoint_3d(tmp_path / "n.safetensors", norm=norm)))
    given = torch.from_numpy(trial_image(read.spec))
    made = folded(read.model, given)
    assert norms(made, given) == left
    torch.testing.assert_close(shares(made, given), shares(read.model, given), atol=1e-4, rtol=0)


class Twice(nn.Module):
    """The output of a convolution is normed, and used as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        seen = self.layer(given)
        return self.norm(seen) + seen


def test_a_network_that_would_change_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    net, given = with_statistics(Twice()), torch.rand(1, 1, 16, 16)
    assert len(followed(net, given)) == 1
    with caplog.at_level(logging.WARNING):
        assert folded(net, given) is net
    assert "batch normalisation is left as it is" in caplog.text
