"""Median and non-local means of a block, with the same bits wherever the block begins.

Both look at a voxel's neighbours within a halo and no further. The border of the volume is a mirror:
the array is given up to there, and repeated backwards from its last voxel on.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.image.phase_model import Floats, Grey
from tim3d.lazy import ndimage

# Grey values are compared in steps of a sixteenth of the noise, and differences above 16 times the
# noise are taken as that: sums of squares over 257 voxels stay below 2**24, exact in float32.
STEPS = 16
_FARTHEST = np.float32(255)
_LARGEST_PATCH = 257
# Weights are read from a table of the mean square difference, which ends where they fall below this.
_TABLE = 2048
_LEAST_WEIGHT = 1e-3


def reach(length_nm: float, spacing_nm: tuple[float, float, float]) -> Triple:
    """Voxels along each axis within a distance, rounded to the nearest; 0 along coarse axes.

    >>> reach(20.0, (50.0, 10.0, 5.0))
    (0, 2, 4)
    """
    if not (math.isfinite(length_nm) and length_nm >= 0):
        raise ArgumentError(f"a distance must be 0 or more nanometres, got {length_nm}")
    return triple(math.floor(length_nm / edge + 0.5) for edge in spacing_nm)


def median(grey: Grey, radius: Triple) -> Grey:
    """Median over a box of 2 r + 1 voxels along each axis, in the type of the grey values.

    Noise falls to about 1.25 / sqrt(n) over n voxels; straight edges stay sharp, corners and
    features thinner than r are lost. The halo is the radius.

    Parameters
    ----------
    grey : array (z, y, x)
        Grey values.
    radius : (z, y, x)
        Voxels to either side.

    Examples
    --------
    >>> median(np.array([[[5, 5, 99, 5, 7, 7]]], np.uint8), (0, 0, 1)).tolist()
    [[[5, 5, 5, 7, 7, 7]]]
    """
    size = [2 * r + 1 for r in radius]
    return np.asarray(ndimage.median_filter(grey, size=size, mode="reflect"))


def nonlocal_means(
    grey: Grey, noise: float, search: Triple, patch: Triple, strength: float = 0.6
) -> Floats:
    """Mean of the voxels nearby whose surroundings look alike, float32 (z, y, x).

    A neighbour within the search box counts exp(-max(d² - 2 s², 0) / (strength s)²), where d² is the
    mean square difference of the two patches and s the standard deviation of the noise. The halo is
    search plus patch.

    Parameters
    ----------
    grey : array (z, y, x)
        Grey values.
    noise : float
        Standard deviation of the noise in grey levels.
    search, patch : (z, y, x)
        Voxels to either side of the search box and of the patches.
    strength : float
        Width of the weights in standard deviations of the noise.

    Raises
    ------
    ArgumentError
        If noise or strength is not positive, or the patch has more than 257 voxels.

    Notes
    -----
    Integral images, which make fast implementations fast, are running sums: in floats their last
    bits depend on where the array begins. Here patches are compared in whole sixteenths of the noise,
    whose sums are exact, and voxels are added in a fixed order.

    References
    ----------
    Buades, Coll, Morel, Multiscale Model. Simul. 4 (2005) 490. DOI 10.1137/040616024

    Examples
    --------
    >>> noisy = np.random.default_rng(0).normal(100, 10, (1, 40, 40))
    >>> calm = nonlocal_means(noisy, noise=10.0, search=(0, 5, 5), patch=(0, 1, 1))
    >>> bool(calm.std() < 3)
    True
    """
    if not (math.isfinite(noise) and noise > 0) or not strength > 0:
        raise ArgumentError(
            f"non-local means needs noise and strength above 0, got {noise} and {strength}"
        )
    check_patch(patch)
    halo = [(s + p, s + p) for s, p in zip(search, patch, strict=True)]
    wide = np.pad(grey.astype(np.float32), halo, mode="symmetric")
    steps = np.rint(wide * np.float32(STEPS / noise))
    weights, per_step = _weights(patch, strength)
    out = np.empty(grey.shape, np.float32)
    _average(wide, steps, np.array(search), np.array(patch), weights, per_step, out)
    return out


def check_patch(patch: Triple) -> None:
    """Raise `ArgumentError` if a patch has more than 257 voxels."""
    if math.prod(2 * p + 1 for p in patch) > _LARGEST_PATCH:
        raise ArgumentError(
            f"a patch of {patch} voxels to either side has more than {_LARGEST_PATCH}"
        )


def _weights(patch: Triple, strength: float) -> tuple[Floats, np.float32]:
    """Table of weights, and its entries for each squared step summed over a patch."""
    last = 2 + strength**2 * math.log(1 / _LEAST_WEIGHT)
    squares = np.arange(_TABLE) * (last / _TABLE)
    table = np.exp(-np.maximum(squares - 2, 0) / strength**2).astype(np.float32)
    voxels = math.prod(2 * p + 1 for p in patch)
    return np.append(table, np.float32(0)), np.float32(_TABLE / last / (voxels * STEPS**2))


@nb.njit(nogil=True, cache=True)
def _average(wide, steps, search, patch, weights, per_step, out):  # type: ignore[no-untyped-def]
    planes, rows, columns = out.shape
    squares = np.empty((rows + 2 * patch[1], columns + 2 * patch[2]), np.float32)
    tall = np.empty(squares.shape[1], np.float32)
    entries, place = np.empty(columns, np.float32), np.empty(columns, np.int32)
    last = len(weights) - 1
    total = np.empty((rows, columns), np.float32)
    for z in range(planes):
        out[z] = 0
        total[:] = 0
        for dz in range(-search[0], search[0] + 1):
            plane = wide[z + dz + search[0] + patch[0]]
            for dy in range(-search[1], search[1] + 1):
                for dx in range(-search[2], search[2] + 1):
                    _square(steps, z, dz, dy, dx, search, patch, squares)
                    tall[:] = 0
                    for y in range(2 * patch[1]):
                        tall += squares[y]
                    y0, x0 = dy + search[1] + patch[1], dx + search[2] + patch[2]
                    for y in range(rows):
                        _lookup(squares, y, patch, tall, per_step, last, entries, place)
                        _add_row(plane[y + y0], x0, weights, place, out[z, y], total[y])
        for y in range(rows):
            for x in range(columns):
                out[z, y, x] /= total[y, x]


@nb.njit(nogil=True, cache=True)
def _square(steps, z, dz, dy, dx, search, patch, squares):  # type: ignore[no-untyped-def]
    """Squared differences to the shifted plane, added over the planes of a patch."""
    rows, columns = squares.shape
    y0, x0 = search[1], search[2]
    for y in range(rows):
        row = squares[y]
        row[:] = 0
        for k in range(2 * patch[0] + 1):
            here = steps[z + k + search[0], y + y0, x0:]
            there = steps[z + k + search[0] + dz, y + y0 + dy, x0 + dx :]
            for x in range(columns):
                d = abs(here[x] - there[x])
                d = d if d < _FARTHEST else _FARTHEST
                row[x] += d * d


@nb.njit(nogil=True, cache=True)
def _lookup(squares, y, patch, tall, per_step, last, entries, place):  # type: ignore[no-untyped-def]
    """Entries in the table of weights for a row; all sums are whole numbers, so exact."""
    tall += squares[y + 2 * patch[1]]
    entries[:] = 0
    for k in range(2 * patch[2] + 1):
        for x in range(len(entries)):
            entries[x] += tall[x + k]
    limit = np.float32(last)
    for x in range(len(place)):
        entry = entries[x] * per_step
        place[x] = np.int32(entry if entry < limit else limit)
    tall -= squares[y]


@nb.njit(nogil=True, cache=True)
def _add_row(grey, shift, weights, place, out, total):  # type: ignore[no-untyped-def]
    """Add the neighbours of a row of voxels, each with the weight of its patch."""
    for x in range(len(out)):
        weight = weights[place[x]]
        out[x] += weight * grey[x + shift]
        total[x] += weight


def nonlocal_halo(search: Triple, patch: Triple) -> Triple:
    """Voxels beyond a core that its non-local means depend on.

    >>> nonlocal_halo((0, 5, 5), (1, 1, 1))
    (1, 6, 6)
    """
    return triple(s + p for s, p in zip(search, patch, strict=True))
