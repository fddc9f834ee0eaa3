"""Regions of a label volume: the voxels whose label is one of several codes.

Every kernel that works on a region takes the labels and the codes, never a mask, so that the volume
is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Box, triple

U8 = np.uint8


def plane_counts(
    labels: NDArray[np.uint8], codes: Sequence[int], axis: int, core: Box | None = None
) -> NDArray[np.int64]:
    """Number of voxels of a region in every plane of `core` along `axis`.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 or bool
        Label of each voxel.
    codes : sequence of int
        Labels that belong to the region.
    axis : int
        0, 1 or 2 for planes along z, y or x.
    core : Box, optional
        Voxels to count; by default all.

    Returns
    -------
    (core.shape[axis],) int64
        Voxels of the region in each plane.

    Raises
    ------
    ArgumentError
        If the labels are not a 3-D array of uint8 or bool, `codes` is empty or out of 0..255,
        `axis` is not an axis, or `core` is empty or exceeds the array.

    Examples
    --------
    >>> labels = np.zeros((2, 3, 4), np.uint8)
    >>> labels[1, :2] = 5
    >>> plane_counts(labels, [5], axis=0).tolist(), plane_counts(labels, [5], axis=1).tolist()
    ([0, 8], [4, 4, 0])
    """
    if axis not in (0, 1, 2):
        raise ArgumentError(f"axis is {axis!r}; use 0 for z, 1 for y, 2 for x")
    labels, core = as_labels(labels), as_core(labels, core)
    out = np.zeros(core.shape[axis], np.int64)
    _plane_counts(labels, core.start, core.stop, as_codes(codes), axis, out)
    return out


def as_labels(labels: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the labels as contiguous uint8, copied only if strided, or raise `ArgumentError`."""
    array = np.asarray(labels)
    if array.ndim != 3 or array.dtype not in (np.uint8, np.bool_):
        raise ArgumentError(
            f"labels are {array.dtype} of shape {array.shape}; expected 3-D uint8 or bool (z, y, x)"
        )
    return np.ascontiguousarray(array).view(np.uint8)


def as_codes(codes: Sequence[int]) -> NDArray[np.uint8]:
    """Return the codes of a region as uint8, or raise `ArgumentError` if none or not in 0..255."""
    values = [int(code) for code in codes]
    if not values or min(values) < 0 or max(values) > 255:
        raise ArgumentError(
            f"codes of a region are {values}; give at least one, each from 0 to 255"
        )
    return np.array(values, np.uint8)


def as_core(labels: NDArray[np.uint8], core: Box | None) -> Box:
    """Return `core` (default: the whole array), or raise `ArgumentError` if empty or outside."""
    whole = Box.whole(triple(labels.shape))
    if core is None:
        core = whole
    if core.size == 0 or core.clip(whole) != core:
        raise ArgumentError(
            f"core {core.start}..{core.stop} is empty or leaves the labels of shape {labels.shape}"
        )
    return core


def clamped(start: int, stop: int, pad: int, length: int) -> NDArray[np.int64]:
    """Indices `start - pad` .. `stop + pad - 1`, clamped to an axis of `length` voxels.

    Parameters
    ----------
    start, stop : int
        Range on the axis.
    pad : int
        Number of indices before and after the range.
    length : int
        Voxels along the axis.

    Examples
    --------
    >>> clamped(0, 3, 2, 4).tolist()
    [0, 0, 0, 1, 2, 3, 3]
    """
    return np.clip(np.arange(start - pad, stop + pad), 0, length - 1)


# The loops below run over the size of a slice that starts at zero: this allows the compiler to
# prove that no index is negative, and to use vector instructions (measured: 0.17 against 0.85 ns
# per voxel for the masks of four rows).
@nb.njit(nogil=True, cache=True)
def mask_row(
    row: NDArray[np.uint8],
    start: int,
    stop: int,
    pad: int,
    codes: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write 1 where `row[start - pad : stop + pad]` is in the region, otherwise 0.

    Outside the row, its border voxels are repeated.

    Parameters
    ----------
    row : (X,) uint8
        Labels.
    start, stop, pad : int
        Range of the row, and voxels before and after it.
    codes : array of uint8
        Labels that belong to the region.
    out : (stop - start + 2 pad,) uint8
        Output: the mask.
    """
    inner = out[pad : pad + stop - start]
    source = row[start:stop]
    for x in range(inner.size):
        inner[x] = U8(source[x] == codes[0])
    for k in range(1, codes.size):
        code = codes[k]
        for x in range(inner.size):
            inner[x] = inner[x] | U8(source[x] == code)
    for p in range(pad):
        out[p] = _is_member(row[max(start - pad + p, 0)], codes)
        out[out.size - 1 - p] = _is_member(row[min(stop + pad - 1 - p, row.size - 1)], codes)


@nb.njit(nogil=True, cache=True)
def _is_member(label: np.uint8, codes: NDArray[np.uint8]) -> np.uint8:
    for code in codes:
        if label == code:
            return U8(1)
    return U8(0)


@nb.njit(nogil=True, cache=True)
def _add_row(mask: NDArray[np.uint8], columns: NDArray[np.int64]) -> None:
    for x in range(mask.size):
        columns[x] += mask[x]


@nb.njit(nogil=True, cache=True)
def _row_sum(mask: NDArray[np.uint8]) -> np.int64:
    total = np.int64(0)
    for x in range(mask.size):
        total += np.int64(mask[x])
    return total


@nb.njit(nogil=True, cache=True)
def _plane_counts(
    labels: NDArray[np.uint8],
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    codes: NDArray[np.uint8],
    axis: int,
    out: NDArray[np.int64],
) -> None:
    mask = np.empty(stop[2] - start[2], np.uint8)
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            mask_row(labels[z, y], start[2], stop[2], 0, codes, mask)
            if axis == 2:
                _add_row(mask, out)
            else:
                out[z - start[0] if axis == 0 else y - start[1]] += _row_sum(mask)
