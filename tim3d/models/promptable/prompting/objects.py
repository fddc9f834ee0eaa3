"""Prompts of objects of another field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.models.promptable.prompting.base import Grey8
from tim3d.models.promptable.prompting.field import FromField, ReadyField
from tim3d.models.promptable.prompts import ON, Prompt
from tim3d.storage import store


@dataclass(frozen=True)
class Objects(FromField):
    """Objects of another field: of numbers, or connected pieces of the phases of labels.

    Parameters
    ----------
    field : str
        Field of numbers of objects, or of labels, in which 0 is none.
    give : {"box", "point", "both"}
        Prompt of an object in a slice: its box, its innermost pixel, or both.
    smallest : int
        Pixels below which an object of a slice is left out.
    """

    field: str
    give: str = "box"
    smallest: int = 10
    kind: ClassVar[str] = "objects"

    def ready(self, sample: str, shape: Triple) -> FoundObjects:
        """Look the field up."""
        if self.give not in ("box", "point", "both"):
            raise ArgumentError(f"{self}: give is box, point or both")
        field = store.complete_field(sample, self.field)
        if field.shape != shape or not (field.labels or field.dtype == "uint32"):
            raise InputError(
                f"field {self.field!r} ({field.dtype}, {field.shape}) is not labels or numbers of objects of {shape}"
            )
        fingerprint = store.fingerprint_of(sample, self.field)
        return FoundObjects(self, sample, fingerprint, is_numbered=field.dtype == "uint32")


@dataclass(frozen=True)
class FoundObjects(ReadyField):
    """Objects of a field that was found, numbered in it or not."""

    asked: Objects
    is_numbered: bool
    kind: ClassVar[str] = "objects"

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """A prompt of each object of a window."""
        plane = self.plane(place)
        numbers = plane if self.is_numbered else _pieces(plane)
        names, ids = np.unique(numbers, return_inverse=True)
        ids = ids.reshape(numbers.shape) + (0 if names[0] == 0 else 1)
        found = []
        for number, box in enumerate(ndimage.find_objects(ids), 1):
            bits = ids[box] == number
            if bits.sum() >= self.asked.smallest:
                found.append(self._prompt(bits, box))
        return found

    def _prompt(self, bits: NDArray[np.bool_], box: tuple[slice, slice]) -> Prompt:
        y, x = box[0].start, box[1].start
        bounds = (x, y, box[1].stop - 1, box[0].stop - 1)
        if self.asked.give == "box":
            return Prompt(np.zeros((0, 2)), np.zeros(0, np.int64), bounds)
        depth = ndimage.distance_transform_edt(np.pad(bits, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        inner = np.array([[column + x, row + y]], np.float64)
        return Prompt(inner, np.array([ON]), bounds if self.asked.give == "both" else None)


def _pieces(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Connected pieces of all phases but 0, numbered from 1 phase by phase."""
    numbers, last = np.zeros(labels.shape, np.int64), 0
    for code in np.unique(labels[labels > 0]):
        pieces, count = ndimage.label(labels == code)
        numbers += np.where(pieces > 0, pieces + last, 0)
        last += count
    return numbers
