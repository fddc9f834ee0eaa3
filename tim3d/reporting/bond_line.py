"""Bond lines as text in the shell, as a section and as a page."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.plotting.bond_line import MM2, bond_line_figure
from tim3d.plotting.style import length_text
from tim3d.reporting import page, table
from tim3d.reporting.section import Section
from tim3d.version import __version__

NUMBERS = ("", "value", "standard error", "low", "high", "unit")
SAMPLES = ("sample", "bond line", "R''", "± voxels", "line", "residual")
CAPTION = (
    "Thermal impedance R'' against bond line, the line through it with its interval, and what is left. The slope is "
    "1/k, the value at no bond line twice the contact resistance."
)


def is_bond_line(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.bond_line`."""
    return found.attrs.get("kind") == "bond lines"


def text(found: xr.Dataset) -> str:
    """Sentences, the numbers of the line and the samples."""
    parts = [
        list(says(found)),
        table.aligned([[*NUMBERS], [], *number_rows(found)]),
        table.aligned([[*SAMPLES], [], *sample_rows(found)]),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences that state what was found, and what speaks against it."""
    level = f"{100 * found.attrs['level']:g} %"
    yield (
        f"k = {_number(found.conductivity)} W/(m K), {_range(found, 'conductivity', 1)}; R_c = "
        f"{_number(found.contact_resistance * MM2)} K mm²/W a substrate, {_range(found, 'contact_resistance', MM2)} "
        f"({level} intervals, {found.sizes['sample']} bond lines)."
    )
    if not found.attrs["includes_voxels"]:
        yield "The intervals do not include the error of the voxels: solve with --richardson."
    if not float(found.slope_low) > 0:
        yield "The conductivity cannot be distinguished from an infinite one."
    if float(found.contact_resistance_low) <= 0 <= float(found.contact_resistance_high):
        yield "The contact resistance cannot be distinguished from zero."
    elif float(found.contact_resistance_high) < 0:
        yield (
            "The contact resistance is negative: R'' does not grow in proportion to the bond line, as where walls "
            "order the particles beside them in thin ones."
        )


def _range(found: xr.Dataset, name: str, factor: float) -> str:
    low, high = (float(found[f"{name}_{end}"]) * factor for end in ("low", "high"))
    return f"{table.number(low) or '-'} to {table.number(high)}"


def _number(value: xr.DataArray) -> str:
    return table.number(float(value))


def number_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of conductivity, contact resistance, slope, intercept and scatter in the columns of `NUMBERS`."""
    rows = []
    for name, words, factor, unit in (
        ("conductivity", "k", 1.0, "W/(m K)"),
        ("contact_resistance", "R_c", MM2, "K mm²/W"),
        ("slope", "slope", 1.0, "K m/W"),
        ("intercept", "intercept", MM2, "K mm²/W"),
    ):
        values = [float(found[f"{name}{end}"]) * factor for end in ("", "_error", "_low", "_high")]
        rows.append([words, *(table.number(value) or "-" for value in values), unit])
    scatter = table.number(float(found.residual_deviation) * MM2)
    rows.append(["scatter", scatter, "", "", "", "K mm²/W"])
    return rows


def sample_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the samples in the columns of `SAMPLES`, impedances in K mm2 W-1, by bond line."""
    keys = ("thermal_impedance", "thermal_impedance_error", "fitted", "residual")
    return [
        [
            str(found["sample"].values[n]),
            length_text(float(found.bond_line[n])),
            *(table.number(float(found[key][n]) * MM2) or "-" for key in keys),
        ]
        for n in np.argsort(found.bond_line.values, kind="stable")
    ]


def bond_line_page(found: xr.Dataset) -> str:
    """The text of a self-contained HTML page on bond lines."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Samples", ", ".join(map(str, found["sample"].values))),
        ("Flux", f"along {found.attrs['axis']}"),
        ("Method", found.attrs["method"]),
    ]
    return page.document(
        "Thermal impedance and bond line",
        [
            page.head("Thermal impedance and bond line", __version__, now, facts),
            page.section(
                "What was found",
                *(Markup("<p>{}</p>").format(one) for one in says(found)),
                page.picture(bond_line_figure(found), CAPTION),
                page.table(NUMBERS, number_rows(found), 1),
            ),
            page.section(
                "Samples",
                page.table(SAMPLES, sample_rows(found), 1),
                page.note("R'', line and residual in K mm²/W, without the substrates."),
            ),
            page.footer(__version__),
        ],
    )


BOND_LINE = Section.of_shell("Bond lines", is_bond_line, text, bond_line_figure)
