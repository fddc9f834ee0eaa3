"""The verb `import_network`: a network of another program becomes a model file of this package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.forecast import expect, will_exist
from tim3d.models.promptable.file_network import planned_network
from tim3d.models.promptable.foreign_file import read_foreign, sha256_of
from tim3d.models.promptable.importing import KIND, Recognised, recognise, write_promptable
from tim3d.models.segmentation.bpartis import Published, is_bpartis
from tim3d.models.segmentation.model_file import read_model
from tim3d.stages.segmentation.import_slices import Words
from tim3d.stages.segmentation.import_slices import importing as of_slices
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.importing import Import
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import Channels, GreyValues, Names, VoxelSize


@Verb
def import_network(
    checkpoint: str | Path,
    weights: str | Path,
    *,
    preprocessing: Literal["sam", "medsam", "square"] | None = None,
    decoder: str | Path | None = None,
    classes: Names | None = None,
    mean: GreyValues | None = None,
    std: GreyValues | None = None,
    voxel_size: VoxelSize | None = None,
    architecture: str = "Unet",
    encoder: str = "resnet34",
    depth: int = 5,
    decoder_channels: Channels | None = None,
    context: int = 0,
    overwrite: bool = False,
) -> Task[Path]:
    """Write a network of another program as a model file, for tim3d segment and segment-images.

    What it is follows from the names and shapes of its weights; a network of
    segmentation-models-pytorch is described by `classes`, `mean`, `std`, `voxel_size` and what
    `train` calls it. It must fit in every layer. Nothing in the file is run.

    Parameters
    ----------
    checkpoint : path
        File of weights (.pth, .pt, .safetensors), or folder with config.json and model.safetensors.
    weights : path
        File to write, for example sam.safetensors.
    preprocessing : {"sam", "medsam", "square"}, optional
        How images are prepared (default: as usual for the network). State medsam for MedSAM, whose
        file differs in nothing from one of SAM.
    decoder : path, optional
        File of the decoder of micro-sam that goes with the network, for segment-prompted --prompts
        decoder (default: the one in the file of the network, if there is one).
    classes : sequence of str, optional
        Names of the classes of a network of segmentation-models-pytorch, in the order of its outputs.
    mean : sequence of float, optional
        Mean that was taken off the grey values, in grey levels; three of a network of colours, as
        123.675,116.28,103.53 of ImageNet. Such a network is fed the grey image three times.
    std : sequence of float, optional
        What they were divided by, in the same way, as 58.395,57.12,57.375 of ImageNet.
    voxel_size : mapping of axis to nm, optional
        Edges of a voxel of the images it was trained on.
    architecture : str
        Architecture of the network, as in `train`.
    encoder : str
        Encoder of the network.
    depth : int
        Number of times that the encoder halves the resolution.
    decoder_channels : sequence of int, optional
        Widths of the decoder (default: 256,128,64,32,16, or as many as the depth).
    context : int
        Slices before and after that the network sees as channels.
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
    ArgumentError
        If words lack, or fit no network.
    MixedRunError
        If the file to write exists and holds something else.
    MissingExtraError
        If the packages of the network are not installed.
    """
    outputs.check_target(weights, outputs.WEIGHTS)
    words = Words(
        classes, mean, std, voxel_size, architecture, encoder, depth, decoder_channels, context
    )
    importing: Importing | Import
    if words == Words():
        beside = None if decoder is None else Path(decoder)
        importing = Importing(Path(checkpoint), Path(weights), preprocessing, beside, overwrite)
    else:
        _refuse_promptable(preprocessing=preprocessing, decoder=decoder)
        importing = of_slices(words, Path(checkpoint), Path(weights), overwrite)
    return Task(importing.plans, importing.run)


def _refuse_promptable(**given: object) -> None:
    if asked := [f"--{name}" for name, value in given.items() if value]:
        raise ArgumentError(
            f"{' and '.join(asked)} {'is' if len(asked) == 1 else 'are'} of promptable networks; one of "
            "segmentation-models-pytorch has --mean and --std"
        )


@dataclass(frozen=True)
class Importing:
    """A file of another program, and the file to write."""

    checkpoint: Path
    weights: Path
    preprocessing: str | None
    decoder: Path | None
    overwrite: bool

    @cached_property
    def found(self) -> Recognised | Published:
        """The network of the file."""
        if particles := _particles_in(self.checkpoint):
            if self.decoder:
                raise ArgumentError(
                    f"{self.checkpoint} holds BPartIS, which has no other decoder: leave --decoder out"
                )
            return particles
        return recognise(self.checkpoint, self.preprocessing, self.decoder)

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file exists."""
        if not self.checkpoint.exists() and will_exist(str(self.checkpoint)):
            return cannot_plan("import_network", str(self.checkpoint))
        if self._is_there():
            return []
        if isinstance(self.found, Recognised):
            place = str(self.weights)
            expect("network", place, planned_network(self.found, place))
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
                file.description.get(name) == value
                for name, value in _as_written(self.found).items()
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
    return {name: about.get(name) for name in ("family", "variant", "source", "decoder")} | {
        "preprocessing": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in about["preprocessing"].items()
        }
    }
