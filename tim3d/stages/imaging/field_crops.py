"""Crops of the slices of a field, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.storage import store
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class FieldCrops:
    """Slices of a grey field, or of labels as numbers of phases.

    Parameters
    ----------
    sample, name : str
        Sample and field.
    shape : (z, y, x)
        Voxels of the field.
    fingerprint : str
        Hash of what decides its voxels.
    numbers : mapping of int to int, optional
        Number of the phase of each code.
    """

    sample: str
    name: str
    shape: Triple
    fingerprint: str
    numbers: Mapping[int, int] | None = None

    @classmethod
    def of(cls, sample: str, field: Field, numbers: Mapping[int, int] | None = None) -> FieldCrops:
        """Crops of a complete field."""
        made = store.fingerprint_of(sample, field.name)
        return cls(sample, field.name, field.shape, made, numbers)

    def key(self) -> str:
        """The fingerprint of the field, and how codes are numbered."""
        return f"{self.fingerprint} {sorted((self.numbers or {}).items())}"

    def crop(self, z: int, y: int, x: int, size: int) -> np.ndarray:
        """A square of a slice (size, size)."""
        square: np.ndarray = self.box(Box((z, y, x), (z + 1, y + size, x + size)))[0]
        return square

    def box(self, box: Box) -> np.ndarray:
        """Grey values, or numbers of phases, of a box."""
        values: np.ndarray = store.read_box(store.field_array(self.sample, self.name), box)
        if self.numbers is None:
            return values
        table = np.zeros(256, np.uint8)
        table[list(self.numbers)] = list(self.numbers.values())
        numbered: np.ndarray = table[values]
        return numbered
