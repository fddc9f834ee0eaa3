"""Networks of a translation: a small generator without window statistics, a critic of patches, a head of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

SLOPE = 0.2


class Block(nn.Module):
    """A residual of one 3 x 3 and one 1 x 1 convolution; it looks one pixel around."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate")
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same size."""
        added: Tensor = self.point(leaky_relu(self.wide(x), SLOPE))
        return x + added


class Translator(nn.Module):
    """Grey values from grey values: the input and what is added to it.

    No normalisation at all: a pixel depends on those within `reach` and on nothing else, whatever the
    window. The last convolution begins with zeros, so that training begins with the identity.

    Parameters
    ----------
    channels : int
        Channels of all layers.
    reach : int
        Pixels around one on which it depends: the first convolution and `reach` - 1 blocks.
    """

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1, padding_mode="replicate")
        self.blocks = nn.ModuleList([Block(channels) for _ in range(reach - 1)])
        self.last = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def features(self, x: Tensor) -> list[Tensor]:
        """Features after the first convolution and each block (batch, channels, y, x)."""
        found = [leaky_relu(self.first(x), SLOPE)]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Translate grey values (batch, 1, y, x), normalised."""
        added: Tensor = self.last(self.features(x)[-1])
        return x + added


class Critic(nn.Module):
    """A number for each patch of 22 pixels, high for real ones; without normalisation (Isola et al., PatchGAN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * channels, 1, 4, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge images (batch, 1, y, x)."""
        out: Tensor = self.layers(x)
        return out


class Heads(nn.Module):
    """Features of pixels on a sphere, a head for each layer (Park et al. 2020)."""

    def __init__(self, layers: int, channels: int, width: int = 32) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))
                for _ in range(layers)
            ]
        )

    def forward(self, features: list[Tensor], places: Tensor) -> list[Tensor]:
        """Unit vectors (batch, places, width) of each layer at places, numbered along rows."""
        return [
            normalize(head(one.flatten(2)[:, :, places].transpose(1, 2)), dim=-1)
            for head, one in zip(self.heads, features, strict=True)
        ]


def contrast_loss(asked: list[Tensor], known: list[Tensor], temperature: float = 0.07) -> Tensor:
    """Cross-entropy of finding, among the places of an image, the one that a place was translated from."""
    losses = []
    for query, key in zip(asked, known, strict=True):
        logits = query @ key.detach().transpose(1, 2) / temperature
        wanted = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
        losses.append(nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()))
    return torch.stack(losses).mean()
