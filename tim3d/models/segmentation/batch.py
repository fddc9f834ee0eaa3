"""Number of windows that a network gets at a time on a GPU, from the memory that is free there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tim3d.kernels.windows.lattice import Lattice

# Part of the free memory for the layers of a batch. Sums of two blocks of blended windows may take a
# quarter each (`blending.PART`); the rest is for weights, workspaces and copies.
SHARE = 0.4
# Voxels of a batch beyond which a GPU gains nothing: eight slices of 2048 x 2048, tens of
# milliseconds of work, where starting a layer takes microseconds.
MOST_VOXELS = 2**25


@dataclass(frozen=True, slots=True)
class Room:
    """Free memory of a GPU, and the batch that was chosen for it.

    Parameters
    ----------
    free : int
        Bytes.
    window_bytes : int
        Upper bound of what the layers take for a window.
    batch : int
        Windows.
    """

    free: int
    window_bytes: int
    batch: int

    def __str__(self) -> str:
        """The batch, in a line of a plan."""
        said = (
            f"{self.batch} window(s) at a time on the GPU, by {_gib(self.free)} that are free there and "
            f"up to {_gib(self.window_bytes)} of layers for a window"
        )
        if self.window_bytes > SHARE * self.free:
            said += "; if they run out of memory, give a smaller --window"
        return said


def room_for(free: int, window_bytes: int, lattices: Sequence[Lattice]) -> Room:
    """Choose the batch for windows of some lattices: a power of two.

    The layers of a batch take at most `SHARE` of the free memory by their upper bound, a batch has at
    most `MOST_VOXELS` voxels and no more windows than the smallest lattice. It is one window if even one
    exceeds the share: the bound adds up all layers as if none were freed. Shards are powers of two
    thick, so that blocks of whole slices have no batch that is filled up with copies.

    Parameters
    ----------
    free : int
        Free bytes of the GPU.
    window_bytes : int
        Upper bound of what the layers take for a window.
    lattices : sequence of Lattice
        Windows.

    Examples
    --------
    >>> from tim3d.kernels.windows.lattice import slice_lattice
    >>> slices = slice_lattice((1000, 2048, 2048), 8)
    >>> [room_for(gib * 2**30, 4 * 2**30, [slices]).batch for gib in (8, 16, 80, 141)]
    [1, 1, 8, 8]
    """
    voxels = max(prod(one.input_shape) for one in lattices)
    windows = min(prod(one.counts) for one in lattices)
    most = min(int(SHARE * free) // window_bytes, MOST_VOXELS // voxels, windows)
    return Room(free, window_bytes, 2 ** (max(1, most).bit_length() - 1))


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
