"""State dicts of other programs: tensors by name from a local file, and nothing that could run.

References
----------
The layouts are those of torchvision, timm, segmentation-models-pytorch, EfficientNet-PyTorch and of
the encoders of MicroNet (Stuckner, Harder, Smith, npj Comput. Mater. 8 (2022) 200,
DOI 10.1038/s41524-022-00878-5).
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import CheckpointError
from tim3d.models.common.weights import UNREADABLE

if TYPE_CHECKING:
    from torch import Tensor

# Names under which trainings keep the state dict beside an optimiser or the number of the epoch.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
# Parts of a name that say only how the network was wrapped, and no layer.
_WRAPPED = ("module", "_orig_mod")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class StateDict:
    """Tensors of a file by the names of its layers, and the SHA-256 of the file.

    Parameters
    ----------
    path : str
        The file.
    sha256 : str
        Of all its bytes.
    tensors : mapping
        By name, without parts that say only how the network was wrapped.
    said : tuple of str
        What was taken off: a wrapper, prefixes.
    """

    path: str
    sha256: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    said: tuple[str, ...] = ()


def read_state_dict(path: str | Path) -> StateDict:
    """Read the tensors of a ``.pth``, ``.pt``, ``.pth.tar``, ``.ckpt`` or ``.safetensors`` file.

    Only tensors, numbers and texts are read: a file that needs code of any kind is refused.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds code, or holds no tensors by name.
    """
    path = Path(path)
    sha256 = _sha256(path)
    values = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    tensors, said = _unwrapped(values, str(path))
    plain = {_without(name): value for name, value in tensors.items()}
    if len(plain) < len(tensors):
        raise CheckpointError(f"{path} holds the same layer twice, with and without 'module.'")
    if plain.keys() != tensors.keys():
        said = (*said, "module.")
    return StateDict(str(path), sha256, plain, said)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; check its path") from error


def _safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, "pt") as file:
            if "tim3d" in (file.metadata() or {}):
                raise CheckpointError(
                    f"{path} is a model of tim3d, and weights of another program are read here. Go on from a model "
                    f"of tim3d with --start-from {path}"
                )
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {_first(error)}") from error


def _pickled(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():  # of protocols of pickle that are read all the same
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_code(path, str(error))) from error
    except UNREADABLE as error:
        if "TorchScript" in str(error):
            raise CheckpointError(_code(path, "TorchScript")) from error
        raise CheckpointError(
            f"{path} holds no weights that torch can read: {_first(error)}"
        ) from error


def _code(path: Path, message: str) -> str:
    """Message about a file that needs code, with what it asks for if that is said.

    That of torch is left out: it advises to let the code run.
    """
    asks = re.search(r"GLOBAL (\S+)|(TorchScript)", message)
    what = (
        "code or damage"
        if not asks
        else "a TorchScript program"
        if asks[2]
        else f"code, a pickled {asks[1]}"
    )
    return (
        f"{path} holds {what}, and only tensors are read. Save the weights alone where it was made: "
        "torch.save(model.state_dict(), 'weights.pth')"
    )


def _unwrapped(values: Any, where: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by name, below one of the names of `WRAPPERS` if need be."""
    for name in ("", *WRAPPERS):
        inner = values if not name else values.get(name) if isinstance(values, Mapping) else None
        if (found := _state_dict(inner)) is not None:
            return found, (f"{name!r}",) if name else ()
    seen = (
        ", ".join(map(str, list(values)[:4]))
        if isinstance(values, Mapping)
        else type(values).__name__
    )
    raise CheckpointError(
        f"{where} holds no tensors by name but {seen or 'nothing'}; expected a state dict, or one below "
        f"{', '.join(WRAPPERS[:3])}"
    )


def _state_dict(values: Any) -> dict[str, Tensor] | None:
    from torch import Tensor

    if not isinstance(values, Mapping):
        return None
    found = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return found if found and len(found) == len(values) and all(map(_is_name, found)) else None


def _is_name(name: object) -> bool:
    return isinstance(name, str)


def _without(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
