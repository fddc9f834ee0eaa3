"""What lies beyond the border of a slab: an electrode, insulation, the far side of the volume, a neighbour's slab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Wrap = tuple[bool, bool, bool]


class Ring(Protocol):
    """Those who hold the slabs of one volume, in the order of the slabs. All of them make the same calls."""

    rank: int
    size: int

    def swap(self, array: Any, wrap: bool) -> None:
        """Planes 0 and -1 become the neighbours' planes -2 and 1; at the ends of the volume only if it is to `wrap`."""

    def collect(self, value: Any) -> list[Any]:
        """Everybody's value, by rank."""


class Alone:
    """A volume that is one slab.

    >>> Alone().collect("all")
    ['all']
    """

    rank = 0
    size = 1

    def swap(self, array: Any, wrap: bool) -> None:
        """Join the two ends."""
        if wrap:
            array[0], array[-1] = array[-2], array[1]

    def collect(self, value: Any) -> list[Any]:
        """One's own."""
        return [value]


@dataclass(frozen=True)
class Halo:
    """How ghosts are filled: by the ring along the first axis, from the far side along each axis that wraps."""

    ring: Ring
    wrap: Wrap = (False, False, False)

    def refresh(self, array: Any) -> None:
        """Fill the ghosts of an array; those of electrodes and insulated sides stay. Edges and corners are not used."""
        self.ring.swap(array, self.wrap[0])
        if self.wrap[1]:
            array[:, 0], array[:, -1] = array[:, -2], array[:, 1]
        if self.wrap[2]:
            array[:, :, 0], array[:, :, -1] = array[:, :, -2], array[:, :, 1]

    def alone(self) -> Halo:
        """The same sides around the whole volume."""
        return Halo(Alone(), self.wrap)


def cuts(planes: Sequence[int], steps: Sequence[int], slabs: int, depth: int) -> list[list[int]]:
    """Where slabs begin and end on each level down to `depth`, so that no coarse cell lies in two slabs.

    Parameters
    ----------
    planes : sequence of int
        Planes of each level.
    steps : sequence of int
        Binary logarithm of the planes that become one from level to level.

    Examples
    --------
    >>> cuts([21, 11, 6], [1, 1], 2, 2)
    [[0, 12, 21], [0, 6, 11], [0, 3, 6]]
    """
    coarse = [planes[depth] * n // slabs for n in range(slabs + 1)]
    shifts = [sum(steps[level:depth]) for level in range(depth + 1)]
    return [[min(cut << shift, count) for cut in coarse] for shift, count in zip(shifts, planes, strict=False)]
