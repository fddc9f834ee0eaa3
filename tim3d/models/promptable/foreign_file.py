"""Files of weights of other programs, read without running anything in them."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import CheckpointError
from tim3d.models.common.weights import UNREADABLE

if TYPE_CHECKING:
    from torch import Tensor

# Keys under which training programs store the weights, and prefixes that they put before names.
WRAPPERS = ("model", "model_state", "state_dict")
# Where micro-sam exports a decoder, in a file of its own or beside the weights of its network.
DECODER = "decoder_state"
PREFIXES = ("module.", "sam.", "model.")
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class ForeignFile:
    """Weights of another program.

    Parameters
    ----------
    path : Path
        The file or folder.
    tensors : mapping of str to Tensor
        Weights by name, without wrappers and prefixes.
    config : mapping
        Configuration of a folder for transformers, empty for a file.
    processor : mapping
        How a folder prepares images, empty if it does not say.
    decoder : mapping of str to Tensor
        Weights of a decoder of micro-sam that lie beside those of its network; empty if none do.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    decoder: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor."""
        return {name: tuple(one.shape) for name, one in self.tensors.items()}


def read_foreign(path: Path) -> ForeignFile:
    """Read a ``.pth``, ``.pt`` or ``.safetensors`` file, or a folder for transformers.

    Raises
    ------
    CheckpointError
        If it is missing or unreadable, or is a training file that would have to run code.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise CheckpointError(f"cannot read {path}: no such file or folder; check its path")
    content = _content(path)
    beside = _get(content, DECODER) if any(_get(content, one) for one in WRAPPERS) else None
    decoder = _named(beside, path) if isinstance(beside, Mapping) else {}
    return ForeignFile(path, _unwrapped(content, path), {}, {}, decoder)


def _folder(path: Path) -> ForeignFile:
    if not (path / CONFIG).is_file():
        raise CheckpointError(
            f"{path} has no {CONFIG}: a folder for transformers has it, beside {WEIGHTS}"
        )
    config = _json(path / CONFIG)
    processor = next((_json(path / one) for one in PROCESSORS if (path / one).is_file()), {})
    processor = processor.get("image_processor", processor)
    tensors: dict[str, Tensor] = {}
    for part in _parts(path):
        tensors |= _safetensors(part)
    return ForeignFile(path, tensors, config, processor)


def _parts(path: Path) -> list[Path]:
    if (path / INDEX).is_file():
        return [path / one for one in sorted(set(_json(path / INDEX)["weight_map"].values()))]
    if not (path / WEIGHTS).is_file():
        raise CheckpointError(
            f"{path} has no {WEIGHTS}. Weights of other formats may run code: save them again with "
            "save_pretrained(..., safe_serialization=True)"
        )
    return [path / WEIGHTS]


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        return _safetensors(path)
    return _pickled(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error


def _pickled(path: Path) -> Any:
    """Content of a file of torch; only tensors and plain containers are read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write
            return _tensors(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} would have to run code to be read: it is a training file, or no file of weights "
            f"({_first_line(error)}). Export its weights alone: in micro-sam with "
            "micro_sam.util.export_custom_sam_model, else with torch.save(model.state_dict(), ...)"
        ) from error
    except (OSError, *UNREADABLE) as error:
        raise CheckpointError(f"{path} is not a file of weights: {_first_line(error)}") from error


def _tensors(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # files of before 2020 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """Tensors by name, from below one known wrapper, without known prefixes."""
    inner = next(
        (content[key] for key in (*WRAPPERS, DECODER) if isinstance(_get(content, key), Mapping)),
        content,
    )
    return _named(inner, path)


def _named(inner: Any, path: Path) -> dict[str, Tensor]:
    """Tensors by name, without known prefixes."""
    import torch

    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(f"{path} holds no weights by name: {type(inner).__name__}")
    named = {str(name): one for name, one in inner.items()}
    if odd := [name for name, one in named.items() if not isinstance(one, torch.Tensor)]:
        raise CheckpointError(
            f"{path} holds {odd[0]!r} beside weights; save the weights alone: torch.save(model.state_dict(), ...)"
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): one for name, one in named.items()}
    return named


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of the weights of a folder."""
    digest = hashlib.sha256()
    for part in _parts(path) if path.is_dir() else [path]:
        for piece in _pieces(part):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(2**24):
            yield piece
