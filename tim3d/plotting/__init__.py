"""Figures of results and samples as matplotlib `Figure`: for notebooks, reports, ``--figure``.

The state of pyplot is not changed. Write a figure with ``figure.savefig("a.png")``.
"""

from tim3d.plotting.clusters import cluster_figure, slice_shape_figure
from tim3d.plotting.correlations import chord_figure, correlation_figure, curvature_figure
from tim3d.plotting.curves import drift, histogram, profiles, training_curves
from tim3d.plotting.fidelity import curves_figure, residues_figure, slices_figure
from tim3d.plotting.inspection import inspection_figure
from tim3d.plotting.likeness import crop_map_figure, crop_pairs_figure, grey_look_figure
from tim3d.plotting.particles import particle_figure
from tim3d.plotting.phases_3d import phases_3d
from tim3d.plotting.relation import importance_figure, models_figure, relation_figure
from tim3d.plotting.sizes import distance_figure, porosimetry_figure, thickness_figure
from tim3d.plotting.slices import disagreement, orthoslices, overlay, overlay_slice
from tim3d.plotting.struts import strut_figure
from tim3d.plotting.study import study_figure
from tim3d.plotting.transport import conductivity_bounds, field_slices, geodesic_profiles

__all__ = [
    "chord_figure",
    "cluster_figure",
    "conductivity_bounds",
    "correlation_figure",
    "crop_map_figure",
    "crop_pairs_figure",
    "curvature_figure",
    "curves_figure",
    "disagreement",
    "distance_figure",
    "drift",
    "field_slices",
    "geodesic_profiles",
    "grey_look_figure",
    "histogram",
    "importance_figure",
    "inspection_figure",
    "models_figure",
    "orthoslices",
    "overlay",
    "overlay_slice",
    "particle_figure",
    "phases_3d",
    "porosimetry_figure",
    "profiles",
    "relation_figure",
    "residues_figure",
    "slice_shape_figure",
    "slices_figure",
    "strut_figure",
    "study_figure",
    "thickness_figure",
    "training_curves",
]
