"""Non-local means: the mean of the voxels nearby whose surroundings look alike."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.corrections.base import Correction, Greys, Stack, as_type
from tim3d.corrections.nanometres import InNanometres, Spacing
from tim3d.corrections.noise import ByNoise, noise_of
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.image.denoise import check_patch, nonlocal_halo, nonlocal_means, reach
from tim3d.kernels.image.tiles import by_tiles, tile_voxels
from tim3d.lazy import xarray as xr
from tim3d.steps import check_length

# Largest halo and patch, which the plan reckons with.
_HALO, _PATCH = 16, 3


@dataclass(frozen=True)
class NonLocal(ByNoise):
    """Average the voxels nearby whose surroundings look alike.

    Parameters
    ----------
    strength : float
        Tolerated difference of the surroundings, in standard deviations of the noise.
    search_nm : float, optional
        Distance along y and x up to which is looked (default: five of the smaller edge).
    patch_nm : float, optional
        Distance up to which surroundings are compared (default: one smallest voxel edge).
    slices : int
        Slices before and after that are looked at.
    table : path, optional
        CSV file with the noise of each slice, instead of the measured one.
    """

    strength: float = 0.7
    search_nm: float | None = None
    patch_nm: float | None = None
    slices: int = 1
    table: str | None = None

    kind = "nonlocal"

    def check(self, stack: Stack) -> None:
        """Refuse a patch that is too large, and other arguments out of range."""
        if self.slices < 0 or not self.strength > 0:
            raise ArgumentError(
                f"nonlocal strength={self.strength},slices={self.slices}: strength must be above 0, "
                "slices 0 or more"
            )
        for name in ("search_nm", "patch_nm"):
            check_length(self, name, max(stack.extent_nm), "the longest edge of the volume")
        search, patch = self.boxes(stack.spacing_nm)
        check_patch(patch)
        if max(patch) > _PATCH:
            raise ArgumentError(
                f"nonlocal patch_nm={self.patch_nm}: {patch} voxels (z, y, x) of {stack.spacing_nm} nm to "
                f"either side; {_PATCH} at most"
            )
        if max(search) < 1 or max(nonlocal_halo(search, patch)) > _HALO:
            raise ArgumentError(
                f"nonlocal looks at {search} voxels (z, y, x) of {stack.spacing_nm} nm to either side; "
                f"it must be one or more, and {_HALO} at most with the patch of {patch}"
            )

    def applied(self, table: xr.Dataset) -> Correction:
        """Non-local means by the noise of the stack."""
        return NonLocalMeans(self, noise_of(table))

    def boxes(self, spacing_nm: Spacing) -> tuple[Triple, Triple]:
        """Voxels to either side, of the search and of a patch."""
        far = 5 * min(spacing_nm[1:]) if self.search_nm is None else self.search_nm
        near = min(spacing_nm) if self.patch_nm is None else self.patch_nm
        _, y, x = reach(far, spacing_nm)
        patch = reach(near, spacing_nm)
        return (self.slices, y, x), patch if self.slices else (0, *patch[1:])


@dataclass(frozen=True)
class NonLocalMeans(InNanometres):
    """Non-local means for a known noise.

    Parameters
    ----------
    asked : NonLocal
        The parameters.
    noise : float
        Standard deviation of the noise, in grey levels; without noise, grey values stay as they are.
    """

    asked: NonLocal
    noise: float

    kind = "nonlocal-means"

    def halo_at(self, spacing_nm: Spacing) -> int:
        """Search and patch along z."""
        return nonlocal_halo(*self.asked.boxes(spacing_nm))[0]

    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Means, in the type of the grey values."""
        if not self.noise > 0:
            return grey
        search, patch = self.asked.boxes(spacing_nm)

        def means(box: Greys) -> Greys:
            found = nonlocal_means(box, self.noise, search, patch, self.asked.strength)
            return as_type(found, str(grey.dtype))

        return by_tiles(means, grey, nonlocal_halo(search, patch))

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """Seven arrays of floats of a tile with the largest halo, mirrored at the first and last slice."""
        tall = (shape[0] + 2 * (self.asked.slices + _PATCH), *shape[1:])
        return 28 * tile_voxels(tall, (0, _HALO, _HALO))
