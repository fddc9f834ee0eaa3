"""Labels drawn from probabilities, with errors that reach as far as those of a segmentation do.

A voxel gets the first class whose cumulated probability exceeds ``u = cdf(z)``, with ``z`` a Gaussian
field of unit variance. The probability of every class is kept exactly at every voxel, whatever the
correlation of the field: it decides only which voxels err together (a Gaussian copula). Noise is a
function of the coordinates, so that a box has the same labels alone and in the volume.

References
----------
Nelsen, An Introduction to Copulas (Springer, 2006). DOI 10.1007/0-387-28678-0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tim3d.grid import Box, Triple
from tim3d.kernels.generation.gaussian_field import GaussianField

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]

# Part of a voxel that is as good as no correlation: the kernel is then one voxel wide.
_NO_LENGTH = 1e-3
# Seeds of draws of one seed: 2^32 of them each.
_SEEDS = 2**32


def cumulated(shares: Floats) -> Floats:
    """Probability of a class or one before it, for all classes but the last.

    It is exactly 0 or 1 where only the classes behind it, or only those before, are possible.

    Parameters
    ----------
    shares : (classes, ...) float64
        Probabilities, which add up to 1.

    Examples
    --------
    >>> cumulated(np.array([[0.0, 0.1, 0.5], [0.25, 0.9, 0.5], [0.75, 0.0, 0.0]])).tolist()
    [[0.0, 0.1, 0.5], [0.25, 1.0, 1.0]]
    """
    found = np.cumsum(shares[:-1], axis=0)
    for place, row in enumerate(found):
        row[~shares[place + 1 :].any(axis=0)] = 1
    return np.asarray(found)


@dataclass(frozen=True)
class Draws:
    """Draws of labels from probabilities.

    Parameters
    ----------
    correlation_nm : (lz, ly, lx)
        Distances at which the correlation of the field falls to 1/e; 0 for voxels that err alone.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed from 0 to 2^32 - 1.

    Examples
    --------
    >>> draws = Draws((4.0, 4.0, 4.0), (1.0, 1.0, 1.0), seed=1)
    >>> sure = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    >>> draws.labels(Box((0, 0, 0), (1, 1, 2)), lambda plane: cumulated(sure), 0).tolist()
    [[[1, 0]]]
    """

    correlation_nm: Point
    spacing_nm: Point
    seed: int = 0

    def field(self, number: int) -> GaussianField:
        """Field of one draw."""
        least = [_NO_LENGTH * d for d in self.spacing_nm]
        z, y, x = (max(pair) for pair in zip(self.correlation_nm, least, strict=True))
        return GaussianField((z, y, x), self.spacing_nm, self.seed + _SEEDS * number)

    def labels(self, box: Box, planes: Callable[[int], Floats], number: int) -> Labels:
        """Labels 0, 1, ... of a box in one draw; uint8 of its shape.

        Parameters
        ----------
        box : Box
            Place of the voxels in the volume.
        planes : callable
            ``planes(n)``, the `cumulated` probabilities of plane n of the box.
        number : int
            Number of the draw.
        """
        out = np.zeros(box.shape, np.uint8)
        for place, plane in enumerate(self.field(number).planes(box)):
            u = ndtr(plane.astype(np.float64))
            for one in planes(place):
                out[place] += u >= one
        return out

    def block_bytes(self, core: Triple) -> int:
        """Memory of a draw besides probabilities and labels, in bytes."""
        return self.field(0).block_bytes(core) + 16 * core[1] * core[2]
