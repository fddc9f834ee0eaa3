"""Bodies with volume, surface, mean curvature and Euler number in closed form, on any voxel grid.

A voxel belongs to a body if its centre does. Centres are at (index + 1/2) x spacing, so a body
drawn block by block has the same bits as in one piece. Lengths have the unit of the spacing, by
convention nm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box

Point: TypeAlias = tuple[float, float, float]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = npt.NDArray[np.uint8]

# Area of the level set sin X cos Y + sin Y cos Z + sin Z cos X = 0 per cubic cell of edge 1.
GYROID_AREA = 3.09165
# The surface has genus 5 per cubic cell (Euler number -8), and a body has half the Euler number of
# its surface.
GYROID_EULER = -4
# A component of a unit normal below this is taken as 0, to avoid cancellation in alternating sums.
FLAT = 1e-5


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact Minkowski functionals of a body.

    `volume` in nm3; `area` of its surface in nm2; `mean_curvature`, the integral of (k1 + k2)/2
    over the surface in nm, positive where the body is convex; `euler`, components - tunnels +
    cavities, dimensionless.
    """

    volume: float
    area: float
    mean_curvature: float
    euler: int

    def __add__(self, other: Truth) -> Truth:
        """Return the truth of two bodies that do not touch."""
        return Truth(
            self.volume + other.volume,
            self.area + other.area,
            self.mean_curvature + other.mean_curvature,
            self.euler + other.euler,
        )


class Body(Protocol):
    """Any body with a test of whether points lie inside it."""

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True where the points (z, y, x), as arrays that broadcast, lie in the body."""


def centres(box: Box, spacing: Point) -> tuple[Floats, Floats, Floats]:
    """Coordinates of the voxel centres of a box: arrays of shapes (nz,1,1), (1,ny,1), (1,1,nx).

    >>> z, y, x = centres(Box((2, 0, 0), (4, 1, 1)), (10.0, 5.0, 5.0))
    >>> z.ravel().tolist(), y.shape
    ([25.0, 35.0], (1, 1, 1))
    """
    z, y, x = (
        (np.arange(a, b, dtype=np.float64) + 0.5) * d
        for a, b, d in zip(box.start, box.stop, spacing, strict=True)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def draw(body: Body, box: Box, spacing: Point = (1.0, 1.0, 1.0)) -> Labels:
    """Draw a body on the voxels of `box`: label 1 in the body and 0 outside.

    Parameters
    ----------
    body : Body
        The body.
    box : Box
        Voxels to fill; they get the same bits in any box that contains them.
    spacing : (dz, dy, dx)
        Edge lengths of a voxel in nm.

    Returns
    -------
    uint8 array of shape `box.shape`

    Raises
    ------
    ArgumentError
        If an edge length is not positive.

    Examples
    --------
    >>> ball = Ball((6.0, 6.0, 6.0), 5.0)
    >>> int(draw(ball, Box.whole((12, 12, 12))).sum()), round(ball.truth.volume)
    (552, 524)
    """
    if not all(0 < d < math.inf for d in spacing):
        raise ArgumentError(f"a voxel has edges {spacing}; all three must be positive")
    z, y, x = centres(box, spacing)
    inside = body.inside(z, y, x)
    return np.ascontiguousarray(np.broadcast_to(inside, box.shape)).view(np.uint8)


@dataclass(frozen=True, slots=True)
class Ball:
    """Ball: all points within `radius` of `centre`.

    >>> Ball((0.0, 0.0, 0.0), 1.0).truth.euler
    1
    """

    centre: Point
    radius: float

    def __post_init__(self) -> None:
        _need_positive("radius of a ball", [self.radius])
        if not all(map(math.isfinite, self.centre)):
            raise ArgumentError(f"a ball needs a finite centre, got {self.centre}")

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True within the radius, surface included."""
        cz, cy, cx = self.centre
        return np.asarray((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= self.radius**2)

    @property
    def truth(self) -> Truth:
        """Volume 4/3 pi R^3, area 4 pi R^2, mean curvature 4 pi R, Euler number 1."""
        r = self.radius
        return Truth(4 / 3 * math.pi * r**3, 4 * math.pi * r**2, 4 * math.pi * r, 1)


@dataclass(frozen=True, slots=True)
class Balls:
    """Balls that do not touch one another.

    Raises
    ------
    ArgumentError
        If there is no ball, or two of them touch: their truth would not be the sum.

    Examples
    --------
    >>> Balls((Ball((0.0, 0.0, 0.0), 1.0), Ball((0.0, 0.0, 3.0), 1.0))).truth.euler
    2
    """

    members: tuple[Ball, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ArgumentError("a packing of balls has no ball; give at least one")
        places = np.array([ball.centre for ball in self.members])
        radii = np.array([ball.radius for ball in self.members])
        for i in range(1, len(radii)):
            gaps = np.linalg.norm(places[:i] - places[i], axis=1) - radii[:i] - radii[i]
            if gaps.min() <= 0:
                raise ArgumentError(
                    f"ball {i} touches ball {int(gaps.argmin())}; their truth would not be the sum"
                )

    @classmethod
    def random(
        cls, extent: Point, radius: float, count: int, seed: int, tries: int = 100_000
    ) -> Balls:
        """Place equal balls at random, one by one, in the box from the origin to `extent` nm.

        Parameters
        ----------
        extent : (z, y, x)
            Edges of the box in nm; all balls lie wholly inside.
        radius : float
            Radius of the balls in nm.
        count : int
            Number of balls.
        seed : int
            Seed of the random positions.
        tries : int
            Largest number of positions that are tried.

        Raises
        ------
        ArgumentError
            If they do not fit in `tries` throws; random sequential addition ends near 38 % of the
            volume.
        """
        rng = np.random.default_rng(seed)
        low, high = np.full(3, radius), np.asarray(extent) - radius
        if np.any(high < low):
            raise ArgumentError(f"a ball of radius {radius} does not fit into a box of {extent}")
        kept = np.empty((0, 3))
        for _ in range(tries):
            if len(kept) == count:
                break
            place = rng.uniform(low, high)
            if not len(kept) or ((kept - place) ** 2).sum(axis=1).min() > (2 * radius) ** 2:
                kept = np.vstack([kept, place])
        if len(kept) < count:
            raise ArgumentError(
                f"only {len(kept)} of {count} balls fitted in {tries} throws; use fewer or smaller ones"
            )
        return cls(tuple(Ball((float(z), float(y), float(x)), radius) for z, y, x in kept))

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True inside any of the balls."""
        out = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), dtype=np.bool_)
        for ball in self.members:
            out |= ball.inside(z, y, x)
        return out

    @property
    def truth(self) -> Truth:
        """Sum over the balls."""
        return sum((ball.truth for ball in self.members), Truth(0.0, 0.0, 0.0, 0))


@dataclass(frozen=True, slots=True)
class Cuboid:
    """Cuboid `low` <= (z, y, x) < `high`, in nm.

    >>> Cuboid((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)).truth.area
    22.0
    """

    low: Point
    high: Point

    def __post_init__(self) -> None:
        _need_positive("edges of a cuboid", self.edges)

    @property
    def edges(self) -> Point:
        """Edge lengths along z, y, x."""
        a, b, c = (end - start for start, end in zip(self.low, self.high, strict=True))
        return (a, b, c)

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True from the low faces (included) to the high faces (excluded)."""
        within = [
            (low <= c) & (c < high)
            for c, low, high in zip((z, y, x), self.low, self.high, strict=True)
        ]
        return np.asarray(within[0] & within[1] & within[2])

    @property
    def truth(self) -> Truth:
        """Truth a b c, 2 (ab + bc + ca), pi (a + b + c), 1; the curvature lies on twelve edges."""
        a, b, c = self.edges
        return Truth(a * b * c, 2 * (a * b + b * c + c * a), math.pi * (a + b + c), 1)


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """Half-space normal . p <= offset; the normal (of any length but 0) points out of the body.

    Raises
    ------
    ArgumentError
        If the normal is zero, or a number is not finite.
    """

    normal: Point
    offset: float

    def __post_init__(self) -> None:
        if not 0 < math.hypot(*self.normal) < math.inf:
            raise ArgumentError(f"a plane needs a normal of positive length, got {self.normal}")
        if not math.isfinite(self.offset):
            raise ArgumentError(f"a plane needs a finite offset, got {self.offset}")

    @property
    def _unit(self) -> tuple[Point, float]:
        length = math.hypot(*self.normal)
        nz, ny, nx = (n / length for n in self.normal)
        return (nz, ny, nx), self.offset / length

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True on the plane and behind it."""
        (nz, ny, nx), offset = self._unit
        return np.asarray(nz * z + ny * y + nx * x <= offset)

    def truth_in(self, extent: Point) -> Truth:
        """Truth in the box from the origin to `extent` nm; `area` excludes the faces of the box.

        Volume and section of a box below a plane are alternating sums of powers over the corners of
        the box, without the axes parallel to the plane. A plane has no curvature; the part cut off
        is one component.

        References
        ----------
        Marichal, Mossinghoff, Online J. Anal. Comb. 3 (2008). DOI 10.48550/arXiv.math/0607715

        Examples
        --------
        >>> HalfSpace((1.0, 0.0, 0.0), 2.0).truth_in((10.0, 10.0, 10.0))
        Truth(volume=200.0, area=100.0, mean_curvature=0.0, euler=1)
        """
        unit, offset = self._unit
        tilted = [(n, length) for n, length in zip(unit, extent, strict=True) if abs(n) > FLAT]
        along = math.prod(length for n, length in zip(unit, extent, strict=True) if abs(n) <= FLAT)
        # Mirror the axes on which the normal is negative, so that one sign rule holds for all
        # terms.
        offset -= sum(n * length for n, length in tilted if n < 0)
        tilted = [(abs(n), length) for n, length in tilted]
        volume = along * _corner_sum(tilted, offset, len(tilted))
        area = along * _corner_sum(tilted, offset, len(tilted) - 1)
        return Truth(volume, area, 0.0, int(volume > 0))


@dataclass(frozen=True, slots=True)
class Layers:
    """Sheets of `thickness` nm, one per `period` nm along `axis`; the first starts at the origin.

    >>> Layers(0, 2.0, 5.0).truth_in((10.0, 3.0, 3.0))
    Truth(volume=36.0, area=27.0, mean_curvature=0.0, euler=2)
    """

    axis: int
    thickness: float
    period: float

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2) or not 0 < self.thickness < self.period < math.inf:
            raise ArgumentError(
                f"layers need axis 0, 1 or 2 and 0 < thickness < period, both finite, got axis {self.axis}, "
                f"thickness {self.thickness}, period {self.period}"
            )

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True in the sheets."""
        return np.asarray(np.mod((z, y, x)[self.axis], self.period) < self.thickness)

    def truth_in(self, extent: Point) -> Truth:
        """Truth in the box from the origin to `extent` nm; `area` counts faces strictly inside."""
        length = extent[self.axis]
        section = math.prod(extent) / length
        whole, rest = divmod(length, self.period)
        solid = whole * self.thickness + min(rest, self.thickness)
        # Faces lie at period, 2 period, ... and at thickness, thickness + period, ...
        faces = (math.ceil(length / self.period) - 1) + math.ceil(
            (length - self.thickness) / self.period
        )
        return Truth(section * solid, section * max(faces, 0), 0.0, math.ceil(length / self.period))


@dataclass(frozen=True, slots=True)
class Gyroid:
    """Gyroid sin X cos Y + sin Y cos Z + sin Z cos X > 0 with X = 2 pi x / period.

    Both phases fill half of space.

    >>> Gyroid(16.0).truth_of(8).euler
    -32
    """

    period: float

    def __post_init__(self) -> None:
        _need_positive("period of a gyroid", [self.period])

    def inside(self, z: Floats, y: Floats, x: Floats) -> Bools:
        """Return True in the phase where the sum is positive."""
        phases = [2 * math.pi / self.period * c for c in (z, y, x)]
        (sz, sy, sx), (cz, cy, cx) = [np.sin(p) for p in phases], [np.cos(p) for p in phases]
        return np.asarray(sx * cy + sy * cz + sz * cx > 0)

    def truth_of(self, cells: int) -> Truth:
        """Truth of `cells` cubic cells of a periodic gyroid.

        By symmetry, the body has half the volume and no net curvature.
        """
        return Truth(
            cells * self.period**3 / 2,
            cells * GYROID_AREA * self.period**2,
            0.0,
            cells * GYROID_EULER,
        )


def _corner_sum(tilted: Sequence[tuple[float, float]], offset: float, power: int) -> float:
    total = 0.0
    for corner in product((0, 1), repeat=len(tilted)):
        below = offset - sum(
            n * length for (n, length), far in zip(tilted, corner, strict=True) if far
        )
        if below > 0:
            total += (-1) ** sum(corner) * below**power
    return total / (math.factorial(power) * math.prod(n for n, _ in tilted))


def _need_positive(what: str, values: Iterable[float]) -> None:
    values = list(values)
    if not all(0 < v < math.inf for v in values):
        raise ArgumentError(f"{what} must be positive and finite, got {values}")
