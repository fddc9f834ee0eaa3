"""A generator in a file does what it did in training: folding, sub-pixel layers, the way to the file and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.generators import SPACING, TINY, phases_of, saved, tiny_generator
from tests.nets import tiny_checkpoint
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.generation import export
from tim3d.models.generation.export import (
    Exported,
    GeneratorDescription,
    Layer,
    describe_generator,
    fold,
    load_generator,
    save_generator,
)
from tim3d.models.generation.slicegan import Generator, grow
from tim3d.models.generation.subpixel import doubling, interleave
from tim3d.models.segmentation.checkpoint import load
from tim3d.phases import Phases

EVERY = pytest.mark.parametrize("name", TINY)


def folded_pass(exported: Exported, noise: torch.Tensor) -> torch.Tensor:
    """The folded layers, one after the other, as torch has them."""
    values, architecture = noise, exported.architecture
    for number, (layer, padding) in enumerate(
        zip(exported.layers, architecture.paddings, strict=False)
    ):
        values = functional.conv_transpose3d(
            values, layer.weight, layer.bias, stride=2, padding=padding
        )
        if number + 1 < len(exported.layers):
            values = values.relu()
    if architecture.kind != "transposed":
        grown = grow(values, official=architecture.kind == "official-resize")
        values = functional.conv3d(grown, exported.layers[-1].weight, exported.layers[-1].bias)
    return values


@EVERY
def test_a_file_gives_back_what_the_network_made(tmp_path: Path, name: str) -> None:
    architecture = TINY[name]
    net = tiny_generator(architecture)
    path, sha256 = saved(tmp_path, architecture, net)
    back = load_generator(path)
    noise = torch.randn(2, architecture.latent, 4, 6, 5)
    torch.testing.assert_close(folded_pass(back, noise), net(noise), rtol=1e-4, atol=1e-5)
    assert back.sha256 == sha256
    assert back.architecture == architecture
    assert back.description.phases == phases_of(architecture)
    assert back.description.spacing_nm == SPACING
    assert describe_generator(path) == (back.description, sha256)
    assert saved(tmp_path / "again", architecture, net)[1] == sha256


def test_a_scale_on_the_wrong_axis_would_show() -> None:
    """As many channels in as out: scaling axis 0 runs through and is wrong."""
    architecture = dataclasses.replace(TINY["two phases"], channels=(6, 6, 6, 2))
    net, noise = tiny_generator(architecture), torch.randn(1, 6, 4, 4, 4)
    right = fold(net)
    scale = [
        torch.ones(6),
        *(norm.weight / torch.sqrt(norm.running_var + norm.eps) for norm in net.bns),
    ]
    wrong: list[Layer] = []
    for conv, layer, factor in zip(net.convs, right, scale[1:], strict=False):
        wrong.append(Layer(conv.weight * factor[:, None, None, None, None], layer.bias))
    about = GeneratorDescription(architecture, SPACING, phases_of(architecture))
    correct = folded_pass(Exported(right, about), noise)
    swapped = folded_pass(Exported((*wrong, right[-1]), about), noise)
    assert (correct - net(noise)).abs().max() < 1e-5
    assert (swapped - net(noise)).abs().max() > 1e-2


def test_training_statistics_are_not_those_of_the_file() -> None:
    """A network left in training mode makes other volumes, which is why its statistics are folded."""
    net = tiny_generator(TINY["two phases"])
    noise = torch.randn(1, net.architecture.latent, 4, 4, 4)
    assert (net.train()(noise) - net.eval()(noise)).abs().max() > 0.01


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.tuples(*[st.integers(4, 7)] * 3),
    st.integers(2, 4),
    st.integers(0, 99),
)
def test_sub_pixel_layers_are_the_plain_ones(
    inputs: int, outputs: int, edges: tuple[int, int, int], padding: int, seed: int
) -> None:
    torch.manual_seed(seed)
    values, bias = torch.randn(1, inputs, *edges), torch.randn(outputs)
    transposed = Layer(torch.randn(inputs, outputs, 4, 4, 4), bias)
    plain = functional.conv_transpose3d(values, transposed.weight, bias, stride=2, padding=padding)
    quick = doubling(transposed, padding)
    torch.testing.assert_close(
        interleave(quick.convolved(values), outputs, quick.cut), plain[0], rtol=0, atol=1e-4
    )
    after_resize = Layer(torch.randn(outputs, inputs, 3, 3, 3), bias)
    grown = functional.conv3d(grow(values), after_resize.weight, bias)
    quick = doubling(after_resize)
    torch.testing.assert_close(
        interleave(quick.convolved(values), outputs, quick.cut), grown[0], rtol=0, atol=1e-4
    )


def test_the_resize_is_the_official_one_up_to_its_stretch() -> None:
    """Linear ramps stay linear; the official one ends where ours would, two voxels later."""
    ramp = torch.arange(10.0)[None, None, :, None, None].expand(1, 1, 10, 4, 4)
    ours, official = grow(ramp)[0, 0, :, 1, 1], grow(ramp, official=True)[0, 0, :, 1, 1]
    torch.testing.assert_close(ours, 0.25 + 0.5 * torch.arange(18.0))
    torch.testing.assert_close(official[1:-1].diff(), torch.full((15,), 10 / 18))


def test_probabilities_add_up_and_grey_lies_between_black_and_white() -> None:
    for name in ("three phases", "grey", "colour"):
        net = tiny_generator(TINY[name])
        found = net.probabilities(net(torch.randn(2, net.architecture.latent, 4, 4, 4)))
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        if name == "three phases":
            torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))


def test_files_of_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds a network for segmentation.*tim3d train-generator"
    ):
        load_generator(tiny_checkpoint(tmp_path / "unet.safetensors"))
    path, _ = saved(tmp_path, TINY["two phases"])
    with pytest.raises(
        CheckpointError, match=r"holds a network for generating volumes.*tim3d train$"
    ):
        load(path)
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 a zip file of pickles" * 9)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        describe_generator(tmp_path / "x.pt")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    narrow, wide = (
        TINY["two phases"],
        dataclasses.replace(TINY["two phases"], channels=(5, 8, 7, 2)),
    )
    about = GeneratorDescription(wide, SPACING, phases_of(wide))
    with pytest.raises(ArgumentError, match="the description says"):
        save_generator(tmp_path / "a.safetensors", Generator(narrow), about)
    path, text = tmp_path / "b.safetensors", about.to_json()
    layers = fold(Generator(narrow))
    tensors = {
        f"layers.{n}.{part}": getattr(v, part)
        for n, v in enumerate(layers)
        for part in ("weight", "bias")
    }
    export.write_weights(path, tensors, text)
    with pytest.raises(CheckpointError, match=r"layers\.1\.bias is \(6,\), expected \(7,\)"):
        load_generator(path)
    export.write_weights(path, tensors, text.replace('"schema":1', '"schema":2'))
    with pytest.raises(CheckpointError, match=r"schema 2.*reads schema 1"):
        load_generator(path)
    export.write_weights(path, tensors, text.replace('"paddings":[2,2,3]', '"paddings":[2,1,3]'))
    with pytest.raises(CheckpointError, match="layer 1 has padding 1"):
        load_generator(path)


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    net = tiny_generator(TINY["two phases"])
    net.convs[1].weight[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(
        CheckpointError, match=r"layers\.1\.weight holds values that are not finite"
    ):
        saved(tmp_path, net.architecture, net)
    assert not list(tmp_path.iterdir())


def test_descriptions_that_do_not_fit_are_refused() -> None:
    two, grey = TINY["two phases"], TINY["grey"]
    for architecture, phases, says in (
        (two, None, "has 2 phases"),
        (two, Phases(a=0, b=1, c=2), "has 2 phases"),
        (grey, Phases(a=0), "have no phases"),
    ):
        with pytest.raises(ArgumentError, match=says):
            GeneratorDescription(architecture, SPACING, phases)
    with pytest.raises(ArgumentError, match="positive lengths"):
        GeneratorDescription(two, (1.0, 0.0, 1.0), phases_of(two))
