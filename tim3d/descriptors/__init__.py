"""Descriptors of fields, and those with parameters by name (docs/extend.md, docs/correlations.md).

Names are imported on first use.
"""

from __future__ import annotations

from tim3d.lazy import lazy_names

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
    "projected_interface": ("tim3d.descriptors.projected", "ProjectedInterface"),
}

_PLACES = {"Parametric": "tim3d.descriptors.parametric"} | {
    name: module for module, name in KINDS.values()
}

__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names("descriptor", _PLACES)
