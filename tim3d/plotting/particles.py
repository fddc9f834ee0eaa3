"""Figure of the sizes of particles, as `tim3d.particles` gives them."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH, length_unit

_FEWEST, _MOST = 5, 60


@matplotlib.rc_context(STYLE)
def particle_figure(found: xr.Dataset) -> Figure:
    """Distribution of the diameters: its density, and what lies below, by number and by volume.

    Parameters
    ----------
    found : Dataset
        With the rows of `tim3d.particles`.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    unit = length_unit(float(found["particle_diameter"].max()))
    diameter = np.asarray(found["particle_diameter"]) / unit[0]
    weight, volume = np.asarray(found["particle_weight"]), np.asarray(found["particle_volume"])
    _density(left, diameter, weight)
    _below(right, diameter, weight, volume)
    left.set(xlabel=f"diameter ({unit[1]})", ylabel=f"density (1/{unit[1]})", ylim=(0, None))
    right.set(xlabel=f"diameter ({unit[1]})", ylabel="share below", ylim=(0, 1))
    for ax in (left, right):
        ax.set_xlim(0, None)
        ax.legend(fontsize=8)
    return figure


def _density(ax: Axes, diameter: np.ndarray, weight: np.ndarray) -> None:
    bins = int(np.clip(np.sqrt(len(diameter)), _FEWEST, _MOST))
    edges = np.linspace(0, diameter.max() * (1 + 1e-9), bins + 1).tolist()
    if weight.any():
        inside = weight > 0
        label = f"{inside.sum()} particles clear of the border, weighted"
        ax.hist(
            diameter[inside], edges, weights=weight[inside], density=True, color=LINES[0], alpha=0.5, label=label
        )  # fmt: skip
    label = f"all {len(diameter)} as they are"
    ax.hist(
        diameter, edges, density=True, histtype="step", color="#333333", lw=1.0, ls="--", label=label
    )  # fmt: skip
    ax.set_ylim(0, 1.35 * ax.get_ylim()[1])


def _below(ax: Axes, diameter: np.ndarray, weight: np.ndarray, volume: np.ndarray) -> None:
    order = np.argsort(diameter)
    ways = (("by number", weight, LINES[0]), ("by volume", weight * volume, LINES[1]))
    for label, share, shade in ways:
        if share.any():
            below = np.cumsum(share[order]) / share.sum()
            ax.step(diameter[order], below, where="post", color=shade, lw=1.4, label=label)
    if not weight.any():
        ax.plot([], [], " ", label="all particles touch the border")
