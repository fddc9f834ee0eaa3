"""Tiny networks of diffusion with fixed random weights as files, and the plain evaluation that volumes must equal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tim3d.grid import Box
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.kernels.generation.iterated import gathered
from tim3d.models.common.conditioned_network import Condition
from tim3d.models.diffusion.joint_planes import means_of_shares, weight
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import (
    LocalNetworkDescription,
    load_network,
    save_network,
)
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.reverse_field import DiffusionField, home
from tim3d.phases import Phases

SPACING = (12.0, 10.0, 8.0)
TWO, THREE = Phases(pore=2, solid=5), Phases(pore=0, nickel=1, oxide=2)
AXIS = Condition("axis", ("z", "y", "x"))
HEAT = Condition("temperature", lowest=200.0, highest=300.0)
SPECS = {
    "volumes": LocalNetworkSpec(3, 1, (3,), unshuffle=2),
    "sections": LocalNetworkSpec(2, 1, (4,), unshuffle=2, conditions=4),
    "three phases": LocalNetworkSpec(3, 3, (4,), unshuffle=1),
    "coarse volumes": LocalNetworkSpec(3, 1, (3,), unshuffle=2, coarse=1),
    "coarse sections": LocalNetworkSpec(2, 1, (4,), unshuffle=2, coarse=1),
}
LAW = CoarseLaw(60.0, 0.4, 0.004, 0.01, 150.0, 40.0)
CONDITIONS: Mapping[str, tuple[Condition, ...]] = {"sections": (AXIS, HEAT)}


def saved(folder: Path, name: str = "volumes", seed: int = 0) -> Path:
    """File of a network whose velocities are as large as the noise."""
    torch.manual_seed(seed)
    spec, path = SPECS[name], folder / f"{name} {seed}.safetensors".replace(" ", "-")
    net = LocalNetwork(spec)
    with torch.no_grad():
        for value in net.head.parameters():
            value.mul_(6)
    phases = THREE if spec.channels == 3 else TWO
    law = LAW if spec.coarse else None
    about = LocalNetworkDescription(spec, SPACING, phases, CONDITIONS.get(name, ()), coarse=law)
    save_network(path, net, about)
    return path


def giant(field: DiffusionField, more: nn.Module | None = None) -> np.ndarray:
    """Last state of a domain, each step of Euler evaluated at once for all voxels, in float64.

    `more` is applied to every estimate of the network, as a layer of it.
    """
    rows = [[np.nan if v is None else v for v in one.inputs] for one in field.sections]
    nets = [load_network(one.weights)[0].double() for one in field.sections]
    halo, state = field.halo_edge, field.begin(field.domain).astype(np.float64)
    given = np.empty((0, *(n + 2 * halo for n in field.domain.shape)))
    if field.coarse:
        given = field.coarse.standardised(field.domain.grow((halo,) * 3))[None].astype(np.float64)

    def velocity(number: int, planes: np.ndarray, time: float, beside: np.ndarray) -> np.ndarray:
        known = torch.tensor([rows[number]] * len(planes), dtype=torch.float64)
        times = torch.full((len(planes),), time, dtype=torch.float64)
        around = torch.from_numpy(np.ascontiguousarray(beside)) if beside.shape[1] else None
        with torch.inference_mode():
            made = nets[number](torch.from_numpy(planes), times, known, around)
            return np.asarray(made if more is None else more(made))

    def wrapped(values: np.ndarray, axes: Any) -> np.ndarray:
        pads = [(halo, halo) if a in axes else (0, 0) for a in range(values.ndim)]
        return np.pad(values, pads, mode="wrap")

    def by_planes(axis: int, time: float) -> np.ndarray:
        planes = wrapped(np.moveaxis(state, axis + 1, 0), (2, 3))
        beside = np.moveaxis(given, axis + 1, 0)[halo:-halo]
        made = velocity(axis, planes, time, beside)[:, :, halo:-halo, halo:-halo]
        return np.moveaxis(made, 0, axis + 1)

    steps = field.process.steps
    for step in range(steps):
        time = step / steps
        if field.is_joint and step:
            wanted = means_of_shares(home(field).shares)
            for one, mean in zip(state, wanted, strict=True):
                one += time * mean - one.mean()
        if len(field.sections) == 1:
            cut = (0, slice(None), *(slice(halo, -halo),) * 3)
            made = velocity(0, wrapped(state, (1, 2, 3))[None], time, given[None])[cut]
        elif field.planes == "alternating":
            made = by_planes(step % 3, time)
        else:
            made = np.mean([by_planes(axis, time) for axis in range(3)], axis=0)
        if field.is_joint:
            made = summed(made, state, time, home(field).shares)
        state = state + made / steps
    return state


def summed(
    mean: np.ndarray, state: np.ndarray, time: float, shares: tuple[float, ...]
) -> np.ndarray:
    """Velocity to the estimate of the voxel alone and, times the weight, what planes know beyond it."""
    signs = [(-1.0,), (1.0,)] if len(state) == 1 else list(2 * np.eye(len(state)) - 1)
    likely = [
        share * np.exp(-sum((x - time * s) ** 2 for x, s in zip(state, sign, strict=True)) / (2 * (1 - time) ** 2))
        for share, sign in zip(shares, signs, strict=True)
    ]  # fmt: skip
    own = np.array(
        [sum(p * sign[c] for p, sign in zip(likely, signs, strict=True)) for c in range(len(state))]
    )
    own = own / sum(likely)
    data = own + weight(time) * (state + (1 - time) * mean - own)
    return np.asarray((np.clip(data, -1, 1) - state) / (1 - time))


def volume(field: DiffusionField, state: np.ndarray) -> np.ndarray:
    """Part of a state of the domain that is the volume, (channels, z, y, x)."""
    box, start = Box.whole(field.shape), field.domain.start
    shift = tuple(-a for a in start)
    return gathered(field, box, lambda part: state[(slice(None), *part.shift(shift).slices)])  # type: ignore[arg-type]
