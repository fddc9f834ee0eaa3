"""Generator and critic of images under conditions.

Nothing is padded: a window of latent nodes determines a window of pixels, which is the same in any
larger one. Features are normalised at every pixel over their channels, conditions scale and shift
them, and no layer takes statistics of a window.

References
----------
Goodfellow et al., NeurIPS 2014 (adversarial networks). DOI 10.48550/arXiv.1406.2661
Mirza and Osindero, 2014 (conditional ones). DOI 10.48550/arXiv.1411.1784
Miyato and Koyama, ICLR 2018 (projection critic). DOI 10.48550/arXiv.1802.05637
Perez et al., AAAI 2018 (scale and shift by conditions). DOI 10.1609/aaai.v32i1.11671
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from tim3d.errors import ArgumentError
from tim3d.models.conditional.network_spec import DOUBLING, KERNEL, ConditionalSpec, CriticSpec
from tim3d.models.diffusion.local_network import PixelNorm

SLOPE = 0.2


class Modulated(nn.Module):
    """Features normalised at every pixel, scaled and shifted by the conditions, then activated."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = PixelNorm(width)
        self.film = nn.Linear(embedding, 2 * width)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        """Features of the same shape; `known` embeds the conditions, (n, embedding)."""
        scale, shift = (part[..., None, None] for part in self.film(known).chunk(2, 1))
        return leaky_relu(torch.addcmul(shift, self.norm(features), 1 + scale), SLOPE)


class Block(nn.Module):
    """A convolution that is added to the features it is made of, of the inner cells."""

    def __init__(self, spec: ConditionalSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(spec.widths[-1], spec.widths[-1], KERNEL)
        self.refined = Modulated(spec.widths[-1], spec.embedding)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        """Features without the outermost cells."""
        return cast(Tensor, features[..., 1:-1, 1:-1] + self.refined(self.conv(features), known))


class Level(nn.Module):
    """Cells halved by a transposed convolution, then a convolution."""

    def __init__(self, spec: ConditionalSpec, before: int, width: int) -> None:
        super().__init__()
        self.halve = nn.ConvTranspose2d(before, width, DOUBLING, stride=2, padding=2)
        self.halved = Modulated(width, spec.embedding)
        self.conv = nn.Conv2d(width, width, KERNEL)
        self.refined = Modulated(width, spec.embedding)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        """Features (n, width, ...) of the cells that are determined."""
        made = self.conv(self.halved(self.halve(features), known))
        return cast(Tensor, self.refined(made, known))


class ConditionalGenerator(nn.Module):
    """Images (n, channels, rows, columns) from -1 to 1 of latent noise and conditions.

    Parameters
    ----------
    spec : ConditionalSpec
        The layers.
    """

    def __init__(self, spec: ConditionalSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embed = embedding(spec.conditions, spec.embedding)
        self.stem = nn.Conv2d(spec.latent, spec.widths[-1], KERNEL)
        self.first = Modulated(spec.widths[-1], spec.embedding)
        self.blocks = nn.ModuleList([Block(spec) for _ in range(spec.blocks)])
        self.stages = nn.ModuleList(
            [Level(spec, before, width) for before, width in pairwise(reversed(spec.widths))]
        )
        self.head = nn.Conv2d(spec.widths[0], spec.channels, KERNEL)
        self.apply(_balance)

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Compute the pixels that the nodes determine, `spec.pixels`.

        Parameters
        ----------
        latent : (n, latent, rows, columns)
            Noise at the nodes.
        condition : (n, conditions)
            NaN where a condition is not given.

        Raises
        ------
        ArgumentError
            If a shape does not fit.
        """
        expected = (len(latent), self.spec.latent), (len(latent), self.spec.conditions)
        if (latent.shape[:2], condition.shape) != expected:
            raise ArgumentError(
                f"noise of shape {tuple(latent.shape)} with conditions of {tuple(condition.shape)} does not fit: "
                f"{self.spec.latent} channels and {self.spec.conditions} conditions are expected"
            )
        known = self.embed(stated(condition))
        features = self.first(self.stem(latent), known)
        for stage in (*self.blocks, *self.stages):
            features = stage(features, known)
        made = self.head(features)
        return cast(Tensor, made.tanh() if self.spec.channels == 1 else 2 * made.softmax(1) - 1)


class ProjectionCritic(nn.Module):
    """Value of each image under its conditions, (n,): higher for those that look real.

    A value is a sum: what the features say of themselves, and their product with the embedding of
    the conditions.

    Parameters
    ----------
    spec : CriticSpec
        The layers.
    """

    def __init__(self, spec: CriticSpec) -> None:
        super().__init__()
        self.spec = spec
        last = spec.widths[-1]
        self.convs = nn.ModuleList([
            nn.Conv2d(before, width, DOUBLING, 2, 1)
            for before, width in pairwise((spec.channels, *spec.widths))
        ])  # fmt: skip
        self.value = nn.Linear(last, 1)
        self.embed = embedding(spec.conditions, last)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Compute the values of images (n, channels, rows, columns) under conditions (n, conditions)."""
        features = images
        for conv in self.convs:
            features = leaky_relu(conv(features), SLOPE)
        mean = features.mean((2, 3))
        projected = (self.embed(stated(condition)) * mean).sum(1)
        return cast(Tensor, self.value(mean)[:, 0] + projected)


@torch.no_grad()
def _balance(module: nn.Module) -> None:
    """First weights with which features vary with the noise as much behind a layer as before it.

    Biases are 0: what they add is the same in every cell, and grows from layer to layer.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        taps = KERNEL**2 if isinstance(module, nn.Conv2d) else DOUBLING
        module.weight.normal_(std=(2 / (taps * module.in_channels)) ** 0.5)
        assert module.bias is not None
        module.bias.zero_()
    if isinstance(module, Modulated):
        module.film.weight.mul_(0.5)
        module.film.bias.zero_()


def embedding(conditions: int, size: int) -> nn.Sequential:
    """Vector of a size from conditions and whether they are known, by two layers."""
    return nn.Sequential(
        nn.Linear(2 * conditions, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU()
    )


def stated(condition: Tensor) -> Tensor:
    """Conditions, 0 where they are not given, and whether they are: (n, 2 conditions).

    >>> stated(torch.tensor([[0.5, float("nan")]])).tolist()
    [[0.5, 0.0, 1.0, 0.0]]
    """
    given = condition.isfinite()
    return torch.cat([torch.where(given, condition, 0), given.to(condition.dtype)], 1)
