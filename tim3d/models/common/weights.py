"""Files of weights with their description and checksum. They are not pickles: nothing can run.

A safetensors file whose metadata hold a JSON text under `tim3d` and, under `sha256`, the SHA-256 of
the whole file with that field set to 64 zeros. The text names the kind of the network.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tim3d.errors import CheckpointError
from tim3d.storage import outputs

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Kind = Literal[
    "segmentation", "generator", "surrogate", "translator", "diffusion", "cgan", "training"
]
# What torch and pickle raise, besides `UnpicklingError` and `OSError`, on bytes that are not theirs.
UNREADABLE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    struct.error,
)
_BLANK = "0" * 64
_FIELD = b'"sha256":"'
_USE: dict[Kind, str] = {
    "segmentation": "segmentation",
    "generator": "generating volumes",
    "surrogate": "predicting from images",
    "translator": "translating rendered grey values",
    "diffusion": "generating by diffusion",
    "cgan": "generating images under conditions",
    "training": "going on",
}
_MAKERS = {
    "segmentation": "tim3d train",
    "generator": "tim3d train-generator or tim3d import-generator",
    "surrogate": "tim3d train-surrogate",
    "translator": "tim3d train-translator",
    "diffusion": "tim3d train-diffusion",
    "cgan": "tim3d train-cgan",
}
_IMPORTS: dict[Kind, str] = {"segmentation": "import-network", "generator": "import-generator"}
_MADE_BY = {kind: _MAKERS.get(kind, "tim3d train-generator") for kind in _USE}


@dataclass(frozen=True, slots=True)
class Stored:
    """A verified file: its text, its SHA-256 and its bytes."""

    text: str
    sha256: str
    data: bytes

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name; raise SafetensorError if the bytes do not hold them."""
        import safetensors.torch

        return safetensors.torch.load(self.data)


def write_weights(
    path: str | Path, tensors: Mapping[str, Tensor], text: str, over: outputs.Kind = outputs.WEIGHTS
) -> str:
    """Write a file and return its SHA-256.

    The file appears whole or not at all, and the same input gives the same bytes. Only a file of
    the kind `over` is replaced.

    Raises
    ------
    ArgumentError
        If a file of another kind has that name.
    WriteError
        If the folder cannot be written.
    """
    import safetensors.torch

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    blank = _with_metadata(safetensors.torch.save(plain), {"sha256": _BLANK, "tim3d": text})
    sha256 = hashlib.sha256(blank).hexdigest()
    data = blank.replace(_FIELD + _BLANK.encode(), _FIELD + sha256.encode(), 1)
    outputs.write_file(path, data, over)
    return sha256


def read_weights(path: str | Path, *kinds: Kind) -> Stored:
    """Read and verify a file that `write_weights` wrote for one of these kinds of network.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, foreign or of another kind.
    """
    makers = " or ".join(_MADE_BY[kind] for kind in kinds)
    data, metadata = _read(Path(path), kinds, makers)
    sha256 = _verified(Path(path), data, metadata)
    found = kind_of(metadata["tim3d"])
    if found not in kinds:
        uses = " or ".join(_USE[kind] for kind in kinds)
        raise CheckpointError(
            f"{path} holds a network for {_USE[found]}, and one for {uses} is needed: that of {makers}"
        )
    return Stored(metadata["tim3d"], sha256, data)


def parsed(path: str | Path, text: str, parse: Callable[[str], T]) -> T:
    """Parse the description that a file carries, by the rule of its kind.

    Raises
    ------
    CheckpointError
        If it is of another schema, or cannot be parsed; the message names the file.
    """
    try:
        return parse(text)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def check_planned(path: str | Path, found: str, planned: str) -> None:
    """Refuse a file whose SHA-256 is not that of the plan; raise `CheckpointError`."""
    if found != planned:
        raise CheckpointError(
            f"{path} has SHA-256 {found}, and the run was planned with {planned}; put the planned file back or plan "
            "again"
        )


def check_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not finite; raise `CheckpointError`."""
    if broken := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise CheckpointError(
            f"{path}: {broken[0]} holds values that are not finite; the training went astray"
        )


def kind_of(text: str) -> Kind:
    """Kind of network that a description names; segmentation if it names none.

    >>> kind_of('{"model":"generator"}'), kind_of('{"spec":1}')
    ('generator', 'segmentation')
    """
    with suppress(ValueError, AttributeError):
        named = json.loads(text).get("model")
        return next((kind for kind in _USE if kind == named), "segmentation")
    return "segmentation"


def package_version() -> str:
    """Version of tim3d as installed."""
    try:
        return version("tim3d")
    except PackageNotFoundError:
        return "unknown"


def _with_metadata(data: bytes, metadata: dict[str, str]) -> bytes:
    """Rewrite a safetensors file with metadata in a fixed order, which the library may vary."""
    length = int.from_bytes(data[:8], "little")
    header = {"__metadata__": metadata, **json.loads(data[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _read(path: Path, kinds: Sequence[Kind], makers: str) -> tuple[bytes, dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {error.strerror}; check its path"
        ) from error
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        return data, {"sha256": str(metadata["sha256"]), "tim3d": str(metadata["tim3d"])}
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of tim3d, or its header is damaged; expected a file written by "
            f"{makers}{_cure(data, kinds)}"
        ) from error


def _cure(data: bytes, kinds: Sequence[Kind]) -> str:
    """Sentence that names the verb which imports a file of another program; empty for other files."""
    verbs = [_IMPORTS[kind] for kind in kinds if kind in _IMPORTS]
    is_foreign = data[:2] in (b"PK", b"\x80\x02") or data[8:9] == b"{"
    if not (verbs and is_foreign):
        return ""
    return f". Weights of another program are imported first: tim3d {' or '.join(verbs)}"


def _verified(path: Path, data: bytes, metadata: dict[str, str]) -> str:
    claimed = metadata["sha256"]
    blank = data.replace(_FIELD + claimed.encode(), _FIELD + _BLANK.encode(), 1)
    found = hashlib.sha256(blank).hexdigest()
    if found != claimed:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is {found}, and it was written as {claimed}; copy it again"
        )
    return found
