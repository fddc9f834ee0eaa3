"""Steps about phases as such: merge two, rename one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.phases import Phases
from tim3d.stages.cleaning.steps import Labels, LocalStep, Spacing, code_of


@dataclass(frozen=True)
class Merge(LocalStep):
    """Count a phase as another one, whose name and code remain.

    Parameters
    ----------
    phase : str
        The phase that vanishes.
    into : str
        The phase that its voxels become.
    """

    phase: str
    into: str
    kind: ClassVar[str] = "merge"

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the phases without the one that vanishes."""
        code_of(self.into, phases, self)
        if self.phase == self.into:
            raise ArgumentError(f"step {self} merges {self.phase!r} into itself; name two phases")
        kept = super().after(phases, shape, spacing)
        return Phases(**{name: code for name, code in kept.items() if name != self.phase})

    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """Replace the code."""
        return np.where(labels == phases[self.phase], np.uint8(phases[self.into]), labels)


@dataclass(frozen=True)
class Rename(LocalStep):
    """Give a phase another name; no voxel changes.

    Parameters
    ----------
    phase : str
        The name before.
    to : str
        The name afterwards.
    """

    phase: str
    to: str
    kind: ClassVar[str] = "rename"

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the phases with the new name."""
        kept = super().after(phases, shape, spacing)
        if self.to in phases:
            raise ArgumentError(
                f"step {self}: {self.to!r} is a phase already. To join the two: merge:{self.phase},into={self.to}"
            )
        return Phases(**{self.to if n == self.phase else n: code for n, code in kept.items()})

    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """Return the labels as they are."""
        return labels
