"""A step of `clean` as a value: what it does to labels, for all blocks alike.

There are two kinds. A `LocalStep` looks at the voxels within its halo; consecutive ones run in one
pass. A `ComponentStep` decides about whole components of the volume, wherever blocks cut them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.morphology.components import Components
from tim3d.phases import Phases
from tim3d.spelling import suggestion
from tim3d.steps import Step

Labels: TypeAlias = NDArray[np.uint8]
Spacing: TypeAlias = tuple[float, float, float]


class CleaningStep(Step):
    """A step of `clean`, to be inherited by a frozen dataclass: a `LocalStep` or a `ComponentStep`."""

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Phases after the step; raise `ArgumentError` if it does not fit the labels.

        Parameters
        ----------
        phases : Phases
            Phases before the step.
        shape, spacing : (z, y, x)
            Voxels of the volume, and edges of a voxel in nm.
        """
        named = getattr(self, "phase", None)
        if named is not None:
            code_of(named, phases, self)
        return phases


class LocalStep(CleaningStep):
    """A step after which a voxel depends on the voxels around it within a halo, and on no block.

    Attributes
    ----------
    voxel_bytes : float
        Memory of `relabel` in bytes per voxel, beside what it is given.
    """

    voxel_bytes: ClassVar[float] = 4.0

    def halo(self, spacing: Spacing) -> Triple:
        """Voxels along z, y and x beyond which nothing changes a voxel."""
        return (0, 0, 0)

    @abstractmethod
    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """New codes of a box; voxels nearer than the halo to a cut are not used.

        Where the box ends at the border of the volume, nothing is known beyond.

        Parameters
        ----------
        labels : (z, y, x) uint8
            Code of each voxel; not to be changed.
        phases : Phases
            Phases before the step.
        spacing : (sz, sy, sx)
            Edges of a voxel in nm.
        """


class ComponentStep(CleaningStep):
    """A step that gives whole components another phase.

    Attributes
    ----------
    connectivity : int
        Neighbours of a voxel in its component: 6, 18 or 26.
    """

    connectivity: int

    @abstractmethod
    def members(self, phases: Phases) -> tuple[int, ...]:
        """Codes whose voxels together form the components."""

    @abstractmethod
    def chosen(self, found: Components, shape: Triple, spacing: Spacing) -> NDArray[np.bool_]:
        """Whether each component gets another phase.

        Parameters
        ----------
        found : Components
            Voxels, box and first voxel of each component of the volume.
        shape, spacing : (z, y, x)
            Voxels of the volume, and edges of a voxel in nm.
        """

    def into(self, phases: Phases) -> int | None:
        """Code that they get; None for that of the phase with the largest shared surface."""
        return None


def code_of(name: str, phases: Phases, step: Step) -> int:
    """Code of a phase; raise `ArgumentError` if there is no such phase before the step."""
    if name not in phases:
        raise ArgumentError(
            f"step {step} names the phase {name!r}{suggestion(name, phases)}; there are {', '.join(phases)}"
        )
    return phases[name]


def touching(found: Components, shape: Triple) -> NDArray[np.bool_]:
    """Whether each component reaches the low and high face along each axis, (n, 3, 2) bool.

    An axis of one voxel has no faces: the volume is a plane.
    """
    thick = np.array(shape) > 1
    return found.touches(shape) & thick[None, :, None]
