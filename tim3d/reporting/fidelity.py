"""Volumes against their micrographs as a table, as figures, and as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from tim3d.errors import Tim3dError
from tim3d.lazy import xarray as xr
from tim3d.plotting.fidelity import (
    CURVES,
    PLANES,
    curves_figure,
    is_grey,
    level,
    residues_figure,
    slices_figure,
)
from tim3d.reporting import page, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import AXES
from tim3d.units import Shown, fitting

HEADER = (
    "quantity",
    "slices across",
    "phase",
    "volumes",
    "micrograph",
    "deviation",
    "95 %",
    "s.d.",
    "goal",
    "within",
)
RELATIVE = ("surface", "slice_tortuosity", "step")


def is_fidelity(dataset: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.fidelity`."""
    return {"deviation", "within", "seam_ratio"} <= set(dataset.data_vars)


def rows(found: xr.Dataset) -> list[list[str]]:
    """Table rows for each quantity, slices and phase, as texts in the columns of `HEADER`."""
    out = []
    for quantity in found["quantity"].values:
        once = quantity in ("phase_fraction", "histogram") and found.attrs["isotropic"]
        for slices in found["slices"].values[: 1 if once else None]:
            shown = "all" if once else str(slices)
            out += [
                _row(found, str(quantity), str(slices), str(p), shown)
                for p in found["phase"].values
            ]
    return out


def _row(found: xr.Dataset, quantity: str, slices: str, phase: str, shown: str) -> list[str]:
    one = found.sel(quantity=quantity, slices=slices, phase=phase)
    as_text = _percent if quantity in RELATIVE else _plain
    low, high = as_text(float(one.deviation_low)), as_text(float(one.deviation_high))
    return [
        _named(found, quantity),
        shown,
        phase,
        *_values(found, quantity, slices, phase),
        as_text(float(one.deviation)),
        "" if "-" in (low, high) else f"{low} to {high}",
        as_text(float(one.spread)).removeprefix("+"),
        "" if math.isnan(float(one.goal)) else as_text(float(one.goal)).replace("+", "± "),
        {1.0: "yes", 0.0: "no"}.get(float(one.within), ""),
    ]


def _values(found: xr.Dataset, quantity: str, slices: str, phase: str) -> tuple[str, str]:
    """Values of volumes and of the micrograph as texts; empty for a curve."""
    if quantity in CURVES:
        return "", ""
    if is_grey(found):
        return _grey_values(found, quantity, slices)
    image = found[f"micrograph_{quantity}"].sel(slices=slices, phase=phase)
    if quantity == "phase_fraction":
        half = float(found.micrograph_phase_fraction_interval.sel(slices=slices, phase=phase))
        return _number(found[quantity].sel(phase=phase)), f"{_number(image)} ± {half:.2g}"
    if quantity == "surface":
        factor = _surface_unit(found).factor
        volumes = found[quantity].sel(phase=phase, axis=list(PLANES[slices]))
        return _number(volumes * factor), _number(image * factor)
    return _number(found[quantity].sel(phase=phase, slices=slices)), _number(image)


def _named(found: xr.Dataset, quantity: str) -> str:
    """Name of a quantity with its unit, if it has one."""
    is_surface = quantity == "surface" and "surface" in found
    return f"{quantity} ({_surface_unit(found).units})" if is_surface else quantity


def _surface_unit(found: xr.Dataset) -> Shown:
    values = found["surface"]
    return fitting(str(values.attrs.get("units", "1")), values.values.ravel().tolist())


def _grey_values(found: xr.Dataset, quantity: str, slices: str) -> tuple[str, str]:
    """Mean grey values and steps as texts."""
    if quantity == "step":
        return _number(found.step.sel(axis=list(PLANES[slices]))), _number(
            found.micrograph_step.sel(slices=slices)
        )
    half = float(found.micrograph_mean_interval.sel(slices=slices).item())
    return _number(
        found["mean"]
    ), f"{_number(found.micrograph_mean.sel(slices=slices))} ± {half:.2g}"


def _number(values: xr.DataArray) -> str:
    return table.number(float(values.mean(skipna=False))) or "-"


def _plain(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "-"


def _percent(value: float) -> str:
    return f"{100 * value:+.3g} %" if math.isfinite(value) else "-"


def text(found: xr.Dataset) -> str:
    """The result as a plain table, with sentences on it below."""
    cells = [list(HEADER), *rows(found)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:], "", *says(found)])


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences that state the result."""
    goals = found.within.values[np.isfinite(found.within.values)]
    count = int(found.attrs["volumes"])
    by = f"{count} volume{'s' * (count > 1)}"
    yield f"{int(goals.sum())} of {goals.size} comparisons are within their goals ({by})."
    if found.attrs["warning"]:
        yield f"{found.attrs['warning'].capitalize()}."
    yield _seams(found)
    if "imprint_span" in found:
        yield _imprint(found)
    if "reported" in found:
        yield "Not judged, for an image knows no truth for them:"
        for name, values in zip(found.result.values, found.reported.values.T, strict=True):
            known = values[np.isfinite(values)]
            ends = f" ({known.min():.4g} to {known.max():.4g})" if known.size > 1 else ""
            yield f"  {name}: " + (f"{known.mean():.4g}{ends}" if known.size else "no finite value")


def _seams(found: xr.Dataset) -> str:
    edges = dict(zip(AXES, found.attrs["seam_voxels"], strict=True))
    each = [
        f"{axis} {float(one.seam_ratio):.3f} ± {float(one.seam_ratio_error):.2g} (every {edges[axis]} voxels)"
        for axis, one in ((a, found.sel(axis=a)) for a in AXES)
        if math.isfinite(float(one.seam_ratio))
    ]
    return f"Seam ratio, 1 without seams: {', '.join(each) or 'no faces of chunks inside the volumes'}."


def _imprint(found: xr.Dataset) -> str:
    flat = found.imprint_ratio.stack(place=("axis", "phase"))
    axis, phase = flat.place.values[int(np.nan_to_num(flat.values).argmax())]
    one = found.sel(axis=axis, phase=phase)
    return (
        f"{level(found).capitalize()} modulo {found.attrs['period_voxels']} voxels: at most along {axis}, {phase}, "
        f"it spans "
        f"{float(one.imprint_span):.2g} (standard error {float(one.imprint_error):.2g}); r.m.s. over error "
        f"{float(one.imprint_ratio):.2g}, about 1 or below without an imprint."
    )


def fidelity_html(found: xr.Dataset) -> Markup:
    """Table, slices beside the micrograph, curves and residues, for the report."""
    parts = [
        page.table(
            HEADER,
            rows(found),
            3,
            "Mean of the volumes against the micrograph, by the same estimators.",
        )
    ]
    parts += [page.note(" ".join(says(found))), _slices(found)]
    caption = "Dots: micrograph. Lines: mean of the volumes; bands: their range."
    parts.append(page.picture(curves_figure(found), caption))
    if "residue_fraction" in found:
        text = f"Imprint of the generator's lattice: {level(found)} of planes by their place modulo its period."
        parts.append(page.picture(residues_figure(found), f"{text} Bars: one standard error."))
    return Markup("\n").join(part for part in parts if part)


def _slices(found: xr.Dataset) -> Markup:
    try:
        return page.picture(
            slices_figure(found),
            "Micrograph and middle slices of the first volume: windows of one size, of each the upper left part.",
        )
    except Tim3dError as error:
        return page.note(f"No slices: {error}")


def _nodes(parts: Parts) -> list[str]:
    """Nodes with comparisons of labels and of grey values, without the nodes of their counts."""
    fields = (name for name in (parts.field, parts.raw) if name)
    return [
        n
        for name in fields
        for n in results_of(parts.sample, "fidelity", name)
        if _is_comparison(parts.sample, n)
    ]


def _is_comparison(sample: str, node: str) -> bool:
    return bool(store.outdated(sample, node)) or is_fidelity(store.open_dataset(sample, node))


FIDELITY = Section(
    "Fidelity",
    nodes=_nodes,
    html=lambda parts, node: [fidelity_html(store.open_dataset(parts.sample, node))],
    shows=is_fidelity,
    text=text,
    figure=curves_figure,
)
