"""Simulated grey values against a real stack as a table, as figures, and as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.plotting.likeness import crop_map_figure, crop_pairs_figure, grey_look_figure
from tim3d.reporting import page, table
from tim3d.reporting.section import Parts, Section
from tim3d.storage import store

# From here on a difference is not put down to chance.
LEVEL = 0.05


def is_likeness(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.likeness`."""
    return {"classifier_auc_error", "p_value", "entropy_spread"} <= set(found.data_vars)


def header(found: xr.Dataset) -> list[str]:
    """Columns of the table: a value and its p of every field, and what is expected by chance."""
    names = [str(one) for one in found["field"].values]
    return ["quantity", "unit", *(part for name in names for part in (name, "by chance", "p"))]


def rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the quantities, as texts in the columns of `header`."""
    out = []
    for quantity in found["quantity"].values:
        one = found.sel(quantity=quantity)
        row = [str(quantity), str(one["unit"].values)]
        for name in found["field"].values:
            own = one.sel(field=name)
            row += [
                table.number(float(own["value"])) or "-",
                f"{_short(own['chance'])} ± {_short(own['chance_deviation'])}",
                _short(own["p_value"]),
            ]
        out.append(row)
    return out


def _short(value: xr.DataArray) -> str:
    return f"{float(value):.2g}" if math.isfinite(float(value)) else "-"


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences that state the result."""
    entropies = ", ".join(
        f"{name} {float(mean):.3f} ± {float(spread):.3f}"
        for name, mean, spread in zip(
            found["stack"].values, found["entropy"].values, found["entropy_spread"].values, strict=True
        )
    )  # fmt: skip
    yield f"Entropy of regions in bit (± standard deviation): {entropies}."
    for name in found["field"].values:
        p = found["p_value"].sel(field=name).dropna("quantity")
        seen = [str(one) for one in p["quantity"].values[p.values < LEVEL]]
        yield (
            f"{name}: differs from the real stack by more than chance in {', '.join(seen)} (p < {LEVEL:g})."
            if seen
            else f"{name}: no quantity differs by more than chance (p < {LEVEL:g}); few regions see little."
        )
    yield (
        f"Every quantity is tested on its own: of {p.size}, {LEVEL * p.size:.1g} would differ in the mean between "
        "stacks that are alike."
    )
    areas = zip(found["field"].values, found["classifier_auc_error"].values, strict=True)
    errors = ", ".join(f"{name} {float(error):.2g}" for name, error in areas)
    yield f"Standard errors of the area of the classifier: {errors}."
    yield _regions(found)


def _regions(found: xr.Dataset) -> str:
    across = {"z": "slices", "y": "strips across y", "x": "strips across x"}
    each = [
        f"{int(count)} {across[str(axis)]} of {name}"
        for name, count, axis in zip(
            found["stack"].values, found.attrs["regions"], found.attrs["region_axis"], strict=True
        )
    ]
    return (
        f"Regions: {', '.join(each)}, with crops of {found.attrs['crop']} pixels; p is of "
        f"{found.attrs['relabellings']} relabellings of regions."
    )


def text(found: xr.Dataset) -> str:
    """The result as a plain table, with sentences on it below."""
    return "\n".join([*table.aligned([header(found), [], *rows(found)]), "", *says(found)])


def likeness_html(found: xr.Dataset) -> Iterator[Markup]:
    """Table, crops beside real ones, curves and picture, for the report."""
    caption = (
        f"Grey values of this sample against {found.attrs['like_field']!r} of {found.attrs['like']}. By chance: mean ± "
        "standard deviation when regions of both are dealt out at random."
    )
    yield page.table(header(found), rows(found), 2, caption)
    yield page.note(" ".join(says(found)))
    yield page.picture(
        crop_pairs_figure(found),
        "Rows: the same places in every field; the last column is the real stack, at places of its own.",
    )
    yield page.picture(grey_look_figure(found), "Dashed: the real stack.")
    yield page.picture(
        crop_map_figure(found),
        "A picture, not a test: sizes of groups and distances between them have no meaning.",
    )


def _nodes(parts: Parts) -> list[str]:
    """Nodes of all comparisons of the sample, of whatever fields."""
    return [
        node
        for node in store.nodes(parts.sample)
        if store.node_attributes(parts.sample, node).get("verb") == "likeness"
    ]


LIKENESS = Section(
    "Likeness to a real stack",
    nodes=_nodes,
    html=lambda parts, node: likeness_html(store.open_dataset(parts.sample, node)),
    named=True,
    shows=is_likeness,
    text=text,
    figure=grey_look_figure,
)
