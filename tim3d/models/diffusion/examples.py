"""Images and volumes to learn from, with their conditions, as random crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tim3d.errors import InputError
from tim3d.models.common.digest import arrays_sha256

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Surroundings(Protocol):
    """Numbers that a network is given beside each voxel of an example."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """All that it follows from."""

    def __getitem__(self, box: Any, /) -> Floats:
        """Values in a box, given by slices."""


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
    around : sequence of Surroundings, optional
        What the network is given beside each array (default: nothing).

    Raises
    ------
    InputError
        If the arrays do not go together.
    """

    values: Sequence[Voxels]
    conditions: Floats
    symmetric: bool = True
    digest: str = ""
    around: Sequence[Surroundings] = ()

    def __post_init__(self) -> None:
        ranks = {len(one.shape) for one in self.values}
        if self.around and len(self.around) != len(self.values):
            raise InputError(f"{len(self.values)} arrays with {len(self.around)} surroundings")
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

        Every example is as likely as any other. A crop that would lie up to half across a border is moved
        inside, so that what lies near borders is seen nearly as often as the middle.

        Examples
        --------
        >>> examples = Examples([np.zeros((20, 30), np.uint8)], np.zeros((1, 2), np.float32))
        >>> [part.shape for part in examples.crops(3, 16, np.random.default_rng(0))]
        [(3, 16, 16), (3, 2)]
        """
        values, conditions, _ = self.surrounded(count, edge, rng)
        return values, conditions

    def surrounded(
        self, count: int, edge: int, rng: np.random.Generator
    ) -> tuple[Bytes, Floats, Floats | None]:
        """Crops and inputs as `crops` gives them, and what the network is given beside them."""
        chosen = rng.integers(len(self.values), size=count)
        every = [self._crop(int(n), edge, rng) for n in chosen]
        around = np.stack([one for _, one in every]) if self.around else None
        return np.stack([crop for crop, _ in every]), self.conditions[chosen], around

    def sha256(self) -> str:
        """Hash of all values and conditions."""
        beside = [one.counts for one in self.around]
        if self.digest:
            return arrays_sha256([self.conditions, *beside], self.digest)
        return arrays_sha256([*(np.asarray(one) for one in self.values), self.conditions, *beside])

    def _crop(self, number: int, edge: int, rng: np.random.Generator) -> tuple[Bytes, Floats]:
        values = self.values[number]
        half = edge // 2
        asked = [int(rng.integers(-half, n - edge + half + 1)) for n in values.shape]
        start = [min(max(a, 0), n - edge) for a, n in zip(asked, values.shape, strict=True)]
        box = tuple(slice(a, a + edge) for a in start)
        crop = np.asarray(values[box])
        turn = turning(crop.ndim, rng) if self.symmetric else np.asarray
        around = turn(self.around[number][box]) if self.around else np.empty(0, np.float32)
        return turn(crop), around


def turning(dimensions: int, rng: np.random.Generator) -> Callable[[Any], Any]:
    """A function that exchanges and mirrors axes, in one of the 8 ways of a square or the 48 of a cube."""
    order = rng.permutation(dimensions)
    ways = tuple(slice(None, None, int(way)) for way in rng.choice((-1, 1), dimensions))
    return lambda values: values.transpose(order)[ways]


def turned(crop: Bytes, rng: np.random.Generator) -> Bytes:
    """A crop with its axes exchanged and mirrored at random."""
    made: Bytes = turning(crop.ndim, rng)(crop)
    return made
