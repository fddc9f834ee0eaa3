"""What a network needs between its layers, known without running it."""

from __future__ import annotations

import torch
from torch import nn

from tim3d.errors import ArgumentError
from tim3d.models.unet import UNetSpec, build


def activation_bytes(spec: UNetSpec, batch: int, edges: tuple[int, int]) -> int:
    """Upper bound on the memory of one call: the outputs of all layers together, as if none were freed, in float32.

    Parameters
    ----------
    spec : UNetSpec
        The network.
    batch : int
        Windows in a call.
    edges : (y, x)
        Pixels of a window.

    Raises
    ------
    ArgumentError
        If the network cannot be called on such windows: instance normalisation of a single value, for example.

    Examples
    --------
    >>> spec = UNetSpec(classes=("pore", "solid"))
    >>> activation_bytes(spec, 2, (64, 64)) == 2 * activation_bytes(spec, 1, (64, 64))
    True
    """
    total = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, torch.Tensor):
            total += output.numel() * output.element_size()

    net = build(spec).to("meta").eval()
    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    try:
        with torch.inference_mode():
            net(torch.empty((batch, spec.in_channels, *edges), device="meta"))
    except (ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"the network cannot be called on windows of {edges[0]} x {edges[1]} pixels ({error}). "
            "Use larger windows or slices, or train with --norm batch"
        ) from error
    return total
