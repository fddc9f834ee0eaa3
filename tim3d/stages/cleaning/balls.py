"""Steps by a ball in nm: opening, closing, majority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.morphology import ball
from tim3d.phases import Phases
from tim3d.stages.cleaning.steps import Labels, LocalStep, Spacing
from tim3d.steps import check_length


class BallStep(LocalStep):
    """A step by a ball of a radius in nm.

    Attributes
    ----------
    radii : int
        Radii of the ball within which a voxel depends on others.
    """

    radius_nm: float
    radii: ClassVar[int] = 2

    def after(self, phases: Phases, shape: Triple, spacing: Spacing) -> Phases:
        """Return the same phases."""
        check_radius(self, shape, spacing)
        return super().after(phases, shape, spacing)

    def halo(self, spacing: Spacing) -> Triple:
        """Reach of the ball, as often as `radii` says."""
        return triple(self.radii * n for n in ball.ball_reach(self.radius_nm, spacing))


@dataclass(frozen=True)
class Opening(BallStep):
    """Remove of a phase what no ball inside it covers: specks, spikes, thin bridges.

    A voxel that is removed becomes the phase of the nearest voxel of another phase, of equally near
    ones the phase of the lowest code. Beyond the border of the volume nothing is known: it does not
    erode the phase.

    Parameters
    ----------
    phase : str
        The phase.
    radius_nm : float
        Radius of the ball; a voxel belongs to it if its centre does.
    """

    phase: str
    radius_nm: float
    kind: ClassVar[str] = "open"
    voxel_bytes: ClassVar[float] = 28.0

    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """Open the phase."""
        own = labels == phases[self.phase]
        removed = own & ~ball.opened(own, self.radius_nm, spacing)
        if not removed.any():
            return labels
        others = [code for name, code in phases.items() if name != self.phase]
        out = labels.copy()
        out[removed] = ball.nearest_code(labels, others, removed, self.radius_nm, spacing)
        return out


@dataclass(frozen=True)
class Closing(BallStep):
    """Add to a phase what no ball outside of it covers: cracks, dents, narrow gaps.

    Beyond the border of the volume nothing is known: it does not close a gap.

    Parameters
    ----------
    phase : str
        The phase.
    radius_nm : float
        Radius of the ball; a voxel belongs to it if its centre does.
    """

    phase: str
    radius_nm: float
    kind: ClassVar[str] = "close"
    voxel_bytes: ClassVar[float] = 22.0

    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """Close the phase."""
        code = phases[self.phase]
        closed = ball.closed(labels == code, self.radius_nm, spacing)
        return np.where(closed, np.uint8(code), labels)


@dataclass(frozen=True)
class Majority(BallStep):
    """Give each voxel the most frequent phase in the ball around it.

    Of equally frequent phases the voxel's own stays if it is one of them; else the one of the
    lowest code counts. Voxels beyond the border of the volume do not vote.

    Parameters
    ----------
    radius_nm : float
        Radius of the ball; a voxel votes if its centre lies within.
    """

    radius_nm: float
    kind: ClassVar[str] = "majority"
    radii: ClassVar[int] = 1
    voxel_bytes: ClassVar[float] = 20.0

    def relabel(self, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
        """Count votes."""
        return ball.majority(labels, phases.codes, self.radius_nm, spacing)


def check_radius(step: BallStep, shape: Triple, spacing: Spacing) -> None:
    """Raise `ArgumentError` if a ball is larger than the volume, or holds no voxel but its centre."""
    longest = max(n * edge for n, edge in zip(shape, spacing, strict=True))
    check_length(step, "radius_nm", longest, "the longest edge of the volume")
    if max(ball.ball_reach(step.radius_nm, spacing)) == 0:
        edges = " x ".join(f"{edge:g}" for edge in spacing)
        raise ArgumentError(
            f"step {step}: a ball of {step.radius_nm:g} nm holds one voxel of {edges} nm and changes nothing; "
            f"write radius_nm={min(spacing):g} or more"
        )
