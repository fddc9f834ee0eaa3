"""Objects of a slice as masks, and the prompts that ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.mask_set import Mask, boxed
from tim3d.lazy import ndimage
from tim3d.models.promptable.prompts import ON, Prompt

# What a prompt of an object is made of.
GIVES = ("box", "point", "both")


def objects_in(plane: NDArray[Any], smallest: int = 1, *, numbered: bool) -> list[Mask]:
    """Objects of a slice: those of its numbers, or the connected components of its phases.

    Parameters
    ----------
    plane : array (y, x) of int
        Numbers of objects or codes of phases; 0 is none.
    smallest : int
        Pixels below which an object is left out.
    numbered : bool
        Whether they are numbers. Components of a phase are those of 4 neighbours.

    Examples
    --------
    >>> plane = np.array([[1, 0, 1], [1, 0, 2]])
    >>> [one.area for one in objects_in(plane, numbered=True)], [one.area for one in objects_in(plane, numbered=False)]
    ([3, 1], [2, 1, 1])
    """
    numbers = plane if numbered else _components(plane)
    names, ids = np.unique(numbers, return_inverse=True)
    ids = ids.reshape(numbers.shape) + (0 if names[0] == 0 else 1)
    found = []
    for number, box in enumerate(ndimage.find_objects(ids), 1):
        bits = ids[box] == number
        if bits.sum() >= smallest:
            found.append(boxed((box[0].start, box[1].start), bits))
    return found


def _components(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Connected components of all phases but 0, numbered from 1 phase by phase."""
    numbers, last = np.zeros(labels.shape, np.int64), 0
    for code in np.unique(labels[labels > 0]):
        components, count = ndimage.label(labels == code)
        numbers += np.where(components > 0, components + last, 0)
        last += count
    return numbers


def prompt_of(mask: Mask, give: str) -> Prompt:
    """Prompt of an object: its box, its innermost pixel, or both.

    Of several pixels that are farthest from the border, the first in C order.

    >>> prompt_of(boxed((4, 2), np.ones((3, 5), bool)), "both").box
    (2, 4, 6, 6)
    """
    y, x = mask.start
    bounds = (x, y, x + mask.size[1] - 1, y + mask.size[0] - 1)
    if give == "box":
        return Prompt(np.zeros((0, 2)), np.zeros(0, np.int64), bounds)
    depth = ndimage.distance_transform_edt(np.pad(mask.bits, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    inner = np.array([[column + x, row + y]], np.float64)
    return Prompt(inner, np.array([ON]), bounds if give == "both" else None)


def check_give(give: str, whose: object) -> None:
    """Refuse a prompt that is made of something else.

    Raises
    ------
    ArgumentError
        With what there is.
    """
    if give not in GIVES:
        raise ArgumentError(f"{whose}: give is box, point or both, not {give!r}")
