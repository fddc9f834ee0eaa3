"""Figures of distributions by volume: local thickness, distance, intrusion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.correlations import endings
from tim3d.plotting.style import LINES, STYLE, WIDTH, colours, length_in, length_unit
from tim3d.storage.schema import AXES

Values = npt.NDArray[np.float64]
GREY = "#777777"


def thickness_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Distribution by volume of the local thickness of each phase: density, and share below.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``thickness``.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    return _length_figure(found, "thickness", "local thickness", ending)


def distance_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Distribution by volume of the distance to the nearest other phase: density, and share below.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``distance``.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    return _length_figure(found, "distance", "distance to another phase", ending)


@matplotlib.rc_context(STYLE)
def _length_figure(found: xr.Dataset, kind: str, text: str, ending: str | None) -> Figure:
    end = endings(found, f"{kind}_share")[0] if ending is None else ending
    shares = found[f"{kind}_share{end}"]
    shares = shares[np.isfinite(shares.values).all(axis=1)]
    edges = shares[shares.dims[1]].values
    used = _used(shares.values)
    unit = length_unit(float(edges[used]))
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    density, below = figure.subplots(1, 2)
    for phase, shade in colours(shares["phase"].values.tolist()).items():
        share = shares.sel(phase=phase).values
        heights, ends = wide_bins(share[:-1], edges)
        last = int(np.searchsorted(ends, edges[used]))
        _stairs(density, heights[:last], ends[: last + 1], unit, shade)
        mean, median = (
            float(found[f"{kind}_{n}{end}"].sel(phase=phase)) for n in ("mean", "median")
        )
        label = f"{phase}: mean {length_in(mean, unit)}, median {length_in(median, unit)}"
        below.plot(
            edges[: used + 1] / unit[0], _below(share, used), color=shade, lw=1.5, label=label
        )
        below.plot([median / unit[0]], [0.5], "o", color=shade, ms=4)
    density.set(
        xlabel=f"{text} ({unit[1]})", ylabel=f"density by volume (1/{unit[1]})", ylim=(0, None)
    )
    below.set(xlabel=f"{text} ({unit[1]})", ylabel="share of the phase below", ylim=(0, 1.02))
    below.axhline(0.5, color=GREY, lw=0.6, ls=":")
    for ax in (density, below):
        ax.set_xlim(0, None)
    figure.legend(
        *below.get_legend_handles_labels(), loc="outside upper center", fontsize=8, ncols=2
    )
    return figure


def _used(shares: Values) -> int:
    """Number of the first bins beyond which every phase is empty; the last has no end."""
    filled = np.flatnonzero(shares[:, :-1].sum(axis=0))
    return int(filled.max(initial=0)) + 1


def _below(share: Values, used: int) -> Values:
    return np.concatenate([[0.0], np.cumsum(share[:used])])


def wide_bins(share: Values, edges: Values) -> tuple[Values, Values]:
    """Density in bins that are joined until each is as wide as the shortest edge of a voxel.

    Lengths on a grid come in steps: narrower bins are full or empty in turn.

    Parameters
    ----------
    share : (n,) array
        Share of the volume in each bin; the first ends at half the shortest edge.
    edges : (n + 1,) array
        Edges of the bins.

    Returns
    -------
    density, edges : array
        Share over width, and the edges of the joined bins.

    Examples
    --------
    >>> density, ends = wide_bins(np.array([0, 0.2, 0.3, 0.5]), np.array([0, 1.0, 1.5, 2.0, 4.0]))
    >>> density.tolist(), ends.tolist()
    ([0.25, 0.25], [0.0, 2.0, 4.0])
    """
    step, kept = 2 * edges[1], [0]
    for place, edge in enumerate(edges[:-1]):
        if edge >= edges[kept[-1]] + step * (1 - 1e-9):
            kept.append(place)
    ends = np.append(edges[kept], edges[-1])
    return np.add.reduceat(share, kept) / np.diff(ends), ends


def _stairs(ax: Axes, density: Values, ends: Values, unit: tuple[float, str], shade: str) -> None:
    ax.stairs(density * unit[0], ends / unit[0], color=shade, fill=True, alpha=0.15)
    ax.stairs(density * unit[0], ends / unit[0], color=shade, lw=1.3)


@matplotlib.rc_context(STYLE)
def porosimetry_figure(found: xr.Dataset) -> Figure:
    """Share of a phase that balls of a radius fill, anywhere and from each face, and its density.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.porosimetry`.

    Returns
    -------
    Figure
        Left the share over the radius, with r_max, r_min where half is filled and the radius that
        passes from face to face; right the volume by radius in bins of one voxel.
    """
    radius = found["radius"].values
    unit = length_unit(float(radius.max(initial=0.0)))
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    share, density = figure.subplots(1, 2)
    step = min(found.attrs["spacing_nm"])
    for curve in _curves(found):
        _share(share, radius, curve, unit)
        heights, ends = _by_radius(curve.share, radius, step)
        filled = {"fill": True, "alpha": 0.25} if curve.shade == GREY else {"lw": 1.3}
        density.stairs(
            heights * unit[0], ends / unit[0], color=curve.shade, ls=curve.style, **filled
        )
    _finish(share, density, found, unit)
    figure.legend(
        *share.get_legend_handles_labels(), loc="outside upper center", fontsize=8, ncols=2
    )
    return figure


@dataclass(frozen=True)
class Curve:
    """Share of the phase by radius, the radius at half, and how they are drawn."""

    label: str
    share: Values
    half: float
    passes: float
    shade: str
    style: str


def _curves(found: xr.Dataset) -> Iterator[Curve]:
    """Balls anywhere, and from each face: an axis has its colour, its two directions differ in the dash."""
    every = found["granulometry_share"].values
    yield Curve("anywhere", every, float(found["r_max"]), math.nan, GREY, "-")
    for direction in map(str, found["direction"].values):
        one = found.sel(direction=direction)
        yield Curve(
            f"from the face: {direction}",
            one["intruded_share"].values,
            float(one["r_min"]),
            float(one["percolation_radius"]),
            LINES[AXES.index(direction[1])],
            "-" if direction[0] == "+" else "--",
        )


def _share(ax: Axes, radius: Values, curve: Curve, unit: tuple[float, str]) -> None:
    """Draw a curve of steps: balls of a radius fill what those of the next larger one there do."""
    half, known = curve.half, math.isfinite(curve.half)
    said = (
        f"{curve.label}, half at {length_in(half, unit)}" if known else f"{curve.label}, never half"
    )
    places, heights = np.append(0.0, radius) / unit[0], np.append(curve.share[:1], curve.share)
    drawn: dict[str, Any] = {"color": curve.shade, "ls": curve.style}
    ax.step(places, heights, where="pre", lw=1.4, label=said, **drawn)
    ax.plot([half / unit[0]], [0.5], "o", color=curve.shade, ms=4)
    size = 9 if curve.style == "-" else 5  # both directions of an axis lie on one place
    ax.plot(
        [curve.passes / unit[0]], [0.0], "^", color=curve.shade, ms=size, mfc="none", clip_on=False
    )


def _by_radius(share: Values, radius: Values, step: float) -> tuple[Values, Values]:
    """Density of the volume by radius in bins of `step`, and their edges."""
    ends = step * np.arange(math.floor(radius.max(initial=0.0) / step) + 2)
    filled = np.append(share, 0.0)[np.searchsorted(radius, ends)]
    return -np.diff(filled) / step, ends


def _finish(share: Axes, density: Axes, found: xr.Dataset, unit: tuple[float, str]) -> None:
    share.axhline(0.5, color=GREY, lw=0.6, ls=":")
    share.plot(
        [], [], "^", color=GREY, ms=7, mfc="none", ls="none", label="passes from face to face"
    )
    share.set(
        xlabel=f"radius of the ball ({unit[1]})",
        ylabel=f"share of {found.attrs['phase']} filled",
        ylim=(0, 1.02),
    )
    density.set(
        xlabel=f"radius of the ball ({unit[1]})",
        ylabel=f"density by volume (1/{unit[1]})",
        ylim=(0, None),
    )
    for ax in (share, density):
        ax.set_xlim(0, None)
