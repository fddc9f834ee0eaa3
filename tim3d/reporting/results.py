"""Tables of numbers in a report: results, comparison with the truth, definitions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tim3d.commands import renewal
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.uncertainty import is_error, is_limit
from tim3d.lazy import xarray as xr
from tim3d.reporting import page, table
from tim3d.reporting.surfaces import is_surface, surface_table
from tim3d.stages.measurement.describe import describe
from tim3d.storage import store
from tim3d.units import Shown

FRACTIONS = ("phase_fraction", "porosity", "open_porosity", "closed_porosity", "relative_density")
ERRORS = "Behind ± stands one standard error; the last column names its kind."


def outdated_note(sample: str, node: str) -> str:
    """Note in place of a result about another version of a field; empty for a current one."""
    source = store.outdated(sample, node)
    if not source:
        return ""
    again = renewal(store.node_attributes(sample, node), sample)
    return page.note(f"{node} was computed from another version of {source}. Renew it: {again}")


def measured(sample: str, field: str | None) -> xr.Dataset | None:
    """Stored results of a label field in the order of the built-in descriptors, or None."""
    node = f"{field}_descriptors"
    if field is None or store.node_attributes(sample, node).get("status") != "complete":
        return None
    if store.outdated(sample, node):
        return None
    found = store.open_dataset(sample, node)
    return found[sorted(found.data_vars, key=_rank)]


def _rank(name: Hashable) -> tuple[int, str]:
    """Sort key of a variable: built-in ones in their order, then user-defined ones by name."""
    known = [v.name for d in BUILTIN.values() for v in d.variables]
    return (known.index(str(name)) if name in known else len(known), str(name))


def known_descriptors(found: xr.Dataset) -> list[str]:
    """Names of the descriptors that stored results are of."""
    return list(found.attrs["tim3d"].get("parameters", {}).get("descriptors", ()))


def described(
    sample: str,
    field: str | None,
    pore: Sequence[str] = (),
    density: Mapping[str, float] | None = None,
) -> xr.Dataset | None:
    """Stored results with porosity, surface over mass, and standard errors; None without any."""
    found = measured(sample, field)
    if found is None or field is None:
        return None
    names = [name for name in known_descriptors(found) if name in BUILTIN]
    if not names:
        return found
    full = describe(sample, names, field=field, pore=pore, density=density)
    own = {name: v for name, v in found.data_vars.items() if name not in full}
    limits = [str(name) for name in full.data_vars if is_limit(str(name), full)]
    return full.drop_vars(limits).assign(own)


def descriptor_table(found: xr.Dataset) -> str:
    """Tables of the fractions, of the surface and of all else by phase; profiles are left to figures."""
    lines = table.lines(table.rows({"": found}))
    units = table.units_of(lines)
    shares = [line for line in lines if line.variable in FRACTIONS]
    others = [line for line in lines if line not in shares and not is_surface(line.variable)]
    text = "Shares of the volume of the whole sample."
    return Markup("\n").join(
        part
        for part in (
            line_table(shares, units, text),
            surface_table(found, lines, units),
            line_table(others, units, "All densities are per volume of the whole sample."),
        )
        if part
    )


def line_table(lines: Sequence[table.Line], units: Mapping[str, Shown], text: str = "") -> Markup:
    """Table of some lines by phase, with a column for the kind of uncertainty if any has one."""
    if not lines:
        return Markup()
    names, known = table.columns(lines), any(line.kind for line in lines)
    body = [
        [
            page.code(line.label),
            page.units(units[line.units].units),
            *(page.measured(line, name, units) for name in names),
            *([line.kind] if known else []),
        ]
        for line in lines
    ]
    header = ["variable", "unit", *names, *(["±"] if known else [])]
    return page.table(header, body, 2, text + (f" {ERRORS}" if known else ""))


def truth_table(found: xr.Dataset, true: xr.Dataset, name: str) -> str:
    """Table of each number beside its value in the truth, called `name`, and the relative error."""
    lines = table.lines(table.rows({"": found}))
    known = {line.label: line for line in table.lines(table.rows({"": true}))}
    units = table.units_of([*lines, *known.values()])
    body = [
        [
            page.code(line.label),
            column,
            page.units(units[line.units].units),
            page.measured(line, column, units),
            page.measured(known[line.label], column, units),
            relative_error(value, known[line.label].values[column]),
        ]
        for line in lines
        for column, value in line.values.items()
        if line.label in known and column in known[line.label].values
    ]
    header = ["variable", "phase", "unit", "measured", "truth", "error"]
    text = f"Measured against truth: the same estimators applied to “{name}”; error = (measured − truth) / |truth|."
    return page.table(header, body, 3, text) if body else ""


def relative_error(value: float, truth: float) -> str:
    """Signed deviation in percent of the truth.

    >>> relative_error(0.99, 1.0), relative_error(1.0, 0.0)
    ('−1.00 %', '–')
    """
    if not (math.isfinite(value) and math.isfinite(truth)) or truth == 0:
        return "–"
    return f"{100 * (value - truth) / abs(truth):+.2f} %".replace("-", "−")


def definitions(found: xr.Dataset) -> str:
    """Definitions of the variables: meaning, estimator and publication."""
    return page.definitions(
        (str(name), _sentence(variable.attrs))
        for name, variable in found.data_vars.items()
        if "long_name" in variable.attrs and not is_error(str(name), found)
    )


def _sentence(attributes: Mapping[str, Any]) -> str:
    parts = [attributes["long_name"], attributes.get("method"), attributes.get("reference")]
    return (
        ". ".join(
            str(p)[:1].upper() + str(p)[1:] if n < 2 else str(p) for n, p in enumerate(parts) if p
        )
        + "."
    )
