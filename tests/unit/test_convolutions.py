"""Three-dimensional convolutions of a network on a CPU: oneDNN computes them, and they are the same."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets import tiny_checkpoint_3d
from tim3d.models.common.convolutions import by_onednn
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.inference import ready
from tim3d.models.segmentation.predictor import Predictor

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN"
)


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    file: Path = tiny_checkpoint_3d(tmp_path_factory.mktemp("net") / "n.safetensors")
    return Predictor(str(file), checkpoint.digest(file))


def kernels(net: nn.Module, given: torch.Tensor) -> set[str]:
    """Names of the operations that a call consists of."""
    with torch.inference_mode(), torch.profiler.profile() as seen:
        net(given)
    return {one.key for one in seen.key_averages()}


def test_a_loaded_network_takes_no_other_kernel(called: Predictor) -> None:
    box = torch.rand(1, 1, 8, 16, 24)
    assert "aten::slow_conv3d_forward" in kernels(checkpoint.load(called.checkpoint).model, box)
    found = kernels(ready(called).model, box)
    assert "aten::mkldnn_convolution" in found
    assert not {one for one in found if "slow_conv" in one}


@pytest.mark.parametrize("shape", [(1, 1, 2, 8, 8), (1, 1, 4, 16, 24), (3, 1, 6, 8, 20)])
def test_its_values_are_those_of_torch(called: Predictor, shape: tuple[int, ...]) -> None:
    given = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    plain = checkpoint.load(called.checkpoint).model
    with torch.inference_mode():
        torch.testing.assert_close(ready(called).model(given), plain(given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": "same", "dilation": 2},
        {"padding": (0, 1, 2), "stride": (1, 2, 1), "bias": False},
        {"groups": 2, "dilation": (1, 2, 1)},
    ],
)
def test_any_layer_stays_what_it_is(how: dict[str, object]) -> None:
    torch.manual_seed(0)
    layer, given = nn.Conv3d(2, 4, 3, **how), torch.rand(1, 2, 6, 7, 8)  # type: ignore[arg-type]
    changed = by_onednn(copy.deepcopy(layer))
    with torch.inference_mode():
        torch.testing.assert_close(changed(given), layer(given), atol=1e-6, rtol=1e-5)
