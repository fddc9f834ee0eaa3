"""Images and small volumes drawn from a local network, each from noise of its own coordinates.

Noise is a function of the seed, the number of the image and the pixel. All steps are done in a
periodic domain, which is larger than the image by the reach of the network: no border is seen, and
opposite sides of the image are not neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from tim3d.grid import Box, triple
from tim3d.kernels.generation.philox import Noise
from tim3d.models.diffusion.drawing import Drawing, coarse_field, domain_edge
from tim3d.models.diffusion.encoding import decoded
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import AXIS, LocalNetworkDescription
from tim3d.models.diffusion.objectives import PATHS, velocity

Bytes = npt.NDArray[np.uint8]


def drawn(
    net: LocalNetwork,
    about: LocalNetworkDescription,
    shape: tuple[int, ...],
    numbers: range,
    drawing: Drawing,
    conditions: Mapping[str, float | str] | None = None,
) -> Iterator[Bytes]:
    """Labels 0, 1, ... or grey values of images (rows, columns) or volumes (z, y, x), one after the other.

    Parameters
    ----------
    net, about : LocalNetwork, LocalNetworkDescription
        The network, in evaluation mode, and its description.
    shape : tuple of int
        Edges in voxels.
    numbers : range
        Numbers of the images, from 0. An image depends on its number, not on those that are drawn
        with it; a volume has the number 0 only.
    drawing : Drawing
        Steps, guidance and seed.
    conditions : mapping, optional
        Values of conditions by name (default: none is given).
    """
    device = next(net.parameters()).device
    edges = tuple(domain_edge(about.spec, n) for n in shape)
    given = dict(conditions or {})
    kept = {name: value for name, value in given.items() if name == AXIS}
    condition, without = (
        torch.tensor([about.inputs(one)], device=device) if about.conditions else None
        for one in (given, kept)
    )
    for number in numbers:
        state = torch.from_numpy(first_state(drawing.seed, number, about.spec.channels, edges))
        with torch.inference_mode():
            around = coarse_around(about, drawing, number, edges)
            beside = None if around is None else torch.from_numpy(around).to(device)
            last = followed(net, state.to(device), drawing, condition, without, beside)
        window = last[(slice(None), slice(None), *(slice(n) for n in shape))]
        yield decoded(window, len(about.phases or ()))[0].cpu().numpy()


def first_state(
    seed: int, number: int, channels: int, edges: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Normal noise (1, channels, *edges): an image is the plane z = `number` of endless noise."""
    start = (number,) if len(edges) == 2 else ()
    shape = (1,) * len(start) + edges
    low = triple((*start, *(0 for _ in edges)))
    box = Box(low, triple(a + n for a, n in zip(low, shape, strict=True)))
    planes = [Noise(seed, stream).normals(box) for stream in range(channels)]
    return np.stack(planes).reshape(1, channels, *edges)


def coarse_around(
    about: LocalNetworkDescription, drawing: Drawing, number: int, edges: tuple[int, ...]
) -> npt.NDArray[np.float32] | None:
    """Local fraction that a network is given, (1, 1, *edges) of a domain with the reach around it; None of others."""
    field = coarse_field(about, drawing)
    if field is None:
        return None
    halo = about.spec.halo
    low = (-halo,) * len(edges)
    high = tuple(n + halo for n in edges)
    if len(edges) == 3:
        made = field.standardised(Box(triple(low), triple(high)))
        return made[None, None]
    made = field.image(number, Box(triple((0, *low)), triple((1, *high))))
    return field.law.standardised(made.astype(np.float64))[None]


def followed(
    net: LocalNetwork,
    state: Tensor,
    drawing: Drawing,
    condition: Tensor | None = None,
    without: Tensor | None = None,
    coarse: Tensor | None = None,
) -> Tensor:
    """State at time 1 from the state at time 0, (n, channels, *spatial), in a periodic domain."""
    halo = net.spec.halo
    inner = (slice(None), slice(None), *(slice(halo, -halo) for _ in state.shape[2:]))

    def speed(x: Tensor, time: float) -> Tensor:
        wrapped = pad(x, (halo,) * 2 * (x.ndim - 2), mode="circular")
        return velocity(
            net, wrapped, time, condition, without=without, guidance=drawing.guidance, coarse=coarse
        )[inner]  # fmt: skip

    for since, to in pairwise(PATHS[net.spec.objective].schedule(drawing.steps)):
        moved = speed(state, since)
        if drawing.heun and to < 1:
            moved = 0.5 * (moved + speed(state + (to - since) * moved, to))
        state = state + (to - since) * moved
    return state
