"""A segmenter of one's own that tells particles apart, used end to end; docs/extend.md shows this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from scipy import ndimage

import tim3d


@dataclass(frozen=True)
class Particles(tim3d.Segmenter):
    """Particles are brighter than a level, and parted where they are thin."""

    level: int = 110

    kind: ClassVar[str] = "particles"
    classes = ("matrix", "particle")
    maps = (tim3d.Map("particles", "number of the particle", dtype="uint16", joined="objects"),)
    window = (16, 24, 24)  # every window numbers its own particles, those in the halo too
    halo = (4, 4, 4)  # windows share 8 voxels, where their particles are compared

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        """Nothing to load; a network would be read from its file here."""
        return self.look

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        """Classes and particles of one window; 0 is no particle."""
        bright = grey > self.level
        cores, _ = ndimage.label(ndimage.binary_erosion(bright))
        grown = ndimage.grey_dilation(cores, footprint=ndimage.generate_binary_structure(3, 1))
        particles = np.where(bright, grown, 0)
        return {"labels": bright.astype(np.uint8), "particles": particles.astype(np.uint16)}


def number(sample: str, block: tuple[int, int, int]) -> xr.DataArray:
    """Numbers of the particles of a sample, from 1, and how many there are."""
    options = tim3d.Options(block=block, progress=False, overwrite=True)
    tim3d.segment(sample, segmenter=Particles(), out="grains", options=options)
    found = tim3d.open_field(sample, "grains_particles")
    print(found.attrs["objects"], "particles")
    return found
