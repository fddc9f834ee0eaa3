"""Total variation: flat regions with sharp edges."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.corrections.base import Correction, Greys, Stack, as_type
from tim3d.corrections.nanometres import InNanometres, Spacing
from tim3d.corrections.noise import ByNoise, noise_of
from tim3d.errors import ArgumentError
from tim3d.kernels.image.tiles import by_tiles, tile_voxels
from tim3d.kernels.image.total_variation import total_variation, variation_halo
from tim3d.lazy import xarray as xr

_MOST = 200


@dataclass(frozen=True)
class Variation(ByNoise):
    """Make flat regions flat and keep their edges, by the least total variation.

    Parameters
    ----------
    strength : float
        Weight of the variation, in standard deviations of the noise.
    iterations : int
        Number of iterations, and slices and pixels that a voxel depends on.
    planar : bool
        Whether each slice is taken by itself.
    table : path, optional
        CSV file with the noise of each slice, instead of the measured one.
    """

    strength: float = 0.8
    iterations: int = 15
    planar: bool = False
    table: str | None = None

    kind = "variation"

    def check(self, stack: Stack) -> None:
        """Refuse arguments out of range."""
        if not self.strength > 0 or not 1 <= self.iterations <= _MOST:
            raise ArgumentError(
                f"variation strength={self.strength},iterations={self.iterations}: strength must be "
                f"above 0, iterations 1 to {_MOST}"
            )

    def applied(self, table: xr.Dataset) -> Correction:
        """Total variation by the noise of the stack."""
        return LeastVariation(self, noise_of(table))


@dataclass(frozen=True)
class LeastVariation(InNanometres):
    """Denoising by total variation for a known noise.

    Parameters
    ----------
    asked : Variation
        The parameters.
    noise : float
        Standard deviation of the noise, in grey levels.
    """

    asked: Variation
    noise: float

    kind = "least-variation"

    def halo_at(self, spacing_nm: Spacing) -> int:
        """The iterations, unless slices are taken by themselves."""
        return self._halo[0]

    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Denoised grey values, in their type."""
        weight, asked = self.asked.strength * self.noise, self.asked

        def least(box: Greys) -> Greys:
            found = total_variation(box, weight, asked.iterations, spacing_nm, asked.planar)
            return as_type(found, str(grey.dtype))

        return by_tiles(least, grey, self._halo)

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Eleven arrays of floats of a tile."""
        return 44 * tile_voxels(shape, self._halo)

    @property
    def _halo(self) -> tuple[int, int, int]:
        return variation_halo(self.asked.iterations, self.asked.planar)
