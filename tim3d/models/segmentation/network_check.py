"""Whether a network segments slices: found by calling its layers without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.unet import UNetSpec, build

if TYPE_CHECKING:
    from torch import nn


def on_meta(spec: UNetSpec) -> nn.Module:
    """Network without data: as quick as its shapes; with weights where it cannot be built without."""
    import torch

    try:
        with torch.device("meta"):
            return build(spec).eval()
    except (
        RuntimeError,
        NotImplementedError,
        ArgumentError,
    ):  # some encoders compute with their weights
        with torch.random.fork_rng(devices=[]):
            return build(spec).to("meta").eval()


def check_network(spec: UNetSpec, edges: tuple[int, int]) -> None:
    """Refuse a network that does not give a class to every pixel of windows of this and a larger size.

    Its layers are called without data. What is looked at: that it can be built and called, that
    what it returns has the size of the window, and that the stride of its encoder divides the total
    stride, so that windows at multiples of it are the same network, shifted. A network of one fixed
    size is refused: whole slices are segmented at once.

    Raises
    ------
    ArgumentError
        With what was seen.
    """
    import torch

    net = on_meta(spec)
    stride = int(getattr(net.encoder, "output_stride", 1))
    name = f"{spec.architecture} on {spec.encoder} of depth {spec.depth}"
    if spec.total_stride % stride:
        raise ArgumentError(
            f"{name} cannot segment slices: its encoder has stride {stride}, and windows lie at multiples of "
            f"{spec.total_stride}"
        )
    for more in (0, spec.total_stride):
        y, x = (edge + more for edge in edges)
        try:
            with torch.inference_mode():
                found = net(torch.empty((2, spec.in_channels, y, x), device="meta"))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            first = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            advice = "another encoder or architecture" if more else "a larger --crop"
            raise ArgumentError(
                f"{name} cannot segment windows of {y} x {x} pixels: {first}. Use {advice}"
            ) from error
        if tuple(found.shape[2:]) != (y, x):
            raise ArgumentError(
                f"{name} cannot segment slices: of {y} x {x} pixels it gives "
                f"{' x '.join(map(str, found.shape[2:]))}. Use another depth or encoder"
            )
