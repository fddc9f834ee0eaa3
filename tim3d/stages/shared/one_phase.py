"""Volumes of a single phase: what needs two of them is refused, and not advised either."""

from __future__ import annotations

import math

import numpy as np

from tim3d.errors import InputError
from tim3d.forecast import is_forecasting
from tim3d.grid import Box
from tim3d.storage import store

# Voxels up to which a volume is read to write a message.
MOST_VOXELS = 2**26


def only_phase(sample: str, name: str) -> str:
    """Name of the phase that fills a label field; empty if there are several, or it is not known.

    For messages: a volume of more than 64 million voxels is not read.

    Parameters
    ----------
    sample, name : str
        The sample and its label field.
    """
    record = {} if is_forecasting() else store.node_attributes(sample, name)
    if record.get("kind") != "field" or record.get("status") != "complete":
        return ""
    labels = store.read_field(sample, name)
    if labels.phases is None or math.prod(labels.shape) > MOST_VOXELS:
        return ""
    there = np.unique(store.read_box(store.field_array(sample, name), Box.whole(labels.shape)))
    names = {code: phase for phase, code in labels.phases.items()}
    return names.get(int(there[0]), "") if len(there) == 1 else ""


def refuse_one_phase(sample: str, name: str) -> None:
    """Raise `InputError` if one phase is known to fill a label field."""
    if filled := only_phase(sample, name):
        raise InputError(
            f"{filled} fills all of {name!r} in {sample}: there is no voxel of another phase, and so no distance, "
            "thickness or pore size"
        )
