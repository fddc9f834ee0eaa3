"""A small network from sections of a volume to a property of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Surrogate(nn.Module):
    """Convolutions of stride 2 on each section, means over pixels and sections, and a line.

    Parameters
    ----------
    channels : sequence of int
        Channels of the convolutions.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((1, *channels), channels, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], 1)

    def features(self, sections_bnyx: Tensor) -> Tensor:
        """Features (b, n, channels) of every section, means over its pixels."""
        batch, count = sections_bnyx.shape[:2]
        planes = self.encoder(sections_bnyx.flatten(0, 1)[:, None])
        features: Tensor = planes.mean(dim=(-2, -1)).reshape(batch, count, -1)
        return features

    def from_features(self, features_bnc: Tensor) -> Tensor:
        """Standardised logarithm of the property (b,), from the mean over sections."""
        said: Tensor = self.head(features_bnc.mean(dim=1))[:, 0]
        return said

    def forward(self, sections_bnyx: Tensor) -> Tensor:
        """Standardised logarithm of the property (b,) of volumes with n sections each."""
        return self.from_features(self.features(sections_bnyx))


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.weight * gradients[0], None


def reversed_gradient(values: Tensor, weight: float) -> Tensor:
    """Values as they are, whose gradient is turned round and multiplied by a weight."""
    reversed_values: Tensor = _Reversed.apply(values, weight)  # type: ignore[no-untyped-call]
    return reversed_values


def coral(source_bc: Tensor, target_bc: Tensor) -> Tensor:
    """Squared difference of two covariances over 4 d² (Sun and Saenko 2016).

    Examples
    --------
    >>> a = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> float(coral(a, a)), float(coral(a, 2 * a)) > 0
    (0.0, True)
    """
    size = source_bc.shape[1]
    difference = torch.cov(source_bc.T) - torch.cov(target_bc.T)
    return (difference**2).sum() / (4 * size**2)


class Critic(nn.Module):
    """Tells features of rendered sections from those of real images, for DANN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, features_bc: Tensor) -> Tensor:
        """Logit (b,) of a section being rendered."""
        logits: Tensor = self.layers(features_bc)[:, 0]
        return logits


@dataclass(frozen=True, slots=True)
class Scale:
    """How grey values become inputs, and outputs logarithms of the property."""

    standardise: bool
    grey: tuple[float, float]
    log_value: tuple[float, float]

    def inputs(self, images: Tensor) -> Tensor:
        """Grey values (..., y, x) as inputs: by the image itself, or by the mean of all of the training."""
        values = images.float()
        if not self.standardise:
            return (values - self.grey[0]) / self.grey[1]
        mean, deviation = (
            values.mean(dim=(-2, -1), keepdim=True),
            values.std(dim=(-2, -1), keepdim=True),
        )
        return (values - mean) / deviation.clamp(min=1.0)

    def logarithm(self, said: Tensor) -> Tensor:
        """Natural logarithm of the property."""
        return said * self.log_value[1] + self.log_value[0]
