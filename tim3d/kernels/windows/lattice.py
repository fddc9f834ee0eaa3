"""Positions of a network's windows over a volume: one lattice, fixed in volume coordinates.

Per axis, window `k` starts at voxel `k * stride - offset`: in crop mode for every `k` that keeps a
voxel of the volume, in blend mode for k = 0, 1, ... up to the first that reaches the far border.
Beyond the border of the volume, a window reads the volume mirrored at its border voxels. The
lattice does not depend on the blocks, so every block gets the same values for a window.

*Crop*, along one axis of 12 voxels, one character a voxel (window 8, halo 2, hence stride 4 and
offset 2; `v` voxel, `m` mirrored voxel, `h` read and discarded, `k` kept)::

    volume      mmvvvvvvvvvvvvmm
    window 0    hhkkkkhh            starts at voxel -2, keeps 0 to 3
    window 1        hhkkkkhh        starts at voxel  2, keeps 4 to 7
    window 2            hhkkkkhh    starts at voxel  6, keeps 8 to 11
    core              cccccc        voxels 4 to 9 of a block: touched by windows 1 and 2
    read_box        rrrrrrrrrr      voxels 2 to 11; 12 and 13 are the mirrored 10 and 9

*Blend*, the same axis (window 8, overlap 4, hence stride 4, offset 0; all of a window counts,
weighted by a Gaussian about its middle)::

    volume      vvvvvvvvvvvv
    window 0    _.-^^-._            starts at voxel  0
    window 1        _.-^^-._        starts at voxel  4, and ends at the border: the last
    core          cccccc            voxels 2 to 7 of a block: touched by windows 0 and 1
    read_box    rrrrrrrrrrrr        voxels 0 to 11

A window -1 from voxel -4 on would only give the four voxels at the border a second value, mostly of
mirrored voxels, and there would be twice as many windows along this axis.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Lattice of windows; create it with `crop_lattice`, `blend_lattice` or `slice_lattice`.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    window : (z, y, x)
        Voxels that the network outputs for one window; 1 in z for a network that works on slices.
    stride : (z, y, x)
        Distance between neighbouring windows.
    offset : (z, y, x)
        Window 0 starts this many voxels before the origin of the volume; in crop mode this is also
        the halo.
    mode : {"crop", "blend"}
        Weight of the voxels of a window: 0 or 1 (crop), or a Gaussian (blend).
    context : int
        Additional slices before and after the window that the network reads as channels (2.5-D).

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
            raise ArgumentError(
                f"a lattice has positive edges and no negative offset or context: {self}"
            )
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
            raise ArgumentError(
                f"slices as channels need windows one slice thick, not {self.window[0]}"
            )

    @property
    def halo(self) -> Triple:
        """Border of a window that is discarded, in voxels; zero in blend mode."""
        return self.offset if self.mode == "crop" else (0, 0, 0)

    @property
    def input_shape(self) -> Triple:
        """Shape of the network's input for one window."""
        return (self.window[0] + 2 * self.context, self.window[1], self.window[2])

    def description(self) -> dict[str, Any]:
        """Everything that decides where windows lie but for the shape of the volume, for a record."""
        found = {name: value for name, value in asdict(self).items() if name != "shape"}
        # Before, windows that began outside of the volume were blended too.
        return found | ({"ends": "inside"} if self.mode == "blend" else {})

    def turned(self) -> Lattice:
        """The same windows over a volume whose y and x are exchanged."""
        z, y, x = zip(self.shape, self.window, self.stride, self.offset, strict=True)
        shape, window, stride, offset = (triple(one) for one in zip(z, x, y, strict=True))
        return replace(self, shape=shape, window=window, stride=stride, offset=offset)

    def box(self, index: Triple) -> Box:
        """Voxels of window `index`; parts of it may lie outside the volume."""
        start = triple(k * s - o for k, s, o in zip(index, self.stride, self.offset, strict=True))
        return Box(start, triple(a + p for a, p in zip(start, self.window, strict=True)))

    def support(self, index: Triple) -> Box:
        """Voxels to which window `index` contributes a value."""
        return self.box(index).grow(triple(-h for h in self.halo))

    @property
    def counts(self) -> Triple:
        """Number of windows along each axis that keep a voxel of the volume, in crop mode."""
        return triple(map(self.along, range(3)))

    def before(self, index: Triple, axis: int) -> Triple:
        """Index of the window before this one along an axis."""
        return triple(k - (a == axis) for a, k in enumerate(index))

    def after(self, index: Triple, axis: int) -> Triple:
        """Index of the window after this one along an axis."""
        return triple(k + (a == axis) for a, k in enumerate(index))

    def facing(self, index: Triple, axis: int) -> tuple[Box, Box]:
        """Boxes of the volume in which the window before this one and this one are compared.

        Both times the voxels that both see, inside the volume; or the two planes that touch, if
        the windows do not overlap along the axis.

        >>> crop_lattice((9, 9, 9), (9, 9, 5), (0, 0, 1)).facing((0, 0, 1), 2)[0]
        Box(start=(0, 0, 2), stop=(9, 9, 4))
        """
        low, high = self.box(self.before(index, axis)), self.box(index)
        seen, touching = high.clip(Box.whole(self.shape)), high.start[axis]
        if low.stop[axis] > touching:
            return seen.clip(low), seen.clip(low)
        plane = Box(
            seen.start, triple(touching + 1 if a == axis else n for a, n in enumerate(seen.stop))
        )
        return plane.shift(triple(-(a == axis) for a in range(3))), plane

    def windows(self, core: Box) -> list[Triple]:
        """Indices of all windows that contribute to a voxel of `core`, in lexicographic order."""
        z, y, x = (self._touching(axis, core.start[axis], core.stop[axis]) for axis in range(3))
        return list(product(z, y, x))

    def read_box(self, core: Box) -> Box:
        """Voxels of the volume that the windows of `core` read, mirrored ones included."""
        ends = [self._seen(axis, core.start[axis], core.stop[axis]) for axis in range(3)]
        return Box(triple(low for low, _ in ends), triple(high for _, high in ends))

    def _touching(self, axis: int, low: int, high: int) -> range:
        stride, first = self.stride[axis], self.halo[axis] - self.offset[axis]
        length = self.window[axis] - 2 * self.halo[axis]
        touching = range((low - first - length) // stride + 1, -((first - high) // stride))
        if self.mode == "crop":
            return touching
        return range(max(0, touching.start), min(self.along(axis), touching.stop))

    def along(self, axis: int) -> int:
        """Number of windows along an axis that contribute to a voxel of the volume."""
        end = self.window[axis] - self.halo[axis] - self.offset[axis]  # of what window 0 keeps
        return 1 + max(0, -((end - self.shape[axis]) // self.stride[axis]))

    def _seen(self, axis: int, low: int, high: int) -> tuple[int, int]:
        touching, context = self._touching(axis, low, high), self.context if axis == 0 else 0
        start = touching[0] * self.stride[axis] - self.offset[axis] - context
        stop = touching[-1] * self.stride[axis] - self.offset[axis] + self.window[axis] + context
        # Mirror the range instead of clipping it: past a thin last block the mirrored part reaches
        # back beyond the start of the window.
        seen = reflect(np.arange(start, stop), self.shape[axis])
        return int(seen.min()), int(seen.max()) + 1


def check_windows(window: tuple[int, ...], halo: tuple[int, ...]) -> None:
    """Raise `ArgumentError` unless edges and halo of windows in voxels leave something of a window.

    >>> check_windows((64, 64), (8, 8))
    """
    edges = ",".join(map(str, window))
    if min(window) < 1:
        raise ArgumentError(f"--window {edges}: every edge is 1 voxel or more")
    if min(halo) < 0:
        raise ArgumentError(f"--halo {min(halo)}: a halo is 0 voxels or more")
    if any(2 * h >= p for p, h in zip(window, halo, strict=True) if h):
        raise ArgumentError(
            f"a halo of {max(halo)} voxels on each side leaves nothing of windows of {edges}: --halo below half of the "
            "shortest edge, or a larger --window"
        )


def crop_lattice(shape: Triple, window: Triple, halo: Triple, context: int = 0) -> Lattice:
    """Lattice of windows that keep only their inner part, without `halo`; these parts tile space.

    Parameters
    ----------
    shape, window, halo : (z, y, x)
        Voxels of the volume, of a window, and of the border that is discarded on each side.
    context : int
        See `Lattice`.

    Raises
    ------
    ArgumentError
        If the halo leaves nothing of the window.

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
        raise ArgumentError(
            f"a halo of {halo} leaves nothing of a window of {window}; use a larger window"
        )
    return Lattice(triple(shape), triple(window), stride, triple(halo), "crop", context)


def blend_lattice(shape: Triple, window: Triple, overlap: Triple, context: int = 0) -> Lattice:
    """Lattice of windows that share `overlap` voxels with each neighbour and are averaged there.

    Parameters
    ----------
    shape, window, overlap : (z, y, x)
        Voxels of the volume, of a window, and shared by neighbouring windows.
    context : int
        See `Lattice`.

    Examples
    --------
    >>> blend_lattice((10, 100, 100), window=(1, 64, 64), overlap=(0, 32, 32)).stride
    (1, 32, 32)
    """
    stride = triple(p - v for p, v in zip(window, overlap, strict=True))
    return Lattice(triple(shape), triple(window), stride, (0, 0, 0), "blend", context)


def slice_lattice(shape: Triple, total_stride: int, context: int = 0) -> Lattice:
    """Lattice of one window per slice, mirrored at the far ends up to a multiple of `total_stride`.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    total_stride : int
        Factor by which the network reduces the resolution of a slice before it restores it.
    context : int
        See `Lattice`.

    Examples
    --------
    >>> slice_lattice((10, 250, 256), total_stride=32).window
    (1, 256, 256)
    """
    _, y, x = (-(-n // total_stride) * total_stride for n in shape)
    return crop_lattice(shape, (1, y, x), (0, 0, 0), context)


def require_phase(lattice: Lattice, total_stride: Triple) -> None:
    """Raise unless window, stride and offset are multiples of the network's total stride.

    A network that halves its input d times is shift-invariant only for shifts by multiples of 2**d
    voxels, and no halo repairs that: its pooling cells must lie at the same voxels in every window.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    total_stride : (z, y, x)
        Factor by which the network reduces the resolution along each axis.

    Raises
    ------
    ArgumentError
        If a length is not a multiple; names the axis and the next larger length that is.

    Examples
    --------
    >>> require_phase(crop_lattice((9, 99, 99), (1, 64, 64), (0, 20, 20)), (1, 8, 8))
    Traceback (most recent call last):
    ...
    tim3d.errors.ArgumentError: halo 20 along y is not a multiple of the network's total stride 8; use 24
    """
    shift = "halo" if lattice.mode == "crop" else "offset"
    for name, values in (
        ("window", lattice.window),
        (shift, lattice.offset),
        ("stride", lattice.stride),
    ):
        for axis, value, step in zip("zyx", values, total_stride, strict=True):
            if value % step:
                raise ArgumentError(
                    f"{name} {value} along {axis} is not a multiple of the network's total stride {step}; "
                    f"use {-(-value // step) * step}"
                )


def reflect(index: Array, length: int) -> Array:
    """Indices mirrored into an axis of `length` voxels, as often as needed.

    The mirrors are the centres of the first and of the last voxel, which are not repeated.

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
    """Peak memory of `stitch` in one process, in bytes, for a core of this shape at any position.

    threads * (slab + result) + one accumulator (blend) + one batch in and out as float32. The
    activations of the network itself are not included.

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
    """Largest extent along an axis, in voxels, that a core of this length can need."""
    support = lattice.window[axis] - 2 * lattice.halo[axis]
    count = (core + support - 2) // lattice.stride[axis] + 1
    context = lattice.context if axis == 0 else 0
    length = (count - 1) * lattice.stride[axis] + lattice.window[axis] + 2 * context
    return min(length, lattice.shape[axis])
