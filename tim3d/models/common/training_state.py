"""State of a training in a file of tensors and JSON: exact, verified, and free of executable code.

Each `state_dict` of torch becomes a tree of numbers, texts and lists that names its tensors; the
tensors lie beside the tree in the same safetensors file (`tim3d.models.common.weights`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.common.weights import read_weights, write_weights
from tim3d.storage import outputs

# 1 was the schema of generators, 2 a pickle of the U-Net, which began with these letters.
SCHEMA = 3
PICKLED = b"tim3d state\n"
Tensors = dict[str, Tensor]


def write_state(path: Path, key: str, values: Mapping[str, Any]) -> None:
    """Write the state of the training with this key; the file appears whole or not at all.

    Raises
    ------
    ArgumentError
        If the values hold something that is neither a tensor nor a number, text, list or mapping.
    WriteError
        If the folder cannot be written.
    """
    tensors: Tensors = {}
    tree = packed(values, "", tensors)
    write_weights(
        path,
        tensors,
        json.dumps({"model": "training", "schema": SCHEMA, "key": key} | tree),
        outputs.STATE,
    )


def read_state(path: Path, key: str) -> dict[str, Any]:
    """Read and verify the state of the training with this key.

    Raises
    ------
    CheckpointError
        If the file is damaged, or not the state of a training.
    MixedRunError
        If the state belongs to another training, or to an earlier version of tim3d.
    """
    _refuse_pickled(path)
    try:
        stored = read_weights(path, "training")
        about, tensors = json.loads(stored.text), stored.tensors()
    except (CheckpointError, SafetensorError, ValueError) as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise damaged(path) from error
    if about.get("schema") != SCHEMA:
        raise _of_another_version(path)
    if about.get("key") != key:
        raise MixedRunError(
            f"{path} belongs to a training with other data, network or options. Start again with --overwrite, or give "
            "the options of that training"
        )
    found: dict[str, Any] = unpacked({"items": about["items"]}, tensors)
    return found


def damaged(path: Path) -> CheckpointError:
    """Error for a file from which a training cannot resume."""
    return CheckpointError(
        f"{path} is damaged, or is not the state of a training, and cannot be resumed. Start again with --overwrite"
    )


def _refuse_pickled(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(PICKLED)) == PICKLED:
            raise _of_another_version(path)


def _of_another_version(path: Path) -> MixedRunError:
    return MixedRunError(
        f"{path} is the state of a training by another version of tim3d and cannot be resumed. Start again with "
        "--overwrite; an existing model is kept until the new one replaces it"
    )


def packed(value: Any, name: str, tensors: Tensors) -> Any:
    """Convert a value to a tree for JSON.

    Its tensors are added to `tensors` under names that begin with `name`.

    >>> tensors = {}
    >>> packed({"lr": (0.1, 1), "w": torch.zeros(2)}, "adam", tensors)
    {'items': [['lr', {'tuple': [0.1, 1]}], ['w', {'tensor': 'adam.w'}]]}
    >>> list(tensors)
    ['adam.w']
    """
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().clone()
        return {"tensor": name} | _layout(value)
    if isinstance(value, Mapping):
        return {
            "items": [
                [key, packed(item, _below(name, key), tensors)] for key, item in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        items = [packed(item, _below(name, number), tensors) for number, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArgumentError(
        f"{name} of a training is of type {type(value).__name__}; its state holds tensors, numbers, texts, lists and "
        "mappings"
    )


def unpacked(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Restore the value of a tree from `packed`, with the memory layout of each tensor."""
    if isinstance(tree, list):
        return [unpacked(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        tensor = tensors[tree["tensor"]]
        return (
            torch.empty_strided(tensor.shape, tree["stride"], dtype=tensor.dtype).copy_(tensor)
            if "stride" in tree
            else tensor
        )
    if "tuple" in tree:
        return tuple(unpacked(item, tensors) for item in tree["tuple"])
    return {key: unpacked(item, tensors) for key, item in tree["items"]}


def _below(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _layout(tensor: Tensor) -> dict[str, list[int]]:
    """Strides unless row-major, as of channels last: the layout changes the last bits of sums."""
    rows = torch.empty(tensor.shape, device="meta").stride()
    return (
        {} if tensor.stride() == rows or 0 in tensor.stride() else {"stride": list(tensor.stride())}
    )


def _laid_out(tensor: Tensor, stride: list[int] | None) -> Tensor:
    if stride is None:
        return tensor
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)
