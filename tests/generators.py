"""Tiny generators with fixed random weights as files, and the plain pass over a volume that they must equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tim3d.grid import Box, Triple
from tim3d.kernels.generation.architecture import Architecture, tile_nodes, whole_nodes
from tim3d.kernels.generation.philox import Noise
from tim3d.models.generation.export import GeneratorDescription, save_generator
from tim3d.models.generation.slicegan import Generator
from tim3d.models.generation.synthesis import NetworkField, reduced
from tim3d.phases import Phases

SPACING = (12.0, 10.0, 8.0)
# One of every kind and output; paddings beyond 2 and a last one of 2, which leaves voxels over,
# among them.
TINY = {
    "two phases": Architecture("tiny", "transposed", (5, 8, 6, 2), (2, 2, 3), (4, 4)),
    "three phases": Architecture("three", "transposed", (3, 6, 3), (3, 2)),
    "wide paddings": Architecture("wide", "transposed", (4, 8, 6, 2), (2, 3, 4)),
    "resize": Architecture("resize", "resize", (4, 8, 6, 2), (2, 2)),
    "official resize": Architecture("official", "official-resize", (4, 8, 6, 2), (2, 2)),
    "grey": Architecture("grey", "transposed", (4, 8, 6, 1), (2, 2, 3), output="grey"),
    "colour": Architecture("colour", "resize", (4, 8, 6, 3), (2, 2), output="colour"),
}


def tiny_generator(architecture: Architecture, seed: int = 0) -> Generator:
    """Random weights that give features of several voxels, and statistics of the noise, so that every phase occurs."""
    torch.manual_seed(seed)
    net = Generator(architecture).train()
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    smooth = torch.einsum("z,y,x->zyx", ramp, ramp, ramp)
    with torch.no_grad():
        for conv in net.convs:
            conv.weight.copy_(
                torch.randn(*conv.weight.shape[:2], 1, 1, 1) * smooth
                + 0.1 * torch.randn_like(conv.weight)
            )
        for norm in net.bns:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
        for _ in range(30):
            net(torch.randn(8, architecture.latent, 5, 5, 5))
    return net.eval().requires_grad_(False)


def phases_of(architecture: Architecture) -> Phases | None:
    """Codes that are not the numbers of the channels."""
    if architecture.output != "phases":
        return None
    return Phases(**{f"phase{n}": 2 * n + 1 for n in range(architecture.outputs)})


def saved(
    folder: Path, architecture: Architecture, net: Generator | None = None
) -> tuple[Path, str]:
    """File of a generator and its digest."""
    path = folder / "gen.safetensors"
    description = GeneratorDescription(architecture, SPACING, phases_of(architecture), {"seed": 0})
    return path, save_generator(path, net or tiny_generator(architecture), description)


def field_of(
    file: tuple[Path, str],
    architecture: Architecture,
    shape: Triple,
    edge: int = 16,
    period: Triple = (0, 0, 0),
) -> NetworkField:
    """The endless volume of a file, in tiles of `edge` voxels."""
    nodes, whole = tile_nodes(architecture, edge), whole_nodes(architecture, shape)
    return NetworkField(str(file[0]), file[1], architecture, 3, nodes, period, whole)


def giant_logits(
    net: Generator, shape: Triple, period: Triple = (0, 0, 0), seed: int = 3
) -> torch.Tensor:
    """Logits of one plain pass of the unfolded network over all nodes of a volume, (1, outputs, z, y, x)."""
    window = Box.whole(whole_nodes(net.architecture, shape))
    noise = Noise(seed, period=period).latent(window, net.architecture.latent)
    z, y, x = shape
    with torch.inference_mode():
        logits: torch.Tensor = net(torch.from_numpy(noise[None]))[:, :, :z, :y, :x]
    return logits


def giant(net: Generator, shape: Triple, period: Triple = (0, 0, 0)) -> np.ndarray:
    """The same as labels or grey values, of colours with the channels first."""
    values = reduced(giant_logits(net, shape, period), net.architecture)[0].numpy()
    return values if net.architecture.output == "colour" else values[0]
