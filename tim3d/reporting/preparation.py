"""Section on prepared fields: before and after, the drift, and what each step changed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tim3d.corrections.doubts import listed
from tim3d.corrections.fill import Placed
from tim3d.lazy import xarray as xr
from tim3d.plotting import preparation as figures
from tim3d.reporting import page
from tim3d.reporting.section import Parts, Section
from tim3d.storage import store

HEADER = [
    "step",
    "mean grey value",
    "standard deviation",
    "at the ends of the type",
    "voxels changed there",
    "mean change there",
]


def preparations(parts: Parts) -> Iterator[str]:
    """Results of `prepare` that state what its steps changed."""
    for node in store.nodes(parts.sample):
        record = store.node_attributes(parts.sample, node)
        if record.get("verb") == "prepare" and "picture" in record.get("variables", ()):
            yield node


def preparation_html(parts: Parts, node: str) -> Iterator[str]:
    """Pictures, histograms and numbers of every step, and the tables of slices."""
    found = store.open_dataset(parts.sample, node)
    out = node.removesuffix("_steps")
    source = next(iter(store.node_attributes(parts.sample, node)["inputs"]))
    yield page.picture(
        figures.stages(found),
        f"Middle of a slice of “{source}” as it was, and after each step towards “{out}”, in one grey scale.",
    )
    slices = len(found.attrs["slices"])
    body = [_row(found.isel(stage=n)) for n in range(found.sizes["stage"])]
    yield page.table(HEADER, body, 1, f"In {slices} slices of the result, evenly spaced.")
    yield page.picture(
        figures.stage_histograms(found),
        f"Histogram of {slices} slices after each step (line) and before it (grey).",
    )
    yield from _tables(parts.sample, out, node)


def _tables(sample: str, out: str, steps: str) -> Iterator[str]:
    """Figures of the tables of slices of one field."""
    for node in store.nodes(sample):
        record = store.node_attributes(sample, node)
        if record.get("verb") != "prepare" or not node.startswith(f"{out}_") or node == steps:
            continue
        if (
            record.get("kind") != "dataset"
            or node == f"{out}_slices"
            or store.outdated(sample, node)
        ):
            continue
        table = store.open_dataset(sample, node)
        yield from (page.note(f"Doubtful: {said}.") for said in table.attrs.get("doubts", ()))
        if "shift_y" in table:
            yield page.picture(figures.drift(table), _drift_text(table))
        else:
            text = f"Table of slices {node}, by which the step was applied."
            yield page.picture(figures.columns(table), text + _filled_text(table))


def _filled_text(table: xr.Dataset) -> str:
    """Sentence on the slices that `fill` interpolated; empty for another step."""
    if not {"place", "good"} <= set(table):
        return ""
    made = Placed(tuple(table["place"].values.tolist()), tuple(table["good"].values.tolist()))
    between = np.flatnonzero(made.between).tolist()
    if not between:
        return " No slice was interpolated."
    return f" Interpolated: {listed(between)}, of {made.between.size}."


def _drift_text(table: xr.Dataset) -> str:
    text = "Drift between the slices as measured, its slow part, and by how much every slice was moved back."
    if "outlier" not in table:
        return f"{text} The table was given."
    placed = int((table["outlier"] > 0).sum())
    return f"{text} Placed by their neighbours: {placed} of {table.sizes['z']}." if placed else text


def _row(one: xr.Dataset) -> list[str]:
    changed, change = float(one["changed"]), float(one["change"])
    return [
        str(one["stage"].values),
        f"{float(one['mean']):.4g}",
        f"{float(one['deviation']):.3g}",
        f"{100 * float(one['ends']):.3g} %" if "ends" in one else "",
        "" if math.isnan(changed) else f"{100 * changed:.3g} %" if changed else "none",
        "" if math.isnan(change) else f"{change:.3g}",
    ]


PREPARATION = Section("Preparation", preparation_html, nodes=preparations, named=True)
