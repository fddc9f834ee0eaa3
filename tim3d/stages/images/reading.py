"""Labels, or numbers of objects, of a mask file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.phases import Phases


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
        raise InputError(
            f"{path} holds the values {shown}, which no phase has; the phases are {phases}. Name them all: "
            "--phases pore=0,solid=255; or segment the image first"
        )
    return values.astype(np.uint8)


def numbers_in(values: NDArray[Any], path: Path, cure: str) -> NDArray[Any]:
    """Values of a mask as numbers of objects, (y, x) of a whole type, 0 for none.

    Raises
    ------
    InputError
        If it is in colour, or its values are not whole numbers from 0 on; the message ends with `cure`.
    """
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.min() < 0:
        raise InputError(
            f"{path} holds {values.dtype} values of the shape {values.shape}; numbers of objects are one whole number "
            f"from 0 on for each pixel. {cure}"
        )
    return values


def _colours(values: NDArray[Any]) -> str:
    """The first colours of an image, and how many there are."""
    colours = np.unique(values.reshape(-1, values.shape[-1]), axis=0)
    shown = ", ".join("-".join(map(str, one)) for one in colours[:4].tolist())
    return shown if len(colours) <= 4 else f"{shown} and {len(colours) - 4} more"
