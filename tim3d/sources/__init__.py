"""Readers of microscope files: each source is one lazily read volume."""

from tim3d.sources.base import Source
from tim3d.sources.opening import open_source
from tim3d.sources.planned import PlannedStack
from tim3d.sources.positions import (
    Resampling,
    SpacingStatistics,
    spacing_statistics,
    uniform_resampling,
)
from tim3d.sources.resampled import ResampledSource, resample
from tim3d.sources.units import resolve_voxel_size

__all__ = [
    "PlannedStack",
    "ResampledSource",
    "Resampling",
    "Source",
    "SpacingStatistics",
    "open_source",
    "resample",
    "resolve_voxel_size",
    "spacing_statistics",
    "uniform_resampling",
]
