"""Figure of thermal impedance against bond line, with the line through it and its residuals."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.kernels.statistics.straight_line import Line
from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH, length_unit

# K m2 W-1 to K mm2 W-1, in which impedances of interfaces are written.
MM2 = 1e6


@matplotlib.rc_context(STYLE)
def bond_line_figure(found: xr.Dataset) -> Figure:
    """Thermal impedance against bond line: points, line with its interval, and residuals.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.bond_line`.
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    size, unit = length_unit(float(found.bond_line.max()))
    _line(upper, found, size)
    _residuals(lower, found, size)
    lower.set_xlabel(f"bond line ({unit})")
    lower.set_xlim(left=0)
    return figure


def _line(ax: Axes, found: xr.Dataset, size: float) -> None:
    thickness, impedance = found.bond_line.values, found.thermal_impedance.values
    line = Line(thickness * 1e-9, impedance)
    places = np.linspace(0, 1.05 * thickness.max(), 100)
    middle = line.intercept + line.slope * places * 1e-9
    half = line.band(places * 1e-9, found.attrs["level"])
    ax.fill_between(
        places / size, (middle - half) * MM2, (middle + half) * MM2, color=LINES[0], alpha=0.15, lw=0,
        label=f"{100 * found.attrs['level']:g} % interval of the line",
    )  # fmt: skip
    ax.plot(places / size, middle * MM2, color=LINES[0], lw=1.2)
    _points(ax, thickness / size, impedance * MM2, found.thermal_impedance_error.values * MM2)
    ax.plot(0, line.intercept * MM2, "s", color=LINES[1], ms=6, clip_on=False, label="2 R_c")
    ax.set_ylabel("R'' (K mm²/W)")
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    ax.set_title("slope 1/k, intercept 2 R_c", loc="left")
    ax.legend(fontsize=8, loc="upper left")


def _points(ax: Axes, x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> None:
    known = errors if np.isfinite(errors).all() else None
    label = "samples" if known is None else "samples, error of the voxels"
    ax.errorbar(x, y, known, fmt="o", color="#222222", ms=4.5, lw=0.9, capsize=2, label=label)


def _residuals(ax: Axes, found: xr.Dataset, size: float) -> None:
    ax.axhline(0, color="#666666", lw=0.8)
    ax.vlines(found.bond_line / size, 0, found.residual * MM2, color="#222222", lw=0.9)
    ax.plot(found.bond_line / size, found.residual * MM2, "o", color="#222222", ms=4)
    ax.set_ylabel("residual")
    largest = max(float(np.abs(found.residual).max()) * MM2, 1e-12)
    ax.set_ylim(-1.4 * largest, 1.4 * largest)
