"""Section of a report on struts: diameters with their fit, numbers, and other measures of the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import xarray as xr

from tim3d.descriptors.struts import DIAMETERS, NUMBERS, TAKEN, agreement
from tim3d.plotting.struts import TITLES, strut_figure
from tim3d.reporting import missing, page, table
from tim3d.reporting.results import measured
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
    names = [str(name) for name in found["phase"].values]
    rows = [
        [text, page.units(unit), *(page.number(one) or "–" for one in values)]
        for text, unit, *values in number_rows(found)
    ]
    yield page.table(["struts", "unit", *names], rows, 2)
    if others := list(other_rows(found, measured(parts.sample, parts.field))):
        yield page.table(
            ["phase", "measured", "diameter", "strut diameter over it"], others, 2, _OTHERS
        )


def number_rows(found: xr.Dataset) -> Iterator[list[str]]:
    """Rows of all numbers: meaning, unit, and a value for each phase."""
    for name, (_, text) in NUMBERS.items():
        yield _row(text, found[name])
    for taken in TAKEN:
        for name, (_, text) in DIAMETERS.items():
            yield _row(f"{text}, {TITLES[taken]}", found[name].sel(taken=taken))


def _row(text: str, values: xr.DataArray) -> list[str]:
    shown = fitting(str(values.attrs["units"]), values.values.tolist())
    whole = values.dtype.kind == "i"
    numbers = [
        str(int(v)) if whole else table.number(float(v) * shown.factor) for v in values.values
    ]
    return [text, shown.units, *numbers]


def other_rows(found: xr.Dataset, others: xr.Dataset | None) -> Iterator[list[Any]]:
    """Rows of the thickness and the chord of each phase, where they are measured."""
    for name, (_, mean, ratio) in (agreement(found, others) if others is not None else {}).items():
        for phase in found["phase"].values.tolist():
            for taken in TAKEN:
                value = fitting("nm", [float(mean.sel(phase=phase))])
                shown = f"{float(mean.sel(phase=phase)) * value.factor:.4g} {value.units}"
                share = float(ratio.sel(phase=phase, taken=taken))
                yield [phase, f"{name}, {TITLES[taken]}", shown, f"{share:.3g}"]


def text(found: xr.Dataset) -> str:
    """Text for the shell: a line for each number of each phase."""
    names = found["phase"].values.tolist()
    lines = []
    for place, name in enumerate(names):
        lines.append(f"{name}:")
        for words, unit, *values in number_rows(found):
            lines.append(
                f"  {words}: {values[place] or 'none'} {'' if unit == '1' else unit}".rstrip()
            )
    return "\n".join(lines)


def _nodes(parts: Parts) -> list[str]:
    return list(results_of(parts.sample, "struts", parts.field)) if parts.field else []


STRUTS = Section(
    "Struts",
    _html,
    nodes=_nodes,
    named=True,
    missing=missing.struts,
    shows=is_struts,
    text=text,
    figure=strut_figure,
)
