"""Curtains: stripes along the direction of the ion beam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from tim3d.corrections.base import Greys, Stack
from tim3d.corrections.nanometres import InNanometres, Spacing, by_slice
from tim3d.errors import ArgumentError
from tim3d.kernels.image.curtain import (
    Estimate,
    check_stripes,
    check_wavelet,
    stripes,
    variational_stripes,
    wavelet_stripes,
)
from tim3d.kernels.image.phase_model import check_phases
from tim3d.steps import check_length

Direction: TypeAlias = Literal["y", "x"]
Method: TypeAlias = Literal["wavelet", "variational"]


@dataclass(frozen=True)
class Curtain(InNanometres):
    """Take away stripes along one direction of the slices.

    Parameters
    ----------
    width_nm : float
        Width of the widest stripe.
    length_nm : float, optional
        Length over which a stripe keeps its grey value (default: the width).
    along : {"y", "x"}
        Axis that the stripes lie along: y if the ion beam comes from above or below.
    method : {"wavelet", "variational"}
        Wavelets with a Fourier filter, or stationary noise of the least total variation, which is
        slower and needs no phases.
    phases : int
        Phases that a threshold separates; with 1 layers along the stripes are taken away with them.
    rounds : int
        How often phases and stripes are estimated in turn.
    wavelet : str
        Wavelet by its name in PyWavelets.
    strength : float
        Weight of the stripes in the variational method: larger values remove less.
    """

    width_nm: float
    length_nm: float | None = None
    along: Direction = "y"
    method: Method = "wavelet"
    phases: int = 2
    rounds: int = 2
    wavelet: str = "db4"
    strength: float = 0.1

    kind = "curtain"

    def check(self, stack: Stack) -> None:
        """Refuse lengths below a pixel or beyond the slice, an unknown wavelet, and other arguments out of range."""
        check_phases(self.phases)
        check_wavelet(self.wavelet)
        if self.along not in get_args(Direction):
            raise ArgumentError(f"curtain along={self.along}: stripes lie along y or x")
        if self.method not in get_args(Method):
            raise ArgumentError(f"curtain method={self.method}; it is wavelet or variational")
        across, along = stack.extent_nm[2 - self._axis], stack.extent_nm[1 + self._axis]
        check_length(self, "width_nm", across, "a slice across the stripes")
        check_length(self, "length_nm", along, "a slice along the stripes")
        check_stripes(*self._size(stack.spacing_nm), self._axis)
        if self.rounds < 1 or not 0 < self.strength < math.inf:
            raise ArgumentError(
                f"curtain rounds={self.rounds},strength={self.strength}: both must be above 0, and finite"
            )

    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Slices without their stripes, in the type of the grey values."""
        estimate = self._estimate(spacing_nm)
        return by_slice(lambda one: one - stripes(one, estimate, self.phases, self.rounds), grey)

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Arrays of floats of one slice; when padded, it may have four times its pixels."""
        arrays = 4 * 24 if self.method == "variational" else 12
        return 4 * arrays * shape[1] * shape[2]

    def _estimate(self, spacing_nm: Spacing) -> Estimate:
        width, length = self._size(spacing_nm)
        if self.method == "wavelet":
            return partial(
                wavelet_stripes, width=width, length=length, along=self._axis, wavelet=self.wavelet
            )
        return partial(
            variational_stripes,
            width=width,
            length=length,
            along=self._axis,
            strength=self.strength,
        )

    @property
    def _axis(self) -> int:
        """Axis of a slice that the stripes lie along."""
        return "yx".index(self.along)

    def _size(self, spacing_nm: Spacing) -> tuple[float, float]:
        """Width across and length along the stripes, in pixels."""
        _, dy, dx = spacing_nm
        along, across = (dy, dx) if self._axis == 0 else (dx, dy)
        length = self.width_nm if self.length_nm is None else self.length_nm
        return self.width_nm / across, length / along
