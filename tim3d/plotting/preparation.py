"""Figures of a prepared field: slices and histograms before and after every step, and tables of slices."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH, length_unit

# Pictures in a row.
ACROSS = 4


@matplotlib.rc_context(STYLE)
def stages(found: xr.Dataset) -> Figure:
    """The middle of one slice before the first and after each step, in one grey scale for all."""
    names = [str(name) for name in found["stage"].values]
    pictures = found["picture"].values
    low, high = np.quantile(pictures[[0, -1]], [0.005, 0.995])
    across = min(ACROSS, len(names))
    down = -(-len(names) // across)
    height = WIDTH / across * pictures.shape[1] / pictures.shape[2] + 0.3
    figure = Figure(figsize=(WIDTH, down * height), layout="constrained")
    for ax in (axes := np.atleast_1d(figure.subplots(down, across)).ravel()):
        ax.set_axis_off()
    for ax, name, picture in zip(axes, names, pictures, strict=False):
        ax.imshow(
            picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest"
        )
        ax.set_title(name)
    return figure


@matplotlib.rc_context(STYLE)
def stage_histograms(found: xr.Dataset) -> Figure:
    """Histogram after each step over the one before it."""
    names = [str(name) for name in found["stage"].values]
    shares = found["voxels"].values / found["voxels"].values.sum(axis=1, keepdims=True)
    steps = len(names) - 1
    across = min(3, steps)
    down = -(-steps // across)
    figure = Figure(figsize=(WIDTH, 2.0 * down + 0.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(down, across, sharex=True)).ravel()
    filled = found["grey"].values[shares.max(axis=0) > 1e-4]
    for number, ax in enumerate(axes[:steps]):
        ax.fill_between(found["grey"], shares[number], step="mid", color="#999999", alpha=0.5, lw=0)
        ax.step(found["grey"], shares[number + 1], where="mid", color=LINES[0], lw=1.1)
        ax.set(title=names[number + 1], ylim=(0, None), yticks=[])
        if filled.size:
            ax.set_xlim(filled.min(), filled.max())
    for ax in axes[steps:]:
        ax.set_axis_off()
    figure.supxlabel("grey value", fontsize=9)
    return figure


@matplotlib.rc_context(STYLE)
def drift(table: xr.Dataset) -> Figure:
    """Measured drift along y and x, its slow part, and by how much the slices were moved back."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    z, unit = _along(table)
    handles: dict[str, Any] = {}
    for ax, axis in zip(figure.subplots(1, 2), "yx", strict=True):
        lines = {
            f"drift_{axis}": "measured",
            f"trend_{axis}": "slow part",
            f"shift_{axis}": "taken back",
        }
        there = [(name, label) for name, label in lines.items() if name in table]
        for number, (name, label) in enumerate(there):
            ax.plot(z, table[name], color=LINES[number], lw=1.2, label=label)
        _mark_outliers(ax, table, z, f"drift_{axis}")
        ax.set(xlabel=f"z ({unit})", ylabel=f"along {axis} (pixels)")
        handles.update(dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True)))
    # Above the axes: curves fill them from end to end.
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _mark_outliers(ax: Axes, table: xr.Dataset, z: np.ndarray, name: str) -> None:
    if "outlier" in table and name in table and (table["outlier"] > 0).any():
        where = table["outlier"].values > 0
        label = "placed by neighbours"
        ax.plot(
            z[where], table[name].values[where], "o", ms=4, mfc="none", color="#333333", label=label
        )


@matplotlib.rc_context(STYLE)
def columns(table: xr.Dataset) -> Figure:
    """Every column of a table over z."""
    names = [str(name) for name, one in table.data_vars.items() if one.dims == ("z",)][:8]
    across = min(2, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(WIDTH, 1.5 * down + 0.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(down, across, sharex=True)).ravel()
    z, unit = _along(table)
    for ax, name in zip(axes, names, strict=False):
        ax.plot(z, table[name], color=LINES[0], lw=1.0)
        ax.set(ylabel=name.replace("_", " "))
        ax.margins(x=0)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.supxlabel(f"z ({unit})", fontsize=9)
    return figure


def _along(table: xr.Dataset) -> tuple[np.ndarray, str]:
    z = np.asarray(table["z"].values)
    scale, unit = length_unit(float(z.max()))
    return z / scale, unit
