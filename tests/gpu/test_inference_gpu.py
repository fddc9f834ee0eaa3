"""Inference and training on a CUDA device: equal to the CPU up to rounding, and free of blocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.nets import tiny_checkpoint
from tim3d.grid import Box, Grid
from tim3d.kernels.windows.lattice import Lattice, blend_lattice, crop_lattice, slice_lattice
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.inference import Predictor, ready, segment_core
from tim3d.models.segmentation.training import TrainingOptions, train
from tim3d.models.segmentation.unet import UNetSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]

SHAPE = (6, 150, 170)
WHOLE = Box.whole(SHAPE)
LATTICES = {
    "slices": slice_lattice(SHAPE, 4),
    "crop": crop_lattice(SHAPE, (1, 64, 64), (0, 8, 8)),
    "blend": blend_lattice(SHAPE, (1, 64, 64), (0, 32, 32)),
}


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.fixture(scope="module", params=["batch", "instance"])
def on_cpu(tmp_path_factory, request):
    path = tiny_checkpoint(tmp_path_factory.mktemp("net") / "net.safetensors", norm=request.param)
    return Predictor(str(path), checkpoint.digest(path), batch=3)


def segment(predictor: Predictor, lattice: Lattice, volume, core: Box = WHOLE):
    box = lattice.read_box(core)
    return segment_core(
        predictor, lattice, core, volume[box.slices], box, ("labels", "probabilities")
    )


@pytest.mark.parametrize("mode", LATTICES)
@pytest.mark.parametrize(("precision", "most"), [("fp32", 2), ("fp16", 8)])
def test_a_gpu_agrees_with_the_cpu_to_rounding(on_cpu, volume, mode, precision, most):
    on_gpu = dataclasses.replace(on_cpu, device="cuda", precision=precision)
    slow, fast = segment(on_cpu, LATTICES[mode], volume), segment(on_gpu, LATTICES[mode], volume)
    difference = np.abs(slow["probabilities"].astype(int) - fast["probabilities"])
    assert difference.max() <= most
    assert (slow["labels"] != fast["labels"]).mean() < 0.01


@pytest.mark.parametrize("mode", LATTICES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_blocks_show_at_most_as_rounding(on_cpu, volume, mode, precision):
    on_gpu = dataclasses.replace(on_cpu, device="cuda", precision=precision)
    whole = segment(on_gpu, LATTICES[mode], volume)
    for block in Grid(SHAPE, (4, 70, 90)):
        part = segment(on_gpu, LATTICES[mode], volume, block.core)
        difference = (
            part["probabilities"].astype(int)
            - whole["probabilities"][(slice(None), *block.core.slices)]
        )
        assert np.abs(difference).max() <= 1


def test_a_batch_too_large_for_the_card_is_halved(on_cpu, volume, monkeypatch):
    on_gpu = dataclasses.replace(on_cpu, device="cuda")
    expected = segment(on_gpu, LATTICES["slices"], volume)["labels"]
    model = ready(on_gpu).model

    def refuse(module, inputs):
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("pretended")

    handle = model.register_forward_pre_hook(refuse)
    halved = segment(on_gpu, LATTICES["slices"], volume)["labels"]
    handle.remove()
    assert (halved != expected).mean() < 0.001


def test_training_in_mixed_precision_learns(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.repeat(rng.integers(0, 2, (8, 8, 8)), 8, axis=1), 8, axis=2).astype(
        np.uint8
    )
    grey = np.clip(60 + 100 * labels + 20 * rng.standard_normal(labels.shape), 0, 255).astype(
        np.uint8
    )
    spec = UNetSpec(("pore", "solid"), depth=2, decoder_channels=(8, 4))
    options = TrainingOptions(epochs=5, steps=10, batch=4, crop=64, device="cuda")
    made = train(
        grey, labels, spec, tmp_path / "net.safetensors", options, spacing_nm=(10.0, 5.0, 5.0)
    )
    assert made.description.training["device"] == "cuda"
    assert made.description.training["best_val_iou"] > 0.8
