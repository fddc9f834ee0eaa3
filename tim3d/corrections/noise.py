"""Corrections that have to know the noise: a row for each slice, and the median of all."""

from __future__ import annotations

from collections.abc import Mapping

from tim3d.corrections.base import Column, Greys, Measured, Stack
from tim3d.kernels.image.noise_level import noise_level
from tim3d.lazy import xarray as xr


class ByNoise(Measured):
    """Correction by the noise of the stack: the median over the slices of the noise of each."""

    columns = (
        Column(
            "noise",
            "standard deviation of the noise of a slice, in grey levels",
            least=0.0,
            expected="0 or more",
        ),
    )

    def row(self, grey: Greys, z: int) -> Mapping[str, float]:
        """Noise of a slice."""
        return {"noise": noise_level(grey[-1])}

    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """The rows as they are."""
        return rows


def noise_of(table: xr.Dataset) -> float:
    """Noise of the stack in grey levels, from a table of slices."""
    return float(table["noise"].median())
