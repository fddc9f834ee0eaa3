"""Base of the kinds of prompts that are read from another field of the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.grid import Box
from tim3d.models.promptable.prompting.base import Prompting
from tim3d.storage import store


class FromField(Prompting):
    """Prompts of a field of the sample, to be inherited by a frozen dataclass.

    Attributes
    ----------
    field : str
        Name of the field.
    """

    field: str
    explicit: ClassVar[bool] = True

    def ready_for_images(self) -> Prompting:
        """Refuse single images."""
        raise ArgumentError(
            f"{self.kind} lie in a field of a sample, which single images do not have: "
            "--prompts file:path=points.csv"
        )


@dataclass(frozen=True)
class ReadyField(Prompting):
    """Prompts of a field that was found, to be inherited by a frozen dataclass.

    Parameters
    ----------
    asked : FromField
        What was asked for.
    sample, fingerprint : str
        Where the field is, and which one.
    """

    asked: FromField
    sample: str
    fingerprint: str
    explicit: ClassVar[bool] = True

    def description(self) -> dict[str, Any]:
        """Description of the asked prompts, and the fingerprint of the field."""
        return {**self.asked.description(), "fingerprint": self.fingerprint}

    @property
    def inputs(self) -> dict[str, str]:
        """The field."""
        return {self.asked.field: self.fingerprint}

    def plane(self, place: Box) -> NDArray[Any]:
        """A window of the field in one slice; 0 beyond the border of the volume."""
        return np.asarray(voxels_in(self.sample, self.asked.field, place)[0])


def voxels_in(sample: str, field: str, box: Box) -> NDArray[Any]:
    """Voxels of a box of a field; 0 beyond the border of the volume.

    Raises
    ------
    InputError
        If the field was removed during the run.
    """
    try:
        array = store.field_array(sample, field)
    except MissingFieldError as error:
        raise InputError(f"the field of the prompts is gone: {error}") from error
    inside = box.clip(Box.whole(array.shape))  # type: ignore[arg-type]
    voxels = np.zeros(box.shape, array.dtype)
    if inside.size:
        voxels[inside.within(box).slices] = store.read_box(array, inside)
    return voxels
