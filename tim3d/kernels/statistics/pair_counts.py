"""Pairs of voxels of one region at given displacements, 64 at a time: bits, AND, population count.

A pair belongs to its first voxel and counts if both lie in the region; pairs that leave the volume
do not count. So blocks that tile a volume add up to its counts, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple, triple

WORD = 64
_U = np.uint64
_ONES, _TWOS, _FOURS = _U(0x5555555555555555), _U(0x3333333333333333), _U(0x0F0F0F0F0F0F0F0F)
_BYTES = _U(0x0101010101010101)


def pair_counts(
    labels: NDArray[np.uint8],
    regions: Sequence[Sequence[int]],
    displacements: NDArray[np.int64],
    core: Box | None = None,
) -> NDArray[np.int64]:
    """Count pairs of voxels at each displacement with both in a region.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Label of each voxel. The end of the array is taken as the end of the volume.
    regions : sequence of sequences of int
        Labels that belong to each region.
    displacements : (n, 3) int
        From the first voxel to the second, in voxels along z, y, x; of either sign.
    core : Box, optional
        First voxels (default: all).

    Returns
    -------
    (regions, n) int64
        Pairs.

    Examples
    --------
    >>> line = np.array([[[1, 1, 0, 1]]], np.uint8)
    >>> pair_counts(line, [[1]], np.array([[0, 0, 0], [0, 0, 1], [0, 0, -2], [0, 0, 9]])).tolist()
    [[3, 1, 1, 0]]
    """
    core = core or Box.whole(triple(labels.shape))
    steps = np.ascontiguousarray(displacements, np.int64).reshape(-1, 3)
    pad = int(np.abs(steps[:, 2]).max(initial=0)) // WORD + 2
    found = np.zeros((len(regions), len(steps)), np.int64)
    for region, counts in zip(regions, found, strict=True):
        inside = np.zeros(256, np.uint8)
        inside[list(region)] = 1
        firsts = packed(labels[core.slices], inside, 0)
        _count(firsts, packed(labels, inside, pad), core.start, steps, pad, counts)
    return found


def pairs_within(
    shape: Triple, displacements: NDArray[np.int64], core: Box | None = None
) -> NDArray[np.int64]:
    """Number of pairs at each displacement that begin in the core and end in the volume, (n,).

    >>> pairs_within((1, 1, 4), np.array([[0, 0, 1], [0, 0, -3], [1, 0, 0]])).tolist()
    [3, 1, 0]
    """
    core = core or Box.whole(shape)
    steps = np.asarray(displacements, np.int64).reshape(-1, 3)
    low = np.maximum(core.start, -steps)
    high = np.minimum(core.stop, np.array(shape) - steps)
    return np.asarray(np.maximum(high - low, 0).prod(axis=1))


def packed(labels: NDArray[np.uint8], inside: NDArray[np.uint8], pad: int) -> NDArray[np.uint64]:
    """Rows along x as bits, 64 a word, lowest first, with `pad` empty words at either end.

    >>> packed(np.array([[[1, 0, 1]]], np.uint8), np.arange(256) == 1, 0).tolist()
    [[[5]]]
    """
    z, y, x = labels.shape
    words = np.zeros((z, y, math.ceil(x / WORD) + 2 * pad), np.uint64)
    _pack(np.ascontiguousarray(labels), np.asarray(inside, np.uint8), pad, words)
    return words


@nb.njit(nogil=True, cache=True)
def _pack(
    labels: NDArray[np.uint8], inside: NDArray[np.uint8], pad: int, words: NDArray[np.uint64]
) -> None:
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            row = labels[z, y]
            out = words[z, y, pad:]
            for k in range((width + 63) // 64):
                piece = row[64 * k : min(64 * k + 64, width)]
                word = _U(0)
                for i in range(piece.size):
                    word |= _U(inside[piece[i]]) << _U(i)
                out[k] = word


@nb.njit(nogil=True, cache=True)
def _ones(word: np.uint64) -> np.uint64:
    """Number of bits that are set."""
    word = word - ((word >> _U(1)) & _ONES)
    word = (word & _TWOS) + ((word >> _U(2)) & _TWOS)
    word = (word + (word >> _U(4))) & _FOURS
    return (word * _BYTES) >> _U(56)


@nb.njit(nogil=True, cache=True)
def _both(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> np.uint64:
    """Bits that are set in both rows."""
    total = _U(0)
    for k in range(first.size):
        total += _ones(first[k] & second[k])
    return total


@nb.njit(nogil=True, cache=True)
def _both_shifted(
    first: NDArray[np.uint64], second: NDArray[np.uint64], after: NDArray[np.uint64], shift: int
) -> np.uint64:
    """The same, with the second row moved down by `shift` bits, 1 to 63; `after` is one word on."""
    total = _U(0)
    down, up = _U(shift), _U(64 - shift)
    for k in range(first.size):
        total += _ones(first[k] & ((second[k] >> down) | (after[k] << up)))
    return total


@nb.njit(nogil=True, cache=True)
def _count(
    firsts: NDArray[np.uint64],
    seconds: NDArray[np.uint64],
    start: tuple[int, int, int],
    steps: NDArray[np.int64],
    pad: int,
    counts: NDArray[np.int64],
) -> None:
    depth, height, size = firsts.shape
    for n in range(steps.shape[0]):
        dz, dy = start[0] + steps[n, 0], start[1] + steps[n, 1]
        bit = start[2] + steps[n, 2] + 64 * pad
        if bit < 0 or bit // 64 + size >= seconds.shape[2]:
            continue
        word, shift = bit // 64, bit % 64
        total = _U(0)
        for z in range(max(0, -dz), min(depth, seconds.shape[0] - dz)):
            for y in range(max(0, -dy), min(height, seconds.shape[1] - dy)):
                row = seconds[z + dz, y + dy]
                if shift == 0:
                    total += _both(firsts[z, y], row[word : word + size])
                else:
                    first = firsts[z, y]
                    total += _both_shifted(first, row[word:], row[word + 1 :], shift)
        counts[n] = np.int64(total)
