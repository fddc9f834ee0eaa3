"""Figures of the two-point cluster function and of the slices of a volume."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tim3d.lazy import xarray as xr
from tim3d.plotting.correlations import AXIS_STYLES, endings
from tim3d.plotting.slices import phase_patches
from tim3d.plotting.style import STYLE, WIDTH, colours, length_unit
from tim3d.storage.schema import AXES
from tim3d.units import fitting

DARK, PALE = "#333333", "#999999"
ROWS = (("perimeter", "perimeter per area"), ("shape_index", "shape index"))


@matplotlib.rc_context(STYLE)
def cluster_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Probability that both ends of a line lie in one component, beside that of one phase.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``cluster_correlation``; where ``correlation`` of as
        many lags was measured too, it is drawn in grey.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    end = endings(found, "two_point_cluster")[0] if ending is None else ending
    cluster = found[f"two_point_cluster{end}"]
    shades = colours(cluster["phase"].values.tolist())
    lengths = cluster[f"{cluster.dims[-1]}_length"].sel(lag_direction=list(AXES))
    unit = length_unit(float(lengths.max()))
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    panels = figure.subplots(1, len(shades), squeeze=False, sharey=True)[0]
    for ax, (phase, shade) in zip(panels, shades.items(), strict=True):
        one = {"phase": phase}
        if (both := _two_point(found, str(cluster.dims[-1]))) is not None:
            _along(ax, both.sel(one | {"phase_other": phase}), PALE, 0.9, unit)
        _along(ax, cluster.sel(one), shade, 1.6, unit)
        ax.set(xlabel=f"distance ({unit[1]})", title=phase)
        ax.margins(x=0)
    panels[0].set(ylabel="probability", ylim=(0, None))  # when all panels are drawn
    dashes = [Line2D([], [], color=DARK, ls=s, label=f"along {a}") for a, s in AXIS_STYLES.items()]
    kinds = [Line2D([], [], color=DARK, lw=1.6, label="both ends in one component")]
    kinds += [Line2D([], [], color=PALE, lw=0.9, label="both ends in the phase")]
    figure.legend(handles=[*kinds, *dashes], loc="outside upper center", fontsize=8, ncols=5)
    return figure


def _two_point(found: xr.Dataset, lag: str) -> xr.DataArray | None:
    """Two-point probability over the same lags, if it was measured."""
    every = (found[f"two_point{end}"] for end in endings(found, "two_point"))
    return next((one for one in every if one.dims[-1] == lag), None)


def _along(ax: Axes, line: xr.DataArray, shade: str, width: float, unit: tuple[float, str]) -> None:
    for axis, style in AXIS_STYLES.items():
        one = line.sel(lag_direction=axis)
        lengths = one[f"{one.dims[-1]}_length"] / unit[0]
        ax.plot(lengths, one, style, color=shade, lw=width)


@matplotlib.rc_context(STYLE)
def slice_shape_figure(found: xr.Dataset) -> Figure:
    """Perimeter per area and shape index of each phase in every slice along z, y and x.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``slice_shape``.
    """
    unit = length_unit(max(float(found[axis].max()) for axis in AXES))
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    panels = figure.subplots(2, 3, sharex="col", sharey="row")
    for row, (name, text) in zip(panels, ROWS, strict=True):
        profiles = [found[f"slice_{name}_{axis}"] for axis in AXES]
        every = np.concatenate([one.values.ravel() for one in profiles])
        shown = fitting(str(profiles[0].attrs["units"]), every.tolist())
        for ax, values, axis in zip(row, profiles, AXES, strict=True):
            _profile(ax, values, axis, shown.factor, unit)
        named = "" if shown.units == "1" else f" (1/{shown.units.removesuffix('-1')})"
        row[0].set(ylabel=text + named, ylim=(0, None))
    for ax, axis in zip(panels[1], AXES, strict=True):
        ax.set_xlabel(f"{axis} ({unit[1]})")
    patches = phase_patches(colours(profiles[0]["phase"].values.tolist()))
    figure.legend(handles=patches, loc="outside upper center", ncols=6)
    return figure


def _profile(
    ax: Axes, values: xr.DataArray, axis: str, factor: float, unit: tuple[float, str]
) -> None:
    for phase, shade in colours(values["phase"].values.tolist()).items():
        along, one = values[axis].values / unit[0], values.sel(phase=phase).values * factor
        ax.plot(along, one, color=shade, lw=1.2)
    ax.margins(x=0)
