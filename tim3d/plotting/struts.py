"""Figure of the struts of phases: their diameters with the log-normal fit, and how many meet."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.descriptors.struts import MOST_MEETING, TAKEN, WHERE
from tim3d.kernels.statistics.log_normal import LogNormal
from tim3d.lazy import xarray as xr
from tim3d.plotting.style import STYLE, WIDTH, colours, length_unit

# Bins of a histogram, and fewer where there are few values; none is narrower than a voxel.
MOST_BINS, VALUES_PER_BIN = 40, 8
# Height of a panel above its highest line, for the legend.
HEADROOM = 1.25


@matplotlib.rc_context(STYLE)
def strut_figure(found: xr.Dataset) -> Figure:
    """Diameters of the struts of each phase with their log-normal fit, and the struts at a node.

    Parameters
    ----------
    found : Dataset
        From `tim3d.struts`.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 0.8])
    names = found["phase"].values.tolist()
    shades = colours(names)
    unit = length_unit(float(found["strut_diameter_fit_high"].max()))
    for ax, taken in zip(panels, TAKEN, strict=False):
        for name in names:
            _diameters(ax, found, name, taken, shades[name], unit)
        ax.set(xlabel=f"diameter ({unit[1]})", title=WHERE[taken])
        ax.set(xlim=(0, None), ylim=(0, HEADROOM * ax.get_ylim()[1]))
    panels[0].set_ylabel(f"density (1/{unit[1]})")
    panels[0].legend(fontsize=7)
    _meetings(panels[-1], found, shades)
    return figure


def values_of(found: xr.Dataset, phase: str, taken: str) -> np.ndarray:
    """Diameters in nm of the struts of a phase: half way, or at every voxel (without the nodes)."""
    own = found["branch_phase"].values == found["phase"].values.tolist().index(phase)
    if taken == "middle":
        return np.asarray(found["branch_middle"].values[own])
    branch = found["point_branch"].values
    first = np.diff(branch, prepend=-1) != 0
    last = np.diff(branch, append=-1) != 0
    open_ended = found["branch_from"].values[branch] >= 0
    inner = own[branch] & ~((first | last) & open_ended)
    return np.asarray(found["point_diameter"].values[inner], np.float64)


def _diameters(
    ax: Axes, found: xr.Dataset, name: str, taken: str, shade: str, unit: tuple[float, str]
) -> None:
    values = values_of(found, name, taken) / unit[0]
    if len(values) < 2:
        return
    edge = min(found.attrs["spacing_nm"]) / unit[0]
    count = int(np.clip(len(values) // VALUES_PER_BIN, 5, MOST_BINS))
    width = max(edge, float(np.ptp(values)) / count)
    bins = np.arange(values.min() - width / 2, values.max() + width, width).tolist()
    ax.hist(values, bins=bins, density=True, color=shade, alpha=0.35, lw=0)
    one = found.sel(phase=name)
    fit = LogNormal(
        float(one[f"{TAKEN[taken]}_fit_mu"]) - np.log(unit[0]),
        float(one[f"{TAKEN[taken]}_fit_sigma"]),
        len(values),
    )
    at = np.linspace(values.min() / 2, values.max() * 1.1, 400)
    label = f"{name}: {fit.mean:.3g} {unit[1]}, 95 % {fit.interval[0]:.3g} to {fit.interval[1]:.3g}"
    ax.plot(at, fit.density(at), color=shade, lw=1.6, label=label)
    ax.axvline(fit.mean, color=shade, lw=0.8, ls="--")
    ax.axvspan(*fit.interval, color=shade, alpha=0.06, lw=0)


def _meetings(ax: Axes, found: xr.Dataset, shades: dict[str, str]) -> None:
    meeting, names = found["meeting"].values, list(shades)
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        beside = meeting + (number - (len(names) - 1) / 2) * width
        ax.bar(
            beside, found["strut_node_share"].sel(phase=name), width, color=shades[name], label=name
        )
    ticks = [*meeting[:-1:3].tolist(), MOST_MEETING]
    ax.set_xticks(ticks, [*map(str, ticks[:-1]), f"{MOST_MEETING}+"])
    ax.set(xlabel="struts at a node", ylabel="share of nodes", title="meetings")
