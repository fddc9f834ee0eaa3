"""What a generator is: a value that makes the labels of any box of an endless volume from the box alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.phases import Phases


class Generator(ABC):
    """Labels, or grey values, of any box of an endless volume; subclass it as a frozen dataclass that pickles.

    Two boxes must agree, bit for bit, where they overlap: a voxel is a function of its coordinates and of the fields of
    the dataclass, whatever the box. Then blocks, workers and resumed runs change nothing. `tim3d.generators.Noise`
    gives random numbers of that kind.

    Attributes
    ----------
    kind : str
        Name of the law. With `version` and the fields of the dataclass it is the description that is recorded and from
        which the fingerprint of a volume is made. The name of the class is not part of it.
    version : int
        To be raised whenever the same fields give other labels than before.
    phases : Phases, optional
        Names and codes of the labels 0, 1, ... that `labels` returns; None for grey values from 0 to 255.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    needs_torch : bool
        Whether a worker must hold torch.
    """

    __slots__ = ()
    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    needs_torch: ClassVar[bool] = False
    phases: Phases | None = None
    spacing_nm: tuple[float, float, float]

    @abstractmethod
    def labels(self, box: Box) -> np.ndarray:
        """Labels 0, 1, ... of the phases in the order of their codes, or grey values; uint8 of shape `box.shape`."""

    @abstractmethod
    def block_bytes(self, core: Triple) -> int:
        """Bytes of all buffers while the labels of a block of this shape are made, the labels included."""

    @property
    def halo(self) -> Triple:
        """Voxels around a block that decide it; a plan says what their computation costs."""
        return (0, 0, 0)

    @property
    def tile_edge(self) -> int:
        """Edge in voxels of what is computed at a time, from the origin of the volume on: blocks are whole tiles."""
        return 1

    @property
    def reads(self) -> str:
        """Path of the file that the generator is read from; empty if there is none."""
        return ""

    def of_shape(self, shape: Triple) -> Generator:
        """The generator of a volume of this shape: the same, unless it depends on the volume."""
        return self

    def names(self, out: str | None) -> tuple[str, ...]:
        """Names of the fields that it makes: `out`, by default ``phase``, or ``raw`` of grey values.

        With several names, `labels` returns an array with a first axis of that length.
        """
        return (out or ("raw" if self.phases is None else "phase"),)

    def check(self) -> None:  # noqa: B027
        """Raise what would make every block fail; called before anything is written."""

    def inputs(self) -> Mapping[str, str]:
        """Digests of the files that decide the labels, by what they are called in messages."""
        return {}

    def description(self) -> dict[str, Any]:
        """What decides the labels, for JSON: kind, version and every field but the phases, which are recorded by name.

        Raises
        ------
        ArgumentError
            If it has no kind, is not a dataclass, or a field cannot be written as JSON.
        """
        if not self.kind or not hasattr(self, "__dataclass_fields__"):
            raise ArgumentError(
                f"{type(self).__name__} has no description: make it a frozen dataclass with a kind, as kind = 'stripes'"
            )
        described: dict[str, Any] = as_data(self)
        return described


def as_data(value: Any) -> Any:
    """A value as JSON holds it: a dataclass by its fields, with the kind and version of its class if it has them.

    Raises
    ------
    ArgumentError
        If it is neither a finite number, text, truth value or None nor made of those.

    Examples
    --------
    >>> as_data({"edges": (10.0, 2.5), "name": None})
    {'edges': [10, 2.5], 'name': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        named = {key: getattr(value, key) for key in ("kind", "version") if hasattr(type(value), key)}
        return named | {f.name: as_data(getattr(value, f.name)) for f in fields(value) if f.name != "phases"}
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_data(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value  # 10 and 10.0 are one length
    if value is None or isinstance(value, str | int):
        return value
    raise ArgumentError(f"a generator is described by numbers and texts, and has a {type(value).__name__}: {value!r}")
