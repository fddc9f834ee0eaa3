"""A representative-volume study as a table and as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.plotting.study import study_figure, title
from tim3d.plotting.style import length_text
from tim3d.reporting import missing, page, table
from tim3d.reporting.section import Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import UNIT
from tim3d.units import Shown, fitting, quotient


def header(found: xr.Dataset) -> list[str]:
    """Names of the columns, with the units in which the numbers stand."""
    edge, value = units(found)
    unit = "" if value.units == "1" else f" ({quotient(value.units)})"
    return [
        f"edge ({edge.units})",
        "voxels z,y,x",
        "windows",
        f"mean ± s.e.{unit}",
        f"s.d.{unit}",
        "2 s.d./mean",
        "bias",
        "through",
        "within tolerance",
    ]


def units(found: xr.Dataset) -> tuple[Shown, Shown]:
    """Units of edges and of values that suit the largest of each."""
    edges, means = found["window"].values.tolist(), found["mean"].values.tolist()
    return fitting(UNIT, edges), fitting(str(found["value"].attrs["units"]), means)


def is_study(dataset: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.study`."""
    return {"value", "relative_spread", "representative_edge"} <= set(dataset.data_vars)


def rows(found: xr.Dataset) -> list[list[str]]:
    """Table rows for each window size, as texts in the columns of `header`."""
    edge, value = (shown.factor for shown in units(found))
    return [_row(found.isel(window=n), edge, value) for n in range(found.sizes["window"])]


def _row(one: xr.Dataset, edge: float, factor: float) -> list[str]:
    excluded = f" (+{int(one.excluded)} without a value)" if one.excluded else ""
    few = "too few windows" if not one.judged else ""
    wrong = " and ".join(n for n in ("spread", "bias") if not one[f"within_{n}"])
    return [
        f"{float(one.window) * edge:.6g}",
        ",".join(str(int(v)) for v in one.voxels),
        f"{int(one.windows)}{excluded}",
        _mean(float(one["mean"]) * factor, float(one.standard_error) * factor),
        table.number(float(one.standard_deviation) * factor) or "-",
        _percent(one.relative_spread),
        _percent(one.bias),
        _percent(one.percolating_share) if "percolating_share" in one else "",
        few or (f"no: {wrong}" if wrong else "yes"),
    ]


def _mean(mean: float, error: float) -> str:
    shown = table.number(mean) or "-"
    return f"{shown} ± {error:#.2g}".removesuffix(".") if math.isfinite(error) else shown


def _percent(value: Any) -> str:
    # The mean of windows that tile the volume is that of the volume but for rounding.
    share = round(float(value), 12) + 0.0
    return f"{100 * share:.3g} %" if math.isfinite(share) else "-"


def text(found: xr.Dataset) -> str:
    """The study as a plain table, with sentences on it below."""
    cells = [header(found), *rows(found)]
    kept = [n for n in range(len(cells[0])) if any(row[n] for row in cells[1:])]
    widths = {n: max(len(row[n]) for row in cells) for n in kept}
    lines = ["  ".join(row[n].ljust(widths[n]) for n in kept).rstrip() for row in cells]
    rule = "  ".join("-" * widths[n] for n in kept)
    apparent = f"; {found.attrs['apparent']}" if "apparent" in found.attrs else ""
    return "\n".join([f"{title(found)}{apparent}", lines[0], rule, *lines[1:], "", *says(found)])


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences that state the result of the study."""
    tolerance, verdict = found.attrs["tolerance"], found.attrs["verdict"]
    if verdict == "representative":
        yield (
            f"Representative from {length_text(float(found.representative_edge))} on: about 95 % of these windows lie "
            f"within {100 * tolerance:g} % of their mean, and their mean within the same of the mean of the largest."
        )
    else:
        yield f"No representative size: {found.attrs['verdict_means']}."
    if math.isfinite(float(found.variance_exponent)):
        power = f"{float(found.variance_exponent):.3g} ± {float(found.variance_exponent_error):.2g}"
        yield (
            f"The variance falls with the power {power} of the volume (1 expected of large windows)."
            if np.isfinite(found.required_edge.values).all()
            else f"The variance is not seen to fall with the volume (power {power}): larger windows are needed."
        )
    if math.isfinite(float(found.integral_range)):
        edge = length_text(float(np.cbrt(found.integral_range)))
        yield f"Integral range: {_volume(float(found.integral_range))}, a cube of {edge}."
    if np.isfinite(found.required_edge.values).all():
        needed = ", ".join(
            f"{n} window{'s' if n > 1 else ''} of {length_text(float(edge))}"
            for n, edge in zip(found.realisations.values, found.required_edge.values, strict=True)
        )
        yield f"By this law a relative error of the mean of {100 * tolerance:g} % needs {needed}."


def _volume(value: float) -> str:
    shown = fitting(f"{UNIT}3", [value])
    return f"{value * shown.factor:.4g} {shown.units}"


def study_html(found: xr.Dataset) -> Markup:
    """Figure, table and sentences of a study, for the report."""
    caption = (
        f"{title(found)} of windows against their size. Dots: windows; open dots on the right: sizes with too few "
        "windows to judge. " + " ".join(says(found))
    )
    note = (
        page.note(f"Values of windows are {found.attrs['apparent']}.")
        if "apparent" in found.attrs
        else Markup()
    )
    return (
        page.picture(study_figure(found), caption)
        + page.table(header(found), rows(found), 2, title(found))
        + note
    )


STUDY = Section(
    "Representative volume",
    nodes=lambda parts: results_of(parts.sample, "study", parts.field) if parts.field else (),
    html=lambda parts, node: [study_html(store.open_dataset(parts.sample, node))],
    missing=missing.study,
    shows=is_study,
    text=text,
    figure=study_figure,
)
