"""Local fraction of the first phase as a field of a sample holds it, for networks that are given it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES, Box, Triple, triple
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.kernels.generation.generator import repeats
from tim3d.kernels.generation.lattice_weights import Three, Weights, sums
from tim3d.storage import store

Point: TypeAlias = tuple[float, float, float]
# Bytes of a value that is read, of its copies in double precision, and of what it is compared with.
READ_BYTES = 24


@dataclass(frozen=True, slots=True)
class GivenFraction:
    """A field of local fractions at the voxels of a volume, interpolated linearly between its own voxels.

    Attributes
    ----------
    law : CoarseLaw
        Law of the training, which the network was given deviations of.
    sample, field, made : str
        The field, and its fingerprint.
    shape : (z, y, x)
        Its voxels.
    own_nm, spacing_nm : (dz, dy, dx)
        Edges of its voxels, and of those of the volume.
    periodic : bool
        Whether it continues itself across opposite faces; otherwise its outermost values go on.
    """

    law: CoarseLaw
    sample: str
    field: str
    made: str
    shape: Triple
    own_nm: Point
    spacing_nm: Point
    periodic: bool

    def described(self) -> dict[str, Any]:
        """All that determines the values: the field by its fingerprint, wherever it lies."""
        return {
            "kind": "given",
            "field": self.field,
            "fingerprint": self.made,
            "periodic": self.periodic,
        }

    def standardised(self, box: Box) -> npt.NDArray[np.float32]:
        """Deviations from the mean of the training over its standard deviation; float32 of a box.

        Raises
        ------
        InputError
            If a value is not from 0 to 1.
        """
        found = [
            self._along(axis, a, b)
            for axis, (a, b) in enumerate(zip(box.start, box.stop, strict=True))
        ]
        low, high = (triple(one.span[end] for one in found) for end in range(2))
        values = self._read(Box(low, high))
        planes = sums(values.astype(np.float64), low, cast(Three, tuple(found)))
        out = np.empty(box.shape, np.float32)
        for place, plane in zip(out, planes, strict=True):
            place[...] = self.law.standardised(plane)
        return out

    def _read(self, box: Box) -> npt.NDArray[np.float32]:
        """Values of a box that may lie across faces, each part by itself: the field is as large as it may be."""
        array, out = store.field_array(self.sample, self.field), np.empty(box.shape, np.float32)
        for place, source in repeats(box, self.shape):
            out[place] = store.read_box(array, source)
            self._check(out[place], source.start)
        return out

    def bytes(self, shape: Triple) -> int:
        """Bytes of what is read for a box of voxels of the volume, and of its copy."""
        steps = zip(shape, self.spacing_nm, self.own_nm, strict=True)
        read = tuple(math.ceil(length * new / own) + 2 for length, new, own in steps)
        along_z = 24 * shape[0] * read[1] * read[2]
        planes = 64 * (math.prod(shape[1:]) + sum(shape))
        return READ_BYTES * math.prod(read) + along_z + 4 * math.prod(shape) + planes

    def text(self) -> str:
        """A line for the user."""
        return f"local fraction by {self.field!r} of {self.sample}"

    def _along(self, axis: int, start: int, stop: int) -> Weights:
        places = (np.arange(start, stop) + 0.5) * self.spacing_nm[axis] / self.own_nm[axis] - 0.5
        first, count = np.floor(places), self.shape[axis]
        nodes = first.astype(np.int64)[:, None] + np.arange(2)
        share = places - first
        inside = nodes if self.periodic else np.clip(nodes, 0, count - 1)
        return Weights(inside, np.stack([1 - share, share], axis=1))

    def _check(self, values: np.ndarray, low: Triple) -> None:
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            place = [int(n) for n in np.argwhere(bad)[0]]
            at = tuple(a + n for a, n in zip(low, place, strict=True))
            raise InputError(
                f"{self.field!r} of {self.sample} has {values[tuple(place)]:g} at voxel {at}: a local fraction is "
                "from 0 to 1"
            )


def given_fraction(
    sample: str,
    field: str,
    law: CoarseLaw,
    shape: Triple,
    spacing_nm: Point,
    periodic: bool,
) -> GivenFraction:
    """A field of local fractions for a volume of a shape.

    Raises
    ------
    MissingFieldError
        If the field is missing or not finished.
    ArgumentError
        If it does not hold real numbers, or is not as large as the volume.
    """
    found = store.complete_field(sample, field)
    if found.dtype != "float32":
        raise ArgumentError(
            f"{field!r} of {sample} holds {found.dtype}, and a local fraction is a number from 0 to 1: "
            "ingest it as float32"
        )
    for axis in range(3):
        own, wanted = found.shape[axis] * found.spacing_nm[axis], shape[axis] * spacing_nm[axis]
        if abs(own - wanted) > max(found.spacing_nm[axis], spacing_nm[axis]) / 2:
            raise ArgumentError(
                f"{field!r} of {sample} is {own:g} nm long along {AXES[axis]}, and the volume {wanted:g} nm: give a "
                "field of the volume's size, of any voxels"
            )
    made = store.fingerprint_of(sample, field)
    return GivenFraction(
        law, sample, field, made, found.shape, found.spacing_nm, spacing_nm, periodic
    )
