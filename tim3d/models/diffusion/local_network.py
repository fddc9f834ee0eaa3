"""Networks for diffusion whose output at a voxel depends on a bounded window and nothing else.

A U-Net of convolutions. Features are normalised at every voxel over their channels; no layer takes
statistics of a window, none attends to all of it. Time and conditions scale and shift the features.
So one evaluation of a volume equals those of its windows, each read with a halo of the reach.

References
----------
Ronneberger et al., MICCAI 2015 (U-Net). DOI 10.1007/978-3-319-24574-4_28
Perez et al., AAAI 2018 (scale and shift by conditions). DOI 10.1609/aaai.v32i1.11671
Zhang and Sennrich, NeurIPS 2019 (root mean square normalisation). DOI 10.48550/arXiv.1910.07467
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tim3d.errors import ArgumentError
from tim3d.models.diffusion.network_spec import (
    CONVOLUTIONS,
    FREQUENCIES,
    KERNEL,
    LocalNetworkSpec,
)

# Highest frequency of the waves of the time.
HIGHEST = 1000.0
EPSILON = 1e-5


class PixelNorm(nn.Module):
    """Features of each voxel over their root mean square, times a gain for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalised features; the shape stays."""
        scale = torch.rsqrt(features.square().mean(1, keepdim=True) + EPSILON)
        return features * scale * _by_channel(self.gain[None], features)


class Block(nn.Module):
    """Residual block: two convolutions, before the second of which features are scaled and shifted."""

    def __init__(self, spec: LocalNetworkSpec, before: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([PixelNorm(before), PixelNorm(width)])
        self.convs = nn.ModuleList(
            [convolution(spec, before, width), convolution(spec, width, width)]
        )
        assert len(self.convs) == CONVOLUTIONS
        self.film = nn.Linear(spec.embedding, 2 * width)
        self.skip = None if before == width else convolution(spec, before, width, 1)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        """Features of the new width; `known` embeds time and conditions, (n, embedding)."""
        scale, shift = self.film(known).chunk(2, 1)
        made = self.convs[0](silu(self.norms[0](features)))
        made = self.norms[1](made) * (1 + _by_channel(scale, made)) + _by_channel(shift, made)
        kept = features if self.skip is None else self.skip(features)
        return cast(Tensor, kept + self.convs[1](silu(made)))


class LocalNetwork(nn.Module):
    """Velocity or noise (n, channels, *spatial) of a state, its time, and conditions.

    Parameters
    ----------
    spec : LocalNetworkSpec
        The layers.

    Notes
    -----
    Beyond the window zeros are read: only voxels at least `spec.reach` from its border, where it is
    not the border of everything, have the values of an endless evaluation.
    """

    def __init__(self, spec: LocalNetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        widths, size = spec.widths, spec.embedding
        self.embed = nn.Sequential(
            nn.Linear(2 * FREQUENCIES + 2 * spec.conditions, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU()
        )  # fmt: skip
        self.stem = convolution(spec, spec.entering, widths[0])
        self.down_blocks = nn.ModuleList([_stage(spec, width, width) for width in widths])
        self.down = nn.ModuleList(
            [convolution(spec, a, b, 2, stride=2) for a, b in pairwise(widths)]
        )
        self.up = nn.ModuleList([convolution(spec, b, a, 1) for a, b in pairwise(widths)])
        self.up_blocks = nn.ModuleList(
            [_stage(spec, (1 + (n < spec.levels)) * width, width) for n, width in enumerate(widths)]
        )
        self.norm = PixelNorm(widths[0])
        self.head = convolution(spec, widths[0], spec.inputs)

    def forward(
        self,
        state: Tensor,
        time: Tensor,
        condition: Tensor | None = None,
        coarse: Tensor | None = None,
    ) -> Tensor:
        """Compute the velocity or the noise.

        Parameters
        ----------
        state : (n, channels, *spatial)
            Edges are multiples of `spec.multiple`.
        time : (n,)
            0 to 1. Flow: 0 is noise, 1 is data. DDPM: the step over the number of steps.
        condition : (n, conditions), optional
            NaN where a condition is not given (default: none is).
        coarse : (n, coarse, *spatial), optional
            What a network of `spec.coarse` channels is given beside the state at every voxel.

        Raises
        ------
        ArgumentError
            If a shape does not fit.
        """
        self._check(state, condition, coarse)
        known = self.embed(self._known(state, time, condition))
        entering = state if coarse is None else torch.cat([state, coarse], 1)
        features = self.stem(unshuffled(entering, self.spec.unshuffle))
        waiting = []
        for level, stage in enumerate(self.down_blocks):
            features = _through(stage, features, known)
            if level < self.spec.levels:
                waiting.append(features)
                features = self.down[level](features)
        features = _through(self.up_blocks[-1], features, known)
        for level in reversed(range(self.spec.levels)):
            features = torch.cat([waiting.pop(), doubled(self.up[level](features))], 1)
            features = _through(self.up_blocks[level], features, known)
        return shuffled(self.head(silu(self.norm(features))), self.spec.unshuffle)

    def _known(self, state: Tensor, time: Tensor, condition: Tensor | None) -> Tensor:
        """Waves of the time; the conditions, 0 where they are not given; and whether they are."""
        powers = torch.arange(FREQUENCIES, device=state.device, dtype=state.dtype) / (
            FREQUENCIES - 1
        )
        waves = time.to(state.dtype)[:, None] * HIGHEST**powers
        known = [waves.cos(), waves.sin()]
        if self.spec.conditions:
            if condition is None:
                condition = state.new_full((len(state), self.spec.conditions), math.nan)
            given = condition.isfinite()
            known += [torch.where(given, condition, 0).to(state.dtype), given.to(state.dtype)]
        return torch.cat(known, 1)

    def _check(self, state: Tensor, condition: Tensor | None, coarse: Tensor | None) -> None:
        spec, edges = self.spec, tuple(state.shape[2:])
        if (
            len(edges) != spec.dimensions
            or state.shape[1] != spec.channels
            or any(n % spec.multiple for n in edges)
        ):
            raise ArgumentError(
                f"a state of shape {tuple(state.shape)} does not fit: (n, {spec.channels}, then {spec.dimensions} "
                f"edges that are multiples of {spec.multiple}) is expected"
            )
        if condition is not None and condition.shape != (len(state), spec.conditions):
            raise ArgumentError(
                f"conditions of shape {tuple(condition.shape)} do not fit: {(len(state), spec.conditions)} is expected"
            )
        given = (len(state), 0, *edges) if coarse is None else tuple(coarse.shape)
        if given != (len(state), spec.coarse, *edges):
            raise ArgumentError(
                f"local fractions of shape {given} do not fit: {(len(state), spec.coarse, *edges)} is expected"
            )


def convolution(
    spec: LocalNetworkSpec, before: int, after: int, kernel: int = KERNEL, stride: int = 1
) -> nn.Module:
    """Convolution along all axes; one of an odd kernel keeps the shape."""
    layer = nn.Conv2d if spec.dimensions == 2 else nn.Conv3d
    return layer(before, after, kernel, stride, (kernel - 1) // 2)


def unshuffled(values: Tensor, edge: int) -> Tensor:
    """Voxels of each cell as channels, of values (n, channels, *spatial); `shuffled` is the reverse.

    >>> unshuffled(torch.arange(4.0).reshape(1, 1, 2, 2), 2).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    count, channels, *edges = values.shape
    axes = range(len(edges))
    cells = values.reshape(count, channels, *(n for e in edges for n in (e // edge, edge)))
    moved = cells.permute(0, 1, *(3 + 2 * a for a in axes), *(2 + 2 * a for a in axes))
    return moved.reshape(count, channels * edge ** len(edges), *(e // edge for e in edges))


def shuffled(values: Tensor, edge: int) -> Tensor:
    """Channels as the voxels of each cell: values (n, channels, *spatial) from `unshuffled` ones."""
    count, channels, *edges = values.shape
    axes = len(edges)
    cells = values.reshape(count, channels // edge**axes, *(edge,) * axes, *edges)
    moved = cells.permute(0, 1, *(n for a in range(axes) for n in (2 + axes + a, 2 + a)))
    return moved.reshape(count, channels // edge**axes, *(e * edge for e in edges))


def doubled(values: Tensor) -> Tensor:
    """Each value of (n, channels, *spatial) repeated twice along every axis."""
    for axis in range(2, values.ndim):
        values = values.repeat_interleave(2, axis)
    return values


def _stage(spec: LocalNetworkSpec, before: int, width: int) -> nn.ModuleList:
    return nn.ModuleList(
        [Block(spec, width if number else before, width) for number in range(spec.blocks)]
    )


def _through(stage: nn.Module, features: Tensor, known: Tensor) -> Tensor:
    for block in cast(nn.ModuleList, stage):
        features = block(features, known)
    return features


def _by_channel(values: Tensor, features: Tensor) -> Tensor:
    """Shape (n, channels) for a product with features (n, channels, *spatial)."""
    return values.reshape(*values.shape, *(1,) * (features.ndim - 2))
