"""Ghost layers of a slab: electrode, insulation, far side of the volume, or neighbouring slab.

    planes of rank r        0 | 1  2  . . .  n | n+1         0 and n+1 are ghosts
    after `Ring.swap`       n'| own planes     | 1''         n' of rank r-1, 1'' of rank r+1

At the two ends of the volume the ghosts are copied from the other end if the axis is periodic;
otherwise they keep the value of the electrode, or are not used (insulation). A slab is not divided
along y and x, so these ghosts are copied within the slab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Wrap = tuple[bool, bool, bool]


class Ring(Protocol):
    """Ranks of one volume's slabs, in the order of the slabs. All ranks make the same calls."""

    rank: int
    size: int

    def swap(self, array: Any, wrap: bool) -> None:
        """Copy the neighbours' planes -2 and 1 to planes 0 and -1, at the ends only with `wrap`."""

    def collect(self, value: Any) -> list[Any]:
        """Gather the values of all ranks, in the order of the ranks."""


class Alone:
    """Ring of one rank: the volume is a single slab.

    >>> Alone().collect("all")
    ['all']
    """

    rank = 0
    size = 1

    def swap(self, array: Any, wrap: bool) -> None:
        """Copy the planes at the two ends into each other's ghosts if `wrap` is set."""
        if wrap:
            array[0], array[-1] = array[-2], array[1]

    def collect(self, value: Any) -> list[Any]:
        """Return a list with the only value."""
        return [value]


@dataclass(frozen=True)
class Halo:
    """Filling of ghost layers: by the ring along the first axis, from the far side if periodic."""

    ring: Ring
    wrap: Wrap = (False, False, False)

    def refresh(self, array: Any) -> None:
        """Fill the ghosts of an array, except at electrodes and insulated sides.

        Edges and corners of the ghost layer are not used.
        """
        self.ring.swap(array, self.wrap[0])
        if self.wrap[1]:
            array[:, 0], array[:, -1] = array[:, -2], array[:, 1]
        if self.wrap[2]:
            array[:, :, 0], array[:, :, -1] = array[:, :, -2], array[:, :, 1]

    def alone(self) -> Halo:
        """Return the same boundary conditions for a volume that is one slab."""
        return Halo(Alone(), self.wrap)


def cuts(planes: Sequence[int], steps: Sequence[int], slabs: int, depth: int) -> list[list[int]]:
    """Planes at which slabs begin and end on each multigrid level down to `depth`.

    No coarse cell lies in two slabs.

    Parameters
    ----------
    planes : sequence of int
        Planes of each level.
    steps : sequence of int
        Binary logarithm of the number of planes that are joined from each level to the next.
    slabs : int
        Number of slabs.
    depth : int
        Last level that is divided.

    Examples
    --------
    >>> cuts([21, 11, 6], [1, 1], 2, 2)
    [[0, 12, 21], [0, 6, 11], [0, 3, 6]]
    """
    coarse = [planes[depth] * n // slabs for n in range(slabs + 1)]
    shifts = [sum(steps[level:depth]) for level in range(depth + 1)]
    return [
        [min(cut << shift, count) for cut in coarse]
        for shift, count in zip(shifts, planes, strict=False)
    ]
