"""Conversion of a generator of the official SliceGAN code to a file for ``tim3d generate``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tim3d.engine import Outline
from tim3d.errors import MixedRunError
from tim3d.forecast import expect, will_exist
from tim3d.phases import Phases
from tim3d.stages.generation.volume import spacing_nm
from tim3d.stages.shared.awaited import cannot_plan
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
    """Write an official ``NAME_Gen.pt``, with ``NAME_params.data`` beside it, as a generator of this package.

    Parameters
    ----------
    checkpoint : path
        File NAME_Gen.pt of the official code, with NAME_params.data beside it.
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
    importing = Importing(Path(checkpoint), Path(weights), spacing, phases, overwrite)
    return Task(importing.plans, importing.run)


@dataclass(frozen=True)
class Importing:
    """A file of the official code, and the file to write."""

    checkpoint: Path
    weights: Path
    spacing_nm: tuple[float, float, float]
    phases: Phases | None
    overwrite: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file exists; later steps may rely on the generator."""
        from tim3d.models.generation.export import describe_generator

        if not self.checkpoint.is_file() and will_exist(str(self.checkpoint)):
            return cannot_plan("import_generator", str(self.checkpoint))
        with tempfile.TemporaryDirectory() as folder:
            made = self._made(Path(folder) / "made.safetensors")
            if self._is_there(made):
                return []
            expect("generator", str(self.weights), describe_generator(made))
        return [Outline("import_generator", f"writes {self.weights} from {self.checkpoint}")]

    def run(self) -> Path:
        """Write the file unless it exists; the same input gives the same bytes."""
        with tempfile.TemporaryDirectory() as folder:
            made = self._made(Path(folder) / "made.safetensors")
            if self.overwrite or not self._is_there(made):
                self._made(self.weights)
        return self.weights

    def _made(self, target: Path) -> Path:
        from tim3d.models.generation.official import import_official

        import_official(self.checkpoint, target, self.spacing_nm, self.phases)
        return target

    def _is_there(self, made: Path) -> bool:
        if self.overwrite or not self.weights.exists():
            return False
        if not self.weights.is_file() or self.weights.read_bytes() != made.read_bytes():
            raise MixedRunError(
                f"{self.weights} holds something else. Replace it with --overwrite, or write to another file"
            )
        return True
