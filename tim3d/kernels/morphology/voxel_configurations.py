"""Histogram of the 256 configurations of 2x2x2 voxels.

Volume, surface, curvature and Euler number all follow from this one count.

A configuration of eight voxels belongs to a corner of the voxel grid. Bit `4 dz + 2 dy + dx` of its
code is 1 where the voxel at offset (dz, dy, dx) belongs to the region: code 0 is empty, 255 full,
`255 - code` the complement::

          6-----7
         /|    /|         bit of each voxel; z points up, y to the back, x to the right
        4-----5 |
        | 2---|-3
        |/    |/
        0-----1
"""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology.phase_mask import U8, as_codes, as_core, as_labels, clamped, mask_row

HALO: Triple = (1, 1, 1)
BOUNDARIES = ("mirror", "zero", "inside", "periodic")


def octant_histogram(
    labels: NDArray[np.uint8], codes: Sequence[int], core: Box | None = None
) -> NDArray[np.int64]:
    """Histogram of the configurations at the octants of the core's voxels.

    Every voxel has eight octants, one at each of its corners. A corner therefore counts 8 inside
    the core, 4, 2 or 1 on its faces, edges and corners, and the histograms of blocks that tile a
    volume add up to the histogram of the volume, bit for bit. One voxel around the core is read;
    the end of the array is taken as the end of the volume, where the border voxel is mirrored.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 or bool
        Label of each voxel.
    codes : sequence of int
        Labels that belong to the region.
    core : Box, optional
        Voxels whose octants are counted; by default all.

    Returns
    -------
    (256,) int64
        Number of octants per configuration; the sum is 8 times the voxels of the core.

    Raises
    ------
    ArgumentError
        As for `tim3d.kernels.morphology.phase_mask.plane_counts`.

    Notes
    -----
    Mirroring extends the volume to a periodic one of twice the edge lengths, so a density from this
    histogram is the exact density of the periodic volume. A pair of neighbours along an axis counts
    once, also at the border: face counts are exact in the open box. One histogram for all local
    functionals: Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science,
    Wiley 2000.

    Examples
    --------
    >>> hist = octant_histogram(np.array([[[0, 1, 1]]], np.uint8), codes=[1])
    >>> {code: int(n) for code, n in enumerate(hist) if n}      # x: 0|1 is code 0b10101010
    {0: 4, 170: 8, 255: 12}
    """
    labels = as_labels(labels)
    core = as_core(labels, core)
    rows, ends = _count(labels, core, codes)
    octants = np.array([4, 2, 1]) @ (2 * rows - ends)
    return np.asarray(octants, np.int64)


def configuration_histogram(
    labels: NDArray[np.uint8], codes: Sequence[int], boundary: str = "mirror"
) -> NDArray[np.int64]:
    """Histogram of the configurations of a whole volume under a boundary convention.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 or bool
        Label of each voxel.
    codes : sequence of int
        Labels that belong to the region.
    boundary : {"mirror", "zero", "inside", "periodic"}
        ``mirror``: `octant_histogram` (8 counts per full corner). The others count every corner
        once: ``zero`` with the region ending at the border, (Z+1)(Y+1)(X+1) corners; ``inside``
        only corners with eight voxels in the volume, (Z-1)(Y-1)(X-1); ``periodic`` with opposite
        borders adjacent, Z Y X. All but ``mirror`` and ``inside`` copy the volume once.

    Returns
    -------
    (256,) int64
        Number of counts per configuration.

    Raises
    ------
    ArgumentError
        If the boundary is not one of these, an edge is below 2 voxels for ``inside``, or as for
        `octant_histogram`.

    Examples
    --------
    >>> ball = np.ones((1, 1, 1), np.uint8)
    >>> [int(configuration_histogram(ball, [1], b).sum()) for b in ("mirror", "zero", "periodic")]
    [8, 8, 1]
    """
    if boundary not in BOUNDARIES:
        raise ArgumentError(f"boundary is {boundary!r}; use one of {', '.join(BOUNDARIES)}")
    labels = as_labels(labels)
    if boundary == "mirror":
        return octant_histogram(labels, codes)
    if boundary == "zero":
        labels, codes = np.pad(np.isin(labels, as_codes(codes)).view(np.uint8), 1), (1,)
    if boundary == "periodic":
        labels = np.pad(labels, (1, 0), mode="wrap")
    if min(labels.shape) < 2:
        raise ArgumentError(
            f"labels of shape {labels.shape} have no corner inside; every edge needs 2 voxels"
        )
    inner = Box((1, 1, 1), triple(n - 1 for n in labels.shape))
    rows, _ = _count(labels, inner, codes)
    return np.asarray(rows.sum(axis=0), np.int64)


def complement(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Histogram of the complement of the region: the bins in reverse order.

    >>> complement(np.arange(256))[0].item()
    255
    """
    return histogram[..., ::-1]


def _count(
    labels: NDArray[np.uint8], core: Box, codes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners by the number of their z and y indices at ends of the core; corners at the x ends."""
    zs, ys = (clamped(core.start[a], core.stop[a], 1, labels.shape[a]) for a in (0, 1))
    rows, ends = np.zeros((3, 8, 256), np.int64), np.zeros((3, 256), np.int64)
    _count_volume(labels, zs, ys, core.start[2], core.stop[2], as_codes(codes), rows, ends)
    return rows.sum(axis=1), ends


@nb.njit(nogil=True, cache=True, forceinline=True)
def _join(
    low: NDArray[np.uint8], high: NDArray[np.uint8], shift: np.uint8, out: NDArray[np.uint8]
) -> None:
    """Put the shifted bits beside the others; inlined, so that the shift is a constant of the loop."""
    for x in range(out.size):
        out[x] = low[x] | (high[x] << shift)


@nb.njit(nogil=True, cache=True)
def _pair_plane(
    plane: NDArray[np.uint8],
    ys: NDArray[np.int64],
    start: int,
    stop: int,
    codes: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Compute codes of bits 0 and 2 for voxels (y, y+1) of a plane, a row for every y corner."""
    low, high = np.empty(out.shape[1], np.uint8), np.empty(out.shape[1], np.uint8)
    mask_row(plane[ys[0]], start, stop, 1, codes, low)
    for j in range(ys.size - 1):
        mask_row(plane[ys[j + 1]], start, stop, 1, codes, high)
        _join(low, high, U8(2), out[j])
        low, high = high, low


@nb.njit(nogil=True, cache=True)
def _tally(code: NDArray[np.uint8], tables: NDArray[np.int64]) -> None:
    """Count codes in eight alternating tables: a run of one code would wait for its last store."""
    t0, t1, t2, t3 = tables[0], tables[1], tables[2], tables[3]
    t4, t5, t6, t7 = tables[4], tables[5], tables[6], tables[7]
    eights = code.size // 8
    for k in range(eights):
        at = np.uint64(8 * k)
        t0[code[at]] += 1
        t1[code[at + np.uint64(1)]] += 1
        t2[code[at + np.uint64(2)]] += 1
        t3[code[at + np.uint64(3)]] += 1
        t4[code[at + np.uint64(4)]] += 1
        t5[code[at + np.uint64(5)]] += 1
        t6[code[at + np.uint64(6)]] += 1
        t7[code[at + np.uint64(7)]] += 1
    for x in range(8 * eights, code.size):
        t0[code[x]] += 1


@nb.njit(nogil=True, cache=True)
def _count_volume(
    labels: NDArray[np.uint8],
    zs: NDArray[np.int64],
    ys: NDArray[np.int64],
    start: int,
    stop: int,
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Fill `rows` (3, 8, 256) and `ends` (3, 256) from planes `zs`, rows `ys` and the x range."""
    low = np.empty((ys.size - 1, stop - start + 2), np.uint8)
    high = np.empty_like(low)
    column, code = np.empty(low.shape[1], np.uint8), np.empty(low.shape[1] - 1, np.uint8)
    last_z, last_y = zs.size - 2, ys.size - 2
    _pair_plane(labels[zs[0]], ys, start, stop, codes, low)
    for i in range(zs.size - 1):
        _pair_plane(labels[zs[i + 1]], ys, start, stop, codes, high)
        for j in range(ys.size - 1):
            _join(low[j], high[j], U8(4), column)
            _join(column[:-1], column[1:], U8(1), code)
            edge = int(i == 0 or i == last_z) + int(j == 0 or j == last_y)
            _tally(code, rows[edge])
            ends[edge, code[0]] += 1
            ends[edge, code[-1]] += 1
        low, high = high, low
