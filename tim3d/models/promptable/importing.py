"""Import of promptable networks: files of other programs become model files of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import CheckpointError
from tim3d.models.promptable.decoder_layout import PREFIX, Layout, layout_of
from tim3d.models.promptable.foreign_file import ForeignFile, read_foreign, sha256_of
from tim3d.models.promptable.key_sets import (
    COPY,
    POSITIONS,
    Network,
    in_transformers,
    recognised,
    without,
)
from tim3d.models.promptable.preprocessing import Preprocessing, preprocessing_of
from tim3d.models.segmentation.model_file import write_model

if TYPE_CHECKING:
    from torch import Tensor

# Kind that model files of promptable networks state.
KIND = "promptable"
# Families by the type that a folder states; the video networks are used without their memory.
FAMILIES = {
    "sam": "sam",
    "sam2": "sam2",
    "sam2_video": "sam2",
    "sam_hq": "sam_hq",
    "edgetam": "edgetam",
    "edgetam_video": "edgetam",
}
# What a configuration says of the program that wrote it.
VOLATILE = ("architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path")


@dataclass(frozen=True)
class FoundDecoder:
    """A decoder of micro-sam, and the file that it is from."""

    layout: Layout
    tensors: Mapping[str, Tensor]
    source: str
    sha256: str

    def description(self) -> dict[str, Any]:
        """Sizes and source, for JSON."""
        return {**asdict(self.layout), "source": {"file": self.source, "sha256": self.sha256}}


@dataclass(frozen=True)
class Recognised:
    """A foreign network that can be written as a model file."""

    network: Network
    tensors: Mapping[str, Tensor]
    preprocessing: Preprocessing
    source: str
    sha256: str
    decoder: FoundDecoder | None = None

    @property
    def title(self) -> str:
        """Its family and size in words.

        SAM, MedSAM and the SAM networks of micro-sam have equal names and shapes.
        """
        count = sum(one.numel() for one in self.tensors.values())
        more = f", with the decoder {self.decoder.source}" if self.decoder else ""
        said = f"{self.network.family} {self.network.variant}"
        return f"{said}, {count / 1e6:.1f} million weights{more}"

    def description(self) -> dict[str, Any]:
        """Description that is written beside the weights."""
        return {
            "family": self.network.family,
            "variant": self.network.variant,
            "config": self.network.config,
            "preprocessing": self.preprocessing.description(),
            "source": {"file": self.source, "sha256": self.sha256},
            **({"decoder": self.decoder.description()} if self.decoder else {}),
        }


def recognise(
    path: Path, preprocessing: str | None = None, decoder: Path | None = None
) -> Recognised:
    """Read and recognise a promptable network of another program.

    Parameters
    ----------
    path : Path
        A ``.pth``, ``.pt`` or ``.safetensors`` file, or a folder for transformers.
    preprocessing : {"sam", "medsam", "square"}, optional
        How images are prepared (default: as goes with the family). A file of MedSAM
        differs in nothing from one of SAM, and its images are prepared in another way.
    decoder : Path, optional
        File of a decoder of micro-sam (default: that in the file of the network, if there is one).

    Raises
    ------
    CheckpointError
        If the file is unreadable, unsafe, or another network; the message says what to do.
    """
    from tim3d.models.promptable.networks import loaded

    file = read_foreign(path)
    network, tensors = _of_folder(file) if file.config else _of_file(file)
    loaded(network, tensors, str(path))
    how = preprocessing_of(network.family, preprocessing, file.processor, str(path))
    found = Recognised(network, tensors, how, path.name, sha256_of(path))
    return replace(found, decoder=_decoder(found, file, decoder))


def _decoder(found: Recognised, file: ForeignFile, given: Path | None) -> FoundDecoder | None:
    """The decoder of a file of its own, or that in the file of the network."""
    if given is None and not file.decoder:
        return None
    other = file if given is None else read_foreign(given)
    if found.network.family != "sam":
        raise CheckpointError(
            f"{other.path} is for SAM, and {file.path} holds {found.network.family}: leave --decoder out"
        )
    tensors = other.decoder or other.tensors
    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    channels = found.network.config["vision_config"].get("output_channels", 256)
    layout = layout_of(shapes, channels, str(other.path))
    return FoundDecoder(layout, tensors, other.path.name, sha256_of(other.path))


def _of_file(file: ForeignFile) -> tuple[Network, dict[str, Tensor]]:
    network = recognised(file.shapes, str(file.path))
    names = in_transformers(file.tensors)
    tensors = {new: file.tensors[old] for old, new in names.items()}
    _one_position_matrix(tensors, file.path)
    return network, tensors


def _one_position_matrix(tensors: dict[str, Tensor], path: Path) -> None:
    """Store the matrix of positions twice, as the network does; two different ones are refused."""
    if (one := tensors.get(POSITIONS, tensors.get(COPY))) is None:
        raise CheckpointError(f"{path} has no matrix of positions ({POSITIONS})")
    for name in (POSITIONS, COPY):
        tensors.setdefault(name, one.clone())
    if not bool((tensors[COPY] == tensors[POSITIONS]).all()):
        raise CheckpointError(
            f"{path} has two different matrices of positions ({POSITIONS}, {COPY}): it is damaged"
        )


def _of_folder(file: ForeignFile) -> tuple[Network, dict[str, Tensor]]:
    stated = str(file.config.get("model_type"))
    if stated not in FAMILIES:
        raise CheckpointError(
            f"{file.path} is a folder of the kind {stated!r}; known are {', '.join(sorted(FAMILIES))}"
        )
    config = {
        name: value
        for name, value in file.config.items()
        if name not in VOLATILE and (stated == FAMILIES[stated] or name.endswith("_config"))
    }
    config.pop("model_type", None)
    unused = without(list(file.tensors)) if stated.endswith("_video") else ()
    tensors = {name: one for name, one in file.tensors.items() if name not in unused}
    if FAMILIES[stated] in ("sam", "sam_hq"):
        _one_position_matrix(tensors, file.path)
    return Network(FAMILIES[stated], _variant(config), config, unused), tensors


def _variant(config: Mapping[str, Any]) -> str:
    """Size of the encoder of a folder, in words."""
    vision = config.get("vision_config", {})
    inner = vision.get("backbone_config", vision)
    width = inner.get("hidden_size", "")
    return f"encoder of width {width}" if width else "encoder of its folder"


def write_promptable(found: Recognised, out: str | Path) -> str:
    """Write a recognised network as a model file, and return its SHA-256."""
    beside = found.decoder.tensors if found.decoder else {}
    tensors = {**found.tensors, **{PREFIX + name: one for name, one in beside.items()}}
    return write_model(out, KIND, tensors, found.description())
