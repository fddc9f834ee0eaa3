"""Figures of generated images beside real ones, over the conditions of a series."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import STYLE, WIDTH

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
TITLES = {
    "area_fraction": "area fraction",
    "perimeter_per_area": "perimeter per area",
    "shape_index": "shape index",
    "feature_shape_index": "shape index of features",
}


@matplotlib.rc_context(STYLE)
def conditions_figure(found: xr.Dataset) -> Figure:
    """Means of generated crops over means of real ones, a point for each condition.

    A row of panels for each phase, a column for each quantity; bars are standard deviations between
    crops, and the line is where both agree.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.fidelity_images`.
    """
    phases = [str(one) for one in found["phase"].values]
    figure = Figure(figsize=(WIDTH, 2.3 * len(phases) + 0.3), layout="constrained")
    panels = figure.subplots(len(phases), len(TITLES), squeeze=False)
    for row, phase in zip(panels, phases, strict=True):
        for ax, (quantity, title) in zip(row, TITLES.items(), strict=True):
            _panel(ax, found.sel(phase=phase), quantity)
            ax.set_title(f"{title}, {phase}\n{_scores(found, quantity, phase)}", fontsize=7)
    for ax in panels[:, 0]:
        ax.set_ylabel("generated")
    for ax in panels[-1]:
        ax.set_xlabel("real")
    names, shades = _shades(found)
    if len(shades) > 1:
        points = [
            matplotlib.lines.Line2D([], [], ls="", marker="o", ms=4, color=shade)
            for shade in shades.values()
        ]
        figure.legend(points, [*shades], loc="outside lower center", ncols=6, title=names)
    return figure


def _shades(found: xr.Dataset) -> tuple[str, dict[str, str]]:
    """Column by which conditions are grouped, and the colour of each group."""
    by = str(found.attrs["by"])
    values = [str(one) for one in found[f"condition_{by}"].values] if by else [""]
    return by, {one: COLOURS[n % len(COLOURS)] for n, one in enumerate(dict.fromkeys(values))}


def _panel(ax: Axes, found: xr.Dataset, quantity: str) -> None:
    by, shades = _shades(found)
    real, generated = (found[f"{quantity}_{side}"].values for side in ("real", "generated"))
    spreads = [found[f"{quantity}_{side}_deviation"].values for side in ("real", "generated")]
    groups = found[f"condition_{by}"].values if by else np.full(len(real), "")
    for group, shade in shades.items():
        here = groups == group
        ax.errorbar(
            real[here], generated[here], spreads[1][here], spreads[0][here],
            fmt="o", ms=3.5, lw=0.5, color=shade,
        )  # fmt: skip
    known = [value for value in (*real, *generated) if np.isfinite(value)]
    if known:
        ends = [min(known), max(known)]
        ax.plot(ends, ends, color="#888888", lw=0.8, zorder=0)
    units = str(found[f"{quantity}_real"].attrs["units"])
    if units != "1":
        ax.annotate(units.replace("-1", "⁻¹"), (0.03, 0.9), xycoords="axes fraction", fontsize=7)
    ax.tick_params(labelsize=6)


def _scores(found: xr.Dataset, quantity: str, phase: str) -> str:
    """R^2 over all conditions, and that of real crops against real ones."""
    one = found.sel(quantity=quantity, phase=phase, group="all")
    value, best = float(one["r_squared"]), float(one["r_squared_ceiling"])
    return f"R² {value:.2f} (real {best:.2f})" if np.isfinite(value) else "one condition"
