"""Two rough bodies pressed together: where they would overlap they touch, elsewhere there is a gap.

Under plastic contact the pressure on every spot is the hardness, so that the share of the area in
contact is pressure over hardness, and the bodies have approached until the overlap of their heights
has that share (bearing curve). Material that would overlap is removed, none is displaced.

References
----------
Abbott, Firestone, Mech. Eng. 55 (1933) 569 (bearing curve).
Cooper, Mikic, Yovanovich, Int. J. Heat Mass Transf. 12 (1969) 279 (plastic contact of rough
surfaces). DOI 10.1016/0017-9310(69)90011-8
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.generator import Generator
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.phases import Phases

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]

PRESSED = Phases(lower=0, gap=1, upper=2)


@dataclass(frozen=True, slots=True)
class RoughContact(Generator):
    """Generator of two rough bodies that touch, with a gap where they do not.

    The mean of both faces lies in the middle of the volume. A voxel belongs to a body if its centre
    does. In a column that is in contact the bodies meet halfway through their overlap; in any other
    the gap has one voxel at least, however thin it is, so that the share of columns in contact is
    exactly `contact_fraction`.

    Parameters
    ----------
    lower, upper : RoughSurface
        Heights of the lower body upwards, and of the upper body downwards; of one period.
    pressure : float
        Pressure over the hardness of the softer body, which is the share of the area in contact.
    thickness_nm : float
        Thickness of the whole volume in nm.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    phases : Phases, optional
        Names and codes of the lower body, the gap and the upper body.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the surfaces do not fit each other, the voxels or the volume.

    Examples
    --------
    >>> lower = RoughSurface(20.0, 0.8, 320.0, 80.0, (10.0, 10.0), (64, 64), seed=1)
    >>> upper = RoughSurface(20.0, 0.8, 320.0, 80.0, (10.0, 10.0), (64, 64), seed=1, stream=1)
    >>> pressed = RoughContact(lower, upper, 0.05, 400.0, (5.0, 10.0, 10.0))
    >>> labels = pressed.labels(Box.whole((80, 64, 64)))
    >>> touching = ((labels[:-1] == 0) & (labels[1:] == 2)).any(axis=0)
    >>> int(touching.sum()), round(0.05 * 64 * 64)
    (205, 205)
    """

    kind: ClassVar[str] = "contact"

    lower: RoughSurface
    upper: RoughSurface
    pressure: float
    thickness_nm: float
    spacing_nm: Point
    phases: Phases = PRESSED

    def __post_init__(self) -> None:
        if not 0 < self.pressure <= 1:
            raise ArgumentError(
                f"the pressure is given over the hardness, above 0 and up to 1, not {self.pressure:g}"
            )
        if len(self.phases) != 3:
            raise ArgumentError(
                f"a contact has a lower body, a gap and an upper body, not {', '.join(self.phases)}"
            )
        if not self.lower.rms_nm and not self.upper.rms_nm:
            raise ArgumentError(
                "both surfaces are flat (rms_nm=0) and would touch everywhere at any pressure: give a roughness above 0"
            )
        grids = {(one.period, one.spacing_nm) for one in (self.lower, self.upper)}
        if len(grids) > 1 or next(iter(grids))[1] != tuple(self.spacing_nm[1:]):
            raise ArgumentError("both surfaces of a contact need its voxels and one period")
        if self.columns < 1:
            area = math.prod(self.lower.period)
            raise ArgumentError(
                f"at a pressure of {self.pressure:g} of the hardness less than one of {area} columns is in contact: "
                "use a wider volume or a higher pressure"
            )

    @property
    def columns(self) -> int:
        """Columns of voxels in contact, in a period."""
        return round(self.pressure * math.prod(self.lower.period))

    @property
    def contact_fraction(self) -> float:
        """Share of the columns that is in contact: the pressure, in whole columns."""
        return self.columns / math.prod(self.lower.period)

    @property
    def separation_nm(self) -> float:
        """Distance of the mean planes of both surfaces in nm."""
        return _bearing(self)[0]

    @property
    def rms_nm(self) -> float:
        """Root mean square of both roughnesses together, in nm."""
        return math.hypot(self.lower.rms_nm, self.upper.rms_nm)

    @property
    def mean_slope(self) -> float:
        """Mean absolute slope of profiles of both surfaces together."""
        return math.hypot(self.lower.mean_slope, self.upper.mean_slope)

    def check(self) -> None:
        """Raise `ArgumentError` if a body is not solid anywhere at its outer face."""
        depth = _bearing(self)[1] + 2 * self.spacing_nm[0]
        if self.thickness_nm / 2 < depth:
            raise ArgumentError(
                f"the rough faces reach {depth:.4g} nm from the middle, beyond the volume of {self.thickness_nm:g} nm: "
                f"use {math.ceil(2 * depth / self.spacing_nm[0])} voxels or more along z"
            )

    def labels(self, box: Box) -> Labels:
        """Label 0 in the lower body, 1 in the gap, 2 in the upper body; uint8 of `box.shape`."""
        low, high = self.faces((box.start[1], box.start[2]), (box.stop[1], box.stop[2]))
        z = np.arange(box.start[0], box.stop[0], dtype=np.int64)[:, None, None]
        out = (z >= low).astype(np.uint8)
        out += z >= high
        return out

    def faces(
        self, start: tuple[int, int], stop: tuple[int, int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First voxel above the lower body and first voxel of the upper one, in every column."""
        below, above = (one.heights(start, stop) for one in (self.lower, self.upper))
        step, away = self.spacing_nm[0], self.separation_nm
        overlap = below + above - away
        middle = (self.thickness_nm + below - above) / 2 / step
        half = np.maximum(-overlap, 0) / 2 / step
        low = np.rint(middle - half).astype(np.int64)
        high = np.rint(middle + half).astype(np.int64)
        thin = (overlap < 0) & (low == high)
        low[thin] = np.floor(middle[thin]).astype(np.int64)
        high[thin] = low[thin] + 1
        return low, high

    def block_bytes(self, core: Triple) -> int:
        """Memory of the labels, of the heights of columns, and of those of a period, in bytes."""
        return 3 * math.prod(core) + 88 * core[1] * core[2] + 96 * math.prod(self.lower.period)


@lru_cache(maxsize=8)
def _bearing(pressed: RoughContact) -> tuple[float, float]:
    """Separation of the mean planes, and how far the faces reach from the middle, in nm.

    The separation is halfway between the heights of the last column in contact and of the first
    that is not.
    """
    whole = (0, 0), pressed.lower.period
    below, above = pressed.lower.heights(*whole), pressed.upper.heights(*whole)
    total = (below + above).ravel()
    first = total.size - pressed.columns
    total.partition([max(first - 1, 0), first])
    away = float(total[first] + total[max(first - 1, 0)]) / 2
    low = (below - away / 2).min()
    high = (above - away / 2).min()
    return away, float(max(-low, -high))
