"""Volumes from a trained network: the file, its tiles, and a summary for the user."""

from __future__ import annotations

import logging
from pathlib import Path

from tim3d.errors import ArgumentError
from tim3d.forecast import NOT_TRAINED, expected
from tim3d.grid import Triple, triple
from tim3d.kernels.generation.architecture import Architecture, tile_nodes, whole_nodes
from tim3d.models.common.device import choose_device
from tim3d.models.generation.export import describe_generator
from tim3d.models.generation.synthesis import NetworkField, Precision

log = logging.getLogger(__name__)

TILE, TILE_ON_CUDA = 128, 256


def network_field(
    weights: str | Path,
    shape: Triple,
    *,
    seed: int,
    tile: int | None,
    precision: Precision,
    device: str,
    periodic: bool,
) -> NetworkField:
    """Return the network of a file for a volume of a given shape.

    Raises
    ------
    CheckpointError
        If the file is not a generator.
    ArgumentError
        If an argument does not fit the network.
    DeviceError
        If the device is not available.
    """
    path = Path(weights)
    planned = expected("generator", str(path))
    about, sha256 = (planned, NOT_TRAINED) if planned else describe_generator(path)
    architecture, device = about.architecture, choose_device(device)
    field = NetworkField(
        weights=str(path.absolute()),
        sha256=sha256,
        architecture=architecture,
        seed=seed,
        nodes=_nodes(architecture, tile, device),
        period=_period(architecture, shape) if periodic else (0, 0, 0),
        whole=whole_nodes(architecture, shape),
        precision=precision,
        device=device,
        phases=about.phases,
        spacing_nm=about.spacing_nm,
    )
    log.info("%s", summary(field))
    return field


def _nodes(architecture: Architecture, edge: int | None, device: str) -> int:
    wanted = edge or (TILE if device == "cpu" else TILE_ON_CUDA)
    nodes = tile_nodes(architecture, wanted)
    if edge is not None and architecture.tile(nodes) != edge:
        raise ArgumentError(
            f"--tile {edge}: tiles of {architecture.name!r} are multiples of {architecture.step} voxels; "
            f"give for example --tile {architecture.tile(nodes)}"
        )
    return nodes


def _period(architecture: Architecture, shape: Triple) -> Triple:
    step = architecture.step
    if architecture.early:
        raise ArgumentError(
            f"{architecture.name!r} resizes by a factor that depends on the volume: its noise repeats after a length "
            "that is not a whole number of voxels. Leave out --periodic, or train with tim3d train-generator"
        )
    if any(n % step for n in shape):
        near = ",".join(str(max(1, round(n / step)) * step) for n in shape)
        raise ArgumentError(
            f"a periodic volume of {architecture.name!r} has edges that are multiples of {step} voxels, "
            f"not {shape}; give --shape {near}"
        )
    return triple(n // step for n in shape)


def summary(field: NetworkField) -> str:
    """Summary for the user before a run: the network, its reach, latent nodes, tiles and work."""
    architecture, nodes = field.architecture, "x".join(map(str, field.whole))
    reach = ", ".join(
        f"{architecture.correlation * d:g} nm along {a}"
        for a, d in zip("zyx", field.spacing_nm, strict=True)
    )
    return (
        f"{architecture.described()}\n"
        f"nothing is correlated beyond {reach}\n"
        f"{nodes} nodes of {architecture.latent} channels; tiles of {field.edge} voxels from {field.nodes} nodes an "
        f"edge, {architecture.overlap(field.nodes):.2f} times the work of endless ones; "
        f"{field.precision} on {field.device}"
    )
