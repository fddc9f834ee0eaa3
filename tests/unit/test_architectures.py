"""Architectures of segmentation-models-pytorch: those that segment slices, at which depths; the others are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import slice_lattice
from tim3d.models.segmentation.architectures import ARCHITECTURES, widths_of
from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.encoder_shapes import SHAPES
from tim3d.models.segmentation.inference import Predictor, segment_core
from tim3d.models.segmentation.network_check import check_network
from tim3d.models.segmentation.torchvision_shim import import_smp
from tim3d.models.segmentation.unet import UNetSpec, build

CLASSES = ("pore", "solid", "binder")
# Depths at which an architecture on resnet18 gives a class to every pixel.
DEPTHS = {
    "Unet": (1, 2, 3, 4, 5), "UnetPlusPlus": (2, 3, 4, 5), "MAnet": (1, 2, 3, 4, 5), "Linknet": (1, 2, 3, 4, 5),
    "FPN": (3, 4, 5), "PSPNet": (1, 2, 3, 4, 5), "PAN": (3, 4, 5), "DeepLabV3": (1, 2, 3, 4, 5),
    "DeepLabV3Plus": (3, 4, 5), "Segformer": (3, 4, 5), "UPerNet": (3, 4, 5), "DPT": (),
}  # fmt: skip
# Families whose downsampling cannot be replaced by dilation.
UNDILATED = ("vgg", "densenet")


def spec(architecture, encoder="resnet18", depth=3, slices=1):
    return UNetSpec(CLASSES, architecture, encoder, depth, widths_of(architecture, depth), slices)


def works(*asked, edge=128):
    try:
        check_network(spec(*asked), (edge, edge))
    except ArgumentError:
        return False
    return True


def test_the_table_is_that_of_the_package():
    smp = import_smp()
    assert set(DEPTHS) == set(ARCHITECTURES)
    assert all(hasattr(smp, name) for name in ARCHITECTURES)
    assert set(SHAPES) == set(smp.encoders.get_encoder_names())


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["UnetPlusPlus", "FPN", "PSPNet", "PAN"])
def test_an_architecture_works_at_its_depths(architecture):
    assert (
        tuple(d for d in range(1, 6) if works(architecture, "resnet18", d)) == DEPTHS[architecture]
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", DEPTHS)
def test_every_architecture_works_at_its_depths(architecture):
    assert (
        tuple(d for d in range(1, 6) if works(architecture, "resnet18", d)) == DEPTHS[architecture]
    )


@pytest.mark.long
@pytest.mark.parametrize("encoder", ["mit_b0", "mobileone_s0", "timm-skresnet18"])
def test_an_encoder_works_whatever_its_family(encoder):
    assert works("Unet", encoder, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", SHAPES)
def test_every_encoder_works(encoder):
    for slices in (1, 3):
        assert works("Unet", encoder, 5, slices)
    assert works("DeepLabV3Plus", encoder, 5) == (not encoder.startswith(UNDILATED))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("Unett",), r"no architecture 'Unett' \(did you mean 'Unet'\?\)"),
        (("Unet", "resnet19"), r"no encoder 'resnet19' \(did you mean"),
        (("Unet", "tu-nosuch"), "Unknown model"),
        (("FPN", "resnet18", 2), "FPN needs depth 3 or more, not 2: --depth 3"),
        (("DPT", "resnet18", 4), "DPT needs an encoder of timm, tu-NAME"),
        (("DeepLabV3", "vgg11", 3), "do not support dilated mode"),
        (("DPT", "tu-vit_tiny_patch16_224", 4), "Input height"),
        (
            ("DPT", "tu-vit_small_patch14_dinov2", 4),
            "stride 14, and windows lie at multiples of 16",
        ),
        (("PAN", "resnet18", 5), "larger --crop"),
    ],
)
def test_what_cannot_segment_slices_is_refused_with_the_reason(asked, says):
    edge = 32 if asked[0] == "PAN" else 224
    with pytest.raises(ArgumentError, match=says) as caught:
        check_network(spec(*asked), (edge, edge))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_widths_are_those_of_architectures_that_take_them(architecture):
    if ARCHITECTURES[architecture].widths:
        assert widths_of(architecture, 2, (8, 4)) == (8, 4)
    else:
        assert widths_of(architecture, 3) == ()
        with pytest.raises(ArgumentError, match="leave out --decoder-channels"):
            widths_of(architecture, 2, (8, 4))
        with pytest.raises(ArgumentError, match="needs no decoder channels"):
            dataclasses.replace(spec("Unet", depth=4), architecture=architecture, encoder="tu-x")


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["Linknet", "FPN", "PAN"])
def test_no_block_shows_in_the_labels_of_another_architecture(tmp_path, architecture):
    torch.manual_seed(2)
    asked = spec(architecture, depth=3)
    path = tmp_path / "net.safetensors"
    norm = Normalisation("volume", (120.0,), (50.0,))
    predictor = Predictor(
        str(path), save(path, build(asked).eval(), Description(asked, norm, (9.0, 9.0, 9.0)))
    )
    grey = np.random.default_rng(0).integers(0, 255, (2, 75, 90), np.uint8)
    lattice = slice_lattice(grey.shape, asked.total_stride)
    whole = Box.whole(grey.shape)
    expected = segment_core(predictor, lattice, whole, grey, whole)["labels"]
    core = Box((0, 11, 30), (1, 70, 90))
    box = lattice.read_box(core)
    found = segment_core(predictor, lattice, core, grey[box.slices], box)["labels"]
    assert np.array_equal(found, expected[core.slices])
