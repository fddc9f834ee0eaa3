"""Figures of a generator's training: samples beside the training images, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tim3d.kernels.statistics.generator_score import PLANES
from tim3d.phases import Phases
from tim3d.plotting.style import LINES, STYLE, WIDTH, colours, length_text, nice_length
from tim3d.reporting import page
from tim3d.stages.generation.training_images import Look

LOSSES = ("distance", "critic_loss", "generator_loss", "loss")


def write_figures(look: Look) -> None:
    """Write ``curves.png`` and ``samples.png`` into the folder of a training."""
    for name, figure in (("curves", curves(look.history)), ("samples", samples(look))):
        page.write_figure(figure, look.folder / f"{name}.png", page.DPI)


@matplotlib.rc_context(STYLE)
def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Losses of a training; on the right the selection errors, chosen step marked."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    steps = [record["step"] for record in history]
    losses = [name for name in LOSSES if name in history[0]]
    errors = [name for name in history[0] if name not in ("step", *LOSSES)]
    drawn = ((losses, "loss"), (errors, "error at selection"))
    for ax, (names, text) in zip(figure.subplots(1, 2), drawn, strict=True):
        for name, colour in zip(names, LINES, strict=False):
            values = [record[name] for record in history]
            ax.plot(steps, values, "-o", ms=2.5, lw=1.2, color=colour, label=name.replace("_", " "))
        ax.set(xlabel="step", ylabel=text)
        ax.legend(fontsize=8)
    figure.axes[1].set_yscale("log")
    figure.axes[1].axvline(
        min(history, key=lambda record: record["score"])["step"], color="#666666", ls="--", lw=0.9
    )
    return figure


@matplotlib.rc_context(STYLE)
def samples(look: Look) -> Figure:
    """Slices of a generated volume across z, y and x, each above the micrograph to resemble."""
    figure = Figure(figsize=(WIDTH, 5.8), layout="constrained")
    seen = look.images.values if len(look.images.values) == 3 else look.images.values * 3
    panels = figure.subplots(2, 3)
    for column, (made, image) in enumerate(zip(look.slices, seen, strict=True)):
        size = [look.images.spacing_nm[axis] for axis in PLANES[column]]
        rows, columns = (min(a, b) for a, b in zip(made.shape[-2:], image.shape[-2:], strict=True))
        _show(
            panels[0, column],
            made[..., :rows, :columns],
            size,
            look,
            f"generated, {look.names[column]}",
        )
        _show(panels[1, column], image[..., :rows, :columns], size, look, "micrograph")
    return figure


def _show(ax: Axes, values: np.ndarray, size: Sequence[float], look: Look, title: str) -> None:
    """Draw labels or grey values (rows, columns), with channels first if there are any."""
    height, width = (n * edge for n, edge in zip(values.shape[-2:], size, strict=True))
    shown = np.moveaxis(values if values.ndim == 3 else values[None], 0, -1)
    ax.imshow(
        shown, **_shades(look.images.phases), interpolation="nearest", extent=(0, width, height, 0)
    )
    bar = nice_length(0.35 * width)
    ax.plot([0.04 * width, 0.04 * width + bar], [0.96 * height] * 2, color="white", lw=3)
    ax.set(xticks=[], yticks=[], title=title, xlabel=f"bar {length_text(bar)}")


def _shades(phases: Phases | None) -> dict[str, Any]:
    """Arguments of imshow that map values to colours; three channels are colours already."""
    if phases is None:
        return {"cmap": "gray", "vmin": 0, "vmax": 255}
    return {
        "cmap": ListedColormap(list(colours(phases).values())),
        "vmin": -0.5,
        "vmax": len(phases) - 0.5,
    }
