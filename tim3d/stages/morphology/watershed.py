"""Objects of a phase, separated by any map that rises towards their middle, as a field of numbers."""

from __future__ import annotations

import math

from tim3d.errors import ArgumentError
from tim3d.kernels.morphology.joined_basins import Joining
from tim3d.lazy import xarray as xr
from tim3d.stages.morphology.basins import BasinField
from tim3d.stages.shared.chosen_phases import chosen_phases
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import result_name
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field

KINDS = ("uint8", "uint16", "float32")
BOUNDARIES = ("uint8", "uint16")


@Verb
def watershed(
    sample: str,
    heights: str,
    *,
    depth: float | None = None,
    phase: str = "",
    field: str = "phase",
    boundary: str = "",
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Separate the objects of a phase by a map of a network that rises towards their middle.

    Every voxel climbs the map to a top; tops are one object if the saddle between them lies less
    than the depth below the lower one. Numbers do not depend on the blocks. The rules are those of
    `tim3d.particles`, which takes distances in place of the map. See docs/particles.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    heights : str
        Field of the map, such as a distance or the probability of a middle (uint8, uint16 or
        float32).
    depth : float, optional
        Least height of a top above the saddle to a higher one, in the unit of the map. It must be
        given.
    phase : str
        Name of the phase that the objects are of, such as particle.
    field : str
        The label field.
    boundary : str
        Field that is high between objects and is subtracted from the heights, of the same whole
        type: the probability of a boundary.
    out : str
        Name of the field of numbers (default: HEIGHTS_watershed and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        Number of the object of each voxel (uint32, 0 outside of the phase), in the order of the
        places of the tops.

    Raises
    ------
    MissingFieldError
        If the labels or a map are missing.
    ArgumentError
        If the phase is not known, the depth is not positive, or a map is of another grid or type.
    InputError
        If a height is not a finite number.
    MixedRunError
        If `out` exists with different parameters.

    References
    ----------
    L. Najman, M. Schmitt, Geodesic saliency of watershed contours and hierarchical segmentation,
    IEEE Trans. Pattern Anal. Mach. Intell. 18 (1996) 1163 (dynamics). DOI 10.1109/34.546254
    """
    labels = store.complete_field(sample, field, "segment")
    if not phase:
        there = ", ".join(chosen_phases(labels, None))
        raise ArgumentError(f"which phase are the objects of? Give --phase, one of {there}")
    (code,) = chosen_phases(labels, [phase]).codes
    maps = tuple(store.complete_field(sample, one, "segment") for one in (heights, boundary) if one)
    _check_maps(labels, maps)
    if depth is None or not 0 < depth < math.inf:
        raise ArgumentError(
            f"depth is {depth}: give the least height of a top above a saddle in the unit of {heights!r}, for example "
            f"{_example(maps[0])}"
        )
    asked = {
        "depth": (depth, None), "phase": (phase, None), "field": (field, "phase"), "boundary": (boundary, ""),
    }  # fmt: skip
    name = out or result_name(f"{heights}_watershed", **asked)
    inputs = {one.name: store.fingerprint_of(sample, one.name) for one in (labels, *maps)}
    parameters = {"phase": phase, "depth": depth, "maps": [one.name for one in maps]}
    made = BasinField(
        sample, "watershed", labels, maps, code, Joining(depth=depth), parameters, inputs, name,
        "number of the object", options,
    )  # fmt: skip
    return Task(made.plans, made.result)


def _check_maps(labels: Field, maps: tuple[Field, ...]) -> None:
    for one, kinds in zip(maps, (KINDS, BOUNDARIES), strict=False):
        if one.shape != labels.shape:
            raise ArgumentError(other_stack(one.name, one.shape, labels.name, labels.shape))
        if one.dtype not in kinds or one.phases is not None:
            raise ArgumentError(
                f"{one.name!r} holds {'labels' if one.phases else one.dtype}: a map of {', '.join(kinds)} is needed"
            )
    if len({one.dtype for one in maps}) > 1:
        raise ArgumentError(
            f"{maps[0].name!r} is {maps[0].dtype} and {maps[1].name!r} {maps[1].dtype}: --boundary needs both of the "
            "same type"
        )


def _example(heights: Field) -> str:
    """A tenth of the range of probabilities, or an edge of a voxel."""
    return f"--depth {26 if heights.dtype == 'uint8' else max(heights.spacing_nm):g}"
