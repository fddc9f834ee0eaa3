"""Labels, or numbers of objects, of a mask file, and the digest of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.phases import Phases
from tim3d.sources.base import reading

# The largest number of an object.
LARGEST = 2**32 - 1


def labels_in(values: NDArray[Any], phases: Phases, path: Path) -> NDArray[np.uint8]:
    """Values of a mask as codes, (y, x) uint8.

    Raises
    ------
    InputError
        If it is in colour, or has values without a phase.
    """
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise InputError(
            f"{path} is in colour ({_colours(values)}); a mask has one value for each pixel"
        )
    strange = sorted(set(np.unique(values).tolist()) - set(phases.codes))
    if strange:
        shown = ", ".join(f"{one:g}" for one in strange[:4]) + (" ..." if len(strange) > 4 else "")
        named = ",".join(f"{name}={code}" for name, code in phases.items())
        raise InputError(
            f"{path} holds the values {shown}, which no phase has; known are {named}. Name them all, as "
            f"--phases {named},other={strange[0]:g}; or segment the image first"
        )
    return values.astype(np.uint8)


def numbers_in(values: NDArray[Any], path: Path, cure: str) -> NDArray[Any]:
    """Values of a mask as numbers of objects, (y, x) of a whole type, 0 for none.

    Raises
    ------
    InputError
        If it is in colour, or its values are not whole numbers of 32 bits; the message ends with `cure`.
    """
    whole = values.ndim == 2 and values.dtype.kind in "iu"
    if not whole or values.min() < 0 or values.max() > LARGEST:
        raise InputError(
            f"{path} holds {values.dtype} values from {values.min():g} to {values.max():g} of the shape "
            f"{values.shape}; numbers of objects are one whole number from 0 to {LARGEST} for each pixel. {cure}"
        )
    return values


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with reading(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _colours(values: NDArray[Any]) -> str:
    """The first colours of an image, and how many there are."""
    colours = np.unique(values.reshape(-1, values.shape[-1]), axis=0)
    shown = ", ".join("-".join(map(str, one)) for one in colours[:4].tolist())
    return shown if len(colours) <= 4 else f"{shown} and {len(colours) - 4} more"
