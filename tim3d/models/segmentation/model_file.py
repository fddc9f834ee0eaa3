"""Model file of a segmenter: its kind, a description for JSON, and weights. Nothing in it can run.

The kind chooses the segmenter that reads the file (`tim3d.stages.segmentation.kinds`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.common.weights import Stored, package_version, read_weights, write_weights

if TYPE_CHECKING:
    from torch import Tensor

# The kind of files that state none: those of earlier versions.
UNET = "unet"
# Keys of the text of the file that are not the segmenter's.
_OWN = ("kind", "model", "tim3d")


@dataclass(frozen=True)
class ModelFile:
    """A verified model file.

    Parameters
    ----------
    path : str
        The file.
    kind : str
        Kind of its segmenter.
    description : mapping
        What was written beside the weights.
    sha256 : str
        Digest of the file, which a segmenter made from it keeps as its `sha256`.
    """

    path: str
    kind: str
    description: Mapping[str, Any]
    sha256: str
    stored: Stored = field(repr=False, compare=False)

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name.

        Raises
        ------
        CheckpointError
            If the bytes do not hold them.
        """
        from safetensors import SafetensorError

        try:
            return self.stored.tensors()
        except SafetensorError as error:
            raise CheckpointError(f"{self.path} has no readable weights: {error}") from error


def read_model(path: str | Path) -> ModelFile:
    """Read and verify a model file.

    Parameters
    ----------
    path : path
        File written by `write_model` or by ``tim3d train``.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or is not a model of a segmenter.
    """
    stored = read_weights(path, "segmentation")
    try:
        text = dict(json.loads(stored.text))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe its segmenter: {error}") from error
    described = {name: value for name, value in text.items() if name not in _OWN}
    return ModelFile(
        path=str(path),
        kind=str(text.get("kind", UNET)),
        description=described,
        sha256=stored.sha256,
        stored=stored,
    )


def write_model(
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> str:
    """Write a model file and return its SHA-256. The file appears whole or not at all.

    Parameters
    ----------
    path : path
        The file; an earlier model is replaced.
    kind : str
        Kind of the segmenter that reads it.
    tensors : mapping of str to torch.Tensor
        Weights by name.
    description : mapping
        All else that the segmenter needs, for JSON.

    Raises
    ------
    ArgumentError
        If the kind is empty, or the description cannot be written in JSON or has a reserved key.
    WriteError
        If the folder cannot be written.
    """
    if not kind or set(_OWN) & set(description):
        raise ArgumentError(
            f"a model file needs a kind, not {kind!r}, and a description without {', '.join(_OWN)}"
        )
    try:
        text = json.dumps(
            {**description, "kind": kind, "tim3d": package_version()},
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the description of {path} does not fit into JSON: {error}") from error
    return write_weights(path, tensors, text)
