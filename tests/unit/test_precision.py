"""Half precision is compared with fp32 before it is used, and no block shows in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nets import tiny_checkpoint, tiny_checkpoint_3d
from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.models.segmentation.by_network import windows_of
from tim3d.models.segmentation.checkpoint import describe, digest, load
from tim3d.models.segmentation.inference import segment_core
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.precision import BOUND, check_precision, trial_image
from tim3d.models.segmentation.predictor import Predictor

CPU = torch.device("cpu")


@pytest.mark.long
@pytest.mark.parametrize("dimensions", [2, 3])
def test_bf16_is_near_fp32_and_shows_no_block(tmp_path: Path, dimensions: int) -> None:
    make = tiny_checkpoint if dimensions == 2 else tiny_checkpoint_3d
    path = make(tmp_path / "net.safetensors")
    shape, spec = (5, 29, 33), describe(path).spec
    volume = np.random.default_rng(0).integers(40, 200, shape).astype(np.uint8)
    window = (16, 16) if dimensions == 2 else (8, 16, 16)
    lattice = windows_of(shape, spec, Inference(window=window, halo=4))
    whole, core = Box.whole(shape), Box((1, 3, 8), (4, 29, 30))
    found = {}
    for precision in ("fp32", "bf16"):
        called = Predictor(str(path), digest(path), precision=precision)  # type: ignore[arg-type]
        found[precision] = segment_core(called, lattice, whole, volume, whole, ("shares",))[
            "shares"
        ]
    apart = np.abs(found["bf16"] - found["fp32"]).max()
    assert 0 < apart < 0.05
    box = lattice.read_box(core)
    part = segment_core(called, lattice, core, volume[box.slices], box, ("shares",))["shares"]
    np.testing.assert_array_equal(part, found["bf16"][(slice(None), *core.slices)])


def test_a_network_that_differs_is_refused(tmp_path: Path) -> None:
    """A network whose logits are large turns a small difference into another probability."""
    path = tiny_checkpoint_3d(tmp_path / "net.safetensors")
    net, spec = load(path).model, describe(path).spec
    check_precision(net, spec, CPU, "bf16")
    net.get_parameter("head.weight").mul_(1e6)
    with torch.inference_mode():
        seen = net(torch.from_numpy(trial_image(spec)))
    net.get_parameter("head.bias").sub_(seen.mean(dim=(0, 2, 3, 4)))
    with pytest.raises(
        ArgumentError, match=rf"bf16 changes .* more than {BOUND}: --precision fp32"
    ):
        check_precision(net, spec, CPU, "bf16")
    check_precision(net, spec, CPU, "fp32")


def test_the_trial_image_is_normalised_and_fits_the_network(tmp_path: Path) -> None:
    for path, shape in (
        (tiny_checkpoint(tmp_path / "a.safetensors", slices=3), (1, 3, 64, 64)),
        (tiny_checkpoint_3d(tmp_path / "b.safetensors"), (1, 1, 8, 64, 64)),
    ):
        image = trial_image(describe(path).spec)
        assert image.shape == shape
        assert abs(image.mean()) < 0.5
        assert 0.8 < image.std() < 1.3
