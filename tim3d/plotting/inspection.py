"""Figure of a stack as it was read: brightness, displacement and likeness of every slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import LINES, STYLE, WIDTH

_MARK = "#d55e00"


@matplotlib.rc_context(STYLE)
def inspection_figure(found: xr.Dataset) -> Figure:
    """Brightness of every slice, and displacement against the slice before; findings are marked.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.inspect`; or the node ``raw_inspection`` of a sample.

    Returns
    -------
    Figure
        Write it with ``inspection_figure(found).savefig("stack.png")``.
    """
    panels = [panel for name, panel in _PANELS.items() if _holds(found, name)]
    figure = Figure(figsize=(WIDTH, 0.4 + 1.7 * max(1, len(panels))), layout="constrained")
    axes = np.atleast_1d(figure.subplots(max(1, len(panels)), 1, sharex=True))
    for ax, panel in zip(axes, panels, strict=False):
        panel(ax, found)
    if not panels:
        axes[0].text(0.5, 0.5, "no grey values were looked at", ha="center", va="center")
    axes[-1].set_xlabel("slice, in the order of reading")
    return figure


def _holds(found: xr.Dataset, name: str) -> bool:
    return name in found and bool(np.isfinite(found[name].values).any())


def _brightness(ax: Axes, found: xr.Dataset) -> None:
    z, mean, std = (np.asarray(found[name].values) for name in ("slice", "mean", "std"))
    ax.fill_between(z, mean - std, mean + std, color=LINES[0], alpha=0.15, lw=0, label="± 1 std")
    ax.plot(z, mean, color=LINES[0], lw=1.2, label="mean of the slice")
    ax.set_ylabel("grey value")
    _mark(ax, found, ("blank", "saturated", "jumps"), mean)


def _displacement(ax: Axes, found: xr.Dataset) -> None:
    z = np.asarray(found["slice"].values)
    for axis, colour in zip("yx", LINES, strict=False):
        ax.plot(z, found[f"shift_{axis}"].values, color=colour, lw=1, marker=".", ms=3, label=axis)
    ax.axhline(0, color="#999999", lw=0.6)
    ax.set_ylabel("displacement (pixels)")
    shown = np.stack([found["shift_y"].values, found["shift_x"].values])
    limit = 1.15 * float(np.clip(np.nanmax(np.abs(shown)), 1.0, 20.0))
    ax.set_ylim(-limit, limit)
    _mark(ax, found, ("drift",), np.clip(shown[0], -limit, limit))


def _likeness(ax: Axes, found: xr.Dataset) -> None:
    z = np.asarray(found["slice"].values)
    ax.plot(z, found["difference"].values, color=LINES[2], lw=1, label="r.m.s. difference")
    ax.set_ylabel("to the slice before")
    ax.set_ylim(0, 1.08 * float(np.nanmax(found["difference"].values)) or 1.0)
    _mark(ax, found, ("duplicates",), np.asarray(found["difference"].values))


def _mark(ax: Axes, found: xr.Dataset, names: Sequence[str], values: Any) -> None:
    """Mark the slices of findings, and write what they are."""
    for one in found.attrs.get("findings", ()):
        slices = [int(z) for z in _slices(one) if one["name"] in names]
        if slices:
            ax.plot(slices, values[slices], "o", mfc="none", color=_MARK, ms=6, label=one["name"])
    for one in found.attrs.get("findings", ()):
        for z in _slices(one) if one["name"] == "gaps" else ():
            ax.axvline(int(z) + 0.5, color=_MARK, lw=0.8, ls=":")
    ax.margins(x=0.01)
    ax.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 0.98))


def _slices(finding: Mapping[str, Any]) -> Sequence[int]:
    return list(finding["slices"])


_PANELS = {"mean": _brightness, "shift_y": _displacement, "difference": _likeness}
