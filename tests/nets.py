"""Tiny networks with fixed random weights, saved as checkpoints, for the tests of segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.torchvision_shim import import_smp, old_names
from tim3d.models.segmentation.unet import UNetSpec, build
from tim3d.models.segmentation.unet_3d import UNet3DSpec
from tim3d.models.segmentation.unet_3d import build as build_3d


def tiny_checkpoint(
    path: Path,
    classes: tuple[str, ...] = ("pore", "solid"),
    norm: Literal["batch", "instance"] = "batch",
    slices: int = 1,
    seed: int = 5,
    training: dict[str, Any] | None = None,
) -> Path:
    """An untrained U-Net of total stride 4 whose running statistics are not trivial."""
    torch.manual_seed(seed)
    small = {"encoder": "mobilenet_v2", "depth": 2, "decoder_channels": (8, 4)}
    spec = UNetSpec(classes, **small, in_channels=slices, norm=norm)
    net = build(spec).train()
    with torch.no_grad():
        net(torch.randn(4, slices, 32, 32))
    description = Description(
        spec, Normalisation("volume", (120.0,), (40.0,)), (20.0, 5.0, 5.0), training or {"seed": 5}
    )
    save(path, net.eval(), description)
    return path


def tiny_checkpoint_3d(
    path: Path,
    classes: tuple[str, ...] = ("pore", "solid"),
    norm: Literal["batch", "instance"] = "batch",
) -> Path:
    """An untrained network of volumes of strides (2, 4, 4) whose running statistics are not trivial."""
    torch.manual_seed(7)
    spec = UNet3DSpec(classes, ((1, 2, 2), (2, 2, 2)), (2, 4, 6), norm)
    net = build_3d(spec).train()
    with torch.no_grad():
        net(torch.randn(2, 1, 8, 32, 32))
        # Both classes occur: their logits have the same mean.
        seen = net.eval()(torch.randn(2, 1, 8, 32, 32))
        net.get_parameter("head.bias").sub_(seen.mean(dim=(0, 2, 3, 4)))
    description = Description(
        spec, Normalisation("volume", (120.0,), (40.0,)), (20.0, 10.0, 10.0), {"seed": 7}
    )
    save(path, net, description)
    return path


def encoder_state(name: str, depth: int = 5, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random weights of an encoder of three colours, with statistics that are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with old_names():
            encoder: Any = import_smp().encoders.get_encoder(name, depth=depth, weights=None)
        state: dict[str, torch.Tensor] = encoder.state_dict()
        for key, value in state.items():
            if key.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand(value.shape) + 0.5)
    return state


def encoder_file(path: Path, name: str, seed: int = 1) -> Path:
    """Such weights as a file of torch, with the head of a classifier as torchvision has it."""
    torch.save(encoder_state(name, seed=seed) | {"classifier.1.weight": torch.rand(10, 1280)}, path)
    return path


def network_file(path: Path, seed: int = 0) -> Path:
    """A state dict of a small U-Net of segmentation-models-pytorch with three colours, as a user has it."""
    torch.save(smp_unet(seed).state_dict(), path)
    return path


def smp_unet(seed: int = 0, classes: int = 2, channels: int = 3) -> Any:
    """Such a network, whose statistics are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = (
            import_smp()
            .Unet(
                "mobilenet_v2",
                2,
                None,
                decoder_channels=(32, 16),
                in_channels=channels,
                classes=classes,
            )
            .train()
        )
        with torch.no_grad():
            net(torch.randn(4, channels, 32, 32))
    return net.eval()


def untrained_translator(path: Path, scale: float = 1.0, added: float = 0.0) -> None:
    """Write a translator that adds the same to every grey value, in units of its scale times 10."""
    from tim3d.models.translation.model_file import write_translator
    from tim3d.models.translation.network import Translator

    net = Translator(2, 2)
    torch.nn.init.constant_(net.last.bias, added / 10)
    text = {
        "options": {"reach": 2, "channels": 2},
        "scale": [100.0, 10.0 * scale],
        "names": ["pore", "solid"],
    }
    write_translator(path, net, text)


def untrained_diffusion(path: Path, seed: int = 0, **changes: Any) -> None:
    """Write a local network of images of pores (0) and solid (7) of two materials at 200 to 300 degrees."""
    from tim3d.models.common.conditioned_network import Condition
    from tim3d.models.diffusion.local_network import LocalNetwork
    from tim3d.models.diffusion.network_file import (
        LocalNetworkDescription,
        save_network,
    )
    from tim3d.models.diffusion.network_spec import LocalNetworkSpec
    from tim3d.phases import Phases

    torch.manual_seed(seed)
    known = {
        "spec": LocalNetworkSpec(2, 1, (4,), unshuffle=1, conditions=3),
        "spacing_nm": (20.0, 10.0, 5.0),
        "phases": Phases(pore=0, solid=7),
        "conditions": (
            Condition("material", ("Ag", "Cu")),
            Condition("temperature", lowest=200.0, highest=300.0),
        ),
    }
    about = LocalNetworkDescription(**known | changes)
    net = LocalNetwork(about.spec)
    with torch.no_grad():
        next(net.embed.parameters()).mul_(10)  # so that conditions are seen in a few pixels
    save_network(path, net, about)


def untrained_cgan(path: Path, seed: int = 0) -> None:
    """Write a conditional generator of pores (0) and solid (7) of two materials at 200 to 300 degrees."""
    from tim3d.models.common.conditioned_network import Condition
    from tim3d.models.conditional.network_file import ConditionalDescription, save_conditional
    from tim3d.models.conditional.network_spec import ConditionalSpec
    from tim3d.models.conditional.networks import ConditionalGenerator
    from tim3d.phases import Phases

    torch.manual_seed(seed)
    conditions = (
        Condition("material", ("Ag", "Cu")),
        Condition("temperature", lowest=200.0, highest=300.0),
    )
    about = ConditionalDescription(
        ConditionalSpec(1, 3, (4, 6), 1, 4), (10.0, 10.0, 10.0), Phases(pore=0, solid=7), conditions
    )
    net = ConditionalGenerator(about.spec)
    with torch.no_grad():
        for one in net.modules():
            if isinstance(one, torch.nn.Linear):
                one.weight.mul_(4)  # so that conditions are seen in a few pixels
    save_conditional(path, net, about)
