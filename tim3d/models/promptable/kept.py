"""Embeddings that are kept in a sample: where each lies, and of what network and image it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.grid import Box, Triple
from tim3d.models.promptable.promptable import Embedding
from tim3d.storage import block_results, store

NAME = "embedding"


@dataclass(frozen=True)
class Kept:
    """Embeddings of all windows of a field, of which some number of crops each.

    Parameters
    ----------
    sample, node : str
        Where they are.
    counts : (z, y, x)
        Windows along each axis.
    crops : int
        Crops of a window.
    shapes : tuple of tuple of int
        Shapes of the arrays of an embedding.
    """

    sample: str
    node: str
    counts: Triple
    crops: int
    shapes: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """Number of embeddings."""
        return math.prod(self.counts) * self.crops

    @property
    def values(self) -> int:
        """Numbers of an embedding."""
        return sum(math.prod(one) for one in self.shapes)

    @property
    def bytes(self) -> int:
        """Bytes of all embeddings, before compression."""
        return 4 * self.rows * self.values

    def row(self, index: Sequence[int], crop: int) -> int:
        """Row of a crop of a window."""
        z, y, x = index
        return ((z * self.counts[1] + y) * self.counts[2] + x) * self.crops + crop

    def window(self, row: int) -> tuple[Triple, int]:
        """Inverse of `row`.

        >>> kept = Kept("a.zarr", "e", (4, 3, 2), 5, ())
        >>> kept.window(kept.row((2, 1, 1), 3))
        ((2, 1, 1), 3)
        """
        window, crop = divmod(row, self.crops)
        rest, x = divmod(window, self.counts[2])
        z, y = divmod(rest, self.counts[1])
        return (z, y, x), crop

    def read(self, row: int) -> Embedding:
        """An embedding, as it was computed."""
        box = Box((row, 0, 0), (row + 1, 1, self.values))
        array = block_results.block_result(self.sample, f"{self.node}/{NAME}")
        flat = store.read_box(array, box).reshape(-1)
        ends = np.cumsum([math.prod(one) for one in self.shapes])[:-1]
        parts = np.split(flat, ends)
        return tuple(part.reshape(one) for part, one in zip(parts, self.shapes, strict=True))


def flat_row(embedding: Embedding) -> np.ndarray[Any, Any]:
    """An embedding as one row of numbers."""
    return np.concatenate([one.astype(np.float32).ravel() for one in embedding])


def require_same(found: dict[str, Any], wanted: dict[str, Any], node: str, sample: str) -> None:
    """Refuse embeddings of another network, image, window or range of grey.

    Raises
    ------
    InputError
        With what differs, and the command that makes them.
    """
    names = {
        "network": "of another network or device",
        "image": "of another image",
        "grey": "of another range of grey values",
        "window": "of other windows",
        "border": "of another border",
        "crops": "of other crops",
    }
    if differing := [said for name, said in names.items() if found.get(name) != wanted[name]]:
        raise InputError(
            f"{node} of {sample} holds embeddings {' and '.join(differing)}. Make them again: tim3d embed {sample} "
            "--model MODEL with the same options"
        )
