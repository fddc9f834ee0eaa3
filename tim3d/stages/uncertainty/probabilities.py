"""Stored probabilities of the phases of a label field, read as float64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.forecast import expected, names_below
from tim3d.grid import Box
from tim3d.storage import store
from tim3d.storage.schema import Field

Floats: TypeAlias = NDArray[np.float64]

# Value of a probability of 1 by type, and half of the step to the next value.
FULL = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
LEAST = {"uint8": 0.5 / 255, "uint16": 0.5 / 65535, "float32": 1e-7}


@dataclass(frozen=True)
class Probabilities:
    """Fields of probabilities beside a label field.

    Parameters
    ----------
    sample : str
        The sample.
    labels : Field
        The label field.
    fields : tuple of tuple of str
        Names of the fields of each phase, in the order of the codes; classes that count as one
        phase add up.
    dtype : str
        Their type.
    """

    sample: str
    labels: Field
    fields: tuple[tuple[str, ...], ...]
    dtype: str

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in the order of their codes."""
        return in_order(self.labels)

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Codes of the phases, ascending."""
        return np.array(sorted((self.labels.phases or {}).values()), np.uint8)

    @property
    def least(self) -> float:
        """Half a step of what is stored: a probability of 0 may have been that."""
        return LEAST[self.dtype]

    @property
    def names(self) -> list[str]:
        """Names of all fields."""
        return [name for one in self.fields for name in one]

    def stored(self, box: Box) -> list[np.ndarray]:
        """Stored values of a box, an array for each of the `names`."""
        return [store.read_box(store.field_array(self.sample, one), box) for one in self.names]

    def shares(self, stored: Sequence[np.ndarray]) -> Floats:
        """Probabilities, float64 (phases, ...), of stored values of any shape; they add up to 1."""
        found, values = np.zeros((len(self.fields), *stored[0].shape)), iter(stored)
        for total, names in zip(found, self.fields, strict=True):
            for _ in names:
                total += next(values)
        return np.asarray(found / found.sum(axis=0))

    def read(self, box: Box) -> Floats:
        """Probabilities of a box, float64 (phases, z, y, x)."""
        return self.shares(self.stored(box))


def in_order(labels: Field) -> tuple[str, ...]:
    """Names of the phases of a field, in the order of their codes."""
    phases: Mapping[str, int] = labels.phases or {}
    return tuple(sorted(phases, key=lambda name: phases[name]))


def probabilities_of(sample: str, labels: Field) -> Probabilities:
    """Find the probabilities that were written with a label field.

    Raises
    ------
    MissingFieldError
        If there are none; the message is the command that makes them.
    ArgumentError
        If the field holds no labels, or a class counts as a phase that is not known.
    """
    if not labels.phases:
        raise ArgumentError(f"{labels.name!r} holds no labels of phases")
    start = f"{labels.name}_probability_"
    names = [
        one
        for one in _there(sample)
        if one.startswith(start) and _goes_with(sample, one, labels.name)
    ]
    found: dict[str, list[str]] = {phase: [] for phase in in_order(labels)}
    for name in names:
        phase = str(_attributes(sample, name).get("phase", name.removeprefix(start)))
        if phase not in found:
            raise ArgumentError(
                f"{name!r} is of a class that is not a phase of {labels.name!r} ({', '.join(found)}): segment it again"
            )
        found[phase].append(name)
    if missing := [phase for phase, of in found.items() if not of]:
        raise MissingFieldError(
            f"{sample} has no probabilities of {', '.join(missing)} for {labels.name!r}. Run: tim3d segment {sample} "
            f"--model ... --uncertainty views --out {labels.name}"
        )
    return Probabilities(
        sample,
        labels,
        tuple(map(tuple, found.values())),
        store.complete_field(sample, names[0]).dtype,
    )


def _there(sample: str) -> list[str]:
    written = store.nodes(sample) if store.is_sample(sample) else []
    return sorted({*written, *names_below("field", sample)})


def _goes_with(sample: str, name: str, labels: str) -> bool:
    """Whether a field was written by the same run."""
    return bool(store.fingerprint_of(sample, name) == store.fingerprint_of(sample, labels))


def _attributes(sample: str, name: str) -> dict[str, Any]:
    planned = expected("field", f"{sample}/{name}")
    return dict(planned.attributes if planned else store.field_array(sample, name).attrs)


def words(names: Iterable[str]) -> np.ndarray:
    """Names as a coordinate."""
    return np.array(list(names), dtype=object)
