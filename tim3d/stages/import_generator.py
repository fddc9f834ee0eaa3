"""A generator that the official SliceGAN code trained, as a file that ``tim3d generate`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tim3d import outputs
from tim3d.errors import ArgumentError
from tim3d.phases import Phases


def import_generator(
    checkpoint: str | Path, weights: str | Path, *, voxel_size: Mapping[str, float], phases: Phases | None = None
) -> Path:
    """Write an official ``NAME_Gen.pt``, with ``NAME_params.data`` beside it, as a generator of this package.

    Parameters
    ----------
    checkpoint : path
        File of the official code.
    weights : path
        File to write, for example gen.safetensors.
    voxel_size : mapping of axis to nm
        Edges of a voxel: the pixels of the image it was trained on.
    phases : Phases, optional
        Names and codes in the order of the channels. Without them one channel is grey and three are colour.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    CheckpointError
        If a file is missing or foreign, or its layout is not known.
    ArgumentError
        If the phases do not fit, or the network cannot be cut into blocks.
    """
    from tim3d.models.official import import_official

    if sorted(voxel_size) != ["x", "y", "z"]:
        raise ArgumentError(f"a voxel has three edges, got {dict(voxel_size)}; write --voxel-size 10,10,10")
    outputs.check_target(weights, outputs.WEIGHTS)
    z, y, x = (float(voxel_size[axis]) for axis in "zyx")
    import_official(checkpoint, weights, (z, y, x), phases)
    return Path(weights)
