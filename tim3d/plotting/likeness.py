"""Figures of simulated grey values beside those of a real stack."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import STYLE, WIDTH, length_text

# Of fields, one after the other; the real stack is black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def _drawn(found: xr.Dataset) -> list[tuple[int, str, str]]:
    """Number, name and colour of every stack, the real one last."""
    names = [str(one) for one in found["stack"].values]
    colours = [COLOURS[n % len(COLOURS)] for n in range(len(names) - 1)]
    return list(zip(range(len(names)), names, [*colours, "black"], strict=True))


@matplotlib.rc_context(STYLE)
def grey_look_figure(found: xr.Dataset) -> Figure:
    """Histograms, correlations along z, y and x, and power spectra of all stacks.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.likeness`.
    """
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    histogram, spectrum, *along, last = axes
    for number, name, colour in _drawn(found):
        one = found.isel(stack=number)
        how = {"color": colour, "lw": 1.2, "ls": "--" if name == "real" else "-"}
        histogram.plot(found["grey"].values, one["share"].values, label=name, **how)
        spectrum.loglog(found["frequency"].values, one["spectrum"].values, **how)
        for ax, axis in zip(along, ("z", "y", "x"), strict=True):
            lags = found["lag_nm"].sel(axis=axis).values
            ax.plot(lags, one["correlation"].sel(axis=axis).values, marker=".", ms=3, **how)
    histogram.set(title="distribution", xlabel="grey value", ylabel="share of the pixels")
    spectrum.set(
        title="power spectrum", xlabel="frequency (nm⁻¹)", ylabel="density (grey level² nm²)"
    )
    for ax, axis in zip(along, ("z", "y", "x"), strict=True):
        ax.axhline(0, color="#999999", lw=0.6)
        known = np.isfinite(found["lag_nm"].sel(axis=axis).values).any()
        ax.set(title=f"correlation along {axis}", xlabel="lag (nm)")
        if not known:
            ax.annotate(
                "slices of other thickness,\nor one slice", (0.1, 0.5), xycoords="axes fraction"
            )
    last.axis("off")
    last.legend(*histogram.get_legend_handles_labels(), loc="center")
    spectrum.xaxis.set_minor_formatter(NullFormatter())
    return figure


@matplotlib.rc_context(STYLE)
def crop_map_figure(found: xr.Dataset) -> Figure:
    """Crops of all stacks in a t-SNE picture: neighbours have like features; distances have no meaning.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.likeness`.
    """
    figure = Figure(figsize=(0.6 * WIDTH, 0.5 * WIDTH), layout="constrained")
    ax = figure.subplots()
    of, places = found["crop_stack"].values, found["place"].values
    for number, name, colour in _drawn(found):
        x, y = places[of == number].T
        ax.scatter(
            x, y, s=9, color=colour, marker="x" if name == "real" else "o", lw=0.8, label=name
        )
    ax.set(xticks=[], yticks=[], title="crops by t-SNE")
    ax.legend(fontsize=8)
    return figure


@matplotlib.rc_context(STYLE)
def crop_pairs_figure(found: xr.Dataset) -> Figure:
    """Crops of every field at the same places, beside crops of the real stack, on one scale of grey.

    Black and white are the .5 % and 99.5 % quantiles of the real crops. Pixels are drawn in their true
    proportions.

    Parameters
    ----------
    found : Dataset
        As from `tim3d.likeness`.
    """
    stacks, crops = _drawn(found), found["example"].values
    low, high = np.quantile(crops[-1], [0.005, 0.995])
    rows = crops.shape[1]
    dy, dx = found.attrs["pixel_nm"]
    size = (WIDTH, WIDTH / len(stacks) * rows * dy / dx + 0.3)
    scale = min(1.0, 5.0 / size[1])
    figure = Figure(figsize=(size[0] * scale, size[1] * scale), layout="constrained")
    grid = figure.subplots(rows, len(stacks), squeeze=False)
    for (number, name, _), column in zip(stacks, grid.T, strict=True):
        for ax, crop in zip(column, crops[number], strict=True):
            ax.imshow(
                crop,
                cmap="gray",
                vmin=low,
                vmax=max(high, low + 1),
                aspect=dy / dx,
                interpolation="none",
            )
            ax.axis("off")
        column[0].set_title(name)
    figure.supxlabel(f"crops are {length_text(crops.shape[3] * dx)} wide", fontsize=8)
    return figure
