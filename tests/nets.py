"""Tiny networks with fixed random weights, saved as checkpoints, for the tests of segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.unet import UNetSpec, build


def tiny_checkpoint(
    path: Path,
    classes: tuple[str, ...] = ("pore", "solid"),
    norm: Literal["batch", "instance"] = "batch",
    slices: int = 1,
) -> Path:
    """An untrained U-Net of total stride 4 whose running statistics are not trivial."""
    torch.manual_seed(5)
    small = {"encoder": "mobilenet_v2", "depth": 2, "decoder_channels": (8, 4)}
    spec = UNetSpec(classes, **small, in_channels=slices, norm=norm)
    net = build(spec).train()
    with torch.no_grad():
        net(torch.randn(4, slices, 32, 32))
    description = Description(
        spec, Normalisation("volume", (120.0,), (40.0,)), (20.0, 5.0, 5.0), {"seed": 5}
    )
    save(path, net.eval(), description)
    return path
