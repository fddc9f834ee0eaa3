"""Windows of a representative-volume study: their positions, and the work on each as a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field, Spacing

# Maps the labels of a window with halo, and the window's box in them, to a JSON record.
Kernel = Callable[[np.ndarray, Box], dict[str, Any]]


@dataclass(frozen=True)
class Windows:
    """Lattice of windows of one size, without overlap, in the middle of the volume.

    Parameters
    ----------
    edge_nm : float
        Requested edge of the cube.
    shape : (z, y, x)
        Voxels of a window: the edge in voxels of each axis, rounded.
    volume : (z, y, x)
        Voxels of the field.
    """

    edge_nm: float
    shape: Triple
    volume: Triple

    @property
    def counts(self) -> Triple:
        """Number of windows along each axis."""
        return triple(n // w for n, w in zip(self.volume, self.shape, strict=True))

    @property
    def covered(self) -> Triple:
        """Shape in voxels of the box that the windows fill."""
        return triple(c * w for c, w in zip(self.counts, self.shape, strict=True))

    @property
    def offset(self) -> Triple:
        """First voxel of the first window.

        The uncovered rest is shared between both ends of each axis.
        """
        return triple((n - c) // 2 for n, c in zip(self.volume, self.covered, strict=True))

    @property
    def rest(self) -> float:
        """Fraction of the volume that is not in any window."""
        return 1 - math.prod(self.covered) / math.prod(self.volume)

    @property
    def grid(self) -> Grid:
        """The windows as blocks, relative to the first window."""
        return Grid(self.covered, self.shape)

    def centres(self, axis: int, step: float) -> np.ndarray:
        """Centres of the windows along an axis from the outer face, in the unit of `step`."""
        first, edge = self.offset[axis], self.shape[axis]
        return (first + (np.arange(self.counts[axis]) + 0.5) * edge) * step


def lattices(
    field: Field, windows: Sequence[float] | None, windows_nm: Sequence[float] | None
) -> tuple[Windows, ...]:
    """One lattice per edge, smallest first; edges in voxels refer to the shortest edge of a voxel.

    Raises
    ------
    ArgumentError
        Unless the edges are given in one of the units, differ, contain at least two voxels, and fit
        into the volume.
    """
    if (windows is None) == (windows_nm is None):
        raise ArgumentError(
            f"give the edges of the windows either in voxels or in nm, for example --windows {_example(field)}"
        )
    edges_nm = (
        [e * min(field.spacing_nm) for e in windows]
        if windows is not None
        else list(windows_nm or ())
    )
    if not edges_nm:
        raise ArgumentError(f"no window size is given; for example --windows {_example(field)}")
    found = sorted((_lattice(field, float(edge)) for edge in edges_nm), key=lambda w: w.edge_nm)
    for one, next_one in pairwise(found):
        if one.shape == next_one.shape:
            raise ArgumentError(
                f"windows of {one.edge_nm:g} and {next_one.edge_nm:g} nm are the same {one.shape}"
            )
    return tuple(found)


def _lattice(field: Field, edge_nm: float) -> Windows:
    if not 0 < edge_nm < math.inf:
        raise ArgumentError(f"a window has an edge of {edge_nm:g} nm; it must be a positive length")
    shape = triple(max(1, round(edge_nm / step)) for step in field.spacing_nm)
    if min(shape) < 2:
        raise ArgumentError(
            f"a window of {edge_nm:g} nm has {_edges(shape)} voxels (z, y, x); it needs two along each axis: "
            f"at least {2 * max(field.spacing_nm):g} nm"
        )
    if any(w > n for w, n in zip(shape, field.shape, strict=True)):
        raise ArgumentError(
            f"a window of {edge_nm:g} nm has {_edges(shape)} voxels (z, y, x) and does not fit into {field.name!r} "
            f"with {_edges(field.shape)}; the largest cube that fits has {_largest(field):g} nm, "
            f"{_largest(field) / min(field.spacing_nm):g} voxels of the shortest edge"
        )
    return Windows(edge_nm, shape, field.shape)


def _largest(field: Field) -> float:
    return min(n * s for n, s in zip(field.shape, field.spacing_nm, strict=True))


def _example(field: Field) -> str:
    """Example of edges: an eighth, a quarter and a half of the largest cube, and the cube."""
    most = int(_largest(field) / min(field.spacing_nm))
    return ",".join(str(most // n) for n in (8, 4, 2, 1) if most // n >= 2)


def _edges(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class WindowWork:
    """Work on one window: read it with the kernel's halo, and record the kernel's result.

    `kernel_bytes` gives the kernel's memory beside the labels, from the shape that it reads.
    """

    sample: str
    field: str
    windows: Windows
    halo: Triple
    kernel: Kernel
    kernel_bytes: Callable[[Triple], int]

    def _box(self, block: Block) -> tuple[Box, Box]:
        """Box of the window in the volume, and the box that is read for it."""
        window = block.core.shift(self.windows.offset)
        return window, window.grow(self.halo).clip(Box.whole(self.windows.volume))

    def read(self, block: Block) -> np.ndarray:
        """Read the labels of a window with its halo."""
        return store.read_box(store.field_array(self.sample, self.field), self._box(block)[1])

    def compute(self, block: Block, inputs: np.ndarray) -> dict[str, Any]:
        """Compute the record of a window."""
        window, read = self._box(block)
        return self.kernel(inputs, window.within(read))

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only, which the engine stores with the marker."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the labels, twice while they are decoded, and of the kernel."""
        shape = triple(c + 2 * h for c, h in zip(core, self.halo, strict=True))
        return 2 * math.prod(shape) + self.kernel_bytes(shape)


def positions(windows: Sequence[Windows], spacing: Spacing) -> dict[str, Any]:
    """Centres of the windows of every size along each axis; nan where a size has fewer windows."""
    found = {}
    for axis, name in enumerate(AXES):
        most = max(w.counts[axis] for w in windows)
        values = np.full((len(windows), most), np.nan)
        for row, one in zip(values, windows, strict=True):
            row[: one.counts[axis]] = one.centres(axis, spacing[axis])
        attributes = {"units": "nm", "long_name": f"centre of the window along {name}"}
        found[f"{name}_centre"] = (("window", f"{name}_window"), values, attributes)
    return found
