"""Images made by a conditional generator, window by window, each from noise of its own coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tim3d.grid import Box
from tim3d.kernels.generation.philox import Noise
from tim3d.models.conditional.network_spec import ConditionalSpec
from tim3d.models.conditional.networks import ConditionalGenerator
from tim3d.models.diffusion.encoding import decoded

Bytes = npt.NDArray[np.uint8]


def made(
    net: ConditionalGenerator,
    phases: int,
    shape: tuple[int, int],
    number: int,
    seed: int,
    inputs: Sequence[float],
) -> Bytes:
    """Labels 0, 1, ... of an image (rows, columns).

    A larger image of the same number and seed begins with the smaller one: all is computed in
    windows of one size, at multiples of it.

    Parameters
    ----------
    net : ConditionalGenerator
        The network, in evaluation mode.
    phases : int
        Number of phases.
    shape : (rows, columns)
        Pixels.
    number : int
        Number of the image, from 0.
    seed : int
        Seed of the noise.
    inputs : sequence of float
        Inputs of the conditions, NaN where one is not given.
    """
    device = next(net.parameters()).device
    condition = torch.tensor([list(inputs)], dtype=torch.float32, device=device)
    image = np.empty(shape, np.uint8)
    for start in _starts(net.spec, shape):
        latent = torch.from_numpy(noise_at(net.spec, start, number, seed)).to(device)
        with torch.inference_mode():
            window = windows(net, latent, condition, start[0], net.spec.tile)
        labels = decoded(window, phases)[0].cpu().numpy()
        rows, columns = (min(net.spec.tile, n - at) for n, at in zip(shape, start, strict=True))
        image[start[0] : start[0] + rows, start[1] : start[1] + columns] = labels[:rows, :columns]
    return image


def windows(
    net: ConditionalGenerator, latent: Tensor, condition: Tensor, first: int, edge: int
) -> Tensor:
    """Windows of an edge out of what the nodes of `spec.nodes(first, first + edge)` determine.

    Parameters
    ----------
    net : ConditionalGenerator
        The network.
    latent : (n, latent, nodes, nodes)
        Noise.
    condition : (n, conditions)
        Inputs of the conditions.
    first : int
        First pixel of the window along both axes, up to whole cells.
    edge : int
        Edge of the windows in pixels.
    """
    low = first - net.spec.pixels(*net.spec.nodes(first, first + edge))[0]
    whole: Tensor = net(latent, condition)
    return whole[..., low : low + edge, low : low + edge]


def noise_at(
    spec: ConditionalSpec, start: tuple[int, int], number: int, seed: int
) -> npt.NDArray[np.float32]:
    """Noise (1, latent, rows, columns) at the nodes of a window: image `number` is the plane z of endless noise."""
    (top, bottom), (left, right) = (spec.nodes(at, at + spec.tile) for at in start)
    box = Box((number, top, left), (number + 1, bottom, right))
    return Noise(seed).latent(box, spec.latent).swapaxes(0, 1)


def _starts(spec: ConditionalSpec, shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    rows, columns = (range(0, n, spec.tile) for n in shape)
    yield from product(rows, columns)
