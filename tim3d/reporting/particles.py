"""Section of a report on particles: their number, size, shape and contacts."""

from __future__ import annotations

from collections.abc import Iterator

from tim3d.descriptors.coupled import ROW_DIMENSIONS
from tim3d.lazy import xarray as xr
from tim3d.plotting.particles import particle_figure
from tim3d.reporting import page, results, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

_SIZES = (
    "Diameter of the ball of the same volume. Bars and lines: particles that keep clear of the border, each weighted "
    "by the inverse of its chance to do so; dashed: all particles, those that the border cuts as they are."
)


def _nodes(parts: Parts) -> list[str]:
    return [] if parts.field is None else list(results_of(parts.sample, "particles", parts.field))


def _html(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    whole = found.drop_dims(ROW_DIMENSIONS, errors="ignore")
    lines = table.lines(table.rows({"": whole}))
    yield results.line_table(lines, table.units_of(lines), _says(found))
    yield page.picture(particle_figure(found), _SIZES)


def _says(found: xr.Dataset) -> str:
    """A sentence on where particles end; empty for objects that were numbered already."""
    neck = found.attrs.get("neck")
    if neck is None:
        return ""
    return (
        "Two sides of a neck are one particle if its radius is more than "
        f"{100 * neck:.3g} % of that of the smaller side."
    )


PARTICLES = Section("Particles", _html, nodes=_nodes, named=True)
