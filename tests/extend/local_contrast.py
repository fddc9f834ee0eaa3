"""A segmenter in a user's own code, used end to end; docs/extend.md shows this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from scipy import ndimage

import tim3d


@dataclass(frozen=True)
class LocalContrast(tim3d.Segmenter):
    """Solid is what is brighter than a level after a mean of 3 x 3 x 3; how far from the level says how sure."""

    level: float = 110.0
    softness: float = 12.0

    kind: ClassVar[str] = "local-contrast"
    classes = ("pore", "solid")
    maps = (tim3d.Map("uncertainty", "entropy of pore and solid", units="bit"),)
    window = (10, 20, 24)  # what is looked at together, with the halo that is thrown away
    halo = (2, 3, 4)

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        """Nothing to load; a network or a forest would be read from its file here, once in each process."""
        return self.look

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        """Labels and uncertainty of one window."""
        mean = ndimage.uniform_filter(grey.astype(np.float64), 3)
        solid = 1 / (1 + np.exp((self.level - mean) / self.softness))
        sure = np.stack([solid, 1 - solid])
        entropy = -(sure * np.log2(np.maximum(sure, 1e-12))).sum(axis=0)
        return {"labels": (solid > 0.5).astype(np.uint8), "uncertainty": entropy.astype(np.float32)}


def segment(sample: str, block: tuple[int, int, int]) -> tuple[xr.DataArray, xr.DataArray]:
    """Labels and uncertainty of a sample, as fields of it."""
    phases = tim3d.Phases(pore=1, solid=5)
    options = tim3d.Options(block=block, progress=False, overwrite=True)
    labels = tim3d.segment(
        sample, segmenter=LocalContrast(level=100.0), phases=phases, out="lc", options=options
    )
    return labels, tim3d.open_field(sample, "lc_uncertainty")
