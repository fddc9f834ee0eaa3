"""Figures of numbers over a length, a grey value or the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.slices import Picture, phase_patches
from tim3d.plotting.style import LINES, STYLE, WIDTH, colours, length_unit
from tim3d.storage.schema import AXES


@matplotlib.rc_context(STYLE)
def histogram(
    counts: Mapping[str, xr.Dataset], thresholds: Mapping[str, float] | None = None
) -> Figure:
    """Share of the voxels at each grey value, by histogram node; thresholds as dashed lines."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    ax = figure.subplots()
    for place, (name, dataset) in enumerate(counts.items()):
        grey, share = _binned(
            np.asarray(dataset["grey"].values), np.asarray(dataset["voxels"].values)
        )
        ax.fill_between(grey, share, step="mid", color="#555555", alpha=0.25 / (place + 1), lw=0)
        ax.step(
            grey, share, where="mid", color=("#333333", "#999999")[place % 2], lw=0.9, label=name
        )
    for place, (name, value) in enumerate((thresholds or {}).items()):
        ax.axvline(
            value,
            color=LINES[(place + 1) % len(LINES)],
            ls="--",
            lw=1.2,
            label=f"{name} = {value:.4g}",
        )
    ax.set(xlabel="grey value", ylabel="fraction of voxels", ylim=(0, None))
    ax.legend(fontsize=8)
    return figure


def _binned(
    grey: Picture, voxels: npt.NDArray[np.int64], bins: int = 256
) -> tuple[Picture, Picture]:
    """Shares in at most `bins` bins; one voxel in ten thousand is cut off on each side."""
    level = np.cumsum(voxels) / voxels.sum()
    first, last = np.searchsorted(level, [1e-4, 1 - 1e-4])
    low, high = max(0, int(first) - 2), min(len(grey), int(last) + 3)
    starts = np.arange(low, high, -(-(high - low) // bins))
    shares = np.add.reduceat(voxels[:high], starts) / voxels.sum()
    widths = np.diff([*starts, high])
    return np.add.reduceat(grey[:high], starts) / widths, shares


@matplotlib.rc_context(STYLE)
def drift(slices: xr.Dataset) -> Figure:
    """Mean grey value of every slice along z, ± one standard deviation of its voxels."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    ax = figure.subplots()
    scale, unit = length_unit(slices["z"].values.max(initial=0))
    z = np.asarray(slices["z"].values) / scale
    mean, deviation = np.asarray(slices["grey_mean"].values), np.asarray(slices["grey_std"].values)
    ax.fill_between(
        z, mean - deviation, mean + deviation, color=LINES[0], alpha=0.15, lw=0, label="± 1 std"
    )
    ax.plot(z, mean, color=LINES[0], lw=1.2, label="mean of the slice")
    ax.set(xlabel=f"z ({unit})", ylabel="grey value")
    ax.margins(x=0)
    figure.legend(fontsize=8, ncols=2, loc="outside upper right")
    return figure


@matplotlib.rc_context(STYLE)
def profiles(dataset: xr.Dataset, truth: xr.Dataset | None = None) -> Figure:
    """Phase fraction in every plane along z, y and x; the truth dashed.

    Parameters
    ----------
    dataset, truth : Dataset
        As from `tim3d.describe`: variables ``phase_fraction_z``, ``_y`` and ``_x``.
    """
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    unit = length_unit(
        max(dataset[axis].values.max(initial=0) for axis in AXES if axis in dataset.coords)
    )
    for ax, axis in zip(np.atleast_1d(figure.subplots(1, 3, sharey=True)), AXES, strict=True):
        name = f"phase_fraction_{axis}"
        for source, style in ((dataset, "-"), (truth, "--")):
            if source is not None and name in source:
                _profile(ax, source[name], axis, style, unit)
        ax.set_ylim(0, 1)
    figure.axes[0].set_ylabel("phase fraction")
    handles = phase_patches(colours(dataset["phase"].values.tolist()))
    figure.legend(handles=handles, loc="outside upper center", ncols=6)
    return figure


def _profile(
    ax: Axes, values: xr.DataArray, axis: str, style: str, length: tuple[float, str]
) -> None:
    scale, unit = length
    along = np.asarray(values[axis].values) / scale
    for phase, shade in colours(values["phase"].values.tolist()).items():
        line = np.asarray(values.sel(phase=phase).values)
        ax.plot(
            along,
            line,
            style,
            color="#222222" if style == "--" else shade,
            lw=0.9 if style == "--" else 1.4,
        )
    ax.set_xlabel(f"{axis} ({unit})")
    ax.margins(x=0)


@matplotlib.rc_context(STYLE)
def training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Losses of every epoch on the left; agreement with validation labels, as IoU, on the right.

    Parameters
    ----------
    history : mapping of name to list
        One number per epoch; names with "loss" are losses, with "iou", "dice" or "accuracy"
        agreements.
    """
    shown = panels(history)
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    for ax, (names, text) in zip(
        np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False
    ):
        for place, name in enumerate(names):
            epochs = np.arange(1, len(history[name]) + 1)
            ax.plot(
                epochs,
                history[name],
                "-o",
                ms=2.5,
                lw=1.2,
                color=LINES[place % len(LINES)],
                label=name.replace("_", " "),
            )
        ax.set(xlabel="epoch", ylabel=text)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(fontsize=8)
    return figure


def panels(history: Mapping[str, Sequence[float]]) -> list[tuple[list[str], str]]:
    """Columns of a history that are drawn together, with the label of their axis.

    >>> panels({"epoch": [1], "loss": [0.5], "val_iou": [0.9]})
    [(['loss'], 'loss'), (['val_iou'], 'validation score')]
    """
    losses = [n for n in history if "loss" in n]
    scores = [n for n in history if any(word in n.lower() for word in ("iou", "dice", "accuracy"))]
    return [
        (names, text) for names, text in ((losses, "loss"), (scores, "validation score")) if names
    ]
