"""The verb `import_network`: a network of another program becomes a model file of this package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from tim3d.engine import Outline
from tim3d.errors import CheckpointError, MixedRunError
from tim3d.forecast import will_exist
from tim3d.models.promptable.foreign_file import read_foreign, sha256_of
from tim3d.models.promptable.importing import KIND, Recognised, recognise, write_promptable
from tim3d.models.segmentation.bpartis import Published, is_bpartis
from tim3d.models.segmentation.model_file import read_model
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs


@Verb
def import_network(
    checkpoint: str | Path,
    weights: str | Path,
    *,
    preprocessing: Literal["sam", "medsam", "square"] | None = None,
    overwrite: bool = False,
) -> Task[Path]:
    """Write a network of another program as a model file, for tim3d segment and segment-images.

    What it is follows from the names and shapes of its weights. Nothing in the file is run.

    Parameters
    ----------
    checkpoint : path
        File of weights (.pth, .pt, .safetensors), or folder with config.json and model.safetensors.
    weights : path
        File to write, for example sam.safetensors.
    preprocessing : {"sam", "medsam", "square"}, optional
        How images are prepared (default: as usual for the network). State medsam for MedSAM, whose
        file differs in nothing from one of SAM.
    overwrite : bool
        Replace a file that holds another network.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    CheckpointError
        If the file is unreadable or unsafe, or its network is not known or does not fit.
    MixedRunError
        If the file to write exists and holds something else.
    MissingExtraError
        If the packages of the network are not installed.
    """
    outputs.check_target(weights, outputs.WEIGHTS)
    importing = Importing(Path(checkpoint), Path(weights), preprocessing, overwrite)
    return Task(importing.plans, importing.run)


@dataclass(frozen=True)
class Importing:
    """A file of another program, and the file to write."""

    checkpoint: Path
    weights: Path
    preprocessing: str | None
    overwrite: bool

    @cached_property
    def found(self) -> Recognised | Published:
        """The network of the file."""
        return _particles_in(self.checkpoint) or recognise(self.checkpoint, self.preprocessing)

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file exists."""
        if not self.checkpoint.exists() and will_exist(str(self.checkpoint)):
            return cannot_plan("import_network", str(self.checkpoint))
        if self._is_there():
            return []
        return [
            Outline(
                "import_network",
                f"writes {self.weights} from {self.checkpoint}: {self.found.title}",
            )
        ]

    def run(self) -> Path:
        """Write the file unless it exists; the same input gives the same bytes."""
        if not self._is_there():
            self._write()
        return self.weights

    def _write(self) -> None:
        if isinstance(self.found, Published):
            self.found.write(self.weights)
        else:
            write_promptable(self.found, self.weights)

    def _is_there(self) -> bool:
        if self.overwrite or not self.weights.exists():
            return False
        try:
            file = read_model(self.weights)
            kind = self.found.kind if isinstance(self.found, Published) else KIND
            same = file.kind == kind and all(
                file.description[name] == value for name, value in _as_written(self.found).items()
            )
        except CheckpointError:
            same = False
        if not same:
            raise MixedRunError(
                f"{self.weights} holds something else. Replace it with --overwrite, or write to another file"
            )
        return True


def _particles_in(path: Path) -> Published | None:
    """Weights of BPartIS, if those of a file are."""
    if not path.is_file():
        return None
    file = read_foreign(path)
    if not is_bpartis(file.tensors, str(path)):
        return None
    return Published(file.tensors, path.name, sha256_of(path))


def _as_written(found: Recognised | Published) -> dict[str, object]:
    """Parts of a description that a file gives back unchanged."""
    if isinstance(found, Published):
        return found.description()
    about = found.description()
    return {name: about[name] for name in ("family", "variant", "source")} | {
        "preprocessing": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in about["preprocessing"].items()
        }
    }
