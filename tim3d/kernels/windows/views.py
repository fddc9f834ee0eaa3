"""A volume as it looks mirrored or turned in the plane of its slices, and the exact way back.

Views move voxels and compute nothing: the way back gives the same bits. Mirrors along z are not among
them: what shines through a pore in FIB-SEM lies behind it, never before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.grid import Box, Triple, triple

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class View:
    """A view: y and x are exchanged (`turned`) first, then mirrored.

    Examples
    --------
    >>> view, slices = View(turned=True, mirrored=(True, False)), np.arange(6).reshape(1, 2, 3)
    >>> view.of(slices)[0].tolist()
    [[2, 5], [1, 4], [0, 3]]
    >>> bool((view.back(view.of(slices)) == slices).all())
    True
    >>> view.box(Box((0, 0, 2), (1, 1, 3)), (1, 2, 3))
    Box(start=(0, 0, 0), stop=(1, 1, 1))
    """

    turned: bool = False
    mirrored: tuple[bool, bool] = (False, False)

    @property
    def name(self) -> str:
        """Name in a description: the axes that are mirrored after ``yx`` were exchanged."""
        mirrors = "".join(axis for axis, one in zip("yx", self.mirrored, strict=True) if one)
        return "+".join([*(["turned"] if self.turned else []), *([mirrors] if mirrors else [])])

    def of(self, values: Array) -> Array:
        """The view of an array (..., y, x), in C order."""
        seen = np.swapaxes(values, -1, -2) if self.turned else values
        return np.ascontiguousarray(seen[self._slices])

    def back(self, seen: Array) -> Array:
        """The array that an array (..., y, x) is the view of, in C order."""
        values = seen[self._slices]
        return np.ascontiguousarray(np.swapaxes(values, -1, -2) if self.turned else values)

    @property
    def _slices(self) -> tuple[Any, ...]:
        return (..., *(slice(None, None, -1 if one else 1) for one in self.mirrored))

    def shape(self, shape: Triple) -> Triple:
        """Shape of the view of a volume."""
        z, y, x = shape
        return (z, x, y) if self.turned else (z, y, x)

    def box(self, box: Box, shape: Triple) -> Box:
        """Place in the view of a box of a volume of some shape."""
        seen = self.shape(shape)
        start, stop = list(self.shape(box.start)), list(self.shape(box.stop))
        for axis, mirrored in zip((1, 2), self.mirrored, strict=True):
            if mirrored:
                low, high = seen[axis] - stop[axis], seen[axis] - start[axis]
                start[axis], stop[axis] = low, high
        return Box(triple(start), triple(stop))

    def box_back(self, box: Box, shape: Triple) -> Box:
        """Place in a volume of some shape of a box of its view."""
        seen = self.shape(shape)
        start, stop = list(box.start), list(box.stop)
        for axis, mirrored in zip((1, 2), self.mirrored, strict=True):
            if mirrored:
                low, high = seen[axis] - stop[axis], seen[axis] - start[axis]
                start[axis], stop[axis] = low, high
        return Box(self.shape(triple(start)), self.shape(triple(stop)))


PLAIN = View()


def views(square: bool) -> tuple[View, ...]:
    """The plain view and its mirrors along y and x; where pixels are square, quarter turns of them.

    >>> len(views(square=False)), len(views(square=True))
    (4, 8)
    """
    mirrors = [(False, False), (True, False), (False, True), (True, True)]
    return tuple(
        View(turned, one) for turned in ((False, True) if square else (False,)) for one in mirrors
    )
