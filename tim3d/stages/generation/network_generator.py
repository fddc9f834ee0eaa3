"""Volumes from a trained network: which file, which tiles, and what is to be known of them before anything is made."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.forecast import expected
from tim3d.grid import Triple, triple
from tim3d.kernels.generation.architecture import Architecture, tile_nodes, whole_nodes
from tim3d.models.common.device import choose_device, torch_version
from tim3d.models.generation.export import GeneratorDescription, describe_generator
from tim3d.models.generation.synthesis import NetworkField
from tim3d.stages.shared.field import many_shards
from tim3d.storage.schema import Field, Spacing

log = logging.getLogger(__name__)

# Voxels that differ by more than this from those of the training make another material of the same picture.
SPACING_TOLERANCE = 1e-3
TILE, TILE_ON_CUDA = 128, 256
# In the place of the hash of a network that an earlier step has yet to train.
NOT_TRAINED = "not trained yet"


def network_field(
    given: Mapping[str, Any], shape: Triple, seed: int, periodic: bool
) -> tuple[NetworkField, GeneratorDescription]:
    """The network that the arguments of ``generate`` name, and what its file says.

    Raises
    ------
    CheckpointError
        If the file is no generator.
    ArgumentError
        If an argument does not fit the network.
    DeviceError
        If the device is not there.
    """
    path = Path(given["weights"])
    planned = expected("generator", str(path))
    about, sha256 = (planned, NOT_TRAINED) if planned else describe_generator(path)
    architecture, device = about.architecture, choose_device(given.get("device", "auto"))
    field = NetworkField(
        str(path.absolute()),
        sha256,
        architecture,
        seed,
        _nodes(architecture, given.get("tile"), device),
        _period(architecture, shape) if periodic else (0, 0, 0),
        whole_nodes(architecture, shape),
        given.get("precision", "float32"),
        device,
    )
    log.info("%s", summary(field, about))
    return field, about


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
            "that is no whole number of voxels. Leave out --periodic, or train with tim3d train-generator"
        )
    if any(n % step for n in shape):
        near = ",".join(str(max(1, round(n / step)) * step) for n in shape)
        raise ArgumentError(
            f"a periodic volume of {architecture.name!r} has edges that are multiples of {step} voxels, "
            f"not {shape}; give --shape {near}"
        )
    return triple(n // step for n in shape)


def summary(field: NetworkField, about: GeneratorDescription) -> str:
    """What a user should know before a run: the network, how far it reaches, nodes, tiles and work."""
    architecture, nodes = field.architecture, "x".join(map(str, field.whole))
    reach = ", ".join(
        f"{architecture.correlation * d:g} nm along {a}" for a, d in zip("zyx", about.spacing_nm, strict=True)
    )
    return (
        f"{architecture.described()}\n"
        f"nothing is correlated beyond {reach}\n"
        f"{nodes} nodes of {architecture.latent} channels; tiles of {field.edge} voxels from {field.nodes} nodes an "
        f"edge, {architecture.overlap(field.nodes):.2f} times the work of endless ones; "
        f"{field.precision} on {field.device}"
    )


def spacing_of(about: GeneratorDescription, wanted: Spacing | None) -> Spacing:
    """Edges of a voxel: those of the training, unless others are asked for, which is said."""
    if wanted is None:
        return about.spacing_nm
    if any(abs(math.log(a / b)) > SPACING_TOLERANCE for a, b in zip(about.spacing_nm, wanted, strict=True)):
        log.warning(
            "the network was trained on voxels of %s nm, and %s nm are asked for (z, y, x): the structure is scaled",
            about.spacing_nm, wanted,
        )  # fmt: skip
    return wanted


def names_of(architecture: Architecture, out: str | None) -> tuple[str, ...]:
    """Fields that a network writes: ``phase``, or ``raw`` of grey values, or one for each colour."""
    if architecture.output == "colour":
        return tuple(f"{out or 'raw'}_{colour}" for colour in ("red", "green", "blue"))
    return (out or ("phase" if architecture.output == "phases" else "raw"),)


def tiled_block(out: Field, edge: int) -> Triple:
    """Blocks of whole shards and whole tiles, so that no tile is computed twice.

    >>> tiled_block(Field("phase", (300, 700, 700), "uint8", (1.0,) * 3, (64, 64, 64), (64, 512, 512)), 128)
    (128, 512, 512)
    """
    axes = zip(many_shards(out, 2**25), out.shape, out.shard, strict=True)
    return triple(_whole(b, n, math.lcm(s, edge)) for b, n, s in axes)


def _whole(block: int, length: int, unit: int) -> int:
    return block if block >= length else -(-block // unit) * unit


def warn_of_cut_tiles(block: Triple | None, out: Field, edge: int) -> None:
    """Say so if blocks that a user asked for have tiles computed more than once."""
    if block is not None and any(b < n and b % edge for b, n in zip(block, out.shape, strict=True)):
        log.warning(
            "blocks of %s cut tiles of %d voxels, which are then computed several times; use --block %s",
            block, edge, ",".join(map(str, tiled_block(out, edge))),
        )  # fmt: skip


def parameters(field: NetworkField) -> dict[str, Any]:
    """All that decides the bits beside the weights and the seed."""
    return {
        "architecture": asdict(field.architecture),
        "precision": field.precision,
        "tile": field.edge,
        "whole": field.whole if field.architecture.kind == "official-resize" else None,
        "device": field.device.split(":")[0],
        "threads": 1,
        "torch": torch_version(),
    }
