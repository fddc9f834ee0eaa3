"""Section of a report on struts: diameters with their fit, numbers, and other measures of the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tim3d.descriptors.coupled import ROW_DIMENSIONS
from tim3d.descriptors.struts import agreement
from tim3d.lazy import xarray as xr
from tim3d.plotting.struts import strut_figure
from tim3d.reporting import missing, page, table
from tim3d.reporting.results import definitions, line_table, measured
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.units import fitting

_FIGURE = (
    "Diameters of the struts, and how many struts meet at a node. Lines: the log-normal fit; dashed: its mean; shaded: "
    "95 % of it."
)
_OTHERS = (
    "Other measures of the same diameter: the local thickness, by volume, and the mean chord over all axes. Of a "
    "straight round strut all are its diameter; thick parts have most of the volume, and chords run along struts too."
)


def is_struts(found: xr.Dataset) -> bool:
    """Whether a result is one of `tim3d struts`."""
    return "strut_diameter_fit_mean" in found and "branch_middle" in found


def _html(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    yield page.picture(strut_figure(found), _FIGURE)
    numbers = found.drop_dims((*ROW_DIMENSIONS, "meeting"), errors="ignore")
    lines = table.lines(table.rows({"": numbers}))
    yield line_table(lines, table.units_of(lines))
    yield definitions(numbers)
    if others := list(other_rows(found, measured(parts.sample, parts.field))):
        yield page.table(
            ["phase", "measured", "diameter", "strut diameter over it"], others, 2, _OTHERS
        )


def other_rows(found: xr.Dataset, others: xr.Dataset | None) -> Iterator[list[Any]]:
    """Rows of the thickness and the chord of each phase, where they are measured."""
    for name, (_, mean, ratio) in (agreement(found, others) if others is not None else {}).items():
        for phase in found["phase"].values.tolist():
            value = fitting("nm", [float(mean.sel(phase=phase))])
            shown = f"{float(mean.sel(phase=phase)) * value.factor:.4g} {value.units}"
            yield [phase, name, shown, f"{float(ratio.sel(phase=phase)):.3g}"]


def _nodes(parts: Parts) -> list[str]:
    return list(results_of(parts.sample, "struts", parts.field)) if parts.field else []


STRUTS = Section(
    "Struts",
    _html,
    nodes=_nodes,
    named=True,
    missing=missing.struts,
    shows=is_struts,
    figure=strut_figure,
)
