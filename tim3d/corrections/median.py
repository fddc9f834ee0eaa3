"""Median: noise is taken away and straight edges stay sharp."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.corrections.base import Greys, Stack
from tim3d.corrections.nanometres import InNanometres, Spacing
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.image.denoise import median, reach
from tim3d.steps import check_length

# scipy sorts the voxels of a box.
_MOST = 2000


@dataclass(frozen=True)
class Median(InNanometres):
    """Replace each voxel by the median of a box around it.

    Parameters
    ----------
    radius_nm : float, optional
        Half the edge of the box, in whole voxels of each axis (default: the smallest voxel edge).
    planar : bool
        Whether each slice is taken by itself.
    """

    radius_nm: float | None = None
    planar: bool = False

    kind = "median"

    def check(self, stack: Stack) -> None:
        """Refuse a box of one voxel, and one of more than 2000."""
        longest = max(stack.extent_nm)
        check_length(self, "radius_nm", longest, "the longest edge of the volume")
        box = 1
        for r in self._radius(stack.spacing_nm):
            box *= 2 * r + 1
        if not 1 < box <= _MOST:
            raise ArgumentError(
                f"median radius_nm={self.radius_nm}: the box has {box} voxels of {stack.spacing_nm} nm, "
                f"it must have 2 to {_MOST}"
            )

    def halo_at(self, spacing_nm: Spacing) -> int:
        """The radius along z."""
        return self._radius(spacing_nm)[0]

    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Medians, in the type of the grey values."""
        return median(grey, self._radius(spacing_nm))

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """None beside the result."""
        return 0

    def _radius(self, spacing_nm: Spacing) -> Triple:
        edges = spacing_nm[1:] if self.planar else spacing_nm
        z, y, x = reach(min(edges) if self.radius_nm is None else self.radius_nm, spacing_nm)
        return 0 if self.planar else z, y, x
