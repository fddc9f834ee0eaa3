"""Objects of the decoder of micro-sam, which needs no prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.distance_watershed import Limits
from tim3d.steps import Step


@dataclass(frozen=True)
class Decoder(Step):
    """The decoder of a network in place of prompts, and the limits of its objects.

    Parameters
    ----------
    foreground : float
        Share of foreground above which a pixel belongs to an object.
    centre, boundary : float
        Distances below which a pixel is one of a seed.
    smooth, smooth_distances : float
        Deviations in pixels of the Gaussians of the foreground and of the distances; 0 for none.
    smallest : int
        Pixels of an object of a slice or window, at least.
    """

    foreground: float = 0.5
    centre: float = 0.5
    boundary: float = 0.5
    smooth: float = 1.0
    smooth_distances: float = 1.6
    smallest: int = 1
    kind: ClassVar[str] = "decoder"

    @property
    def limits(self) -> Limits:
        """The limits.

        Raises
        ------
        ArgumentError
            If one is out of its range.
        """
        shares = (self.foreground, self.centre, self.boundary)
        widths = (self.smooth, self.smooth_distances)
        if not (
            all(0 <= one <= 1 for one in shares)
            and all(0 <= one <= 100 for one in widths)
            and self.smallest >= 1
        ):
            raise ArgumentError(
                f"{self}: foreground, centre and boundary lie from 0 to 1, smooth and smooth_distances from 0 to 100 "
                "pixels, and smallest is 1 or more"
            )
        return Limits(*shares, *widths, self.smallest)
