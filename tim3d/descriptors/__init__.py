"""Descriptors of fields, and those with parameters by name (docs/extend.md, docs/correlations.md).

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

# Descriptors with parameters by the names that they have in the shell and in recipes.
KINDS = {
    "correlation": ("tim3d.descriptors.correlation", "Correlation"),
    "chord_length": ("tim3d.descriptors.chords", "ChordLength"),
    "curvature": ("tim3d.descriptors.curvature", "Curvature"),
    "interface_orientation": ("tim3d.descriptors.curvature", "InterfaceOrientation"),
    "slice_shape": ("tim3d.descriptors.slices", "SliceShape"),
    "triple_phase_boundary": ("tim3d.descriptors.triple_phase", "TriplePhaseBoundary"),
    "distance": ("tim3d.descriptors.lengths", "DistanceDistribution"),
    "thickness": ("tim3d.descriptors.lengths", "Thickness"),
    "cluster_correlation": ("tim3d.descriptors.cluster", "ClusterCorrelation"),
}

__all__ = sorted(["Parametric", *(name for _, name in KINDS.values())])


def __getattr__(name: str) -> Any:
    places = {one: module for module, one in KINDS.values()}
    if name not in __all__:
        raise AttributeError(f"no descriptor {name!r}; there are {', '.join(__all__)}")
    place = places.get(name, "tim3d.descriptors.parametric")
    return getattr(importlib.import_module(place), name)


def __dir__() -> list[str]:
    return list(__all__)
