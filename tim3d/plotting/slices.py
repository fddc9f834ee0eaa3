"""Figures of the fields of a sample: middle planes, plain, labelled, and against a truth.

Pictures keep the shape of the material: a pixel is as long as its voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from tim3d.errors import ArgumentError
from tim3d.phases import Phases
from tim3d.plotting.planes import Plane, middle_plane, middle_planes
from tim3d.plotting.style import STYLE, WIDTH, colours, length_in, length_unit, nice_length
from tim3d.storage import store
from tim3d.storage.schema import Field

Picture = npt.NDArray[np.float64]

# Inches: the highest picture, the text below and beside a picture, a line above it, a margin, a
# legend.
HEIGHT, BELOW, SIDE, TITLE, PAD, FOOT = 9.0, 0.25, 0.28, 0.17, 0.1, 0.35
# A picture must be this wide, or high, for its place and size to be written in one line.
WORDS = 1.4


@matplotlib.rc_context(STYLE)
def orthoslices(sample: str, field: str = "raw") -> Figure:
    """The middle planes across z, y and x of a grey field, each with a scale bar."""
    planes = middle_planes(sample, field)
    return three_planes(planes, _greys(planes))


@matplotlib.rc_context(STYLE)
def overlay(
    sample: str, labels: str = "phase", raw: str | None = "raw", strength: float = 0.45
) -> Figure:
    """Middle planes of a label field in colours of its phases, over `raw` if it is of equal shape.

    Raises
    ------
    ArgumentError
        If `labels` is not a label field.
    """
    field, phases = _label_field(sample, labels)
    planes = middle_planes(sample, labels)
    under = _background(sample, raw, field, planes)
    pictures = [_tinted(g, p, phases, strength) for g, p in zip(under, planes, strict=True)]
    figure = three_planes(planes, pictures, foot=FOOT)
    figure.legend(handles=phase_patches(colours(phases)), loc="lower center", ncols=6)
    return figure


@matplotlib.rc_context(STYLE)
def overlay_slice(
    sample: str, labels: str, raw: str | None = "raw", strength: float = 0.45
) -> Figure:
    """Middle slice of a label field over the grey one, beside the grey one alone.

    Raises
    ------
    ArgumentError
        If `labels` is not a label field.
    """
    field, phases = _label_field(sample, labels)
    plane = middle_plane(sample, labels, "z")
    (grey,) = _background(sample, raw, field, [plane])
    height = min(9.0, WIDTH / 2 * plane.size_nm[0] / plane.size_nm[1])
    figure = Figure(figsize=(WIDTH, height + 0.7), layout="constrained")
    for ax, picture in zip(
        figure.subplots(1, 2), (grey, _tinted(grey, plane, phases, strength)), strict=True
    ):
        _show(ax, plane, picture, height, length_unit(max(plane.size_nm)))
    figure.legend(handles=phase_patches(colours(phases)), loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def disagreement(
    sample: str, labels: str = "phase", truth: str = "truth", raw: str | None = "raw"
) -> Figure:
    """Middle planes in grey; voxels with a wrong label in the colour of the true phase.

    Raises
    ------
    ArgumentError
        If one is not a label field, they differ in shape, or `labels` lacks a true phase.
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
    figure.legend(handles=phase_patches(truly), loc="lower center", ncols=6)
    return figure


def _label_field(sample: str, name: str) -> tuple[Field, Phases]:
    field = store.read_field(sample, name)
    if field.phases is None:
        raise ArgumentError(
            f"field {name!r} of {sample} holds no labels; give the name of a label field"
        )
    return field, field.phases


def phase_patches(legend: Mapping[str, str]) -> list[Patch]:
    """Entries of a legend from colours by name."""
    return [Patch(color=shade, label=name) for name, shade in legend.items()]


def _greys(planes: Sequence[Plane]) -> list[Picture]:
    """Pictures of grey planes; half a percent of the values is clipped on each side."""
    low, high = np.percentile(np.concatenate([p.values.ravel() for p in planes]), [0.5, 99.5])
    levels = [
        np.clip((p.values.astype(np.float64) - low) / (high - low if high > low else 1.0), 0, 1)
        for p in planes
    ]
    return [np.repeat(level[..., None], 3, axis=-1) for level in levels]


def _background(
    sample: str, raw: str | None, field: Field, planes: Sequence[Plane]
) -> list[Picture]:
    """Grey pictures under planes of labels; light grey without a grey field of equal shape."""
    if (
        raw is None
        or raw not in store.nodes(sample)
        or store.read_field(sample, raw).shape != field.shape
    ):
        return [np.full((*p.values.shape, 3), 0.85) for p in planes]
    return _greys(
        middle_planes(sample, raw) if len(planes) == 3 else [middle_plane(sample, raw, "z")]
    )


def _places(
    codes: npt.NDArray[np.uint8], phases: Phases, among: Phases | None = None
) -> npt.NDArray[np.int64]:
    """Index of each voxel's phase in `among` (default: its own names); -1 without a phase."""
    names = (among or phases).names
    table = np.full(256, -1)
    for name, code in phases.items():
        table[code] = names.index(name)
    return np.asarray(table[codes])


def _tinted(grey: Picture, plane: Plane, phases: Phases, strength: float) -> Picture:
    shades = np.array([to_rgb(shade) for shade in colours(phases).values()] + [(1.0, 1.0, 1.0)])
    return np.asarray((1 - strength) * grey + strength * shades[_places(plane.values, phases)])


def three_planes(
    planes: Sequence[Plane],
    pictures: Sequence[Picture],
    notes: Sequence[str] = ("", "", ""),
    foot: float = PAD,
) -> Figure:
    """Plane across z, beside it the planes across x and y in a column of equal height.

    `foot` is the free space below the pictures in inches.
    """
    (high, wide), deep = planes[0].size_nm, planes[1].size_nm[1]
    above, room = 0.1 + TITLE * (1 + any(notes)), WIDTH - 2 * SIDE - PAD
    column = (room * high / wide - above - BELOW) / ((high + wide) / deep + high / wide)
    above += TITLE * (column < WORDS)
    # A very thin stack would leave no room for text: the column is then wider than its pictures.
    column = max(1.0, column)
    left = min(room - column, HEIGHT * wide / high)
    column = min(column, room * left / (room - column))
    height = left * high / wide
    free = max(height - above - BELOW, 1.0)
    heights = (height, free * wide / (high + wide), free * high / (high + wide))
    size = (
        left + column + 2 * SIDE + PAD,
        foot + BELOW + max(height, free + above + BELOW) + above,
    )
    top, right = size[1] - above, left + 2 * SIDE
    corners = [(SIDE, top - height), (right, foot + BELOW), (right, top - heights[2])]
    figure = Figure(figsize=size)
    unit = length_unit(max(length for plane in planes for length in plane.size_nm))
    for plane, picture, note, (x, y), inches in zip(
        planes, pictures, notes, corners, heights, strict=True
    ):
        width = left if x == SIDE else column
        ax = figure.add_axes((x / size[0], y / size[1], width / size[0], inches / size[1]))
        _show(ax, plane, picture, inches, unit, note)
    return figure


def _show(
    ax: Axes, plane: Plane, picture: Picture, inches: float, unit: tuple[float, str], note: str = ""
) -> None:
    """Draw a picture `inches` high with physical aspect, its name and a scale bar.

    All its lengths are in the `unit` of the figure.
    """
    height, width = plane.size_nm
    ax.imshow(picture, extent=plane.extent_nm, aspect="equal", interpolation="auto", vmin=0, vmax=1)
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    down, right = plane.axes
    is_narrow = inches * width < WORDS * height
    ax.set_xlabel(f"{right} →" if is_narrow else f"{right}, {length_in(width, unit)} →", labelpad=2)
    ax.set_ylabel(
        f"← {down}" if inches < WORDS else f"← {length_in(height, unit)}, {down}", labelpad=2
    )
    where = f"{plane.normal} = {plane.position_nm / unit[0]:.3g} {unit[1]}"
    lines = [f"{right}{down}", where, note] if is_narrow else [f"{right}{down} at {where}", note]
    ax.set_title("\n".join(line for line in lines if line))
    _scale_bar(ax, width, height, unit)


def _scale_bar(ax: Axes, width: float, height: float, unit: tuple[float, str]) -> None:
    """Draw a bar along x, or along y if more than three times as high as wide; none in a sliver."""
    if min(width, height) < 0.08 * max(width, height):
        return
    upright = height > 3 * width
    length = nice_length(0.35 * (height if upright else width))
    thick, margin = 0.012 * max(width, height), 0.03 * min(width, height)
    box = (thick, -length) if upright else (length, -thick)
    ax.add_patch(
        Rectangle((margin, height - margin), *box, facecolor="white", edgecolor="black", lw=0.6)
    )
    place = (
        (margin + 1.5 * thick, height - margin - length / 2)
        if upright
        else (margin, height - margin - thick)
    )
    turn = (
        {"rotation": 90, "ha": "left", "va": "center"}
        if upright
        else {"ha": "left", "va": "bottom"}
    )
    label = ax.text(*place, length_in(length, unit), color="white", **turn)
    label.set_path_effects([withStroke(linewidth=2, foreground="black")])
