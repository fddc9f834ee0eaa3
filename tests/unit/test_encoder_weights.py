"""Encoder weights from a local file: whatever program wrote it, each layer lands where it belongs, or none does."""

from __future__ import annotations

import pickle
import re

import pytest
import torch
from safetensors.torch import save_file

from tests.nets import encoder_file, encoder_state, tiny_checkpoint
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.segmentation.encoder_shapes import SHAPES
from tim3d.models.segmentation.encoder_weights import (
    encoder_shapes,
    fitted,
    fitting_encoders,
    put_into,
    shapes_digest,
)
from tim3d.models.segmentation.first_weights import of_encoder
from tim3d.models.segmentation.unet import UNetSpec, build


def spec(encoder="mobilenet_v2", channels=1, depth=2, **more):
    return UNetSpec(("pore", "solid"), "Unet", encoder, depth, (8,) * depth, channels, **more)


def loaded(path, asked):
    """The encoder of a new network with the weights of a file, and what is recorded."""
    about, _ = fitted(path, asked)
    net = build(asked)
    put_into(net, path, asked, about.sha256)
    return net.encoder.eval(), about


def features(encoder, image):
    with torch.no_grad():
        return encoder(image)


def saved(path, state):
    save_file(
        {k: v.contiguous() for k, v in state.items()}, path
    ) if path.suffix == ".safetensors" else (torch.save(state, path))
    return path


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_equal_slices_give_what_an_image_of_equal_colours_gives(tmp_path, channels):
    """Up to the border of the image, where zeros are padded."""
    path = encoder_file(tmp_path / "w.pth", "mobilenet_v2")
    encoder, about = loaded(path, spec(channels=channels))
    from tim3d.models.segmentation.torchvision_shim import import_smp

    colours = import_smp().encoders.get_encoder("mobilenet_v2", depth=2, weights=None)
    colours.load_state_dict(encoder_state("mobilenet_v2"))
    grey = torch.randn(1, 1, 32, 48)
    ours = features(encoder, grey.repeat(1, channels, 1, 1))[1:]
    theirs = features(colours.eval(), grey.repeat(1, 3, 1, 1))[1:]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert about.dropped == ("classifier",)
    assert "summed over 3 colours" in about.first_convolution
    assert ("over 5 slices" in about.first_convolution) == (channels == 5)


def micronet(state):
    return {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3, "arch": "x"}


def lightning(state):
    head = {
        "model.segmentation_head.0.weight": torch.zeros(2, 8, 3, 3),
        "model.decoder.x": torch.zeros(1),
    }
    return {"state_dict": {f"model.encoder.{k}": v for k, v in state.items()} | head}


@pytest.mark.parametrize(
    ("wrapped", "dropped"),
    [
        (lambda state: state, ()),
        (micronet, ()),
        (lightning, ("decoder", "segmentation_head")),
        (
            lambda state: {k.replace("features.", "features.module."): v for k, v in state.items()},
            (),
        ),
        (lambda state: {k: v for k, v in state.items() if "num_batches" not in k}, ()),
    ],
)
def test_wrappers_and_prefixes_are_taken_off_by_name(tmp_path, wrapped, dropped):
    state = encoder_state("mobilenet_v2")
    encoder, about = loaded(saved(tmp_path / "w.pth", wrapped(state)), spec())
    own = encoder.state_dict()
    assert all(
        torch.equal(own[k], v)
        for k, v in state.items()
        if k != "features.0.0.weight" and "num_" not in k
    )
    assert about.dropped == dropped


def test_safetensors_and_halves_are_read(tmp_path):
    state = {
        k: v.half() if v.is_floating_point() else v for k, v in encoder_state("resnet18").items()
    }
    encoder, _ = loaded(saved(tmp_path / "w.safetensors", state), spec("resnet18"))
    assert torch.equal(
        encoder.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"].float()
    )


def efficientnet_pytorch(state):
    """Names of EfficientNet-PyTorch for the weights of a timm encoder, from its own order of layers."""
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    long = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
            "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    short = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    blocks, found = {}, {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            block = ".".join(parts[:3])
            number = blocks.setdefault(block, len(blocks))
            table = long if f"{block}.conv_pwl.weight" in state else short
            parts[:4] = ["_blocks", str(number), table[parts[3]]]
        else:
            parts[0] = outer[parts[0]]
        found[".".join(parts)] = value
    return found | {"_fc.weight": torch.zeros(10, 1280), "_fc.bias": torch.zeros(10)}


def test_an_efficientnet_lite_of_efficientnet_pytorch_lands_layer_by_layer(tmp_path):
    name = "timm-tf_efficientnet_lite0"
    state = encoder_state(name)
    encoder, about = loaded(saved(tmp_path / "w.pth", efficientnet_pytorch(state)), spec(name))
    own = encoder.state_dict()
    assert sum(torch.equal(own[k], v) for k, v in state.items()) == len(state) - 1
    assert (about.layout, about.dropped) == ("EfficientNet-PyTorch names", ("classifier",))


@pytest.mark.long
def test_a_timm_file_fits_its_backbone_and_deeper_layers_are_named(tmp_path):
    timm = pytest.importorskip("timm", reason="encoders tu-NAME are those of timm")
    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    encoder, about = loaded(saved(tmp_path / "w.pth", state), spec("tu-resnet10t"))
    own = encoder.state_dict()
    assert all(torch.equal(own[k], state[k.removeprefix("model.")]) for k in own if "layer1" in k)
    assert set(about.dropped) >= {"fc", "layer4 (deeper than the network)"}


@pytest.mark.long
def test_densenets_of_early_torchvision_are_renamed(tmp_path):
    def early(name):
        return re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name)

    state = {early(k): v for k, v in encoder_state("densenet121").items()}
    _, about = loaded(saved(tmp_path / "w.pth", state), spec("densenet121"))
    assert about.layout == "densenet names of early torchvision"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda s: s.pop("layer1.0.conv1.weight"),
            r"lacks 1 of \d+ tensors, first layer1.0.conv1.weight",
        ),
        (
            lambda s: s.update({"layer9.weight": torch.zeros(3)}),
            "has 1 others, first layer9.weight",
        ),
        (
            lambda s: s.update({"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}),
            r"another shape, first layer1.0.conv1.weight: \(64, 64, 1, 1\), expected \(64, 64, 3, 3\)",
        ),
    ],
)
def test_what_does_not_fit_in_every_layer_is_refused(tmp_path, change, says):
    state = encoder_state("resnet18")
    change(state)
    with pytest.raises(CheckpointError, match=says) as caught:
        fitted(saved(tmp_path / "w.pth", state), spec("resnet18"))
    assert caught.value.exit_code == 3


def test_weights_of_another_architecture_name_the_encoder_that_they_fit(tmp_path):
    path = encoder_file(tmp_path / "w.pth", "mobilenet_v2")
    with pytest.raises(CheckpointError, match=r"It fits mobilenet_v2: --encoder mobilenet_v2"):
        fitted(path, spec("resnet18"))


def test_a_model_of_this_package_is_sent_to_start_from(tmp_path):
    path = tiny_checkpoint(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="--start-from"):
        fitted(path, spec())


class Harmful:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, capsys, protocol):
    path = tmp_path / "w.pth"
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "harm": Harmful()}, path, pickle_protocol=protocol
    )
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Harmful(), protocol))
    for one in (path, plain):
        with pytest.raises(CheckpointError, match=str(one)) as caught:
            fitted(one, spec())
        assert "\n" not in str(caught.value)
    asked = r"holds code, a pickled \S*print, " if protocol == 2 else "holds code or damage, "
    with pytest.raises(CheckpointError, match=asked + r".*torch.save\(model.state_dict\(\)"):
        fitted(path, spec())
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no weights", [1, 2], {"a": 3}])
def test_what_is_no_file_of_weights_is_one_line(tmp_path, content):
    for name in ("w.pth", "w.safetensors"):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(CheckpointError, match=str(path)) as caught:
            fitted(path, spec())
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="check its path"):
        fitted(tmp_path / "none.pth", spec())


def test_a_file_that_changes_before_the_training_is_refused(tmp_path):
    path = encoder_file(tmp_path / "w.pth", "mobilenet_v2")
    first = of_encoder(path, spec())
    saved(path, encoder_state("mobilenet_v2", seed=2))
    with pytest.raises(CheckpointError, match="has changed"):
        first.put_into(build(spec()))


def test_instance_normalisation_has_no_place_for_the_statistics(tmp_path):
    path = encoder_file(tmp_path / "w.pth", "mobilenet_v2")
    with pytest.raises(ArgumentError, match="--norm instance"):
        fitted(path, spec(norm="instance"))


def digest(name):
    shapes = encoder_shapes(name, 5).items()
    return shapes_digest(shape for key, shape in shapes if not key.endswith("num_batches_tracked"))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "timm-tf_efficientnet_lite0", "vgg11"]
)
def test_the_table_of_encoders_is_theirs(name):
    assert digest(name) == SHAPES[name]
    assert name in fitting_encoders(encoder_state(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_the_whole_table_of_encoders_is_theirs(name):
    assert digest(name) == SHAPES[name]
