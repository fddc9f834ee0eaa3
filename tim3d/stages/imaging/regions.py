"""Regions of a stack that are compared, and the crops in each: fixed by shape, spacing and seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.storage.schema import AXES

# Slices of a crop: correlation along z is found within them.
DEEP = 9
# Regions of a stack from which anything can be said, and seeds of the crops.
FEWEST, SEEDS = 4, 77


@dataclass(frozen=True)
class Layout:
    """Where crops lie in a volume.

    A region is a slice, or where too few slices lie a crop's edge apart a strip of crops along y or
    x through all slices: the axis along which most regions lie that far apart.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    spacing : (dz, dy, dx)
        Edges of a voxel in nm.
    crop : int
        Edge of a crop in pixels.
    regions, count : int
        Most regions, and most crops in each.
    seed : int
        Number from which follows which crops of a region are taken.

    Examples
    --------
    >>> layout = Layout((100, 64, 900), (10.0, 5.0, 5.0), 32, 16, 4, 0)
    >>> layout.axis, len(layout.places()), len(layout.places()[0])
    ('x', 16, 4)
    """

    shape: Triple
    spacing: tuple[float, float, float]
    crop: int
    regions: int
    count: int
    seed: int

    @property
    def tiles(self) -> tuple[int, int]:
        """Crops side by side along y and x."""
        return self.shape[1] // self.crop, self.shape[2] // self.crop

    @property
    def apart(self) -> tuple[int, int, int]:
        """Regions across z, y and x that lie a crop's edge apart."""
        edge = self.crop * max(self.spacing[1:])
        slices = 1 + math.floor((self.shape[0] - 1) * self.spacing[0] / edge + 1e-9)
        return (min(slices, self.shape[0]), *self.tiles)

    @property
    def axis(self) -> str:
        """Axis across which regions lie."""
        return AXES[self._axis]

    @property
    def _axis(self) -> int:
        return max(range(3), key=lambda axis: (self.apart[axis], -axis))

    @property
    def number(self) -> int:
        """Regions that are looked at."""
        return min(self.apart[self._axis], self.regions)

    def places(self) -> list[list[Triple]]:
        """First voxel of the middle slice of each crop, by region."""
        most = [self.count, *self.tiles]
        most[self._axis] = self.number
        each = list(map(_spread, (self.shape[0], *self.tiles), most))
        random = np.random.Generator(np.random.Philox([self.seed, SEEDS]))
        return [self._chosen(each, at, random) for at in each[self._axis]]

    def _chosen(self, each: list[list[int]], at: int, random: np.random.Generator) -> list[Triple]:
        """Crops of a region, in the order of their places."""
        z, y, x = (np.array([at] if n == self._axis else one) for n, one in enumerate(each))
        every = np.stack(np.meshgrid(z, y * self.crop, x * self.crop, indexing="ij"), -1)
        every = every.reshape(-1, 3)
        if len(every) > self.count:
            every = every[np.sort(random.choice(len(every), self.count, replace=False))]
        return [(int(a), int(b), int(c)) for a, b, c in every]

    def boxes(self) -> Iterator[list[tuple[Box, int]]]:
        """Crops with slices before and after, and the number of the middle one, by region."""
        deep = min(DEEP, self.shape[0])
        for region in self.places():
            found = []
            for z, y, x in region:
                first = min(max(0, z - deep // 2), self.shape[0] - deep)
                stop = (first + deep, y + self.crop, x + self.crop)
                found.append((Box((first, y, x), stop), z - first))
            yield found


def _spread(count: int, most: int) -> list[int]:
    """At most some numbers below a count, evenly spread."""
    if count <= most:
        return list(range(count))
    return [int((2 * n + 1) * count // (2 * most)) for n in range(most)]
