"""Section of a report on correlations, chord lengths, clusters, curvatures and slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.clusters import cluster_figure, slice_shape_figure
from tim3d.plotting.correlations import (
    chord_figure,
    correlation_figure,
    curvature_figure,
    endings,
)
from tim3d.reporting import page
from tim3d.reporting.section import Parts, Section
from tim3d.storage import store

Draw = Callable[[xr.Dataset, str], Figure]
_TWO_POINT = (
    "Probability that both ends of a line lie in one phase, and one end in each of two. Horizontal: ends that know "
    "nothing of each other."
)
_CHORDS = "Probability that a line lies in one phase from end to end, and lengths of the chords that no border cuts."
_CURVATURE = (
    "Share of the interface by mean curvature M and Gaussian curvature G. Above: G > 0, convex (right) and concave "
    "(left); below: saddles. Numbers are the shares of the four quadrants. Dashed: M² = G, where a ball lies and which "
    "no smooth surface passes. The outermost bins hold what lies beyond."
)
_CLUSTERS = (
    "Probability that both ends of a line lie in one connected component; grey: in the phase. Where the two part, the "
    "phase is in pieces."
)
_SLICES = "Border of each phase per area, and shape index (1 for one disc), of every slice across z, y and x."
_SHOWN: tuple[tuple[str, Draw, str], ...] = (
    ("two_point_radial", correlation_figure, _TWO_POINT),
    ("lineal_path", chord_figure, _CHORDS),
    ("two_point_cluster", cluster_figure, _CLUSTERS),
    ("curvature_area", curvature_figure, _CURVATURE),
)


def _nodes(parts: Parts) -> list[str]:
    return [] if parts.field is None else [f"{parts.field}_descriptors"]


def _html(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    for name, draw, text in _SHOWN:
        for ending in endings(found, name):
            yield page.picture(draw(found, ending), text + _limit(found, name, ending))
    if "slice_perimeter_z" in found:
        yield page.picture(slice_shape_figure(found), _SLICES)


def _limit(found: xr.Dataset, name: str, ending: str) -> str:
    """A sentence on what curvature can resolve; empty for the others."""
    if name != "curvature_area":
        return ""
    radius, scatter = (
        found[f"curvature_{n}{ending}"].item() for n in ("smallest_radius", "scatter")
    )
    return f" Radii below {radius:.3g} nm are smoothed away, and M scatters by {scatter:.2g} 1/nm."


CORRELATIONS = Section("Correlations and curvatures", _html, nodes=_nodes)
