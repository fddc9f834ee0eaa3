"""Figures of a relation: predicted against measured, importance of features, all models."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import COLOURS, LINES, STYLE, WIDTH
from tim3d.units import quotient

GREY, LAW, CHANCE = "#9a9a9a", LINES[1], "#bbbbbb"
# Models that are drawn; further ones are counted in the title.
DRAWN = 16
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@matplotlib.rc_context(STYLE)
def relation_figure(found: xr.Dataset) -> Figure:
    """Predicted against measured values with their intervals, and the test on shuffled targets.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.relate`.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    _predicted(left, found)
    _chance(right, found)
    return figure


def _unit(found: xr.Dataset) -> str:
    unit = quotient(found.attrs["units"])
    return f" ({unit})" if unit and unit != "1" else ""


def _predicted(ax: Axes, found: xr.Dataset) -> None:
    groups = (
        found["group"].values
        if "group" in found
        else np.array([""] * found.sizes["sample"], object)
    )
    for place, name in enumerate(dict.fromkeys(groups.tolist())):
        rows = found.isel(sample=np.flatnonzero(groups == name))
        colour = ([LINES[0], *COLOURS] if not name else [*LINES, *COLOURS])[place % 9]
        _points(
            ax, rows, colour, MARKERS[place % len(MARKERS)], name or "search without the sample"
        )
    ax.plot(
        found.measured,
        found.fitted,
        "x",
        color="#444444",
        ms=3.5,
        mew=0.8,
        label="fitted with all samples",
        zorder=1,
    )
    _held_out(ax, found)
    values = np.concatenate(
        [
            found[k].values[np.isfinite(found[k].values)]
            for k in ("measured", "nested", "low", "high")
        ]
    )
    ends = np.array([values.min(), values.max()])
    ax.plot(ends, ends, color="#666666", lw=0.8, zorder=0)
    if found.attrs["scale"] == "logarithm":
        ax.set_xscale("log")
        ax.set_yscale("log")
    ax.set(
        xlabel=f"{found.attrs['target']}, measured{_unit(found)}", ylabel=f"predicted{_unit(found)}"
    )
    ax.set_title(
        f"{100 * found.attrs['level']:g} % intervals, Q² of the search {float(found.q2_nested):.2f}",
        loc="left",
    )
    ax.legend(fontsize=7.5)


def _points(ax: Axes, rows: xr.Dataset, colour: str, marker: str, label: str) -> None:
    centre = rows.nested.values
    # The interval of jackknife+ need not hold the prediction itself.
    below, above = np.maximum(centre - rows.low.values, 0), np.maximum(rows.high.values - centre, 0)
    ax.errorbar(
        rows.measured,
        centre,
        [below, above],
        fmt=marker,
        color=colour,
        ms=5,
        lw=0.9,
        capsize=2,
        label=label,
    )


def _held_out(ax: Axes, found: xr.Dataset) -> None:
    if "held_out_measured" not in found:
        return
    rows = found.isel(held_out=np.isfinite(found.held_out_measured.values))
    centre = rows.held_out_predicted.values
    sides = [
        np.maximum(centre - rows.held_out_low.values, 0),
        np.maximum(rows.held_out_high.values - centre, 0),
    ]
    ax.errorbar(
        rows.held_out_measured,
        centre,
        sides,
        fmt="*",
        color="#222222",
        mfc="white",
        ms=10,
        lw=0.9,
        capsize=2,
        label="held out",
    )


def _chance(ax: Axes, found: xr.Dataset) -> None:
    """Best Q² on shuffled targets, and that of the measured one."""
    best = float(found.q2.sel(model=found.attrs["chosen"]))
    chance = found.chance_q2.values
    ax.hist(
        np.maximum(chance, -1.0), bins=30, color=CHANCE, label="best of the search, target shuffled"
    )
    ax.axvline(best, color=LINES[0], lw=1.6, label=f"measured target: {best:.2f}")
    ax.axvline(
        float(found.q2_nested),
        color=LINES[0],
        lw=1.2,
        ls="--",
        label=f"search repeated: {float(found.q2_nested):.2f}",
    )
    if "q2_by_group" in found and float(found.q2_by_group) >= -1:
        ax.axvline(
            float(found.q2_by_group),
            color=LINES[2],
            lw=1.2,
            ls=":",
            label=f"whole groups left out: {float(found.q2_by_group):.2f}",
        )
    ax.set(xlabel="Q² of left-out samples", ylabel="searches")
    ax.set_title(
        f"p = {float(found.p_value):.3g} of {found.sizes['permutation']} shuffles", loc="left"
    )
    ax.set_ylim(top=1.45 * ax.get_ylim()[1])
    ax.legend(fontsize=7.5, loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")


@matplotlib.rc_context(STYLE)
def importance_figure(found: xr.Dataset) -> Figure:
    """Shares of R² of the chosen features, and their part in every prediction (SHAP).

    Parameters
    ----------
    found : Dataset
        As from `tim3d.relate`.
    """
    order = np.argsort(found.mean_shap.values)
    names = found.feature.values[order].tolist()
    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.5])
    left.barh(range(len(names)), found.shapley_r2.values[order], color=LINES[0], height=0.55)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="share of R², mean over all orders")
    left.set_title("importance (Shapley, exact)", loc="left")
    right.axvline(0, color="#666666", lw=0.7)
    for row, place in enumerate(order):
        _swarm(right, row, found.shap.values[:, place], found.value.values[:, place])
    unit = "" if found.attrs["scale"] == "linear" else " of the logarithm"
    right.set(xlabel=f"part in the prediction{unit}{_unit(found) if not unit else ''}")
    right.set_title("SHAP; dark: high value of the feature", loc="left")
    return figure


def _swarm(ax: Axes, row: int, parts: np.ndarray, values: np.ndarray) -> None:
    """Points of one feature, moved apart in the order of their parts, shaded by the feature's value."""
    ranks = np.argsort(np.argsort(parts))
    offset = 0.22 * (2 * ((ranks * 0.618034) % 1) - 1)
    shade = (values - values.min()) / max(float(np.ptp(values)), 1e-300)
    ax.scatter(parts, row + offset, c=shade, cmap="viridis_r", s=22, lw=0.3, edgecolors="#444444")


@matplotlib.rc_context(STYLE)
def models_figure(found: xr.Dataset) -> Figure:
    """Root mean square errors of left-out samples of the best models and of the laws.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.relate`.
    """
    shown = shown_models(found)[::-1]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.24 * len(shown)), layout="constrained")
    ax = figure.subplots()
    errors = found.left_out_error.values[shown]
    near, kinds = found.within_one_error.values[shown], found.kind.values[shown]
    # A law that is far off must not squeeze the regressions together.
    wide = errors.max() > 3 * errors.min() > 0
    start = 0.8 * errors.min() if wide else 0.0
    for row, (error, is_near, kind) in enumerate(zip(errors, near, kinds, strict=True)):
        colour = LINES[0] if kind == "regression" else LAW
        ax.plot([start, error], [row, row], color=colour, lw=0.8)
        ax.plot(error, row, "o", color=colour, mfc=colour if is_near else "white", ms=6)
    ax.set_yticks(range(len(shown)), found.model.values[shown].tolist(), fontsize=8)
    unit = " of the logarithm" if found.attrs["scale"] == "logarithm" else _unit(found)
    # Ends with the axis: names of models may leave it less room than the label needs.
    ax.set_xlabel(f"root mean square error of left-out samples{unit}", loc="right")
    if wide:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    ax.set_xlim(left=start)
    ax.plot([], [], "o", color=LINES[0], label="regression")
    if (kinds != "regression").any():
        ax.plot([], [], "o", color=LAW, label="law or Gaussian process")
    ax.plot([], [], "o", color=GREY, mfc="white", label="not within one standard error of the best")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def shown_models(found: xr.Dataset) -> np.ndarray:
    """Places of the best regressions, at most `DRAWN`, and of all others that are not regressions, by their errors."""
    errors, kinds = found.left_out_error.values, found.kind.values
    order = np.argsort(errors, kind="stable")
    regressions = [n for n in order if kinds[n] == "regression"][:DRAWN]
    others = [n for n in order if kinds[n] in ("law", "Gaussian process")]
    return np.array(sorted([*regressions, *others], key=lambda n: errors[n]), np.intp)
