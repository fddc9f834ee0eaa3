"""Networks of SliceGAN: a generator of volumes from latent noise, and critics of their slices.

References
----------
Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299 (SliceGAN). DOI 10.1038/s42256-021-00322-1
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from tim3d.kernels.generation.architecture import KERNEL, STRIDE, Architecture


class Generator(nn.Module):
    """Network from noise (batch, latent, z, y, x) to logits (batch, outputs, z, y, x).

    Each node becomes 2^L voxels, less the overlap. Transposed convolutions without bias, batch
    normalisation and ReLU after all but the last layer. The output of a window does not depend on
    voxels outside it; see
    `Architecture.output_edge` for its size.

    Parameters
    ----------
    architecture : Architecture
        Layers, of kind "transposed" or "resize". For kind "official-resize" the forward pass is the
        official one: it depends on the size of the window.

    Examples
    --------
    >>> from tim3d.kernels.generation.architecture import preset
    >>> net = Generator(preset("demo")).eval()
    >>> net(torch.zeros(1, 16, 4, 5, 4)).shape
    torch.Size([1, 2, 32, 48, 32])
    >>> sum(p.numel() for p in net.parameters()) == preset("demo").parameters
    True
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths, count = architecture.channels, len(architecture.paddings)
        self.convs = nn.ModuleList(
            nn.ConvTranspose3d(a, b, KERNEL, STRIDE, p, bias=False)
            for a, b, p in zip(widths, widths[1:], architecture.paddings, strict=False)
        )
        resizes = architecture.kind != "transposed"
        self.bns = nn.ModuleList(nn.BatchNorm3d(w) for w in widths[1 : count + resizes])
        self.rcconv = nn.Conv3d(widths[-2], widths[-1], 3) if resizes else None

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Logits, before `probabilities`."""
        values = noise
        for conv, norm in zip(self.convs, self.bns, strict=False):
            values = torch.relu(norm(conv(values)))
        if self.rcconv is None:
            last: torch.Tensor = self.convs[-1](values)
            return last
        grown: torch.Tensor = self.rcconv(
            grow(values, official=self.architecture.kind == "official-resize")
        )
        return grown

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Softmax over the phases; (1 + tanh) / 2 for grey and colour. Between 0 and 1."""
        return probabilities(logits, self.architecture)


def probabilities(logits: torch.Tensor, architecture: Architecture) -> torch.Tensor:
    """Softmax of logits over phases (axis 1); (1 + tanh) / 2 for grey and colour. From 0 to 1."""
    if architecture.output == "phases":
        return torch.softmax(logits, dim=1)
    return 0.5 * (torch.tanh(logits) + 1)


def grow(values: torch.Tensor, *, official: bool = False) -> torch.Tensor:
    """Upsample by 2 with trilinear interpolation: n voxels become 2 n - 2.

    The factor is exactly 2; the outermost voxels are left out, since a window lacks their
    neighbours. The `official` code squeezes all 2 n into 2 n - 2, so that the factor depends on n.
    """
    if official:
        z, y, x = (2 * (n - 1) for n in values.shape[2:])
        return functional.interpolate(values, size=(z, y, x), mode="trilinear", align_corners=False)
    doubled = functional.interpolate(
        values, scale_factor=2.0, mode="trilinear", align_corners=False
    )
    return doubled[:, :, 1:-1, 1:-1, 1:-1]


class Critic(nn.Module):
    """Network from slices (batch, channels, y, x) to unbounded scores of realism (batch,).

    Convolutions of kernel 4 and stride 2 without normalisation, which a gradient penalty forbids,
    and without bias; padding 1, in the last one 0. A slice has 4 * 2^n pixels along an edge for n
    hidden layers.

    Parameters
    ----------
    channels : int
        Channels of a slice: phases, 1 for grey, 3 for colour.
    widths : sequence of int
        Widths of the hidden layers, as `Architecture.critic`.
    slope : float
        Slope of the activation below zero: 0 is ReLU as in the paper.

    Examples
    --------
    >>> Critic(2, (32, 64, 128))(torch.zeros(5, 2, 32, 32)).shape
    torch.Size([5])
    """

    def __init__(self, channels: int, widths: Sequence[int], slope: float = 0.0) -> None:
        super().__init__()
        every = (channels, *widths, 1)
        self.slope = slope
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, KERNEL, STRIDE, 0 if n == len(widths) else 1, bias=False)
            for n, (a, b) in enumerate(pairwise(every))
        )

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Score of each slice."""
        values = slices
        for conv in self.convs[:-1]:
            values = functional.leaky_relu(conv(values), self.slope)
        last: torch.Tensor = self.convs[-1](values)
        return last.flatten(1).mean(1)
