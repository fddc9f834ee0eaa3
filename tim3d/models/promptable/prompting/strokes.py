"""Prompts of strokes that were painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import SQUARE
from tim3d.lazy import ndimage
from tim3d.models.promptable.prompting.base import Grey8
from tim3d.models.promptable.prompting.field import FromField, ReadyField
from tim3d.models.promptable.prompts import OFF, ON, Prompt
from tim3d.storage import store

# Phase of voxels that were not painted.
UNPAINTED = "unlabelled"
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Strokes(FromField):
    """Strokes of the user, painted into a label field in which 0 is not painted.

    A stroke is a connected piece (8 neighbours) of a phase in a slice, and a prompt of some of its
    pixels; pixels of strokes of other phases beside it are not on the object.

    Parameters
    ----------
    field : str
        The label field.
    points : int
        Pixels of a stroke, spread over it in C order.
    negatives : int
        Pixels of the nearest strokes of other phases.
    """

    field: str
    points: int = 5
    negatives: int = 1
    kind: ClassVar[str] = "strokes"

    def ready(self, sample: str, shape: Triple) -> PaintedStrokes:
        """Look the field up."""
        if self.points < 1 or self.negatives < 0:
            raise ArgumentError(f"{self}: points are 1 or more, negatives 0 or more")
        field = store.complete_field(sample, self.field)
        if not field.labels or field.phases is None or field.shape != shape:
            raise InputError(
                f"field {self.field!r} does not hold labels of {shape} voxels with phases"
            )
        painted = tuple((n, c) for n, c in field.phases.items() if n != UNPAINTED and c != 0)
        if not painted:
            raise InputError(
                f"field {self.field!r} has the phases {field.phases}: one besides the code 0, which is not "
                "painted"
            )
        fingerprint = store.fingerprint_of(sample, self.field)
        return PaintedStrokes(self, sample, fingerprint, painted)


@dataclass(frozen=True)
class PaintedStrokes(ReadyField):
    """Strokes of a field that was found, and the phases that they have."""

    asked: Strokes
    phases: tuple[tuple[str, int], ...]
    kind: ClassVar[str] = "strokes"

    @property
    def names(self) -> tuple[str, ...]:
        """Phases that were painted."""
        return tuple(name for name, _ in self.phases)

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """A prompt of each stroke of a window."""
        labels = self.plane(place)
        strokes = [
            (name, np.argwhere(pieces == number + 1)[:, ::-1])
            for name, code in self.phases
            for pieces, count in [ndimage.label(labels == code, SQUARE)]
            for number in range(count)
        ]
        return [self._prompt(name, pixels, strokes) for name, pixels in strokes]

    def _prompt(self, name: str, pixels: Pixels, strokes: Sequence[tuple[str, Pixels]]) -> Prompt:
        on = pixels[np.linspace(0, len(pixels) - 1, self.asked.points).round().astype(int)]
        centre = pixels.mean(axis=0)
        others = [_closest(other, centre) for given, other in strokes if given != name]
        near = sorted(others, key=lambda one: (float(np.square(one - centre).sum()), *one))
        off = np.array(near[: self.asked.negatives], np.float64).reshape(-1, 2)
        labels = np.array([ON] * len(on) + [OFF] * len(off))
        return Prompt(np.concatenate([on, off]).astype(np.float64), labels, None, name)


def _closest(pixels: Pixels, centre: NDArray[Any]) -> Pixels:
    return np.asarray(pixels[np.square(pixels - centre).sum(axis=1).argmin()])
