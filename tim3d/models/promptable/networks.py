"""Promptable networks of the transformers package: built, loaded and called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tim3d.errors import CheckpointError, MissingExtraError
from tim3d.models.common.transfer import upload
from tim3d.models.promptable.key_sets import Network
from tim3d.models.promptable.object_decoder import fitted
from tim3d.models.promptable.preprocessing import Preprocessing
from tim3d.models.promptable.promptable import Answers, Embedding, Image
from tim3d.models.promptable.prompts import Batch
from tim3d.models.segmentation.torchvision_shim import import_torchvision

# Class of a network and of its configuration in transformers.
CLASSES = {
    "sam": ("SamModel", "SamConfig"),
    "sam2": ("Sam2Model", "Sam2Config"),
    "sam_hq": ("SamHQModel", "SamHQConfig"),
    "edgetam": ("EdgeTamModel", "EdgeTamConfig"),
}


def import_transformers() -> Any:
    """Import transformers, after a torchvision that it can import.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import_torchvision()
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"promptable networks need {error.name}, which is not installed: pip install 'tim3d[promptable]'"
        ) from error
    return transformers


def blank(network: Network) -> nn.Module:
    """The network without weights, on the meta device.

    Raises
    ------
    CheckpointError
        If its configuration cannot be built.
    """
    transformers = import_transformers()
    model, config = (getattr(transformers, name) for name in CLASSES[network.family])
    try:
        with torch.device("meta"):
            made = model(config(**network.config))
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the configuration of this {network.family} network cannot be built: {error}"
        ) from error
    return made  # type: ignore[no-any-return]


def loaded(network: Network, tensors: Mapping[str, Tensor], where: str) -> nn.Module:
    """The network with exactly these weights, in evaluation mode.

    Raises
    ------
    CheckpointError
        If one is missing, too many, or of another shape.
    """
    made = blank(network)
    try:
        made.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(f"{where} does not fit its network: {lines[-1][:300]}") from error
    _fill_positions(made)
    return made.eval().requires_grad_(False)


def _fill_positions(network: nn.Module) -> None:
    """Compute what is not stored and was built without values: buffers outside the state."""
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                raise CheckpointError(
                    f"the buffer {name} of {type(module).__name__} has no weights in the file"
                )


@dataclass(frozen=True)
class Loaded:
    """A network on its device, with the preparation of its images (a `Session`)."""

    network: Any
    family: str
    edge: int
    preprocessing: Preprocessing
    device: str
    decoder: nn.Module | None = None

    def embed(self, image: Image) -> Embedding:
        """Embedding of an image (y, x) of grey values from 0 to 255."""
        with torch.inference_mode():
            found = self.embedding(image)
        return tuple(one.float().cpu().numpy() for one in found)

    def embedding(self, image: Image) -> list[Tensor]:
        """The same as tensors on the device, with gradients where they are asked for."""
        return image_embeddings(self.network, self._prepared(image))

    def _prepared(self, image: Image) -> Tensor:
        """The image as the network wants it: (1, 3, edge, edge)."""
        how = self.preprocessing
        grey = image / np.float32(255)
        if how.grey == "image":
            low, high = float(image.min()), float(image.max())
            grey = (image - np.float32(low)) / np.float32(max(high - low, 1e-8))
        y, x = how.shape(grey.shape, self.edge)
        given = self._sent(np.ascontiguousarray(grey))[None, None]
        sized = interpolate(given, (y, x), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (
            self._sent(np.array(v, np.float32)).view(1, 3, 1, 1) for v in (how.mean, how.std)
        )
        filled = torch.zeros((1, 3, self.edge, self.edge), device=self.device)
        filled[..., :y, :x] = (sized - mean) / std
        return filled

    def answer(
        self, embedding: Embedding, shape: tuple[int, int], batch: Batch, several: bool
    ) -> Answers:
        """Masks of prompts on an embedded image of this shape: three for each, or one."""
        with torch.inference_mode():
            logits, quality = self.asked(self.tensors(embedding), shape, batch, several)

        def enlarged(prompt: int, mask: int) -> np.ndarray:
            with torch.inference_mode():
                one = self.enlarged(logits[prompt, mask][None, None], shape)
            return np.asarray(one[0, 0].cpu().numpy())

        return Answers(quality.cpu().numpy(), enlarged)

    def decoded(self, embedding: Embedding, shape: tuple[int, int]) -> np.ndarray:
        """Foreground and both distances (3, y, x) of an embedded image, by the decoder of micro-sam."""
        assert self.decoder is not None, "the file has no decoder"
        filled = self.preprocessing.shape(shape, self.edge)
        with torch.inference_mode():
            maps = self.decoder(self.tensors(embedding)[0])
            found = fitted(maps, self.edge, filled, shape)[0]
        return np.asarray(found.cpu().numpy())

    def tensors(self, embedding: Embedding) -> list[Tensor]:
        """An embedding that was kept, on the device."""
        return [self._sent(np.ascontiguousarray(one)) for one in embedding]

    def _sent(self, array: np.ndarray) -> Tensor:
        return upload(array, torch.device(self.device))

    def asked(
        self, embedding: list[Tensor], shape: tuple[int, int], batch: Batch, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits (prompts, masks, y, x) in the size of the network, and qualities (prompts, masks)."""
        y, x = self.preprocessing.shape(shape, self.edge)
        scale = self._sent(np.array([x / shape[1], y / shape[0]], np.float32))
        found = self.network(
            **_embeddings(embedding, self.family),
            **_prompts(batch, scale),
            multimask_output=several,
        )
        return found.pred_masks[0].float(), found.iou_scores[0].float()

    def enlarged(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Logits (n, masks, y, x) of the network in the size of the image."""
        y, x = self.preprocessing.shape(shape, self.edge)
        if (y, x) != (self.edge, self.edge):
            square = (self.edge, self.edge)
            logits = interpolate(logits, square, mode="bilinear", align_corners=False)[..., :y, :x]
        return interpolate(logits, shape, mode="bilinear", align_corners=False)


def image_embeddings(network: Any, image: Tensor) -> list[Tensor]:
    """Embedding of an image (1, 3, edge, edge), with gradients where they are asked for."""
    # transformers wraps this method of every family into no_grad.
    embeds = type(network).get_image_embeddings.__wrapped__
    return flat(embeds(network, image))


def flat(found: Any) -> list[Tensor]:
    """Arrays of an embedding: a tensor, a list of them, or a tensor and a list of them."""
    if isinstance(found, Tensor):
        return [found]
    return [one for part in found for one in flat(part)]


def _embeddings(tensors: list[Tensor], family: str) -> dict[str, Any]:
    if family == "sam":
        return {"image_embeddings": tensors[0]}
    if family == "sam_hq":
        return {"image_embeddings": tensors[0], "intermediate_embeddings": tensors[1:]}
    return {"image_embeddings": tensors}


def _prompts(batch: Batch, scale: Tensor) -> dict[str, Tensor]:
    """Prompts in pixels of the network; a pixel's centre is half a pixel from its corner."""
    given: dict[str, Tensor] = {}
    if batch.points.shape[1]:
        points = upload(batch.points, scale.device).float()
        given["input_points"] = ((points + 0.5) * scale - 0.5)[None]
        given["input_labels"] = upload(batch.labels, scale.device)[None]
    if batch.boxes is not None:
        boxes = upload(batch.boxes, scale.device).float()
        given["input_boxes"] = ((boxes + 0.5) * scale.repeat(2) - 0.5)[None]
    return given


def weights_bytes(network: Network) -> int:
    """Bytes of the weights of a network in float32."""
    return sum(4 * math.prod(one.shape) for one in blank(network).state_dict().values())
