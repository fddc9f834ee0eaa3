"""Particles of a cell that is repeated: each has a number, also where a face of the volume cuts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.particles import draw_numbers
from tim3d.kernels.generation.point_process import repeated

Floats: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[np.uint32]

MOST = 2**32 - 1


@dataclass(frozen=True)
class Repeating:
    """Particles of a cell that is repeated.

    Parameters
    ----------
    particles : (n, 7) float64
        Centre, polar axis and diameter of each, in nm.
    edges_nm : (z, y, x)
        Edges of the cell; inf along an axis along which it is not repeated.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    aspect : float
        Polar over equatorial axis.
    longest_nm : float
        Longest half axis.
    """

    particles: Floats
    edges_nm: Sequence[float]
    spacing_nm: tuple[float, float, float]
    aspect: float
    longest_nm: float

    def wrapped(self, shape: Triple) -> tuple[int, ...]:
        """See `Numbered.wrapped`: the axes along which a volume is whole cells."""
        return tuple(axis for axis, whole in enumerate(self.copies(shape)) if whole)

    def copies(self, shape: Triple) -> Triple:
        """Number of cells that a volume is made of along each axis; 0 if it is not whole cells."""
        found = []
        for n, spacing, edge in zip(shape, self.spacing_nm, self.edges_nm, strict=True):
            cells = n * spacing / edge
            whole = round(cells) if math.isfinite(edge) else 0
            found.append(whole if whole and abs(cells - whole) < 1e-9 * cells else 0)
        return triple(found)

    def numbers(self, box: Box, shape: Triple) -> Numbers:
        """Number of the particle of every voxel of a box of a volume; see `Numbered.numbers`."""
        spacing = np.array(self.spacing_nm)
        low = np.array(box.start) * spacing - self.longest_nm
        high = np.array(box.stop) * spacing + self.longest_nm
        own = np.column_stack([self.particles, np.arange(len(self.particles))])
        images = repeated(own, np.array(self.edges_nm), low, high)
        names = self._names(images, shape)
        return draw_numbers(images[:, :7], names, self.aspect, box, self.spacing_nm)

    def _names(self, images: Floats, shape: Triple) -> Numbers:
        """Row in the cell, and which of the cells that count as different an image lies in."""
        rows = images[:, 7].astype(np.int64)
        cells, counts = np.zeros((3, len(images)), np.int64), []
        axes = zip(self.copies(shape), shape, self.spacing_nm, self.edges_nm, strict=True)
        for axis, (whole, n, spacing, edge) in enumerate(axes):
            if not math.isfinite(edge):
                counts.append(1)
                continue
            steps = (images[:, axis] - self.particles[rows, axis]) / edge
            beside = np.rint(steps).astype(np.int64)
            # Images before the first cell and after the last one are other particles.
            counts.append(whole or math.ceil(n * spacing / edge) + 2)
            cells[axis] = beside % whole if whole else beside + 1
        most = len(self.particles) * math.prod(counts)
        if most > MOST:
            raise ArgumentError(
                f"{most} particles are more than uint32 can number: use a larger --cell-nm, or no --particles"
            )
        place = np.ravel_multi_index(tuple(cells), counts) if len(images) else rows
        return (1 + rows + len(self.particles) * place).astype(np.uint32)
