"""Objects of the decoder of micro-sam, which needs no prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import ArgumentError
from tim3d.kernels.masks.distance_watershed import Limits
from tim3d.steps import Step


@dataclass(frozen=True)
class Decoder(Limits, Step):
    """The decoder of a network in place of prompts, with the parameters of `Limits`."""

    kind: ClassVar[str] = "decoder"

    def check(self) -> None:
        """Raise `ArgumentError` for a limit out of its range."""
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
