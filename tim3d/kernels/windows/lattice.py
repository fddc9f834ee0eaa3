"""Where the windows of a network lie over a volume: one lattice fixed in volume coordinates, for every block the same.

Per axis, window `k` starts at voxel `k * stride - offset`, for every whole number `k`, negative ones too.
What a window sees beyond the border of the volume is the volume mirrored at its border voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the windows of a network lie over a volume; make one by `crop_lattice`, `blend_lattice`, `slice_lattice`.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    window : (z, y, x)
        Voxels that the network gives out for one window; 1 in z for a network of slices.
    stride : (z, y, x)
        Distance between neighbouring windows.
    offset : (z, y, x)
        Window 0 starts this many voxels before the origin of the volume; in crop mode this is also the halo.
    mode : {"crop", "blend"}
        Which weight a voxel of a window has.
    context : int
        Slices before and after the window that the network sees besides, as channels (2.5-D).

    Raises
    ------
    ArgumentError
        If an edge is not positive, or the windows leave gaps, or overlap in crop mode.
    """

    shape: Triple
    window: Triple
    stride: Triple
    offset: Triple = (0, 0, 0)
    mode: Literal["crop", "blend"] = "crop"
    context: int = 0

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.stride) < 1 or min(self.offset) < 0 or self.context < 0:
            raise ArgumentError(f"a lattice has positive edges and no negative offset or context: {self}")
        kept = triple(p - 2 * h for p, h in zip(self.window, self.halo, strict=True))
        if any(s > p for s, p in zip(self.stride, kept, strict=True)):
            raise ArgumentError(
                f"windows that keep {kept} at a stride of {self.stride} leave gaps; use a smaller stride"
            )
        if self.mode == "crop" and self.stride != kept:
            raise ArgumentError(
                f"windows that keep {kept} overlap at a stride of {self.stride}; crop mode has no overlap"
            )
        if self.context and self.window[0] != 1:
            raise ArgumentError(f"slices as channels need windows one slice thick, not {self.window[0]}")

    @property
    def halo(self) -> Triple:
        """Border of a window that is thrown away; zero in blend mode."""
        return self.offset if self.mode == "crop" else (0, 0, 0)

    @property
    def input_shape(self) -> Triple:
        """Shape of what the network is given for one window."""
        return (self.window[0] + 2 * self.context, self.window[1], self.window[2])

    def box(self, index: Triple) -> Box:
        """Voxels of window `index`; parts of it may lie outside the volume."""
        start = triple(k * s - o for k, s, o in zip(index, self.stride, self.offset, strict=True))
        return Box(start, triple(a + p for a, p in zip(start, self.window, strict=True)))

    def support(self, index: Triple) -> Box:
        """Voxels to which window `index` gives a value."""
        return self.box(index).grow(triple(-h for h in self.halo))

    def windows(self, core: Box) -> list[Triple]:
        """Indices of all windows that give a value to a voxel of `core`, in lexicographic order."""
        z, y, x = (self._touching(axis, core.start[axis], core.stop[axis]) for axis in range(3))
        return list(product(z, y, x))

    def read_box(self, core: Box) -> Box:
        """Voxels of the volume that the windows of `core` see, mirrored ones included."""
        ends = [self._seen(axis, core.start[axis], core.stop[axis]) for axis in range(3)]
        return Box(triple(low for low, _ in ends), triple(high for _, high in ends))

    def _touching(self, axis: int, low: int, high: int) -> range:
        stride, first = self.stride[axis], self.halo[axis] - self.offset[axis]
        length = self.window[axis] - 2 * self.halo[axis]
        return range((low - first - length) // stride + 1, -((first - high) // stride))

    def _seen(self, axis: int, low: int, high: int) -> tuple[int, int]:
        touching, context = self._touching(axis, low, high), self.context if axis == 0 else 0
        start = touching[0] * self.stride[axis] - self.offset[axis] - context
        stop = touching[-1] * self.stride[axis] - self.offset[axis] + self.window[axis] + context
        # The mirrored range, not the clipped one: past a thin last block a mirror reaches back beyond the window.
        seen = reflect(np.arange(start, stop), self.shape[axis])
        return int(seen.min()), int(seen.max()) + 1


def crop_lattice(shape: Triple, window: Triple, halo: Triple, context: int = 0) -> Lattice:
    """Windows that keep only what lies `halo` voxels inside their border, side by side.

    Examples
    --------
    >>> lattice = crop_lattice((10, 100, 100), window=(1, 64, 64), halo=(0, 16, 16))
    >>> lattice.stride
    (1, 32, 32)
    >>> lattice.windows(Box((4, 0, 0), (5, 32, 40)))
    [(4, 0, 0), (4, 0, 1)]
    >>> lattice.read_box(Box((4, 0, 0), (5, 32, 40)))
    Box(start=(4, 0, 0), stop=(5, 48, 80))
    """
    stride = triple(p - 2 * h for p, h in zip(window, halo, strict=True))
    if min(stride) < 1:
        raise ArgumentError(f"a halo of {halo} leaves nothing of a window of {window}; use a larger window")
    return Lattice(triple(shape), triple(window), stride, triple(halo), "crop", context)


def blend_lattice(shape: Triple, window: Triple, overlap: Triple, context: int = 0) -> Lattice:
    """Windows that share `overlap` voxels with each neighbour and are averaged there.

    Examples
    --------
    >>> blend_lattice((10, 100, 100), window=(1, 64, 64), overlap=(0, 32, 32)).stride
    (1, 32, 32)
    """
    stride = triple(p - v for p, v in zip(window, overlap, strict=True))
    return Lattice(triple(shape), triple(window), stride, (0, 0, 0), "blend", context)


def slice_lattice(shape: Triple, total_stride: int, context: int = 0) -> Lattice:
    """One window for each slice, padded at its far ends by mirroring to a multiple of the network's total stride.

    Examples
    --------
    >>> slice_lattice((10, 250, 256), total_stride=32).window
    (1, 256, 256)
    """
    _, y, x = (-(-n // total_stride) * total_stride for n in shape)
    return crop_lattice(shape, (1, y, x), (0, 0, 0), context)


def require_phase(lattice: Lattice, total_stride: Triple) -> None:
    """Refuse windows that would shift a network's poolings against the volume.

    A network that halves its input d times gives other values when the input moves by less than 2**d voxels, and no
    halo repairs that. So window, stride and offset must be multiples of the total stride.

    Raises
    ------
    ArgumentError
        Naming the axis, the length and the next larger length that fits.

    Examples
    --------
    >>> require_phase(crop_lattice((9, 99, 99), (1, 64, 64), (0, 20, 20)), (1, 8, 8))
    Traceback (most recent call last):
    ...
    tim3d.errors.ArgumentError: halo 20 along y is not a multiple of the network's total stride 8; use 24
    """
    shift = "halo" if lattice.mode == "crop" else "offset"
    for name, values in (("window", lattice.window), (shift, lattice.offset), ("stride", lattice.stride)):
        for axis, value, step in zip("zyx", values, total_stride, strict=True):
            if value % step:
                raise ArgumentError(
                    f"{name} {value} along {axis} is not a multiple of the network's total stride {step}; "
                    f"use {-(-value // step) * step}"
                )


def reflect(index: Array, length: int) -> Array:
    """Indices mirrored into an axis of `length` voxels, at the centre of its first and last voxel, any number of times.

    Examples
    --------
    >>> reflect(np.arange(-3, 7), 4)
    array([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    >>> reflect(np.arange(-2, 3), 1)
    array([0, 0, 0, 0, 0])
    """
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = index % period
    mirrored: Array = np.minimum(folded, period - folded)
    return mirrored


def peak_bytes(
    lattice: Lattice,
    core_shape: Triple,
    *,
    itemsize: int,
    channels: int,
    out_bytes: int = 1,
    batch: int = 1,
    threads: int = 1,
) -> int:
    """Bytes that `stitch` holds at most in one process, for a core of this shape anywhere in the volume.

    threads * (slab + result) + one accumulator (blend) + one batch in and out as float32. What the network itself
    needs between its layers comes on top.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    core_shape : (z, y, x)
        Voxels of a core.
    itemsize : int
        Bytes of a voxel that is read.
    channels : int
        Classes of the network.
    out_bytes : int
        Bytes of the result for each voxel: 1 for labels, 1 + classes with probabilities.
    batch, threads : int
        Windows in a batch; blocks at work in the process at once.

    Examples
    --------
    >>> lattice = crop_lattice((512, 512, 512), (128, 128, 128), (16, 16, 16))
    >>> peak_bytes(lattice, (96, 96, 96), itemsize=1, channels=2) == 224**3 + 96**3 + 4 * 3 * 128**3
    True
    """
    core = math.prod(min(c, n) for c, n in zip(core_shape, lattice.shape, strict=True))
    slab = math.prod(_widest(lattice, axis, core_shape[axis]) for axis in range(3))
    accumulator = 0 if lattice.mode == "crop" else 4 * (channels + 1) * core
    shared = batch * 4 * (math.prod(lattice.input_shape) + channels * math.prod(lattice.window))
    return threads * (slab * itemsize + core * out_bytes) + accumulator + shared


def _widest(lattice: Lattice, axis: int, core: int) -> int:
    """Longest stretch along an axis that a core of this length can need, wherever it starts."""
    support = lattice.window[axis] - 2 * lattice.halo[axis]
    count = (core + support - 2) // lattice.stride[axis] + 1
    context = lattice.context if axis == 0 else 0
    length = (count - 1) * lattice.stride[axis] + lattice.window[axis] + 2 * context
    return min(length, lattice.shape[axis])
