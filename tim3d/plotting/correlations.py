"""Figures of correlations, chord lengths and curvatures, as `tim3d.measure` gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tim3d import descriptors
from tim3d.lazy import xarray as xr
from tim3d.plotting.style import STYLE, WIDTH, colours, length_unit
from tim3d.storage.schema import AXES

AXIS_STYLES = {"z": "-", "y": "--", "x": ":"}
# Where the quadrants of M and G are named, in the order of `curvature_quadrant`.
CORNERS = (
    (0.97, 0.95, "convex"),
    (0.03, 0.95, "concave"),
    (0.03, 0.09, "saddle,\ninwards"),
    (0.97, 0.09, "saddle,\noutwards"),
)


@cache
def _parameters() -> tuple[str, ...]:
    """Parameters of descriptors, as the names of their variables end with them."""
    kinds = (getattr(descriptors, name) for _, name in descriptors.KINDS.values())
    return tuple({one.name for kind in kinds for one in fields(kind)})


def endings(found: xr.Dataset, name: str) -> list[str]:
    """Endings of the variables of a descriptor, one for each of its parameters that were measured.

    >>> endings(xr.Dataset({"two_point_radial": 0, "two_point_radial_lags_8": 0}), "two_point_radial")
    ['', '_lags_8']
    """
    names = [str(n) for n in found.data_vars]
    return [
        n.removeprefix(name)
        for n in names
        if n == name or n.startswith(tuple(f"{name}_{one}_" for one in _parameters()))
    ]


@matplotlib.rc_context(STYLE)
def correlation_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Two-point probability of each phase, radially and along the axes, and of pairs of phases.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``correlation``.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    end = endings(found, "two_point_radial")[0] if ending is None else ending
    radial, along = found[f"two_point_radial{end}"], found[f"two_point{end}"]
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    own, mixed = figure.subplots(1, 2)
    unit = length_unit(float(radial[radial.dims[-1]].max()))
    _own(own, radial, along, unit)
    _mixed(mixed, radial, unit)
    dashes = [Line2D([], [], color="#333333", lw=1.6, label="radial")]
    dashes += [
        Line2D([], [], color="#333333", lw=0.8, ls=s, label=f"along {a}")
        for a, s in AXIS_STYLES.items()
    ]
    own.legend(handles=dashes, fontsize=8)
    return figure


def _own(ax: Axes, radial: xr.DataArray, along: xr.DataArray, unit: tuple[float, str]) -> None:
    reach, scale = radial.dims[-1], unit[0]
    for phase, shade in colours(radial["phase"].values.tolist()).items():
        curve = radial.sel(phase=phase, phase_other=phase)
        ax.plot(radial[reach] / scale, curve, color=shade, lw=1.8, label=phase)
        for axis, style in AXIS_STYLES.items():
            line = along.sel(phase=phase, phase_other=phase, lag_direction=axis)
            lengths = line[f"{line.dims[-1]}_length"] / scale
            near = lengths <= float(radial[reach].max()) / scale
            ax.plot(lengths[near], line[near], style, color=shade, lw=0.8)
        ax.axhline(float(curve[0]) ** 2, color=shade, lw=0.6, alpha=0.5)
        ax.annotate(
            f"{phase}: φ²",
            (0.02, float(curve[0]) ** 2),  # where its own curve is far above
            xycoords=("axes fraction", "data"),
            fontsize=7,
            color=shade,
            ha="left",
            va="bottom",
        )
    ax.set(
        xlabel=f"distance ({unit[1]})",
        ylabel="two-point probability",
        ylim=(0, None),
        title="both ends in one phase",
    )
    ax.margins(x=0)


def _mixed(ax: Axes, radial: xr.DataArray, unit: tuple[float, str]) -> None:
    reach = radial.dims[-1]
    names = radial["phase"].values.tolist()
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    for (a, b), shade in zip(pairs, colours(f"{a} {b}" for a, b in pairs).values(), strict=True):
        curve = radial.sel(phase=a, phase_other=b)
        far = float(radial.sel(phase=a, phase_other=a)[0] * radial.sel(phase=b, phase_other=b)[0])
        ax.plot(radial[reach] / unit[0], curve, color=shade, lw=1.8, label=f"{a} and {b}")
        ax.axhline(far, color=shade, lw=0.6, alpha=0.5)
    ax.set(
        xlabel=f"distance ({unit[1]})",
        ylim=(0, None),
        title="one end in each phase; thin: independent ends",
    )
    ax.legend(fontsize=8)
    ax.margins(x=0)


@matplotlib.rc_context(STYLE)
def chord_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Lineal path and density of chord lengths of each phase along the axes.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``chord_length``.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    end = endings(found, "lineal_path")[0] if ending is None else ending
    path, counts = found[f"lineal_path{end}"], found[f"chord_length_count{end}"]
    length = counts[f"{counts.dims[-1]}_length"]
    unit = length_unit(float(length.max()))
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for phase, axis, shade, style in _each(path):
        line, chords = path.sel(phase=phase, axis=axis), counts.sel(phase=phase, axis=axis)
        label = phase if axis == "z" else None
        left.plot(_lags(line) / unit[0], line, style, color=shade, lw=1.3, label=label)
        if float(chords.sum()):
            places = np.asarray(length.sel(axis=axis)) / unit[0]
            density = np.asarray(chords / chords.sum()) / np.diff(places, prepend=0.0)
            right.plot(places, density, style, color=shade, lw=1.3)
    left.set(
        xlabel=f"length ({unit[1]})",
        ylabel="lineal path",
        yscale="log",
        title="a line lies in the phase; — z, – – y, ··· x",
    )
    right.set(
        xlabel=f"chord length ({unit[1]})",
        ylabel=f"density (1/{unit[1]})",
        ylim=(0, None),
        title="chords with both ends inside",
    )
    left.legend(fontsize=8)
    for ax in (left, right):
        ax.set_xlim(0, None)
    return figure


def _each(values: xr.DataArray) -> Iterator[tuple[str, str, str, str]]:
    for phase, shade in colours(values["phase"].values.tolist()).items():
        for axis in AXES:
            yield phase, axis, shade, AXIS_STYLES[axis]


def _lags(line: xr.DataArray) -> xr.DataArray:
    return line[f"axis_{line.dims[-1]}_length"]


@matplotlib.rc_context(STYLE)
def curvature_figure(found: xr.Dataset, ending: str | None = None) -> Figure:
    """Joint distribution of mean and Gaussian curvature of each phase, with both marginals.

    Parameters
    ----------
    found : Dataset
        With the variables of the descriptor ``curvature``.
    ending : str, optional
        Ending of their names (default: of the first that are there).
    """
    end = endings(found, "curvature_area")[0] if ending is None else ending
    joint = found[f"curvature_area{end}"]
    phases = joint["phase"].values.tolist()
    figure = Figure(figsize=(WIDTH, 3.6 * -(-len(phases) // 2)), layout="constrained")
    cells = figure.subfigures(-(-len(phases) // 2), 2, squeeze=False).flat
    for cell, phase in zip(cells, phases, strict=False):
        grid = {"height_ratios": (1, 3), "width_ratios": (3, 1)}
        axes = cell.subplots(2, 2, sharex="col", sharey="row", gridspec_kw=grid)
        axes[0, 1].set_axis_off()
        _joint(
            axes, joint.sel(phase=phase), found[f"curvature_quadrant{end}"].sel(phase=phase), phase
        )
    return figure


def _joint(axes: np.ndarray, joint: xr.DataArray, quadrants: xr.DataArray, phase: str) -> None:
    m, g = map(str, joint.dims)
    mean, gauss = np.asarray(joint[m]), np.asarray(joint[g])
    root = np.sign(gauss) * np.sqrt(np.abs(gauss))
    shade = colours([phase])[phase]
    shares = np.where(joint.values > 0, joint.values, np.nan)
    main, top, side = axes[1, 0], axes[0, 0], axes[1, 1]
    most = np.nanmax(shares[1:-1, 1:-1], initial=0.0) or None  # outer bins hold what is beyond
    main.pcolormesh(mean, root, shares.T, cmap="YlGnBu", vmin=0, vmax=most, rasterized=True)
    main.axhline(0, color="#888888", lw=0.6)
    main.axvline(0, color="#888888", lw=0.6)
    main.plot(mean[mean >= 0], mean[mean >= 0], color="#888888", lw=0.6, ls="--")
    main.plot(mean[mean <= 0], -mean[mean <= 0], color="#888888", lw=0.6, ls="--")
    _quadrants(main, quadrants)
    main.xaxis.set_major_locator(MaxNLocator(4))
    main.set(xlabel=f"M ({_unit(joint, 0)})", ylabel="sign(G) √|G|  (same unit)")
    top.fill_between(mean, joint.sum(g), step="mid", color=shade, alpha=0.6)
    side.fill_betweenx(root, joint.sum(m), step="mid", color=shade, alpha=0.6)
    along_mean, along_gauss = joint.sum(g).values, joint.sum(m).values
    top.set(title=f"{phase}: share of the interface", ylim=(0, _most(along_mean)))
    side.set_xlim(0, _most(along_gauss))
    side.tick_params(axis="x", labelrotation=90)


def _quadrants(ax: Axes, shares: xr.DataArray) -> None:
    """Name and share of each quadrant in its corner."""
    for (x, y, name), share in zip(CORNERS, shares.values, strict=True):
        ax.text(
            x,
            y,
            f"{name} {100 * share:.0f} %",
            transform=ax.transAxes,
            fontsize=7,
            ha="right" if x > 0.5 else "left",
            va="center",
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.5},
        )


def _most(shares: np.ndarray) -> float | None:
    """Upper end of an axis: the outer bins hold all that is beyond, and may leave the picture."""
    most = float(shares[1:-1].max())
    return 1.1 * most if most else None


def _unit(joint: xr.DataArray, place: int) -> str:
    return str(joint[joint.dims[place]].attrs.get("units", "")).replace("nm-1", "1/nm")
