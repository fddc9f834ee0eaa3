"""Figure of a representative-volume study."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH, length_in, length_unit
from tim3d.units import Shown, fitting, quotient

POINTS, MEAN, BAND, MARK = "#9a9a9a", LINES[0], LINES[2], LINES[1]


def title(found: xr.Dataset) -> str:
    """Title with the quantity of the study, for example ``tortuosity_factor along z``."""
    of = f" of {found.attrs['phase']}" if "phase" in found.attrs else ""
    along = f" along {found.attrs['axis']}" if "axis" in found.attrs else ""
    return f"{found.attrs['quantity']}{of}{along}"


@matplotlib.rc_context(STYLE)
def study_figure(found: xr.Dataset) -> Figure:
    """Value of every window against its edge, and the variance of the values.

    Mean ± s.d., tolerance and representative size are drawn with the values.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.study`.

    Returns
    -------
    Figure
        Write it with ``study_figure(found).savefig("study.png")``.
    """
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.9, 1])
    _values(left, found)
    _variances(right, found)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8
    )
    return figure


def _values(ax: Axes, found: xr.Dataset) -> None:
    edges, mean = found.window.values, found["mean"].values
    for edge, values in zip(edges, found.value.values.reshape(len(edges), -1), strict=True):
        shown = values[np.isfinite(values)]
        # Points of one size side by side, in the order of their positions.
        beside = edge * (1 + 0.06 * ((np.arange(shown.size) * 0.618034) % 1 - 0.5))
        size = 14 if shown.size <= 64 else 4
        label = "one window" if edge == edges[0] else None
        ax.scatter(
            beside, shown, s=size, color=POINTS, alpha=0.5, lw=0, label=label, rasterized=True
        )
    if math.isfinite(mean[-1]):
        width = found.attrs["tolerance"] * abs(mean[-1])
        label = f"± {100 * found.attrs['tolerance']:g} % of the largest windows' mean"
        ax.axhspan(mean[-1] - width, mean[-1] + width, color=BAND, alpha=0.13, lw=0, label=label)
    deviation = np.nan_to_num(found.standard_deviation.values)
    ax.errorbar(
        edges, mean, deviation, fmt="o-", color=MEAN, ms=4, lw=1.2, capsize=3, label="mean ± 1 s.d."
    )
    _mark(ax, found)
    _limits(ax, found)
    ax.set_xscale("log")
    _ticks(ax, found)
    shown = fitting(str(found["value"].attrs["units"]), mean.tolist())
    ax.set(
        xlabel="edge of the window",
        ylabel=f"{found.attrs['quantity'].replace('_', ' ')} ({_unit(shown)})",
    )
    if shown.factor != 1:  # the points are drawn as they are stored
        ax.yaxis.set_major_formatter(lambda value, _: f"{value * shown.factor:.4g}")
    ax.set_title(
        title(found).replace("_", " ") + (", apparent" if "apparent" in found.attrs else ""),
        loc="left",
    )


def _limits(ax: Axes, found: xr.Dataset) -> None:
    """Show nine tenths of the windows of every size; the number beyond is written in the figure."""
    values = [v[np.isfinite(v)] for v in found.value.values.reshape(found.sizes["window"], -1)]
    ranges = [np.quantile(v, [0.05, 0.95]) for v in values if v.size]
    if not ranges:
        return
    width = found.attrs["tolerance"] * abs(float(found["mean"][-1]))
    ends = [found["mean"].values - 1.2 * width, found["mean"].values + 1.2 * width]
    low, high = np.nanmin([*np.ravel(ranges), *ends[0]]), np.nanmax([*np.ravel(ranges), *ends[1]])
    if not high > low:
        return
    margin = 0.06 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    beyond = sum(int(((v < low - margin) | (v > high + margin)).sum()) for v in values)
    if beyond:
        ax.set_title(f"{beyond} windows lie beyond", loc="right", fontsize=8)


def _unit(shown: Shown) -> str:
    """Unit in plain letters; a dash if there is none."""
    return "-" if shown.units == "1" else quotient(shown.units)


def _mark(ax: Axes, found: xr.Dataset) -> None:
    edge = float(found.representative_edge)
    if math.isfinite(edge):
        ax.axvline(
            edge,
            color=MARK,
            ls="--",
            lw=1.2,
            label=f"representative from {length_in(edge, _length_unit(found))} on",
        )
    else:
        ax.plot([], [], " ", label=f"no representative size: {found.attrs['verdict']}")


def _length_unit(found: xr.Dataset) -> tuple[float, str]:
    return length_unit(float(found.window.max()))


def _ticks(ax: Axes, found: xr.Dataset) -> None:
    edges, unit = found.window.values, _length_unit(found)
    ax.set_xticks(
        edges, [length_in(float(e), unit) for e in edges], rotation=45 if len(edges) > 4 else 0
    )
    ax.minorticks_off()


def _variances(ax: Axes, found: xr.Dataset) -> None:
    """Relative spread against the edge, with fitted law and tolerance, on logarithmic axes."""
    edges, relative = found.window.values, found.relative_spread.values
    judged = found.judged.values.astype(bool)
    drawn = np.isfinite(relative) & (relative > 0)
    for shown, face in ((drawn & judged, MEAN), (drawn & ~judged, "white")):
        ax.plot(edges[shown], 100 * relative[shown], "o", color=MEAN, mfc=face, ms=4)
    exponent = float(found.variance_exponent)
    if math.isfinite(exponent) and math.isfinite(float(found.required_edge[0])):
        line = found.attrs["tolerance"] * (edges / float(found.required_edge[0])) ** (
            -1.5 * exponent
        )
        ax.plot(edges, 100 * line, color=MEAN, lw=1, label=f"$V^{{-{exponent / 2:.2f}}}$")
        ax.legend(fontsize=8)
    ax.axhline(100 * found.attrs["tolerance"], color=BAND, lw=1.2)
    if math.isfinite(float(found.representative_edge)):
        ax.axvline(float(found.representative_edge), color=MARK, ls="--", lw=1.2)
    ax.set_xscale("log")
    if drawn.any():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    _ticks(ax, found)
    ax.set(xlabel="edge of the window", ylabel="2 s.d. / mean (%)", title="spread between windows")
