"""Source whose slices are interpolated to even steps in z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.sources.base import Source, Voxels
from tim3d.sources.positions import Resampling


@dataclass(frozen=True, kw_only=True, repr=False)
class ResampledSource(Source):
    """Slices of another source at even z positions; create it with `resample`.

    A slice at the position of an original slice is that slice, bit for bit. Between two slices,
    grey values are interpolated linearly (in float64, rounded to the nearest integer if voxels are
    integers), and labels are taken from the nearer slice (the lower one at equal distance). The
    result does not depend on the ranges of slices in which the volume is read.
    """

    source: Source
    resampling: Resampling
    nearest: bool = False

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{self.source.label}, resampled to {self.resampling.step_nm:g} nm"

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (self.source.identity(), self.resampling, self.nearest)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        found = np.empty((z1 - z0, *self.shape[1:]), self.dtype)
        planes: dict[int, Voxels] = {}
        for z in range(z0, z1):
            wanted = self._wanted(z)
            planes = {
                i: planes[i] if i in planes else self.source.read(i, i + 1)[0] for i in wanted
            }
            found[z - z0] = self._between(planes, wanted, self.resampling.weights[z])
        return found

    def _wanted(self, z: int) -> tuple[int, ...]:
        lower, upper = self.resampling.lower[z], self.resampling.upper[z]
        if self.nearest:
            return (upper if self.resampling.weights[z] > 0.5 else lower,)
        return (lower,) if lower == upper else (lower, upper)

    def _between(self, planes: dict[int, Voxels], wanted: tuple[int, ...], weight: float) -> Voxels:
        if len(wanted) == 1:
            return planes[wanted[0]]
        low, high = (planes[i].astype(np.float64) for i in wanted)
        mixed = low + weight * (high - low)
        return np.rint(mixed) if self.dtype.kind == "u" else mixed


def resample(source: Source, resampling: Resampling, *, labels: bool = False) -> ResampledSource:
    """Return a source with slices at the positions of a `Resampling`.

    Parameters
    ----------
    source : Source
        The original source, with as many slices as the resampling requires.
    resampling : Resampling
        From `uniform_resampling(source.positions_nm)`.
    labels : bool
        Take the nearer slice instead of interpolating, so that no new value appears.

    Returns
    -------
    ResampledSource
        Source of shape (len(resampling), y, x); its z voxel size is the step in nm.

    Raises
    ------
    ArgumentError
        If the resampling was made for another number of slices.
    """
    if resampling.slices != source.shape[0]:
        raise ArgumentError(
            f"the resampling was made for {resampling.slices} slices, {source.label} has {source.shape[0]}; "
            "make it from source.positions_nm"
        )
    return ResampledSource(
        shape=(len(resampling), *source.shape[1:]),
        dtype=source.dtype,
        voxel_size_nm=(resampling.step_nm, *source.voxel_size_nm[1:]),
        origin=f"{source.origin}; z resampled to {resampling.step_nm:g} nm",
        positions_nm=resampling.positions_nm,
        filled=source.filled,
        piece_bytes=source.piece_bytes,
        remarks=source.remarks,
        is_numbered=source.is_numbered,
        source=source,
        resampling=resampling,
        nearest=labels,
    )
