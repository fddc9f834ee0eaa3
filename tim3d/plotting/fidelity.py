"""Figures of generated volumes against micrographs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.planes import Plane, middle_plane
from tim3d.plotting.style import LINES, STYLE, WIDTH, colours, length_text
from tim3d.storage import store
from tim3d.storage.schema import AXES

CURVES = {
    "two_point": "two-point correlation S2",
    "lineal_path": "lineal path L",
    "correlation": "correlation rho",
}
# Axes of the rows and columns of slices across z, y, x.
PLANES = {"z": ("y", "x"), "y": ("z", "x"), "x": ("z", "y")}


def is_grey(found: xr.Dataset) -> bool:
    """Whether grey values were compared, and not labels."""
    return "correlation" in found


def level(found: xr.Dataset) -> str:
    """Quantity by which planes are compared: mean grey value or phase fraction."""
    return "mean grey over 255" if is_grey(found) else "phase fraction"


@matplotlib.rc_context(STYLE)
def curves_figure(found: xr.Dataset) -> Figure:
    """Curves of volumes as lines with the range between volumes, of the micrograph as dots.

    S2 and lineal path of every phase; or correlation and distribution of grey values.
    """
    if is_grey(found):
        return _grey_figure(found)
    names = [str(p) for p in found["phase"].values]
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False, sharex=True)
    for row, quantity in zip(grid, ("two_point", "lineal_path"), strict=True):
        for ax, name in zip(row, names, strict=True):
            _curve(ax, found.sel(phase=name), quantity)
            ax.set_title(f"{name}: {CURVES[quantity]}")
    for ax in grid[-1]:
        ax.set_xlabel("lag (nm)")
    figure.legend(
        *grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8
    )
    return figure


def _grey_figure(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, found, "correlation")
    left.set(title=CURVES["correlation"], xlabel="lag (nm)")
    left.axhline(0, color="#999999", lw=0.6)
    values = found.shares.values
    grey = np.arange(values.shape[-1])
    right.plot(grey, values.mean(axis=0), color=LINES[0], lw=1.2, label="volumes")
    right.fill_between(
        grey, values.min(axis=0), values.max(axis=0), color=LINES[0], alpha=0.12, lw=0
    )
    for number, name in enumerate(AXES[: 1 if found.attrs["isotropic"] else None]):
        label = "micrograph" if found.attrs["isotropic"] else f"micrograph across {name}"
        right.plot(
            grey,
            found.micrograph_shares.values[number],
            color="black",
            ls=(":", "--", "-.")[number],
            lw=0.9,
            label=label,
        )
    right.set(title="distribution", xlabel="grey value")
    right.legend(fontsize=8)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8
    )
    return figure


def _curve(ax: Axes, found: xr.Dataset, quantity: str) -> None:
    for axis, colour in zip(AXES, LINES, strict=False):
        lags = found.lag_nm.sel(axis=axis).values
        values = found[quantity].sel(axis=axis).values
        ax.plot(lags, values.mean(axis=0), color=colour, lw=1.2, label=f"volumes along {axis}")
        ax.fill_between(
            lags, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, lw=0
        )
    for lags, values, label in _image_curves(found, quantity):
        ax.plot(lags, values, "o", color="black", mfc="white", ms=4, label=label)


def _image_curves(
    found: xr.Dataset, quantity: str
) -> Iterator[tuple[np.ndarray, np.ndarray, str | None]]:
    image = found[f"micrograph_{quantity}"]
    if found.attrs["isotropic"]:
        yield (
            found.lag_nm.sel(axis="z").values,
            image.isel(slices=0).mean("line").values,
            "micrograph",
        )
        return
    for normal, axes in PLANES.items():
        for line, axis in zip(("rows", "columns"), axes, strict=True):
            # Steps down a column run along the axis of the rows.
            label = "micrographs" if (normal, line) == ("z", "rows") else None
            yield (
                found.lag_nm.sel(axis=axis).values,
                image.sel(slices=normal, line=line).values,
                label,
            )


@matplotlib.rc_context(STYLE)
def residues_figure(found: xr.Dataset) -> Figure:
    """Phase fraction or mean grey of planes modulo the period, less its mean, ± standard error."""
    names = [str(p) for p in found["phase"].values]
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    for ax, name in zip(
        figure.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True
    ):
        one = found.sel(phase=name)
        for axis, colour in zip(AXES, LINES, strict=False):
            values = one.residue_fraction.sel(axis=axis).values
            error = float(one.imprint_error.sel(axis=axis))
            ax.errorbar(
                np.arange(values.size),
                values - values.mean(),
                error,
                color=colour,
                lw=1,
                label=f"along {axis}",
            )
        ax.axhline(0, color="#999999", lw=0.6)
        ax.set(title=name, xlabel=f"place modulo {values.size} voxels")
    figure.axes[0].set_ylabel(f"{level(found)} less its mean")
    figure.axes[0].legend(fontsize=8)
    return figure


@matplotlib.rc_context(STYLE)
def slices_figure(found: xr.Dataset) -> Figure:
    """Micrographs and the middle slices of the first volume, in windows of one size."""
    names = [str(p) for p in found["phase"].values]
    sample, field = str(found.volume.values[0]), found.attrs["field"]
    planes = [_as_image(middle_plane(sample, field, normal)) for normal in AXES]
    images = [(n, found[f"micrograph_{n}"]) for n in AXES if f"micrograph_{n}" in found]
    figure = Figure(figsize=(WIDTH, 2.3 if len(images) == 1 else 5.6), layout="constrained")
    grid = figure.subplots(
        1 + (len(images) > 1), 4 if len(images) == 1 else 3, squeeze=False
    ).ravel()
    steps = dict(zip(AXES, found.attrs["spacing_nm"], strict=True))
    pictures = [
        _image_picture(values.values, normal, steps, len(images) > 1) for normal, values in images
    ]
    pictures += [
        _slice_picture(plane, None if is_grey(found) else _codes(sample, field, names))
        for plane in planes
    ]
    edge = min(max(size) for _, size, _ in pictures)
    look = _look(None if is_grey(found) else names)
    for ax, (codes, (down, right), label) in zip(grid, pictures, strict=True):
        ax.imshow(codes, **look, extent=(0, right, down, 0), interpolation="none")
        ax.set(
            xlim=(0, edge),
            ylim=(edge, 0),
            xticks=[],
            yticks=[],
            title=f"{label}, {length_text(edge)}",
        )
        ax.axis("off")
    return figure


_Picture = tuple[np.ndarray, tuple[float, float], str]


def _image_picture(
    ranks: np.ndarray, normal: str, steps: dict[str, float], several: bool
) -> _Picture:
    rows, columns = PLANES[normal]
    size = (ranks.shape[0] * steps[rows], ranks.shape[1] * steps[columns])
    return ranks, size, f"micrograph across {normal}" if several else "micrograph"


def _look(names: list[str] | None) -> dict[str, Any]:
    """Arguments of imshow that map indices of phases, or grey values, to colours."""
    if names is None:
        return {"cmap": "gray", "vmin": 0, "vmax": 255}
    return {
        "cmap": ListedColormap([colours(names)[n] for n in names]),
        "vmin": -0.5,
        "vmax": len(names) - 0.5,
    }


def _codes(sample: str, field: str, names: list[str]) -> np.ndarray:
    """Index of the phase of every code."""
    phases = store.read_field(sample, field).phases
    assert phases is not None
    table_of = np.zeros(256, np.uint8)
    for place, name in enumerate(names):
        table_of[phases[name]] = place
    return table_of


def _as_image(plane: Plane) -> Plane:
    """Plane with its rows and columns ordered as in the micrograph."""
    return plane if plane.axes == PLANES[plane.normal] else plane.turned()


def _slice_picture(plane: Plane, codes: np.ndarray | None) -> _Picture:
    down, right = plane.size_nm
    return (
        plane.values if codes is None else codes[plane.values],
        (down, right),
        f"across {plane.normal}",
    )
