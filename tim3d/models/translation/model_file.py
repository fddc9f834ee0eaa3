"""File of a trained translator, and translation of slices tile by tile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tim3d.errors import CheckpointError
from tim3d.models.common.weights import package_version, read_weights, write_weights

if TYPE_CHECKING:
    from tim3d.models.translation.network import Translator

SCHEMA = 1
# Edge of a tile, which lies on one lattice of the slice: convolutions of one size have one order of sums.
TILE = 64


def write_translator(path: str | Path, net: Translator, text: Mapping[str, Any]) -> str:
    """Write a translator and return the SHA-256 of the file."""
    about = {"model": "translator", "schema": SCHEMA, "tim3d": package_version(), **text}
    said = json.dumps(about, sort_keys=True, separators=(",", ":"))
    return write_weights(path, net.state_dict(), said)


@dataclass(frozen=True)
class Description:
    """Description of a translator: reach in pixels, channels, scale of the grey values, phases, and its records."""

    reach: int
    channels: int
    scale: tuple[float, float]
    names: tuple[str, ...]
    about: Mapping[str, Any]
    sha256: str


def describe(path: str | Path) -> Description:
    """Description of a translator, without torch.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another kind or schema.
    """
    stored = read_weights(path, "translator")
    try:
        text = json.loads(stored.text)
        if text["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has schema {text['schema']}, and this version reads {SCHEMA}: train it again"
            )
        options, (mean, deviation) = text["options"], text["scale"]
        return Description(
            int(options["reach"]), int(options["channels"]), (float(mean), float(deviation)),
            tuple(text["names"]), text, stored.sha256,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no translator that can be read: {error}") from error


@lru_cache(maxsize=1)
def loaded_translator(path: str, sha256: str) -> Translator:
    """Network of a file of that digest, kept until another one is asked for."""
    from tim3d.models.translation.network import Translator

    stored, known = read_weights(path, "translator"), describe(path)
    if not sha256 == known.sha256 == stored.sha256:
        raise CheckpointError(f"{path} was replaced during the run; start it again")
    net = Translator(known.channels, known.reach)
    try:
        net.load_state_dict(stored.tensors())
    except RuntimeError as error:
        raise CheckpointError(f"{path} holds no translator that can be read: {error}") from error
    return net.eval()


def translate_tile(path: str | Path, known: Description, grey: np.ndarray) -> np.ndarray:
    """Translate a tile with a margin of `reach` on each side; float32 without it."""
    import torch

    from tim3d.models.common.determinism import cpu_threads

    mean, deviation = known.scale
    inputs = torch.from_numpy((grey.astype(np.float32) - np.float32(mean)) / np.float32(deviation))
    with cpu_threads(1), torch.inference_mode():
        out = loaded_translator(str(path), known.sha256)(inputs[None, None])[0, 0].numpy()
    inner = out[known.reach : -known.reach, known.reach : -known.reach]
    return np.asarray(inner * np.float32(deviation) + np.float32(mean), np.float32)
