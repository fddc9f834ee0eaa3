"""Labels and particles of a slab with some voxels around it, as the normals of its interfaces need.

Beyond the volume the voxels of its border are repeated, or those of the far side follow where it is
periodic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.kernels.conduction.arrays import U8
from tim3d.kernels.conduction.ghost_layers import Wrap

# Voxels around a slab: the window of a normal reaches 3 voxels, and a face has a voxel beyond it.
MARGIN = 4
# Parts below this one are phases, those from it on are particles.
PARTICLES = 256
MOST_PARTICLES = 2**26

Read = Callable[[int, int, NDArray[Any]], None]


@dataclass(frozen=True)
class Surroundings:
    """A slab and `MARGIN` voxels on each side.

    Attributes
    ----------
    labels : (nz+8, ny+8, nx+8) uint8
        Label of each voxel.
    parts : (nz+8, ny+8, nx+8) uint8 or uint32
        What is one body: a particle, 256 and more, or a phase, its label.
    wrap : three bools
        Whether the volume is periodic along each axis.
    last : bool
        Whether the slab ends the volume.
    """

    labels: U8
    parts: NDArray[Any]
    wrap: Wrap
    last: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the slab."""
        z, y, x = (n - 2 * MARGIN for n in self.labels.shape)
        return z, y, x

    @property
    def inner(self) -> U8:
        """Labels of the slab."""
        return self.labels[(slice(MARGIN, -MARGIN),) * 3]


def surroundings(
    read: Read,
    read_particles: Read | None,
    owned: range,
    shape: tuple[int, int, int],
    wrap: Wrap,
    touching: frozenset[int],
) -> Surroundings:
    """Read a slab and what is around it.

    Parameters
    ----------
    read, read_particles : callable
        ``read(start, stop, out)`` writes labels, or numbers of particles, of these planes to `out`.
    owned : range
        Planes of the slab.
    shape : (Z, Y, X)
        Voxels of the whole volume.
    wrap : three bools
        Whether the volume is periodic along each axis.
    touching : frozenset of int
        Labels of which particles are distinguished.
    """
    labels = _padded(read, owned, shape, wrap, np.uint8)
    parts: NDArray[Any] = labels
    if read_particles is not None and touching:
        parts = _padded(read_particles, owned, shape, wrap, np.uint32)
        divided = np.isin(np.arange(256), list(touching))
        for label, part in zip(labels, parts, strict=True):
            _check_numbers(part)
            apart = divided[label] & (part > 0)
            part[...] = np.where(apart, part + np.uint32(PARTICLES), label)
    return Surroundings(labels, parts, wrap, owned.stop == shape[0])


def surroundings_bytes(shape: tuple[int, int, int], particles: bool) -> int:
    """Bytes of a slab with what is around it, and of what is made from it before the solution.

    Codes and levels of one byte, and components of five, beside labels and particles with their
    margin.
    """
    wide = math.prod(n + 2 * MARGIN for n in shape)
    return (5 if particles else 1) * wide + 7 * math.prod(n + 2 for n in shape)


def as_particles(numbers: NDArray[Any]) -> NDArray[np.uint32]:
    """Numbers of particles as uint32; those out of range become ones that are refused.

    >>> as_particles(np.array([0, 7, -1, 2**40])).tolist()
    [0, 7, 4294967295, 4294967295]
    """
    strays = (numbers < 0) | (numbers > MOST_PARTICLES)
    return np.where(strays, np.uint32(2**32 - 1), numbers.astype(np.uint32))


def _check_numbers(particles: NDArray[np.uint32]) -> None:
    if particles.max() > MOST_PARTICLES:
        raise InputError(
            f"a particle has a number that is not from 1 to {MOST_PARTICLES}, or 0 for none. "
            "Number them in order, as tim3d label --keep does"
        )


def _padded(
    read: Read, owned: range, shape: tuple[int, int, int], wrap: Wrap, dtype: Any
) -> NDArray[Any]:
    """Planes of a slab with a margin; those beyond the volume are read once more."""
    out = np.empty((len(owned) + 2 * MARGIN, *(n + 2 * MARGIN for n in shape[1:])), dtype)
    inside = out[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    low, high = max(owned.start - MARGIN, 0), min(owned.stop + MARGIN, shape[0])
    first = owned.start - MARGIN
    read(low, high, inside[low - first : high - first])
    for plane in (*range(first, low), *range(high, owned.stop + MARGIN)):
        (source,) = sources(range(plane, plane + 1), shape[0], wrap[0])
        read(source, source + 1, inside[plane - first : plane - first + 1])
    for axis in (1, 2):
        turned = np.moveaxis(out, axis, 0)
        place = range(-MARGIN, shape[axis] + MARGIN)
        for row, source in enumerate(sources(place, shape[axis], wrap[axis])):
            if source != place[row]:
                turned[row] = turned[source + MARGIN]
    return out


def sources(places: range, count: int, periodic: bool) -> list[int]:
    """Index of the voxel that stands at each of these places along an axis.

    >>> sources(range(-2, 5), 3, False), sources(range(-2, 5), 3, True)
    ([0, 0, 0, 1, 2, 2, 2], [1, 2, 0, 1, 2, 0, 1])
    """
    return [n % count if periodic else min(max(n, 0), count - 1) for n in places]
