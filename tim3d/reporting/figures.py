"""Figures of a sample, each a matplotlib `Figure` of its own: for the report, and for a notebook.

Nothing here touches the state of pyplot. Pictures keep the shape of the material: a pixel is as long as its voxel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from tim3d.errors import ArgumentError
from tim3d.phases import Phases
from tim3d.reporting.planes import Plane, middle_plane, middle_planes
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field

Picture = npt.NDArray[np.float64]

WIDTH = 8.0
# Inches: the highest picture, what the words below and beside a picture take, a line above it, a rim, a legend.
HEIGHT, BELOW, SIDE, TITLE, PAD, FOOT = 9.0, 0.25, 0.28, 0.17, 0.1, 0.35
# A picture must be so wide, or high, for its place and size to be written in one line.
WORDS = 1.2
# Told apart with any kind of colour vision (Okabe and Ito).
NAMED = {"pore": "#0072b2", "solid": "#e69f00", "shine_through": "#56b4e9"}
COLOURS = ("#009e73", "#cc79a7", "#d55e00", "#f0e442", "#7f7f7f")
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def colours(names: Iterable[str]) -> dict[str, str]:
    """Colour of each phase: pores, solid and shine-through have their own in every figure, the others in their order.

    >>> colours(["matrix", "pore"])
    {'matrix': '#009e73', 'pore': '#0072b2'}
    """
    free = itertools.cycle(COLOURS)
    return {name: NAMED.get(name) or next(free) for name in names}


def nice_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... that is not above `most`.

    >>> nice_length(730.0), nice_length(30.0), nice_length(0.15)
    (500.0, 20.0, 0.1)
    """
    power = 10.0 ** math.floor(math.log10(most))
    return float(next(n * power for n in (5, 2, 1) if n * power <= most * (1 + 1e-12)))


def length_text(nm: float) -> str:
    """A length with the unit that suits it.

    >>> length_text(500.0), length_text(2500.0), length_text(3e6)
    ('500 nm', '2.5 µm', '3 mm')
    """
    for unit, size in (("mm", 1e6), ("µm", 1e3)):
        if nm >= size:
            return f"{nm / size:.4g} {unit}"
    return f"{nm:.4g} nm"


@matplotlib.rc_context(STYLE)
def orthoslices(sample: str, field: str = "raw") -> Figure:
    """The middle planes across z, y and x of a grey field, each with a scale bar."""
    planes = middle_planes(sample, field)
    return three_planes(planes, _greys(planes))


@matplotlib.rc_context(STYLE)
def overlay(sample: str, labels: str = "phase", raw: str | None = "raw", strength: float = 0.45) -> Figure:
    """The middle planes of a label field in the colours of its phases, over the grey ones if `raw` is of its shape.

    Raises
    ------
    ArgumentError
        If `labels` is no label field.
    """
    field, phases = _label_field(sample, labels)
    planes = middle_planes(sample, labels)
    under = _background(sample, raw, field, planes)
    pictures = [_tinted(g, p, phases, strength) for g, p in zip(under, planes, strict=True)]
    figure = three_planes(planes, pictures, foot=FOOT)
    figure.legend(handles=_patches(colours(phases)), loc="lower center", ncols=6)
    return figure


@matplotlib.rc_context(STYLE)
def overlay_slice(sample: str, labels: str, raw: str | None = "raw", strength: float = 0.45) -> Figure:
    """The middle slice of a label field over the grey one, beside the bare grey one.

    Raises
    ------
    ArgumentError
        If `labels` is no label field.
    """
    field, phases = _label_field(sample, labels)
    plane = middle_plane(sample, labels, "z")
    (grey,) = _background(sample, raw, field, [plane])
    height = min(9.0, WIDTH / 2 * plane.size_nm[0] / plane.size_nm[1])
    figure = Figure(figsize=(WIDTH, height + 0.7), layout="constrained")
    for ax, picture in zip(figure.subplots(1, 2), (grey, _tinted(grey, plane, phases, strength)), strict=True):
        _show(ax, plane, picture, height)
    figure.legend(handles=_patches(colours(phases)), loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def disagreement(sample: str, labels: str = "phase", truth: str = "truth", raw: str | None = "raw") -> Figure:
    """The middle planes in grey; voxels whose label is not the true one in the colour of the true phase.

    Raises
    ------
    ArgumentError
        If one is no label field, they differ in shape, or a true phase is none of `labels`.
    """
    field, phases = _label_field(sample, labels)
    true_field, true_phases = _label_field(sample, truth)
    if field.shape != true_field.shape or not set(true_phases) <= set(phases):
        raise ArgumentError(
            f"{labels!r} {field.shape} with {phases} cannot be compared with {truth!r} {true_field.shape} with "
            f"{true_phases}; both must have one shape and the same names"
        )
    planes, truths = middle_planes(sample, labels), middle_planes(sample, truth)
    under = _background(sample, raw, field, planes)
    pictures, notes = [], []
    for grey, seen, true in zip(under, planes, truths, strict=True):
        wrong = _places(seen.values, phases) != _places(true.values, true_phases, phases)
        tinted = _tinted(grey, true, true_phases, 1.0)
        pictures.append(np.where(wrong[..., None], tinted, 0.35 + 0.65 * grey))
        notes.append(f"{100 * wrong.mean():.2f} % differ")
    figure = three_planes(planes, pictures, notes, foot=FOOT)
    truly = {f"truly {name}": shade for name, shade in colours(true_phases).items()}
    figure.legend(handles=_patches(truly), loc="lower center", ncols=6)
    return figure


@matplotlib.rc_context(STYLE)
def histogram(counts: Mapping[str, xr.Dataset], thresholds: Mapping[str, float] | None = None) -> Figure:
    """Share of the voxels at each grey value, from histogram nodes by name, with thresholds as dashed lines."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    ax = figure.subplots()
    for place, (name, dataset) in enumerate(counts.items()):
        grey, share = _binned(np.asarray(dataset["grey"].values), np.asarray(dataset["voxels"].values))
        ax.fill_between(grey, share, step="mid", color="#555555", alpha=0.25 / (place + 1), lw=0)
        ax.step(grey, share, where="mid", color=("#333333", "#999999")[place % 2], lw=0.9, label=name)
    for place, (name, value) in enumerate((thresholds or {}).items()):
        ax.axvline(value, color=LINES[(place + 1) % len(LINES)], ls="--", lw=1.2, label=f"{name} = {value:.4g}")
    ax.set(xlabel="grey value", ylabel="share of voxels", ylim=(0, None))
    ax.legend(fontsize=8)
    return figure


def _binned(grey: Picture, voxels: npt.NDArray[np.int64], bins: int = 256) -> tuple[Picture, Picture]:
    """Shares in at most `bins` bins over the range that holds all but one voxel in ten thousand on each side."""
    level = np.cumsum(voxels) / voxels.sum()
    first, last = np.searchsorted(level, [1e-4, 1 - 1e-4])
    low, high = max(0, int(first) - 2), min(len(grey), int(last) + 3)
    starts = np.arange(low, high, -(-(high - low) // bins))
    shares = np.add.reduceat(voxels[:high], starts) / voxels.sum()
    widths = np.diff([*starts, high])
    return np.add.reduceat(grey[:high], starts) / widths, shares


@matplotlib.rc_context(STYLE)
def drift(slices: xr.Dataset) -> Figure:
    """Mean grey value of every slice along z, with one standard deviation of the voxels on each side."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    ax = figure.subplots()
    scale, unit = length_unit(slices["z"].values.max(initial=0))
    z = np.asarray(slices["z"].values) / scale
    mean, deviation = np.asarray(slices["grey_mean"].values), np.asarray(slices["grey_std"].values)
    ax.fill_between(z, mean - deviation, mean + deviation, color=LINES[0], alpha=0.15, lw=0, label="± 1 std")
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
    unit = length_unit(max(dataset[axis].values.max(initial=0) for axis in AXES if axis in dataset.coords))
    for ax, axis in zip(np.atleast_1d(figure.subplots(1, 3, sharey=True)), AXES, strict=True):
        name = f"phase_fraction_{axis}"
        for source, style in ((dataset, "-"), (truth, "--")):
            if source is not None and name in source:
                _profile(ax, source[name], axis, style, unit)
        ax.set_ylim(0, 1)
    figure.axes[0].set_ylabel("phase fraction")
    handles = _patches(colours(dataset["phase"].values.tolist()))
    figure.legend(handles=handles, loc="outside upper center", ncols=6)
    return figure


def _profile(ax: Axes, values: xr.DataArray, axis: str, style: str, length: tuple[float, str]) -> None:
    scale, unit = length
    along = np.asarray(values[axis].values) / scale
    for phase, shade in colours(values["phase"].values.tolist()).items():
        line = np.asarray(values.sel(phase=phase).values)
        ax.plot(along, line, style, color="#222222" if style == "--" else shade, lw=0.9 if style == "--" else 1.4)
    ax.set_xlabel(f"{axis} ({unit})")
    ax.margins(x=0)


@matplotlib.rc_context(STYLE)
def training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Losses of every epoch on the left; agreement with the validation labels (IoU and its like) on the right.

    Parameters
    ----------
    history : mapping of name to list
        One number per epoch; names with "loss" are losses, with "iou", "dice" or "accuracy" agreements.
    """
    shown = panels(history)
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    for ax, (names, text) in zip(np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
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
    return [(names, text) for names, text in ((losses, "loss"), (scores, "validation score")) if names]


def length_unit(longest: float) -> tuple[float, str]:
    """The unit, in nm and by name, of all axes of a figure whose longest has this length in nm.

    >>> length_unit(1900), length_unit(2560)
    ((1, 'nm'), (1000, 'µm'))
    """
    return (1000, "µm") if longest >= 2000 else (1, "nm")


def _label_field(sample: str, name: str) -> tuple[Field, Phases]:
    field = store.read_field(sample, name)
    if field.phases is None:
        raise ArgumentError(f"field {name!r} of {sample} holds no labels; give the name of a label field")
    return field, field.phases


def _patches(legend: Mapping[str, str]) -> list[Patch]:
    return [Patch(color=shade, label=name) for name, shade in legend.items()]


def _greys(planes: Sequence[Plane]) -> list[Picture]:
    """Pictures of grey planes; black and white leave out half a percent of the values on each side."""
    low, high = np.percentile(np.concatenate([p.values.ravel() for p in planes]), [0.5, 99.5])
    levels = [np.clip((p.values.astype(np.float64) - low) / (high - low if high > low else 1.0), 0, 1) for p in planes]
    return [np.repeat(level[..., None], 3, axis=-1) for level in levels]


def _background(sample: str, raw: str | None, field: Field, planes: Sequence[Plane]) -> list[Picture]:
    """Grey pictures under planes of labels; light grey where there is no grey field of the same shape."""
    if raw is None or raw not in store.nodes(sample) or store.read_field(sample, raw).shape != field.shape:
        return [np.full((*p.values.shape, 3), 0.85) for p in planes]
    return _greys(middle_planes(sample, raw) if len(planes) == 3 else [middle_plane(sample, raw, "z")])


def _places(codes: npt.NDArray[np.uint8], phases: Phases, among: Phases | None = None) -> npt.NDArray[np.int64]:
    """Place of each voxel's phase among the names of `among` (default: its own); -1 for a code without a phase."""
    names = (among or phases).names
    table = np.full(256, -1)
    for name, code in phases.items():
        table[code] = names.index(name)
    return np.asarray(table[codes])


def _tinted(grey: Picture, plane: Plane, phases: Phases, strength: float) -> Picture:
    shades = np.array([to_rgb(shade) for shade in colours(phases).values()] + [(1.0, 1.0, 1.0)])
    return np.asarray((1 - strength) * grey + strength * shades[_places(plane.values, phases)])


def three_planes(
    planes: Sequence[Plane], pictures: Sequence[Picture], notes: Sequence[str] = ("", "", ""), foot: float = PAD
) -> Figure:
    """The plane across z, and beside it those across x and y, as wide as makes both sides equally high.

    `foot` is how many inches are left free below the pictures.
    """
    (high, wide), deep = planes[0].size_nm, planes[1].size_nm[1]
    above, room = 0.1 + TITLE * (1 + any(notes)), WIDTH - 2 * SIDE - PAD
    column = (room * high / wide - above - BELOW) / ((high + wide) / deep + high / wide)
    above += TITLE * (column < WORDS)
    # A very thin stack would leave no room for words: the column is then wider than its pictures.
    column = max(0.9, column)
    left = min(room - column, HEIGHT * wide / high)
    column = min(column, room * left / (room - column))
    height = left * high / wide
    free = max(height - above - BELOW, 1.0)
    heights = (height, free * wide / (high + wide), free * high / (high + wide))
    size = (left + column + 2 * SIDE + PAD, foot + BELOW + max(height, free + above + BELOW) + above)
    top, right = size[1] - above, left + 2 * SIDE
    corners = [(SIDE, top - height), (right, foot + BELOW), (right, top - heights[2])]
    figure = Figure(figsize=size)
    for plane, picture, note, (x, y), inches in zip(planes, pictures, notes, corners, heights, strict=True):
        width = left if x == SIDE else column
        ax = figure.add_axes((x / size[0], y / size[1], width / size[0], inches / size[1]))
        _show(ax, plane, picture, inches, note)
    return figure


def _show(ax: Axes, plane: Plane, picture: Picture, inches: float, note: str = "") -> None:
    """A picture so many inches high with physical aspect, named and with a scale bar."""
    height, width = plane.size_nm
    ax.imshow(picture, extent=plane.extent_nm, aspect="equal", interpolation="auto", vmin=0, vmax=1)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    down, right = plane.axes
    is_narrow = inches * width < WORDS * height
    ax.set_xlabel(f"{right} →" if is_narrow else f"{right}, {length_text(width)} →", labelpad=2)
    ax.set_ylabel(f"← {down}" if inches < WORDS else f"← {length_text(height)}, {down}", labelpad=2)
    where = f"{plane.normal} = {length_text(plane.position_nm)}"
    lines = [f"{right}{down}", where, note] if is_narrow else [f"{right}{down} at {where}", note]
    ax.set_title("\n".join(line for line in lines if line))
    _scale_bar(ax, width, height)


def _scale_bar(ax: Axes, width: float, height: float) -> None:
    """A bar along x, or along a picture more than three times as high as wide; none in a sliver."""
    if min(width, height) < 0.08 * max(width, height):
        return
    upright = height > 3 * width
    length = nice_length(0.35 * (height if upright else width))
    thick, margin = 0.012 * max(width, height), 0.03 * min(width, height)
    box = (thick, -length) if upright else (length, -thick)
    ax.add_patch(Rectangle((margin, height - margin), *box, facecolor="white", edgecolor="black", lw=0.6))
    place = (margin + 1.5 * thick, height - margin - length / 2) if upright else (margin, height - margin - thick)
    turn = {"rotation": 90, "ha": "left", "va": "center"} if upright else {"ha": "left", "va": "bottom"}
    label = ax.text(*place, length_text(length), color="white", **turn)
    label.set_path_effects([withStroke(linewidth=2, foreground="black")])
