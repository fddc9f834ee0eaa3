"""Images and volumes to learn from, with their conditions, as random crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tim3d.errors import InputError
from tim3d.models.common.digest import arrays_sha256

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Voxels(Protocol):
    """An array of labels or grey values, or whatever gives the same boxes of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Edges in voxels."""

    def __getitem__(self, box: Any, /) -> Bytes:
        """Values of a box, given by slices."""


@dataclass(frozen=True)
class Examples:
    """Images or volumes and the inputs of their conditions.

    Parameters
    ----------
    values : sequence of array, uint8
        Labels 0, 1, ... or grey values, all of 2 or all of 3 dimensions.
    conditions : array (examples, inputs), float32
        Inputs of the network for each example, NaN where a condition is not known.
    symmetric : bool
        Whether crops are turned and mirrored: the material is the same in all directions.
    digest : str
        SHA-256 of all values (default: computed).

    Raises
    ------
    InputError
        If the arrays do not go together.
    """

    values: Sequence[Voxels]
    conditions: Floats
    symmetric: bool = True
    digest: str = ""

    def __post_init__(self) -> None:
        ranks = {len(one.shape) for one in self.values}
        if len(ranks) != 1 or not ranks <= {2, 3} or len(self.conditions) != len(self.values):
            raise InputError(
                f"{len(self.values)} arrays of {sorted(ranks)} dimensions with {len(self.conditions)} rows of "
                "conditions; arrays are all of 2 or all of 3 dimensions, each with a row"
            )

    @property
    def dimensions(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.values[0].shape)

    @property
    def shortest(self) -> int:
        """Shortest edge of all."""
        return min(min(one.shape) for one in self.values)

    def crops(self, count: int, edge: int, rng: np.random.Generator) -> tuple[Bytes, Floats]:
        """Random crops (count, edge, ...) and the inputs of their conditions (count, inputs).

        Every example is as likely as any other, and every place of a crop in it.

        Examples
        --------
        >>> examples = Examples([np.zeros((20, 30), np.uint8)], np.zeros((1, 2), np.float32))
        >>> [part.shape for part in examples.crops(3, 16, np.random.default_rng(0))]
        [(3, 16, 16), (3, 2)]
        """
        chosen = rng.integers(len(self.values), size=count)
        boxes = [self._crop(self.values[int(n)], edge, rng) for n in chosen]
        return np.stack(boxes), self.conditions[chosen]

    def sha256(self) -> str:
        """Hash of all values and conditions."""
        if self.digest:
            return arrays_sha256([self.conditions], self.digest)
        return arrays_sha256([*(np.asarray(one) for one in self.values), self.conditions])

    def _crop(self, values: Voxels, edge: int, rng: np.random.Generator) -> Bytes:
        start = [int(rng.integers(n - edge + 1)) for n in values.shape]
        crop = np.asarray(values[tuple(slice(a, a + edge) for a in start)])
        return turned(crop, rng) if self.symmetric else crop


def turned(crop: Bytes, rng: np.random.Generator) -> Bytes:
    """A crop with its axes exchanged and mirrored at random: 8 symmetries of a square, 48 of a cube."""
    swapped = crop.transpose(rng.permutation(crop.ndim))
    return swapped[tuple(slice(None, None, int(way)) for way in rng.choice((-1, 1), crop.ndim))]
