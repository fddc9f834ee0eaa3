"""A promptable network of a model file, as a value. Torch is loaded when it is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tim3d.errors import CheckpointError
from tim3d.models.promptable.decoder_layout import DOUBLINGS, PREFIX, Layout
from tim3d.models.promptable.importing import KIND, Recognised
from tim3d.models.promptable.key_sets import Network
from tim3d.models.promptable.preprocessing import Preprocessing
from tim3d.models.promptable.promptable import Promptable, Session
from tim3d.models.segmentation.model_file import ModelFile, read_model

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FileNetwork(Promptable):
    """A promptable network of a model file.

    Parameters
    ----------
    path : str
        The file, written by ``tim3d import-network``.
    sha256 : str
        Its digest; a file that was replaced since is refused.
    encoder : str
        Digest of the file that its encoder of images is from, if that is another one.
    device : str
        "cpu", "cuda" or "cuda:1".
    threads : int
        CPU threads; they affect the last bits.
    decoder : Layout, optional
        Sizes of the decoder of micro-sam that is in the file too.
    """

    path: str
    family: str
    config: Mapping[str, Any] = field(repr=False, hash=False)
    preprocessing: Preprocessing
    sha256: str = ""
    device: str = "cpu"
    threads: int = 1
    encoder: str = ""
    decoder: Layout | None = None
    kind: ClassVar[str] = KIND

    @property
    def network(self) -> Network:
        """Family and configuration."""
        return Network(self.family, "", self.config)

    def open(self) -> Session:
        """Load the network onto its device."""
        from tim3d.models.common.determinism import set_threads
        from tim3d.models.promptable.networks import Loaded, loaded
        from tim3d.models.promptable.object_decoder import loaded_decoder

        file = read_model(self.path)
        if file.sha256 != self.sha256:
            raise CheckpointError(f"{self.path} was replaced during the run; start it again")
        if self.device == "cpu":
            set_threads(self.threads)
        own, beside = parted(file.tensors())
        network = loaded(self.network, own, self.path).to(self.device)
        decoder = loaded_decoder(self.decoder, beside).to(self.device) if self.decoder else None
        return Loaded(network, self.family, self.edge, self.preprocessing, self.device, decoder)

    def description(self) -> dict[str, Any]:
        """Digest of the file, and the device: all that decides its masks."""
        return {
            "kind": self.kind,
            "family": self.family,
            "sha256": self.sha256,
            "device": self.device.split(":")[0],
            "threads": self.threads,
        }

    def embedding_description(self) -> dict[str, Any]:
        """The same, of its encoder: a tuned decoder leaves embeddings as they are."""
        return {**self.description(), "sha256": self.encoder or self.sha256}

    @property
    def edge(self) -> int:
        """Pixels of the edge of the square that it looks at."""
        vision = self.config.get("vision_config", {})
        size = vision.get("image_size", self.config.get("image_size"))
        size = size or vision.get("backbone_config", {}).get("image_size", 1024)
        return int(size[0] if isinstance(size, list | tuple) else size)

    def bytes_for(self, shape: tuple[int, int], prompts: int) -> int:
        """Memory of the weights, and of the larger of two: attention over an image, or a batch of prompts."""
        attention = 0
        if self.device == "cpu":
            vision = self.config.get("vision_config", {})
            tokens = (self.edge // vision.get("patch_size", 16)) ** 2
            attention = 12 * vision.get("num_attention_heads", 8) * tokens**2
        answers = prompts * PROMPT_BYTES * self.edge**2 // 1024**2
        return self._weights + max(attention, answers) + 16 * math.prod(shape)

    @property
    def decoder_bytes(self) -> int:
        """Memory of the layers of the decoder for an image, besides its weights."""
        if self.decoder is None:
            return 0
        side = self.edge // int(self.config["vision_config"].get("patch_size", 16))
        pixels: int = (side << DOUBLINGS) ** 2
        return LAYERS * self.decoder.widths[-1] * 4 * pixels

    @cached_property
    def _weights(self) -> int:
        path = Path(self.path)
        if path.is_file():
            return 3 * path.stat().st_size
        from tim3d.models.promptable.networks import weights_bytes

        return 3 * weights_bytes(self.network)

    def shapes(self, shape: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shape of each array of an embedding."""
        return _embedding_shapes(self)


# Bytes for each prompt of a batch in the mask decoder, of an image of 1024 pixels.
PROMPT_BYTES = 24 * 2**20
# Memory of the decoder of objects in layers of its finest resolution: 9.4 measured for 1024 pixels.
LAYERS = 12


def _embedding_shapes(network: FileNetwork) -> tuple[tuple[int, ...], ...]:
    """Shapes of the arrays of an embedding: of SAM known, of others from a call without values."""
    if network.family == "sam":
        vision = network.config["vision_config"]
        side = network.edge // vision.get("patch_size", 16)
        return ((1, vision.get("output_channels", 256), side, side),)
    import torch

    from tim3d.models.promptable.networks import blank, flat

    image = torch.empty((1, 3, network.edge, network.edge), device="meta")
    with torch.inference_mode():
        built: Any = blank(network.network).eval()
        found = built.get_image_embeddings(image)
    return tuple(tuple(one.shape) for one in flat(found))


def planned_network(found: Recognised, path: str) -> FileNetwork:
    """The network of a file that is not written yet, for plans."""
    family, config = found.network.family, found.network.config
    decoder = found.decoder.layout if found.decoder else None
    return FileNetwork(
        path, family, config, found.preprocessing, "not imported yet", decoder=decoder
    )


def parted(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the network, and those of the decoder of micro-sam by their own names."""
    own = {name: one for name, one in tensors.items() if not name.startswith(PREFIX)}
    beside = {name.removeprefix(PREFIX): tensors[name] for name in tensors if name not in own}
    return own, beside


def network_of(file: ModelFile, device: str = "cpu") -> FileNetwork:
    """The promptable network of a model file.

    Raises
    ------
    CheckpointError
        If the file holds a segmenter of another kind.
    """
    if file.kind != KIND:
        raise CheckpointError(
            f"{file.path} holds a segmenter of the kind {file.kind!r}, which takes no prompts: tim3d segment "
            f"SAMPLE --model {file.path}, or segment-images without --prompts"
        )
    about = file.description
    return FileNetwork(
        file.path,
        str(about["family"]),
        about["config"],
        Preprocessing.from_dict(about["preprocessing"]),
        file.sha256,
        device,
        encoder=str(about.get("encoder", "")),
        decoder=_layout(about.get("decoder")),
    )


def _layout(about: Mapping[str, Any] | None) -> Layout | None:
    names = (one.name for one in fields(Layout))
    return Layout(**{name: about[name] for name in names}) if about else None
