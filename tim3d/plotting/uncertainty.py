"""Figures of a calibration, and of the parts of an uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH

STAGES = (("before", "o", "#999999"), ("after", "s", LINES[0]))


@matplotlib.rc_context(STYLE)
def calibration_figure(found: xr.Dataset) -> Figure:
    """Reliability: share of voxels of a phase against its probability, over all and near interfaces.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.calibrate`.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    texts = ("all voxels", f"within {found.attrs['distance_nm']:g} nm of an interface")
    for ax, where, text in zip(figure.subplots(1, 2), ("all", "near"), texts, strict=True):
        _reliability(ax, found.sel(where=where))
        ax.set_title(text)
    return figure


def _reliability(ax: Axes, found: xr.Dataset) -> None:
    ax.plot([0, 1], [0, 1], color="#444444", lw=0.8, ls=":")
    for stage, marker, color in STAGES:
        one = found.sel(stage=stage).isel(of=0)  # of the first phase, from 0 to 1
        count = one["bin_count"].values
        there = count > 0
        x = one["bin_confidence"].values[there] / count[there]
        y = one["bin_hits"].values[there] / count[there]
        size = 4 + 40 * np.sqrt(count[there] / count.sum())
        ax.plot(x, y, color=color, lw=1)
        label = f"{stage}, ECE {float(one['ece']):.4f}"
        ax.scatter(x, y, s=size, marker=marker, color=color, label=label)
    phase = str(found["phase"].values[0])
    ax.set_xlabel(f"probability of {phase}")
    ax.set_ylabel(f"share of voxels that are {phase}")
    ax.set(aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(loc="upper left", fontsize=8)


@matplotlib.rc_context(STYLE)
def parts_figure(names: Sequence[str], parts: np.ndarray) -> Figure:
    """Bars of the parts of an uncertainty, relative to the number.

    Parameters
    ----------
    names : sequence of str
        Of the numbers.
    parts : (numbers, 3) float64
        Standard error of the specimen, standard deviation over draws, and shift of their mean, each
        over the number; nan where it is not known.
    """
    figure = Figure(figsize=(WIDTH, 0.8 + 0.45 * len(names)), layout="constrained")
    ax, rows = figure.subplots(), np.arange(len(names))
    texts = ("specimen", "segmentation", "calibration")
    for n, text in enumerate(texts):
        values, places = 100 * np.abs(parts[:, n]), rows + 0.25 * (n - 1)
        ax.barh(places, values, 0.23, color=LINES[n], label=text)
        for place in places[np.isnan(values)]:  # a bar of no length would say that there is none
            ax.annotate(
                "not known",
                (0, place),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
                color=LINES[n],
            )
    ax.set_yticks(rows, list(names))
    ax.invert_yaxis()
    ax.set_xlabel("part, % of the number")
    figure.legend(loc="outside upper right", ncols=len(texts), fontsize=8)
    return figure
