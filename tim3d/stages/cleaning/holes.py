"""Step that fills what one phase encloses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.morphology.components import Components, check_connectivity
from tim3d.phases import Phases
from tim3d.stages.cleaning.islands import check_limit, is_below
from tim3d.stages.cleaning.steps import ComponentStep, Spacing, touching


@dataclass(frozen=True)
class Holes(ComponentStep):
    """Fill holes of a phase: components of all that is not the phase which touch no face.

    A component that the border of the volume cuts may be open beyond, and stays. With the default
    connectivity of 6 the phase itself closes over edges and corners, as in
    `scipy.ndimage.binary_fill_holes`.

    Parameters
    ----------
    phase : str
        The phase that encloses them, and that they become.
    below_nm3, below_voxels : float, int
        Volume below which a hole is filled; at most one of the two (default: any hole).
    connectivity : {6, 18, 26}
        Neighbours through which a hole is open.
    """

    phase: str
    below_nm3: float | None = None
    below_voxels: int | None = None
    connectivity: int = 6
    kind: ClassVar[str] = "holes"

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the same phases, of which there must be two."""
        check_connectivity(self.connectivity)
        check_limit(self, self.below_nm3, self.below_voxels, needed=False)
        if len(phases) < 2:
            raise ArgumentError(f"step {self}: the labels have one phase, and no holes")
        return super().after(phases, shape, spacing)

    def members(self, phases: Phases) -> tuple[int, ...]:
        """Return the codes of all other phases."""
        return tuple(code for name, code in phases.items() if name != self.phase)

    def chosen(self, found: Components, shape: Triple, spacing: Spacing) -> NDArray[np.bool_]:
        """Whether each component is enclosed, and small enough."""
        small = is_below(found, self.below_nm3, self.below_voxels, spacing)
        return small & ~touching(found, shape).any(axis=(1, 2))

    def into(self, phases: Phases) -> int | None:
        """Return the code of the phase."""
        return phases[self.phase]
