"""Ghost layers of a slab: what stands for an electrode, insulation, the far side of the volume or a neighbour.

    planes of rank r        0 | 1  2  . . .  n | n+1         0 and n+1 are ghosts
    after `Ring.swap`       n'| own planes     | 1''         n' of rank r-1, 1'' of rank r+1

At the two ends of the volume the ghosts come from the other end if the axis wraps; else they keep the value of the
electrode, or are not used (insulation). Along y and x a slab is whole, and its ghosts are filled in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Wrap = tuple[bool, bool, bool]


class Ring(Protocol):
    """The ranks that hold the slabs of one volume, in the order of the slabs. All ranks make the same calls."""

    rank: int
    size: int

    def swap(self, array: Any, wrap: bool) -> None:
        """Copy the neighbours' planes -2 and 1 into planes 0 and -1; at the ends of the volume only with `wrap`."""

    def collect(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""


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
        """The only value."""
        return [value]


@dataclass(frozen=True)
class Halo:
    """Fills ghost layers: through the ring along the first axis, from the far side along each axis that wraps."""

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
        """The same boundary conditions for a volume that is one slab."""
        return Halo(Alone(), self.wrap)


def cuts(planes: Sequence[int], steps: Sequence[int], slabs: int, depth: int) -> list[list[int]]:
    """Planes at which slabs begin and end on each multigrid level down to `depth`: no coarse cell lies in two slabs.

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
