"""Real networks on one thread: no block shows in labels or probabilities, for any norm, mode and batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.nets import tiny_checkpoint_3d
from tim3d.errors import ArgumentError
from tim3d.grid import Box, Grid
from tim3d.kernels.windows.lattice import blend_lattice, crop_lattice, slice_lattice
from tim3d.kernels.windows.stitching import EmptyRule
from tim3d.models.segmentation.by_network import windows_of
from tim3d.models.segmentation.checkpoint import Description, Normalisation, digest, save
from tim3d.models.segmentation.inference import Predictor, ready, segment_core
from tim3d.models.segmentation.memory import activation_bytes
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.unet import UNetSpec, build

SPEC = UNetSpec(
    classes=("pore", "solid", "dirt"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4)
)
BOTH = ("labels", "probabilities")


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for norm in ("batch", "instance"):
        for context in (0, 1, 2):
            torch.manual_seed(3)
            spec = dataclasses.replace(SPEC, norm=norm, in_channels=1 + 2 * context)
            path = folder / f"{norm}{context}.safetensors"
            sha256 = save(
                path,
                build(spec),
                Description(spec, Normalisation("volume", (128.0,), (60.0,)), (9, 5, 5)),
            )
            made[norm, context] = Predictor(str(path), sha256, batch=2)
    return made


def ramp(shape, seed=0):
    """Noise on a strong drift along z and x, which statistics of a block would follow."""
    z, _, x = np.indices(shape)
    noise = np.random.default_rng(seed).integers(0, 90, shape)
    return (noise + 120 * z / shape[0] + 45 * x / shape[2]).astype(np.uint8)


def segment(predictor, lattice, core, volume, empty=None):
    box = lattice.read_box(core)
    return segment_core(predictor, lattice, core, volume[box.slices], box, BOTH, empty)


def make(mode, shape, context):
    if mode == "slice":
        return slice_lattice(shape, 4, context)
    if mode == "crop":
        return crop_lattice(shape, (1, 16, 16), (0, 4, 4), context)
    return blend_lattice(shape, (1, 16, 16), (0, 8, 4), context)


def callable_on(norm, lattice):
    """Instance normalisation of a single value has no deviation: such windows are refused."""
    try:
        return activation_bytes(dataclasses.replace(SPEC, norm=norm), 1, lattice.window[1:]) > 0
    except ArgumentError:
        return False


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Networks of volumes of strides (2, 4, 4)."""
    folder, scale = tmp_path_factory.mktemp("volumes"), Normalisation("volume", (128.0,), (60.0,))
    made = {}
    for norm in ("batch", "instance"):
        path = tiny_checkpoint_3d(folder / f"{norm}.safetensors", norm=norm)
        made[norm] = Predictor(str(path), digest(path), batch=2, normalisation=scale)
    return made


@given(st.data())
def test_any_core_of_a_network_of_volumes_equals_the_whole_bit_for_bit(deep, data):
    shape = tuple(data.draw(st.integers(low, high)) for low, high in ((1, 9), (1, 29), (5, 29)))
    norm = data.draw(st.sampled_from(["batch", "instance"]))
    how = data.draw(
        st.sampled_from(
            [
                Inference(),
                Inference(window=(8, 16, 16), halo=4),
                Inference(window=(8, 16, 16), halo=4, mode="blend"),
            ]
        )
    )
    lattice = windows_of(shape, ready(deep[norm]).checkpoint.spec, how)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    core = Box(
        start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    )
    volume = ramp(shape)
    assume(norm == "batch" or lattice.window != (2, 4, 4))
    whole = segment(deep[norm], lattice, Box.whole(shape), volume)
    part = segment(deep[norm], lattice, core, volume)
    for name in BOTH:
        assert np.array_equal(part[name], whole[name][(..., *core.slices)])


@pytest.mark.long
@given(st.data())
def test_any_core_equals_the_same_box_of_the_whole_bit_for_bit(predictors, data):
    shape = tuple(data.draw(st.integers(low, high)) for low, high in ((1, 5), (1, 37), (5, 37)))
    norm, context = data.draw(st.sampled_from(["batch", "instance"])), data.draw(st.integers(0, 2))
    lattice = make(data.draw(st.sampled_from(["slice", "crop", "blend"])), shape, context)
    assume(callable_on(norm, lattice))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    core = Box(
        start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    )
    volume = ramp(shape)
    whole = segment(predictors[norm, context], lattice, Box.whole(shape), volume)
    part = segment(predictors[norm, context], lattice, core, volume)
    assert np.array_equal(part["labels"], whole["labels"][core.slices])
    assert np.array_equal(
        part["probabilities"], whole["probabilities"][(slice(None), *core.slices)]
    )


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("mode", ["crop", "blend"])
@pytest.mark.parametrize(
    "block",
    [*(pytest.param(one, marks=pytest.mark.long) for one in [(1, 16, 16), (3, 9, 41)]), (2, 24, 7)],
)
def test_blocks_tile_the_whole_with_a_void_in_it(predictors, norm, mode, block):
    shape = (4, 29, 41)
    volume = ramp(shape)
    volume[1:, 2:24, 11:] = 0
    lattice = make(mode, shape, 0)
    rule = EmptyRule(0, (0.0, 0.2, 0.8))
    whole = segment(predictors[norm, 0], lattice, Box.whole(shape), volume, rule)
    assert len(np.unique(whole["labels"])) > 1
    for one in Grid(shape, block):
        part = segment(predictors[norm, 0], lattice, one.core, volume, rule)
        assert np.array_equal(part["labels"], whole["labels"][one.core.slices])
        assert np.array_equal(
            part["probabilities"], whole["probabilities"][(slice(None), *one.core.slices)]
        )


def test_with_enough_halo_crop_is_the_whole_slice(predictors):
    """A network without statistics of its window sees no window at all once the halo exceeds its field of view."""
    shape = (1, 96, 120)
    volume = ramp(shape)
    predictor = predictors["batch", 0]
    whole = segment(predictor, slice_lattice(shape, 4), Box.whole(shape), volume)[
        "probabilities"
    ].astype(int)
    crop = segment(
        predictor, crop_lattice(shape, (1, 96, 96), (0, 40, 40)), Box.whole(shape), volume
    )
    inner = (slice(None), slice(None), slice(40, -40), slice(40, -40))
    assert np.abs(crop["probabilities"].astype(int) - whole)[inner].max() <= 1


def test_a_shifted_phase_does_show(predictors):
    """The reason for `require_phase`: the same halo with poolings shifted by one voxel gives other values."""
    volume = ramp((1, 96, 96))
    net = ready(predictors["batch", 0]).model
    x = (torch.from_numpy(volume)[None].float() - 128) / 60
    with torch.inference_mode():
        whole, shifted, aligned = net(x), net(x[..., 1:93]), net(x[..., 4:96])
    inner = (..., slice(44, 52))
    assert (whole[..., 44:52] - aligned[..., 40:48]).abs().max() < 1e-4
    assert (whole[inner] - shifted[..., 43:51]).abs().max() > 1e-3
