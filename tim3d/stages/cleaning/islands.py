"""Steps that remove components of a phase: small ones, and those without a way to a face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Triple
from tim3d.kernels.morphology.components import Components, check_connectivity
from tim3d.phases import Phases
from tim3d.stages.cleaning.steps import ComponentStep, Spacing, touching

FACES = tuple(f"{sign}{axis}" for axis in AXES for sign in "-+")


@dataclass(frozen=True)
class Islands(ComponentStep):
    """Give components of a phase below a volume to the phase that they share most surface with.

    Of phases with equal surface the one of the lowest code counts. A component that fills the whole
    volume stays.

    Parameters
    ----------
    phase : str
        The phase that is cleared of them.
    below_nm3, below_voxels : float, int
        Volume below which a component is an island; exactly one of the two.
    border : {"remove", "keep"}
        Whether components that the border of the volume cuts, whose volume is not known, may be
        islands.
    connectivity : {6, 18, 26}
        Neighbours that make a component.
    """

    phase: str
    below_nm3: float | None = None
    below_voxels: int | None = None
    border: str = "remove"
    connectivity: int = 6
    kind: ClassVar[str] = "islands"

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the same phases, of which there must be two."""
        check_connectivity(self.connectivity)
        check_limit(self, self.below_nm3, self.below_voxels, needed=True)
        if self.border not in ("remove", "keep"):
            raise ArgumentError(f"step {self}: border is {self.border!r}; write remove or keep")
        _refuse_one_phase(self, phases)
        return super().after(phases, shape, spacing)

    def members(self, phases: Phases) -> tuple[int, ...]:
        """Return the code of the phase."""
        return (phases[self.phase],)

    def chosen(self, found: Components, shape: Triple, spacing: Spacing) -> NDArray[np.bool_]:
        """Whether each component is small enough."""
        small = is_below(found, self.below_nm3, self.below_voxels, spacing)
        if self.border == "remove":
            return small
        return small & ~touching(found, shape).any(axis=(1, 2))


@dataclass(frozen=True)
class Floating(ComponentStep):
    """Give components of a phase without a way to a face to the phase they share most surface with.

    Parameters
    ----------
    phase : str
        The phase that is cleared of them.
    faces : str
        Faces of which a component must touch one to stay, as ``-z:+z`` (default: any face).
    connectivity : {6, 18, 26}
        Neighbours that make a component.
    """

    phase: str
    faces: str = "any"
    connectivity: int = 6
    kind: ClassVar[str] = "floating"

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the same phases, of which there must be two."""
        check_connectivity(self.connectivity)
        _refuse_one_phase(self, phases)
        self._sides(shape)
        return super().after(phases, shape, spacing)

    def _sides(self, shape: Triple) -> list[tuple[int, int]]:
        """Axis and side (0 low, 1 high) of each face."""
        named = FACES if self.faces == "any" else self.faces.split(":")
        if strange := [name for name in named if name not in FACES]:
            raise ArgumentError(
                f"step {self}: no face {strange[0]!r}; faces are {', '.join(FACES)}, written as -z:+z"
            )
        sides = [(FACES.index(name) // 2, FACES.index(name) % 2) for name in named]
        sides = [(axis, side) for axis, side in sides if shape[axis] > 1]
        if not sides:
            raise ArgumentError(f"step {self}: the volume has one voxel along that axis, no face")
        return sides

    def members(self, phases: Phases) -> tuple[int, ...]:
        """Return the code of the phase."""
        return (phases[self.phase],)

    def chosen(self, found: Components, shape: Triple, spacing: Spacing) -> NDArray[np.bool_]:
        """Whether each component touches none of the faces."""
        reached = touching(found, shape)
        return np.asarray(
            ~np.logical_or.reduce([reached[:, axis, side] for axis, side in self._sides(shape)])
        )


def is_below(
    found: Components, below_nm3: float | None, below_voxels: int | None, spacing: Spacing
) -> NDArray[np.bool_]:
    """Whether each component is smaller than a limit; any is where none is given."""
    if below_nm3 is not None:
        sz, sy, sx = spacing
        return np.asarray(found.voxels * (sz * sy * sx) < below_nm3)
    limit = np.iinfo(np.int64).max if below_voxels is None else below_voxels
    return np.asarray(found.voxels < limit)


def check_limit(
    step: ComponentStep, below_nm3: float | None, below_voxels: int | None, *, needed: bool
) -> None:
    """Raise `ArgumentError` unless at most one limit is given, or one if needed, and positive."""
    given = [limit for limit in (below_nm3, below_voxels) if limit is not None]
    if len(given) > 1 or (needed and not given):
        raise ArgumentError(
            f"step {step} needs one limit, below_nm3=1e6 or below_voxels=100: it has {len(given)}"
        )
    if not all(0 < limit < np.inf for limit in given):
        raise ArgumentError(f"step {step}: the limit must be a positive volume")


def _refuse_one_phase(step: ComponentStep, phases: Phases) -> None:
    if len(phases) < 2:
        raise ArgumentError(
            f"step {step}: the labels have one phase, {', '.join(phases)}, so that an island could become nothing else"
        )
