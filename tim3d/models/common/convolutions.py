"""Three-dimensional convolutions on a CPU, by oneDNN whatever their input."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn


def by_onednn(model: nn.Module) -> nn.Module:
    """Let oneDNN compute every 3-D convolution of a network that runs on a CPU in float32.

    For one box of few channels torch takes a kernel of its own, which copies each voxel 27 times: a U-Net of
    widths 8, 16, 32 needs four to eight times as long with it (benchmarks/RESULTS.md). Values agree
    to rounding. Where torch was built without oneDNN nothing changes.

    Parameters
    ----------
    model : nn.Module
        Network, changed in place.

    Returns
    -------
    nn.Module
        The network.

    Examples
    --------
    >>> layer = nn.Conv3d(1, 2, 3, padding=1)
    >>> box = torch.ones(1, 1, 4, 8, 8)
    >>> with torch.inference_mode():
    ...     torch.allclose(layer(box), by_onednn(layer)(box), atol=1e-6)
    True
    """
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        for layer in model.modules():
            # Borders that are mirrored or copied are made by the layer itself.
            if not isinstance(layer, nn.Conv3d) or layer.padding_mode != "zeros":
                continue
            if not isinstance(layer.padding, str):
                direct = partial(_convolved, layer, layer.padding)
                layer.forward = direct  # type: ignore[method-assign]
    return model


def _convolved(layer: nn.Conv3d, padding: tuple[int, ...], given: torch.Tensor) -> torch.Tensor:
    convolved: torch.Tensor = torch.mkldnn_convolution(
        given, layer.weight, layer.bias, padding, layer.stride, layer.dilation, layer.groups
    )
    return convolved
