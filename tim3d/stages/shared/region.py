"""Places along the axes of a field, in nm or voxels, as faces of voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.grid import Box, triple
from tim3d.storage.schema import AXES, Field

Unit = Literal["nm", "voxels"]


@dataclass(frozen=True)
class Ruler:
    """Voxels along one axis, and their edge in the unit in which places are given.

    Examples
    --------
    >>> Ruler("z", 100, 20.0).face(80.0), Ruler("z", 100, 1.0, "voxels").voxels(4, "a window")
    (4, 4)
    """

    axis: str
    count: int
    step: float
    unit: Unit = "nm"

    def face(self, position: float) -> int:
        """Number of the voxel face at a position.

        Raises
        ------
        ArgumentError
            If it lies outside of the volume or cuts a voxel.
        """
        place, end = round(position / self.step), self.count * self.step
        if position < 0 or position > end * (1 + 1e-9):
            raise ArgumentError(
                f"{self.axis} = {position:g} {self.unit} is outside of the sample, which ends at {end:g} {self.unit}"
            )
        if not self._is_at(place, position):
            raise ArgumentError(
                f"{self.axis} = {position:g} {self.unit} cuts a voxel; the nearest face of a voxel is at "
                f"{place * self.step:g} {self.unit}"
            )
        return place

    def voxels(self, length: float, what: str) -> int:
        """Voxels of a length.

        Raises
        ------
        ArgumentError
            If it is not a positive number of voxels; the message begins with `what`.
        """
        count = round(length / self.step) if math.isfinite(length) else 0
        if length <= 0:
            raise ArgumentError(
                f"{what} of {length:g} {self.unit} along {self.axis} is not possible; write a length above 0"
            )
        if count < 1 or not self._is_at(count, length):
            near = min(max(1, count), self.count)
            raise ArgumentError(
                f"{what} of {length:g} {self.unit} along {self.axis} is not a number of whole voxels of "
                f"{self.step:g} {self.unit}; the nearest is {near * self.step:g}"
            )
        return count

    def _is_at(self, place: int, position: float) -> bool:
        return math.isclose(place * self.step, position, rel_tol=1e-9, abs_tol=1e-6)


def rulers_of(field: Field, unit: Unit = "nm") -> tuple[Ruler, Ruler, Ruler]:
    """Rulers along z, y, x."""
    steps = (1.0, 1.0, 1.0) if unit == "voxels" else field.spacing_nm
    z, y, x = map(Ruler, AXES, field.shape, steps, [unit] * len(AXES))
    return z, y, x


def box_of(region: Sequence[slice], rulers: Sequence[Ruler]) -> Box:
    """Box of voxels of a region, which is open where an end is not given.

    Raises
    ------
    ArgumentError
        If a face of the region cuts voxels or lies outside of the volume, or the region is empty.
    """
    faces = []
    for wanted, ruler in zip(region, rulers, strict=True):
        low = 0 if wanted.start is None else ruler.face(wanted.start)
        high = ruler.count if wanted.stop is None else ruler.face(wanted.stop)
        if high <= low:
            raise ArgumentError(
                f"the region is empty along {ruler.axis}: give --{ruler.axis} low:high in {ruler.unit}"
            )
        faces.append((low, high))
    return Box(triple(low for low, _ in faces), triple(high for _, high in faces))
