"""Figures of transport: conductivity between its bounds, tortuosity by plane, potentials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tim3d.lazy import xarray as xr
from tim3d.plotting.planes import Plane, middle_planes
from tim3d.plotting.slices import Picture, three_planes
from tim3d.plotting.style import LINES, STYLE, WIDTH, colours, length_unit
from tim3d.storage.schema import AXES
from tim3d.units import quotient

# Perceptually uniform; voxels not reached are grey.
MAP, NOT_REACHED = "viridis", 0.72
SHADES = {"wiener": "#e4e4e4", "hashin_shtrikman": "#b9cfe0"}
NAMES = {"wiener": "Wiener, any geometry", "hashin_shtrikman": "Hashin-Shtrikman, isotropic"}
# Below this share of the upper bound values are drawn on a logarithmic axis.
CROWDED = 0.05
_PROFILE = re.compile(r"plane_geodesic_tortuosity_([zyx])_(up|down)")


@matplotlib.rc_context(STYLE)
def conductivity_bounds(found: xr.Dataset) -> Figure:
    """Effective conductivity along each axis between its bounds, with any Richardson estimate.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.solve`.
    """
    axes = found["axis"].values.tolist()
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(axes)), layout="constrained")
    ax = figure.subplots()
    handles: list[Any] = [
        _band(ax, found, name) for name in SHADES if f"conductivity_{name}_upper" in found
    ]
    places = np.arange(len(axes))
    handles += ax.plot(
        found["effective_conductivity"].values, places, "o", color=LINES[1], ms=6, label="effective"
    )
    if "effective_conductivity_limit" in found:
        limit, half = (
            found[f"effective_conductivity_limit{end}"].values for end in ("", "_uncertainty")
        )
        handles.append(
            ax.errorbar(limit, places, xerr=half, fmt="D", ms=4, color="#222222", capsize=3, lw=1)
        )
        handles[-1].set_label("at vanishing voxel size")
    ax.set(yticks=places, yticklabels=axes, ylim=(len(axes) - 0.5, -0.5), ylabel="axis")
    ax.set_xlabel(
        f"conductivity ({_raised(found['effective_conductivity'].attrs.get('units', '1'))})"
    )
    _scale(ax, found)
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _band(ax: Axes, found: xr.Dataset, name: str) -> Patch:
    """Draw a bar for each axis; from 0 if a lower bound is missing."""
    zero = xr.zeros_like(found["effective_conductivity"])
    low, high = (
        found.get(f"conductivity_{name}_{side}", zero) + zero for side in ("lower", "upper")
    )
    height = 0.7 if name == "wiener" else 0.4
    ax.barh(np.arange(low.size), high - low, left=low, height=height, color=SHADES[name], zorder=0)
    return Patch(color=SHADES[name], label=NAMES[name])


def _scale(ax: Axes, found: xr.Dataset) -> None:
    """Begin the axis at 0; make it logarithmic where the values would crowd at 0."""
    low = found.get("conductivity_wiener_lower", xr.DataArray(0.0))
    most = float(found["conductivity_wiener_upper"].max())
    if low.min() > 0 and found["effective_conductivity"].min() < CROWDED * most:
        ax.set_xscale("log")
    else:
        ax.set_xlim(0, None)


def _raised(units: str) -> str:
    return re.sub(r"(?<=[A-Za-z])(-?\d+)", r"$^{\1}$", quotient(units))


@matplotlib.rc_context(STYLE)
def geodesic_profiles(found: xr.Dataset) -> Figure:
    """Geodesic tortuosity of every plane against its distance from the inlet, last quarter shaded.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.geodesic`, with variables ``plane_geodesic_tortuosity_z_up`` (phase, z) and
        so on.
    """
    named = list(_profiles(found))
    unit = length_unit(max(float(np.ptp(found[axis].values)) for _, axis, _ in named))
    axes = [a for a in AXES if any(a == axis for _, axis, _ in named)]
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    for ax, axis in zip(
        figure.subplots(1, len(axes), sharey=True, squeeze=False)[0], axes, strict=True
    ):
        for name, _, way in (n for n in named if n[1] == axis):
            _profile(ax, found[name], axis, way, unit)
        ax.margins(x=0)
    figure.axes[0].set_ylabel("geodesic tortuosity")
    figure.legend(handles=_legend(found), loc="outside upper center", ncols=6, fontsize=8)
    return figure


def has_profiles(found: xr.Dataset) -> bool:
    """Whether there are profiles to draw."""
    return any(_profiles(found))


def _profiles(found: xr.Dataset) -> Iterator[tuple[str, str, str]]:
    """Name, axis and direction (up or down) of every profile."""
    for name in map(str, found.data_vars):
        if match := _PROFILE.fullmatch(name):
            yield name, match[1], match[2]


def _profile(
    ax: Axes, values: xr.DataArray, axis: str, way: str, length: tuple[float, str]
) -> None:
    """Draw planes in the order of the path; planes before the last quarter are on white."""
    met = values.transpose("phase", axis).isel({axis: slice(None, None, 1 if way == "up" else -1)})
    along = np.abs(met[axis].values - met[axis].values[0])
    scale, unit = length
    for phase, shade in _shades(values).items():
        ax.plot(
            along / scale,
            met.sel(phase=phase).values,
            "-" if way == "up" else "--",
            color=shade,
            lw=1.3,
        )
    if not ax.patches:
        first = along.size - max(1, round(0.25 * along.size))
        ax.axvspan(along[first] / scale, along[-1] / scale, color="#eeeeee", lw=0, zorder=0)
    ax.set_xlabel(f"{axis} from the inlet ({unit})")


def _shades(values: xr.DataArray | xr.Dataset) -> dict[str, str]:
    return colours(values["phase"].values.tolist())


def _legend(found: xr.Dataset) -> list[Line2D | Patch]:
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=shade, label=name) for name, shade in _shades(found).items()
    ]
    ways = [
        Line2D([], [], color="#444444", ls=ls, label=text)
        for ls, text in (("-", "up"), ("--", "down"))
    ]
    return [*lines, *ways, Patch(color="#eeeeee", label="last 25 % of the planes")]


@matplotlib.rc_context(STYLE)
def field_slices(sample: str, name: str, label: str) -> Figure:
    """Middle planes of a potential or a distance; voxels below 0 or nan were not reached: grey.

    Parameters
    ----------
    sample, name : str
        The sample and its field.
    label : str
        Meaning of the colours, with the unit.
    """
    planes = middle_planes(sample, name)
    reached = np.concatenate([plane.values[_reached(plane)].ravel() for plane in planes])
    # A few voxels of a bottleneck would leave the rest in one colour.
    low, high = (
        (float(reached.min()), float(np.quantile(reached, 0.995))) if reached.size else (0.0, 1.0)
    )
    shades = ScalarMappable(Normalize(low, high if high > low else low + 1.0), MAP)
    figure = three_planes(planes, [_coloured(plane, shades) for plane in planes], foot=0.75)
    bar = figure.add_axes((0.2, 0.5 / figure.get_figheight(), 0.6, 0.15 / figure.get_figheight()))
    figure.colorbar(shades, cax=bar, label=label, orientation="horizontal")
    return figure


def _reached(plane: Plane) -> np.ndarray:
    return np.asarray(np.isfinite(plane.values) & (plane.values >= 0))


def _coloured(plane: Plane, shades: ScalarMappable) -> Picture:
    picture = np.asarray(shades.to_rgba(plane.values))[..., :3].copy()
    picture[~_reached(plane)] = NOT_REACHED
    return picture
