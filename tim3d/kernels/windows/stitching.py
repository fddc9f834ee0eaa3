"""Inference on a volume of any size, with a result that does not depend on the blocking.

The windows of the network lie on one lattice, fixed in volume coordinates (drawn in
`tim3d.kernels.windows.lattice`). Per axis, window `k` starts at voxel `k * stride - offset`. With `w`
a weight inside a window,

    out(v) = sum over k of w(v - start_k) * net(window k)(v - start_k)
             / sum over k of w(v - start_k)

No block appears in this formula: a block computes every window that touches it and keeps its own
voxels. Beyond the border of the volume, a window reads the volume mirrored at its border voxels.

Two weights: *crop* keeps the inner part of each window, without the halo, so that each voxel comes
from one window; *blend* lets windows overlap, weighted by a Gaussian of sigma = window / 8 that
ends at the window's border (as in Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import Array, Lattice, reflect

Batch: TypeAlias = tuple[Array, list[Triple]]
Predict: TypeAlias = Callable[[Iterator[Batch]], Iterator[Batch]]

SIGMA_PER_WINDOW = 1 / 8


class Memory(Protocol):
    """Memory in which results are put together; by default numpy's."""

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """Array of zeros there."""

    def from_numpy(self, array: Array) -> Any:
        """The same values there, where those of `predict` are."""


class HostMemory:
    """Memory of this process."""

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Array of zeros."""
        return np.zeros(shape, dtype)

    def from_numpy(self, array: Array) -> Array:
        """The array itself."""
        return array


@dataclass(frozen=True, slots=True)
class EmptyRule:
    """Rule for windows whose input is `fill` everywhere: skip the network, return `output`.

    The rule depends on one window at a time, never on a block, so it is independent of the
    blocking.

    Parameters
    ----------
    fill : float
        Grey value of an empty voxel.
    output : tuple of float
        One value per channel of the result.
    """

    fill: float
    output: tuple[float, ...]


def gather(lattice: Lattice, index: Triple, slab: Array, slab_box: Box) -> Array:
    """Input of the network for one window: an array of shape `lattice.input_shape`.

    The array is a view of `slab` where no voxel is mirrored.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    index : (z, y, x)
        Index of the window.
    slab : array (z, y, x)
        Voxels read from the volume.
    slab_box : Box
        Position of `slab` in the volume; it must contain `lattice.read_box` of a core that this
        window touches.

    Raises
    ------
    ArgumentError
        If the slab does not contain all voxels of the window.
    """
    box = lattice.box(index).grow((lattice.context, 0, 0))
    seen = slab
    for axis in range(3):
        where = reflect(np.arange(box.start[axis], box.stop[axis]), lattice.shape[axis])
        if where.min() < slab_box.start[axis] or where.max() >= slab_box.stop[axis]:
            raise ArgumentError(
                f"window {index} needs voxels {where.min()} to {where.max()} along {'zyx'[axis]}, and the slab holds "
                f"{slab_box.start[axis]} to {slab_box.stop[axis] - 1}; read the box that Lattice.read_box gives"
            )
        seen = _take(seen, where - slab_box.start[axis], axis)
    return seen


def _take(array: Array, where: Array, axis: int) -> Array:
    if int(where[-1]) - int(where[0]) == len(where) - 1 and (
        len(where) < 3 or bool((np.diff(where) == 1).all())
    ):
        cut = [slice(None)] * array.ndim
        cut[axis] = slice(int(where[0]), int(where[-1]) + 1)
        return array[tuple(cut)]
    return np.take(array, where, axis=axis)


def batches(
    lattice: Lattice, indices: Sequence[Triple], slab: Array, slab_box: Box, size: int
) -> Iterator[Batch]:
    """Yield batches: arrays (size, z, y, x) in native byte order, and the indices of the windows.

    The last array is padded with copies of its first window: libraries choose a kernel by the shape
    of the input, and another kernel could round differently.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    indices : sequence of (z, y, x)
        Indices of the windows.
    slab, slab_box : array (z, y, x), Box
        Voxels read from the volume, and their position.
    size : int
        Windows in a batch.
    """
    for first in range(0, len(indices), size):
        group = list(indices[first : first + size])
        batch = np.empty((size, *lattice.input_shape), slab.dtype.newbyteorder("="))
        for place, index in zip(batch, group, strict=False):
            place[...] = gather(lattice, index, slab, slab_box)
        batch[len(group) :] = batch[0]
        yield batch, group


def stitch(
    lattice: Lattice,
    core: Box,
    slab: Array,
    slab_box: Box,
    predict: Predict,
    *,
    channels: int,
    dtype: npt.DTypeLike = np.float32,
    batch: int = 1,
    empty: EmptyRule | None = None,
    memory: Memory = HostMemory(),  # noqa: B008
) -> Any:
    """Result of a network in a core: bit for bit the same box of the result for the whole volume.

    This requires that `predict` returns the same values for a window in any batch.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    core : Box
        Voxels wanted, inside the volume.
    slab, slab_box : array (z, y, x), Box
        Voxels read, and their position; at least `lattice.read_box(core)`.
    predict : callable
        Takes an iterator of `batches` and yields, in the same order, pairs of an array
        (batch, channels, z, y, x), with z, y, x the window, and the indices of the batch. It may
        prefetch, that is, take a batch before it yields the previous result.
    channels : int
        Channels of the output of `predict`.
    dtype : dtype
        Type of the result in crop mode. In blend mode sums are float32 and so is the result.
    batch : int
        Windows in a batch.
    empty : EmptyRule, optional
        Value of windows without content.
    memory : Memory
        Where `predict` yields its arrays and the result is put together.

    Returns
    -------
    array (channels, z, y, x)
        The result, with the shape of the core, in that memory.

    Examples
    --------
    >>> lattice = Lattice((1, 4, 4), window=(1, 4, 4), stride=(1, 2, 2), offset=(0, 1, 1))
    >>> volume = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    >>> whole = Box.whole(volume.shape)
    >>> def double(some):
    ...     return ((2 * array[:, np.newaxis], indices) for array, indices in some)
    >>> stitch(lattice, whole, volume, whole, double, channels=1, dtype=np.uint8)[0, 0]
    array([[ 0,  2,  4,  6],
           [ 8, 10, 12, 14],
           [16, 18, 20, 22],
           [24, 26, 28, 30]], dtype=uint8)
    """
    blended = lattice.mode == "blend"
    out = memory.zeros((channels, *core.shape), np.float32 if blended else dtype)
    weight = memory.from_numpy(window_weight(lattice.window)) if blended else None
    void, busy = _split(lattice, lattice.windows(core), slab, slab_box, empty)
    for index in void:
        constant = memory.from_numpy(_constant(lattice, empty))
        _put(out, lattice, core, index, constant, weight)
    for values, group in predict(batches(lattice, busy, slab, slab_box, batch)):
        for value, index in zip(values, group, strict=False):
            _put(out, lattice, core, index, value, weight)
    if blended:
        out /= memory.from_numpy(weight_sum(lattice, core))
    return out


def _split(
    lattice: Lattice, indices: list[Triple], slab: Array, slab_box: Box, empty: EmptyRule | None
) -> tuple[list[Triple], list[Triple]]:
    """Windows without and with content."""
    if empty is None:
        return [], indices
    void = {
        index
        for index in indices
        if bool((gather(lattice, index, slab, slab_box) == empty.fill).all())
    }
    return [i for i in indices if i in void], [i for i in indices if i not in void]


def _constant(lattice: Lattice, empty: EmptyRule | None) -> Array:
    output = np.asarray(empty.output if empty else ())
    return np.broadcast_to(output[:, None, None, None], (len(output), *lattice.window))


def _put(
    out: Array, lattice: Lattice, core: Box, index: Triple, values: Array, weight: Array | None
) -> None:
    """Place (no weight) or add (weight) the values of one window where it lies in the core."""
    shared = lattice.support(index).clip(core)
    target, source = shared.within(core).slices, shared.within(lattice.box(index)).slices
    if weight is None:
        out[(slice(None), *target)] = values[(slice(None), *source)]
    else:
        # One channel at a time, so that the product stays in the cache.
        for total, value in zip(out, values, strict=True):
            total[target] += weight[source] * value[source]


def _gaussian(length: int) -> Array:
    """Gaussian of sigma = length / 8 about the middle of a window, float64, not above 1."""
    distance = np.arange(length) - (length - 1) / 2
    weight: Array = np.exp(-0.5 * (distance / (length * SIGMA_PER_WINDOW)) ** 2)
    return weight


def window_weight(window: Triple) -> Array:
    """Weights of the voxels of a window in blend mode: the product of three Gaussians, float32."""
    z, y, x = (_gaussian(length) for length in window)
    return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def weight_sum(lattice: Lattice, core: Box) -> Array:
    """Sum of the weights of all windows at each voxel of a core in blend mode, float32.

    A product over the axes: along one axis s(v) = sum over the windows k of w(v - k * stride), as
    long as the argument lies inside the window.
    """
    z, y, x = (_axis_sum(lattice, axis, core.start[axis], core.stop[axis]) for axis in range(3))
    return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def _axis_sum(lattice: Lattice, axis: int, start: int, stop: int) -> Array:
    weight, stride = _gaussian(lattice.window[axis]), lattice.stride[axis]
    voxels = np.arange(start, stop)
    total = np.zeros(len(voxels))
    for back in range(-(-len(weight) // stride)):
        window = voxels // stride - back
        inside = voxels - window * stride
        counts = (window >= 0) & (window < lattice.along(axis)) & (inside < len(weight))
        total += np.where(counts, weight[np.minimum(inside, len(weight) - 1)], 0.0)
    return total
