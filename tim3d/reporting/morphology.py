"""Sections of a report on thickness and distance, and on simulated intrusion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.plotting.correlations import endings
from tim3d.plotting.sizes import distance_figure, porosimetry_figure, thickness_figure
from tim3d.reporting import missing, page, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.units import fitting

_BINS = "Bins are joined until they are as wide as the shortest edge of a voxel; dots are medians."
_SHOWN = (
    (
        "thickness_share",
        thickness_figure,
        "Local thickness: diameter of the largest ball in the phase that covers a voxel, by volume. ",
    ),
    (
        "distance_share",
        distance_figure,
        "Distance of the voxels of a phase to the nearest voxel of another one, by volume. ",
    ),
)
_INTRUSION = (
    "Share of the phase that balls of at least a radius fill: anywhere, and coming from a face as mercury does. Dots: "
    "radii at which half is filled. Triangles: largest ball that passes from face to face. Right: volume by radius, in "
    "bins of one voxel; a line above the grey is volume that is wide, and is entered through necks of this radius."
)


def _descriptors(parts: Parts) -> list[str]:
    return [] if parts.field is None else [f"{parts.field}_descriptors"]


def _sizes(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    for name, draw, text in _SHOWN:
        for ending in endings(found, name):
            yield page.picture(draw(found, ending), text + _BINS)


def _intrusions(parts: Parts) -> list[str]:
    return list(results_of(parts.sample, "porosimetry", parts.field)) if parts.field else []


def _intrusion(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    yield intrusion_table(found)
    yield page.picture(porosimetry_figure(found), _INTRUSION)
    yield page.definitions(
        (name, f"{found[name].attrs['long_name']}. {found[name].attrs['reference']}.")
        for name in ("r_max", "r_min", "constriction", "percolation_radius")
    )


def intrusion_table(found: xr.Dataset) -> Markup:
    """Radii and constriction in every direction, and their means."""
    every = [float(found["r_max"]), *found["r_min"].values, *found["percolation_radius"].values]
    shown = fitting(str(found["r_max"].attrs["units"]), every)
    lengths = {
        "r_max": [float(found["r_max"])] * (found.sizes["direction"] + 1),
        "r_min": [*found["r_min"].values, float(found["r_min_mean"])],
        "percolation_radius": [*found["percolation_radius"].values, np.nan],
    }
    body = [
        [page.code(name), page.units(shown.units), *(_number(v * shown.factor) for v in values)]
        for name, values in lengths.items()
    ]
    beta = [*found["constriction"].values, float(found["constriction_mean"])]
    body.append([page.code("constriction"), page.units("1"), *map(_number, beta)])
    header = ["intrusion", "unit", *map(str, found["direction"].values), "mean"]
    return page.table(header, body, 2, f"Intrusion of {found.attrs['phase']}, by direction.")


def _number(value: float) -> Markup | str:
    return page.number(table.number(float(value))) or "–"


SIZES = Section("Thickness and distance", _sizes, nodes=_descriptors, missing=missing.thickness)
INTRUSION = Section(
    "Intrusion", _intrusion, nodes=_intrusions, named=True, missing=missing.intrusion
)
