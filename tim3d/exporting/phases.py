"""Base of the exports of phases: one field of labels, and the phases that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.exporting.job import Export
from tim3d.phases import Phases
from tim3d.storage import store
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class PhaseExport(Export):
    """Some phases of one label field."""

    @cached_property
    def field(self) -> Field:
        """The label field.

        Raises
        ------
        ArgumentError
            If there are several fields, or it holds no labels.
        """
        fields = self.asked.fields()
        if len(fields) > 1 or fields[0].phases is None:
            listed = " and ".join(self.asked.names)
            raise ArgumentError(f"{self.asked.target} is made of one field of phases, got {listed}")
        return fields[0]

    @property
    def known(self) -> Phases:
        """All phases of the field."""
        assert self.field.phases is not None
        return self.field.phases

    @cached_property
    def phases(self) -> list[str]:
        """Names of the phases that are asked for, in the order of the codes; unknown ones are refused."""
        wanted = list(self.asked.given["phases"]) or self.unnamed()
        for name in wanted:
            if name not in self.known:
                raise ArgumentError(f"no phase {name!r}; there are {', '.join(self.known)}")
        return [name for name in self.known if name in wanted]

    def unnamed(self) -> list[str]:
        """Names of the phases that are meant where none is named: all."""
        return list(self.known)

    @property
    def wanted_codes(self) -> NDArray[np.bool_]:
        """Which of the 256 codes belong to the phases that are asked for."""
        wanted = np.zeros(256, bool)
        wanted[[self.known[name] for name in self.phases]] = True
        return wanted

    def inputs(self) -> dict[str, str]:
        """Fingerprint of the labels, and the phases."""
        name = self.field.name
        return {
            name: store.fingerprint_of(self.asked.sample, name),
            "phases": ",".join(self.phases),
        }
