"""Background: slow shading by the detector, and charging."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.corrections.base import Greys, Stack
from tim3d.corrections.nanometres import InNanometres, Spacing, by_slice
from tim3d.kernels.image.background import Removal, background, check_background, without
from tim3d.steps import check_length


@dataclass(frozen=True)
class Background(InNanometres):
    """Take away what changes slowly over a slice: shading and charging.

    Parameters
    ----------
    scale_nm : float
        Standard deviation of the smoothing along y and x, well above the largest feature.
    phases : int
        Phases that a threshold separates; with 1 the grey values are smoothed as they are.
    removal : {"subtract", "divide"}
        Whether the background adds to the grey values (charging) or multiplies them (shading).
    rounds : int
        How often phases and background are estimated in turn.
    """

    scale_nm: float
    phases: int = 2
    removal: Removal = "subtract"
    rounds: int = 6

    kind = "background"

    def check(self, stack: Stack) -> None:
        """Refuse a scale below a pixel or beyond the slice, and other arguments out of range."""
        check_length(self, "scale_nm", max(stack.extent_nm[1:]), "the longer edge of a slice")
        check_background(self._scale(stack.spacing_nm), self.phases, self.removal, self.rounds)

    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Slices without their backgrounds, in the type of the grey values."""
        scale = self._scale(spacing_nm)

        def flat(one: Greys) -> Greys:
            found = background(one, scale, self.phases, self.removal, self.rounds)
            return without(one, found, self.removal)

        return by_slice(flat, grey)

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Ten arrays of floats of one slice."""
        return 40 * shape[1] * shape[2]

    def _scale(self, spacing_nm: Spacing) -> tuple[float, float]:
        return self.scale_nm / spacing_nm[1], self.scale_nm / spacing_nm[2]
