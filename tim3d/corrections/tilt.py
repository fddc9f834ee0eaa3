"""Tilt: a face that was seen at an angle, with its true height."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tim3d.corrections.base import Correction, Greys, Stack, as_type
from tim3d.errors import ArgumentError
from tim3d.kernels.image.foreshortening import (
    Interpolation,
    check_interpolation,
    stretch,
    stretched,
    stretched_rows,
)


@dataclass(frozen=True)
class Tilt(Correction):
    """Undo the foreshortening along y of a face that was seen at an angle.

    Parameters
    ----------
    angle : float
        Angle between the line of sight and the face in degrees: 52 in a dual beam with 52° between
        its columns; 90 is straight on.
    resample : bool
        Whether rows are interpolated, so that the voxel keeps its edges (default: the grey values
        stay as they are, and the voxel becomes higher).
    interpolation : {"cubic", "linear"}
        How rows are interpolated.
    """

    angle: float
    resample: bool = False
    interpolation: Interpolation = "cubic"

    kind = "tilt"

    def check(self, stack: Stack) -> None:
        """Refuse an angle at which little is seen, and an unknown interpolation."""
        stretch(self.angle)
        check_interpolation(self.interpolation)
        if self.angle == 90:
            raise ArgumentError("tilt angle=90 changes nothing: the face was seen straight on")

    def made(self, stack: Stack) -> Stack:
        """More rows, or higher voxels."""
        factor = stretch(self.angle)
        z, y, x = stack.shape
        dz, dy, dx = stack.spacing_nm
        if self.resample:
            return replace(stack, shape=(z, stretched_rows(y, factor), x))
        return replace(stack, spacing_nm=(dz, dy * factor, dx))

    def correct(self, grey: Greys, first: int) -> Greys:
        """Grey values as they are, or with more rows."""
        if not self.resample:
            return grey
        factor = stretch(self.angle)
        rows = stretched_rows(grey.shape[1], factor)
        out = np.empty((len(grey), rows, grey.shape[2]), grey.dtype)
        for one, made in zip(grey, out, strict=True):
            made[...] = as_type(stretched(one, factor, self.interpolation), str(grey.dtype))
        return out

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """The slices, with more rows if asked."""
        return self.correct(grey, given.start)

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Five arrays of floats of a stretched slice, if rows are interpolated."""
        rows = stretched_rows(shape[1], stretch(self.angle))
        return 20 * shape[2] * rows if self.resample else 0
