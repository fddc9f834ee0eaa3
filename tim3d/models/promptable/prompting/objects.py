"""Prompts of objects of another field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import InputError
from tim3d.grid import Box, Triple
from tim3d.models.promptable.object_prompts import check_give, objects_in, prompt_of
from tim3d.models.promptable.prompting.base import Grey8
from tim3d.models.promptable.prompting.field import FromField, ReadyField
from tim3d.models.promptable.prompts import Prompt
from tim3d.storage import store


@dataclass(frozen=True)
class Objects(FromField):
    """Objects of another field: of numbers, or connected components of the phases of labels.

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
        check_give(self.give, self)
        field = store.complete_field(sample, self.field)
        if field.shape != shape or not (field.labels or field.may_number):
            raise InputError(
                f"field {self.field!r} ({field.dtype}, {field.shape}) is not labels or numbers of objects of {shape}"
            )
        fingerprint = store.fingerprint_of(sample, self.field)
        return FoundObjects(self, sample, fingerprint, is_numbered=field.may_number)


@dataclass(frozen=True)
class FoundObjects(ReadyField):
    """Objects of a field that was found, numbered in it or not."""

    asked: Objects
    is_numbered: bool
    kind: ClassVar[str] = "objects"

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """A prompt of each object of a window."""
        found = objects_in(self.plane(place), self.asked.smallest, numbered=self.is_numbered)
        return [prompt_of(one, self.asked.give) for one in found]
