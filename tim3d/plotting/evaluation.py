"""Figures of a segmentation beside the truth."""

from __future__ import annotations

from itertools import chain, cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.plotting.style import STYLE, WIDTH, colours, length_unit
from tim3d.stages.shared.agreement import prefixes
from tim3d.stages.shared.object_scores import of_all_images

METRICS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_f1": "boundary F1",
}
# Names of images are written below the axis up to this number of them.
_NAMED = 30


@matplotlib.rc_context(STYLE)
def evaluation_figure(found: xr.Dataset) -> Figure:
    """Metrics of every phase with intervals, and the macro IoU of every slice or image; or the
    accuracy of objects over the threshold of a match."""
    if "threshold" in found.dims:
        return _objects(of_all_images(found) if "image" in found.dims else found)
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _phases(left, found)
    _units(right, found)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8
    )
    return figure


def pooled(found: xr.Dataset, name: str) -> str:
    """Name of a metric over all voxels: that of images has a prefix, as each image has its own."""
    return f"pooled_{name}" if "image" in found.dims else name


def baselines(found: xr.Dataset) -> list[str]:
    """Names of what is judged beside a field."""
    return [str(one) for one in np.atleast_1d(found.attrs.get("baseline_fields", []))]


def greys(found: xr.Dataset) -> list[tuple[str, str]]:
    """Beginning of the names of variables, and shade of each set: what is judged is the darkest."""
    starts = prefixes(1 + len(baselines(found)))
    shades = np.linspace(0.6, 0.8, len(starts) - 1)
    return list(zip(starts, ["#222222", *map(str, shades)], strict=True))


def _phases(ax: Axes, found: xr.Dataset) -> None:
    names = [str(one) for one in found["phase"].values]
    others = baselines(found)
    labels = [str(found.attrs.get("field", "masks")), *others]
    sets = list(zip(prefixes(len(labels)), labels, chain("o", cycle("x+1234")), strict=False))
    for place, (phase, shade) in enumerate(colours(names).items()):
        for prefix, label, marker in sets:
            x = np.arange(len(METRICS)) + 0.12 * (place - (len(names) - 1) / 2)
            one = found.sel(phase=phase)
            y = np.array([float(one[prefix + pooled(found, m)]) for m in METRICS])
            ax.errorbar(
                x, y, _bars(one, prefix, y), fmt=marker, ms=4, color=shade, lw=1,
                label=phase if len(sets) == 1 else f"{phase}, {label}",
            )  # fmt: skip
        chance = float(found[pooled(found, "boundary_f1_chance")].sel(phase=phase))
        ax.plot(x[-1] + np.array([-0.05, 0.05]), [chance, chance], color="#888888", lw=1.2)
    ax.plot([], [], color="#888888", lw=1.2, label="boundary F1 by chance")
    ax.set_xticks(range(len(METRICS)), list(METRICS.values()))
    ax.set_ylim(None, 1.01)


def _bars(one: xr.Dataset, prefix: str, values: np.ndarray) -> np.ndarray | None:
    """Lengths below and above the values; None without intervals."""
    keys = [prefix + pooled(one, m) for m in METRICS]
    if f"{keys[0]}_low" not in one:
        return None
    low, high = (np.array([float(one[f"{k}_{end}"]) for k in keys]) for end in ("low", "high"))
    return np.asarray(np.maximum(np.array([values - low, high - values]), 0))


def _units(ax: Axes, found: xr.Dataset) -> None:
    """Macro IoU by slice or image."""
    images = "image" in found.dims
    name = "iou_macro" if images else "iou_macro_z"
    shades = greys(found)
    for prefix, color in shades:
        values = found[prefix + name].values
        x, label = np.arange(len(values), dtype=float), "z"
        if not images:
            z = found["z"].values
            size, unit = length_unit(float(z[-1]))
            x, label = z / size, f"z ({unit})"
        style = "o" if images else "o-" if len(values) < 40 else "-"
        ax.plot(x, values, style, ms=3, lw=0.9, color=color)
    ax.set(xlabel="image" if images else label, ylabel="mean IoU of the phases")
    ax.set_ylim(top=1.0)
    if images and len(values) <= _NAMED:
        ax.set_xticks(
            x,
            [_short(str(one)) for one in found["image"].values],
            rotation=60,
            ha="right",
            fontsize=6,
        )


def _short(name: str) -> str:
    """A name that fits below an axis.

    >>> _short("SE_15kv_50kx_precip_untested_2")
    'SE_15kv_50kx_pre…'
    """
    return name if len(name) <= 17 else f"{name[:16]}…"


def _objects(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(WIDTH / 2, 2.8), layout="constrained")
    ax = figure.subplots()
    for (prefix, color), label in zip(
        greys(found), [found.attrs.get("field", "masks"), *baselines(found)], strict=True
    ):
        values = found[f"{prefix}segmentation_accuracy"].values
        ax.plot(found["threshold"].values, values, "o-", ms=3, lw=0.9, color=color, label=label)
    ax.set(xlabel="least IoU of a match", ylabel="segmentation accuracy", ylim=(0, 1.01))
    ax.legend(fontsize=8)
    return figure
