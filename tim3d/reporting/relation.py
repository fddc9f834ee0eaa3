"""Tables of samples, and relations, as text in the shell and as a page."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.plotting.relation import (
    importance_figure,
    models_figure,
    relation_figure,
    shown_models,
)
from tim3d.reporting import page, table
from tim3d.reporting.section import Section
from tim3d.units import fitting, quotient
from tim3d.version import __version__

# Features that go together so far that their slopes say little.
HIGH_INFLATION, HIGH_CONDITION = 10.0, 30.0
CHANCE = 0.05
MODELS = (
    "model",
    "numbers",
    "R²",
    "Q²",
    "Q², other mean",
    "error left out",
    "VIF",
    "near the best",
)
FEATURES = ("feature", "slope", "per s.d.", "± ", "share of R²", "mean |SHAP|", "partial R²", "VIF")


def is_relation(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.relate`."""
    return found.attrs.get("kind") == "relation"


def is_samples(found: xr.Dataset) -> bool:
    """Whether a result is a table of samples."""
    return set(found.dims) == {"sample"}


def samples_text(found: xr.Dataset) -> str:
    """A row for each number, a column for each sample, in units that fit as in all tables of the screen.

    Numbers of all samples together stand in a table of their own below.
    """
    header = ["number", "units", *map(str, found["sample"].values)]
    by_sample, together = (
        [_sample_row(str(name), one) for name, one in found.data_vars.items() if one.ndim == dims]
        for dims in (1, 0)
    )
    tables = [[header, [], *by_sample]]
    if together:
        tables.append([["number", "units", "all samples"], [], *together])
    return "\n\n".join("\n".join(table.aligned(rows)) for rows in tables)


def _sample_row(name: str, found: xr.DataArray) -> list[str]:
    units, values = str(found.attrs.get("units", "")), np.atleast_1d(found.values)
    if values.dtype.kind != "f":
        return [name, quotient(units), *map(_cell, values.tolist())]
    shown = fitting(units, values.tolist())
    return [name, quotient(shown.units), *map(_cell, (values * shown.factor).tolist())]


def _cell(value: Any) -> str:
    return table.number(value) or "-" if isinstance(value, float) else str(value)


def text(found: xr.Dataset) -> str:
    """Sentences, the chosen model and the best models."""
    parts = [list(says(found))]
    parts.append(table.aligned([list(FEATURES), [], *feature_rows(found)]))
    parts.append(table.aligned([list(MODELS), [], *model_rows(found)]))
    if "held_out_predicted" in found:
        parts.append(table.aligned([[*HELD], [], *held_rows(found)]))
    return "\n\n".join("\n".join(lines) for lines in parts)


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences that state what was found, and what speaks against it."""
    about = found.attrs
    unit = f" ({quotient(about['units'])})" if about["units"] not in ("", "1") else ""
    logarithm = "The logarithm of " if about["scale"] == "logarithm" else ""
    yield (
        f"{logarithm}{about['target']}{unit} from {about['chosen']}: the best of {about['models']} models of "
        f"{about['candidates']} features, {about['samples']} samples."
    )
    best = found.sel(model=about["chosen"])
    yield (
        f"R² {float(best.r2):.3f}; Q² {float(best.q2):.3f} of left-out samples, and "
        f"{float(found.q2_nested):.3f} where the "
        "search is repeated without the sample."
    )
    yield _verdict(found)
    if "q2_by_group" in found:
        yield (
            f"Without the group of the sample: Q² {float(found.q2_by_group):.3f} of the search, "
            f"{float(found.q2_by_group_chosen):.3f} of the chosen features."
        )
    if "q2_spread" in found:
        yield f"The uncertainties of the columns alone move Q² by ± {float(found.q2_spread):.2g}."
    near = int((found.within_one_error & (found.kind == "regression")).sum())
    if near > 1:
        yield f"{near} models are within one standard error of the best: the data cannot distinguish them."
    yield from cautions(found)


def _verdict(found: xr.Dataset) -> str:
    p, count = float(found.p_value), found.sizes["permutation"]
    share = f"p = {p:.3g} ({count} shuffles)"
    if p > CHANCE:
        return f"Not distinguished from noise: on shuffled targets the same search does as well often enough, {share}."
    if float(found.q2_nested) <= 0:
        return f"More than noise, {share}, but a search without a sample predicts it no better than the mean does."
    within = float(found.get("p_value_within", 0))
    if within > CHANCE:
        return f"More than noise, {share}, but only between groups: within them p = {within:.3g}."
    return f"More than noise: {share}."


def cautions(found: xr.Dataset) -> Iterator[str]:
    """Warnings to the reader."""
    best = found.sel(model=found.attrs["chosen"])
    if float(best.largest_inflation) > HIGH_INFLATION or float(best.condition) > HIGH_CONDITION:
        yield (
            f"The chosen features go together (VIF up to {float(best.largest_inflation):.3g}, condition "
            f"{float(best.condition):.3g}): slopes and importances are not theirs alone."
        )
    lost = int((found.kind == "not independent").sum())
    if lost:
        yield f"{lost} models are left out: their features are not independent."
    yield from _group_cautions(found)
    laws = found.isel(model=np.flatnonzero(found.kind.values == "law"))
    if laws.sizes["model"]:
        first = laws.isel(model=int(np.argmin(laws.left_out_error.values)))
        if float(first.left_out_error) <= float(best.left_out_error):
            yield (
                f"No regression is better than a law: {first.model.item()} has an error of "
                f"{table.number(float(first.left_out_error))}."
            )
    if "held_out_inside" in found and not found.held_out_inside.values.all():
        names = found.held_out.values[~found.held_out_inside.values.astype(bool)]
        yield f"Outside of what was seen: {', '.join(names)}."


def _group_cautions(found: xr.Dataset) -> Iterator[str]:
    if "q2_by_group" not in found or float(found.q2_by_group) > 0:
        return
    if float(found.q2_by_group_chosen) > 0:
        yield (
            "A search without a group chooses features that do not predict it; those chosen here do, but were "
            "chosen with it."
        )
    else:
        yield "A group that was not seen is not predicted: the relation holds for these groups only."


def feature_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the chosen features in the columns of `FEATURES`, the most important first."""
    order = np.argsort(-found.mean_shap.values, kind="stable")
    keys = (
        "slope",
        "standardised_slope",
        "half_width",
        "shapley_r2",
        "mean_shap",
        "partial_r2",
        "inflation",
    )
    return [
        [str(found.feature.values[n]), *(table.number(float(found[k][n])) for k in keys)]
        for n in order
    ]


def model_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the best models and of all laws in the columns of `MODELS`."""
    keys = ("r2", "q2", "q2_left_out_mean")
    rows = []
    for n in shown_models(found):
        one = found.isel(model=int(n))
        vif = table.number(float(one.largest_inflation)) or "-"
        rows.append(
            [
                str(one.model.item()), str(int(one.parameters)), *(f"{float(one[k]):.3f}" for k in keys),
                table.number(float(one.left_out_error)), vif, "yes" if bool(one.within_one_error) else "",
            ]
        )  # fmt: skip
    return rows


HELD = ("held out", "measured", "predicted", "low", "high")


def held_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the samples that were held out."""
    keys = ("measured", "predicted", "low", "high")
    return [
        [str(name), *(table.number(float(found[f"held_out_{k}"][n])) or "-" for k in keys)]
        for n, name in enumerate(found.held_out.values)
    ]


def sample_rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the samples: measured, predicted by the repeated search, interval."""
    keys = ("measured", "fitted", "predicted", "nested", "low", "high")
    return [
        [str(name), *(_number(float(found[k][n])) for k in keys)]
        for n, name in enumerate(found["sample"].values)
    ]


def _number(value: float) -> str:
    return table.number(value) if math.isfinite(value) else "-"


def relation_page(found: xr.Dataset) -> str:
    """The text of a self-contained HTML page on a relation."""
    title = f"What explains {found.attrs['target']}"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Target", f"{found.attrs['target']} {quotient(found.attrs['units'])}".strip()),
        ("Samples", str(found.attrs["samples"])),
        ("Features searched", ", ".join(map(str, found.candidate.values))),
        ("Intervals", f"{100 * found.attrs['level']:g} %, {found.attrs['intervals']}"),
        ("Q²", found.attrs["q2"]),
    ]
    return page.document(
        title,
        [page.head(title, __version__, now, facts), *_sections(found), page.footer(__version__)],
    )


def _sections(found: xr.Dataset) -> Iterator[Markup]:
    yield page.section(
        "What was found",
        *(Markup("<p>{}</p>").format(one) for one in says(found)),
        page.picture(
            relation_figure(found),
            "Left: what a search without the sample predicts, against what was measured; the "
            "interval of a sample is made "
            "of the other samples only. Right: the best Q² of the same search on shuffled targets.",
        ),
    )
    yield page.section(
        "The chosen features",
        page.picture(
            importance_figure(found), "Exact Shapley values of R² and of the predictions."
        ),
        _table(FEATURES, feature_rows(found)),
        page.note(
            "Per s.d.: change of the target for a standard deviation of the feature, ± by Student's t as if the model "
            "had not been searched for."
        ),
    )
    yield page.section(
        "All models",
        page.picture(
            models_figure(found),
            "Filled: within one standard error of the best regression, by the squared left-out errors.",
        ),
        _table(MODELS, model_rows(found)),
    )
    header = ["sample", "measured", "fitted", "left out", "search repeated", "low", "high"]
    held = _table(HELD, held_rows(found)) if "held_out_predicted" in found else Markup()
    yield page.section("Samples", _table(header, sample_rows(found)), held)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    return page.table(header, rows, 1)


RELATION = Section.of_shell("Relation", is_relation, text, relation_figure)
SAMPLES = Section.of_shell("Samples", is_samples, samples_text)
