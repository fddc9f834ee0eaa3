"""Conversion of a generator of the official SliceGAN code or of MicroLib to a file for ``tim3d generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tim3d.phases import Phases
from tim3d.stages.generation.volume import spacing_nm
from tim3d.stages.shared.importing import Import
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import VoxelSize


@Verb
def import_generator(
    checkpoint: str | Path,
    weights: str | Path,
    *,
    voxel_size: VoxelSize,
    phases: Phases | None = None,
    overwrite: bool = False,
) -> Task[Path]:
    """Write a generator of the official SliceGAN code or of MicroLib as one of this package.

    Parameters
    ----------
    checkpoint : path
        File NAME_Gen.pt, with NAME_params.data beside it; or NAME.Gen with NAME.params.
    weights : path
        File to write, for example gen.safetensors.
    voxel_size : mapping of axis to nm
        Edges of a voxel in nm: the pixels of the image it was trained on.
    phases : Phases, optional
        Names and codes in the order of the channels (default: one channel is grey, three are
        colour).
    overwrite : bool
        Replace a file that holds another generator.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    CheckpointError
        If a file is missing or foreign, or its layout is not known.
    ArgumentError
        If an edge is not positive or less than an atom, the phases do not fit, or the network cannot
        be cut into blocks.
    MixedRunError
        If the file to write exists and holds something else.
    """
    spacing = spacing_nm(voxel_size)
    outputs.check_target(weights, outputs.WEIGHTS)

    def make(target: Path) -> None:
        from tim3d.models.generation.official import import_official

        import_official(Path(checkpoint), target, spacing, phases)

    def describe(made: Path) -> Any:
        from tim3d.models.generation.export import describe_generator

        return describe_generator(made)

    importing = Import(
        "import_generator", "generator", Path(checkpoint), Path(weights), overwrite, make, describe
    )
    return Task(importing.plans, importing.run)
