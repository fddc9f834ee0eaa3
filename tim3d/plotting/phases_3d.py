"""Picture of the phases of a sample in three dimensions, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.plotting.slices import phase_patches
from tim3d.plotting.style import STYLE, WIDTH, colours, length_unit
from tim3d.stages.shared.phase_surface import level_below, phase_surface
from tim3d.storage import store

# Voxels of the level that is drawn: some 100 000 triangles, a few seconds.
DRAWN_VOXELS = 2**18
# Degrees above the horizon and around it, of the eye and of the light; z runs down.
_EYE, _LIGHT = (24, -58), (-50, 200)
_VOID = "pore"


@matplotlib.rc_context(STYLE)
def phases_3d(sample: str, labels: str = "phase") -> Figure:
    """Surfaces of the phases of a label field in a box with axes; pores are left empty.

    They are those of the finest level of the pyramid with at most 262 144 voxels, or of the coarsest:
    what is thinner than its voxels may be broken in the picture.

    Raises
    ------
    ArgumentError
        If `labels` is not a label field.
    """
    field = store.read_field(sample, labels)
    if field.phases is None:
        raise ArgumentError(
            f"field {labels!r} of {sample} holds no labels; give the name of a label field"
        )
    shades, drawn = colours(field.phases), phases_drawn(field.phases)
    size = np.array(field.shape[::-1]) * np.array(field.spacing_nm[::-1])
    unit = length_unit(float(size.max()))
    figure = Figure(figsize=(WIDTH * 0.75, WIDTH * 0.68))
    axes: Any = figure.add_axes((0.02, 0.06, 0.9, 0.93), projection="3d", proj_type="ortho")
    axes.add_collection3d(_surfaces(sample, labels, drawn, shades, unit[0]))
    for name, length in zip("xyz", size / unit[0], strict=True):
        axes.set(**{f"{name}lim": (0, length), f"{name}label": f"{name}, {unit[1]}"})
    axes.locator_params(nbins=5)
    axes.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))  # it would meet the zero of y
    axes.invert_zaxis()  # the first slice is on top
    axes.set_box_aspect(size / size.max(), zoom=0.92)
    axes.view_init(*_EYE)
    figure.legend(
        handles=phase_patches({name: shades[name] for name in drawn}),
        loc="lower center",
        ncols=6,
    )
    return figure


def phases_drawn(phases: Mapping[str, int]) -> dict[str, int]:
    """Phases whose surfaces are drawn: all but pores, and all where there is nothing else.

    >>> phases_drawn({"pore": 0, "copper": 1})
    {'copper': 1}
    """
    return {name: code for name, code in phases.items() if name != _VOID} or dict(phases)


def drawn_factor(sample: str, labels: str) -> Triple:
    """Voxels (z, y, x) of a field to a voxel of the level that `phases_3d` draws."""
    return level_below(sample, labels, DRAWN_VOXELS)[1]


def _surfaces(
    sample: str, labels: str, drawn: Mapping[str, int], shades: Mapping[str, str], unit: float
) -> Poly3DCollection:
    """All triangles in one collection: what lies in front is decided between phases too."""
    found = {
        name: phase_surface(sample, labels, code, DRAWN_VOXELS) for name, code in drawn.items()
    }
    corners = [one.vertices_nm[one.faces] / unit for one in found.values()]
    paint = [shades[name] for name, one in found.items() for _ in range(len(one.faces))]
    triangles = np.concatenate(corners)
    if not len(triangles):
        return Poly3DCollection([])
    shaded = Poly3DCollection(
        triangles, facecolors=paint, shade=True, lightsource=LightSource(_LIGHT[1], _LIGHT[0])
    )
    shaded.set(antialiased=False, linewidth=0, rasterized=True)
    return shaded
