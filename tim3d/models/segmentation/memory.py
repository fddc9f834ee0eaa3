"""Memory of a network between its layers, computed without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.network_check import on_meta
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec

if TYPE_CHECKING:
    from torch import nn

# Bytes for each pixel of a window: of all layers, and for each class. Networks that are not listed
# are built and counted.
KNOWN: dict[tuple[str, str, int, tuple[int, ...]], tuple[int, int]] = {
    ("Unet", "resnet18", 3, (32, 16, 8)): (1056, 12)
}


def is_known(spec: UNetSpec) -> bool:
    """Whether the network is listed: it need not be built to know that it segments slices."""
    return (spec.architecture, spec.encoder, spec.depth, spec.decoder_channels) in KNOWN


def activation_bytes(spec: UNetSpec, batch: int, edges: tuple[int, int]) -> int:
    """Upper bound on the memory of one call, in bytes.

    It is the sum of the outputs of all layers in float32, as if none were freed.

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
        If the network cannot be called on such windows: instance normalisation of a single value,
        for example.

    Examples
    --------
    >>> spec = UNetSpec(classes=("pore", "solid"))
    >>> activation_bytes(spec, 2, (64, 64)) == 2 * activation_bytes(spec, 1, (64, 64))
    True
    """
    known = KNOWN.get((spec.architecture, spec.encoder, spec.depth, spec.decoder_channels))
    if known and all(edge % spec.total_stride == 0 and edge > spec.total_stride for edge in edges):
        return batch * edges[0] * edges[1] * (known[0] + known[1] * len(spec.classes))
    return counted_bytes(spec, batch, edges)


def call_bytes(spec: NetworkSpec, batch: int, window: Triple) -> int:
    """Upper bound on the memory of one call of a network on windows of this shape, in bytes."""
    if isinstance(spec, UNet3DSpec):
        return spec.call_bytes(batch, window)
    return activation_bytes(spec, batch, window[1:])


def counted_bytes(spec: UNetSpec, batch: int, edges: tuple[int, int]) -> int:
    """Count the bytes of `activation_bytes` with a network of tensors without data."""
    import torch

    total = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, torch.Tensor):
            total += output.numel() * output.element_size()

    net = on_meta(spec)
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
