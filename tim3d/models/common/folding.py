"""Batch normalisation folded into the convolutions before it.

References
----------
Jacob et al., CVPR 2018 (folding of batch normalisation). DOI 10.1109/CVPR.2018.00286
"""

from __future__ import annotations

import copy
import logging
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

log = logging.getLogger(__name__)

# Largest difference of a probability that is rounding.
ROUNDING = 1e-4
Convolution: TypeAlias = nn.Conv2d | nn.Conv3d
Norm: TypeAlias = nn.BatchNorm2d | nn.BatchNorm3d


def folded(model: nn.Module, given: Tensor) -> nn.Module:
    """Return a network without passes of batch normalisation, equal to the given one but for rounding.

    W' = W g / sqrt(var + eps), b' = beta + (b - mean) g / sqrt(var + eps). Which normalisation follows which
    convolution is seen in a call. Where a convolution's output goes elsewhere too, the network
    would become another one: probabilities are compared, and beyond `ROUNDING` the given network is
    returned, with a warning.

    Parameters
    ----------
    model : nn.Module
        Network in evaluation mode, on the CPU in float32; it stays as it is.
    given : Tensor
        Input of a call, whose output has classes along axis 1.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    >>> len(list(folded(net, torch.ones(1, 1, 8, 8))[1].parameters()))
    0
    """
    made = copy.deepcopy(model)
    with torch.inference_mode():
        expected = model(given).softmax(dim=1)
    places = {
        child: (layer, name) for layer in made.modules() for name, child in layer.named_children()
    }
    for convolution, norm in followed(made, given):
        _fold(convolution, norm)
        setattr(*places[norm], nn.Identity())
    with torch.inference_mode():
        difference = float((made(given).softmax(dim=1) - expected).abs().max())
    if difference <= ROUNDING:
        return made
    log.warning(
        "batch normalisation is left as it is: folded, it changes probabilities by up to %.2g",
        difference,
    )
    return model


def _fold(convolution: Convolution, norm: Norm) -> None:
    """Give a convolution the scale and shift of a normalisation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
        norm.weight, norm.bias,
    )  # fmt: skip


def followed(model: nn.Module, given: Tensor) -> list[tuple[Convolution, Norm]]:
    """Convolutions whose output a batch normalisation was given in a call, with that one."""
    found: list[tuple[Convolution, Norm]] = []
    outputs: list[tuple[Tensor, Convolution]] = []  # kept, so that no address is used twice

    def convolved(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        outputs.append((output, layer))

    def normed(layer: nn.Module, inputs: Any) -> None:
        assert isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)
        found.extend((made, layer) for output, made in outputs if output is inputs[0])

    hooks = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            hooks.append(layer.register_forward_hook(convolved))
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            hooks.append(layer.register_forward_pre_hook(normed))
    try:
        with torch.inference_mode():
            model(given)
    finally:
        for hook in hooks:
            hook.remove()
    return found
