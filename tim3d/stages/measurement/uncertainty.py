"""Standard errors of measured numbers: the volume as a sample of its material.

Of a phase fraction from its planes; of every other density from sub-blocks of what was counted; of
either from a representative-volume study, where there is one of it. No voxel is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tim3d.descriptors.base import Descriptor, Material
from tim3d.grid import Box, Grid
from tim3d.kernels.statistics.representative import FEWEST_WINDOWS
from tim3d.kernels.statistics.sampling_error import parts_error, slabs_error
from tim3d.lazy import xarray as xr
from tim3d.stages.measurement.cell_sums import CellSums, values_of
from tim3d.stages.measurement.windows import block_faces, volumes_of
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import AXES

PLANES = "slabs of planes"
# More parts along an axis are joined: neighbours agree, and many of them say too little.
_MOST = 8


def standard_errors(
    sample: str,
    field: str,
    found: xr.Dataset,
    sums: CellSums,
    chosen: Sequence[Descriptor],
    material: Material,
    *,
    whole: bool,
) -> xr.Dataset:
    """Standard errors of the variables by phase of some results, with the attribute ``kind``.

    Parameters
    ----------
    sample, field : str
        The sample and its label field.
    found : Dataset
        Results of a region.
    sums : CellSums
        Sums of its parts, which are its cells.
    chosen : sequence of Descriptor
        Descriptors that they are of.
    material : Material
        Phases and spacing.
    whole : bool
        Whether the region is the whole volume, which a study may have been made of.
    """
    errors = _of_parts(sums, found, chosen, material) | _of_planes(found)
    if whole:
        errors |= _of_studies(sample, field, found)
    return xr.Dataset({name: one for name, one in errors.items() if np.isfinite(one).any()})


def _of_planes(found: xr.Dataset) -> dict[str, xr.DataArray]:
    profiles = [
        found[f"phase_fraction_{a}"].transpose(a, "phase")
        for a in AXES
        if f"phase_fraction_{a}" in found
    ]
    if "phase_fraction" not in found or not profiles:
        return {}
    error = slabs_error([one.values for one in profiles])
    return {"phase_fraction": _error(error, found["phase_fraction"], PLANES)}


def _error(values: np.ndarray, of: xr.DataArray, kind: str) -> xr.DataArray:
    """Errors of a variable; 0 says that nothing varies, and so that nothing is known."""
    known = np.where(values > 0, values, np.nan)
    text = f"representative volume: {kind}"
    return xr.DataArray(known, of.coords, of.dims, attrs={"kind": text})


def _of_parts(
    sums: CellSums, found: xr.Dataset, chosen: Sequence[Descriptor], material: Material
) -> dict[str, xr.DataArray]:
    """Errors from the parts of a region, if they are enough."""
    places = list(np.ndindex(sums.cells.counts))
    if len(places) < FEWEST_WINDOWS:
        return {}
    names = [
        v.name for d in chosen for v in d.variables
        if v.name in found and not set(v.dims) & set(AXES)
    ]  # fmt: skip
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for place in places:
        computed = values_of(sums, sums.cells.box(place), chosen, material)
        for name in names:
            if name in computed:
                values[name].append(np.asarray(computed[name], np.float64))
    volumes, kind = volumes_of(sums.cells), f"{len(places)} sub-blocks"
    return {
        name: _error(parts_error(np.stack(each), volumes), found[name], kind)
        for name, each in values.items()
        if len(each) == len(places)
    }


def faces_of_parts(region: Box, grid: Grid) -> tuple[list[int], list[int], list[int]]:
    """Faces between parts of a region: its blocks, cut or not, joined to the fewest that are enough.

    Empty if there are too few blocks.
    """
    faces = block_faces(region, grid)
    for most in range(2, _MOST + 1):
        z, y, x = (_joined(along, most) for along in faces)
        if math.prod(len(one) - 1 for one in (z, y, x)) >= FEWEST_WINDOWS:
            return z, y, x
    return [], [], []


def _joined(faces: Sequence[int], most: int) -> list[int]:
    parts = len(faces) - 1
    count = min(most, parts)
    return [faces[n * parts // count] for n in range(count + 1)]


def _of_studies(sample: str, field: str, found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Errors of the whole volume by the law of a study of the same quantity and phase."""
    errors: dict[str, xr.DataArray] = {}
    for node in results_of(sample, "study", field):
        if store.outdated(sample, node):
            continue
        study = store.open_dataset(sample, node)
        name, phase = study.attrs["quantity"], study.attrs.get("phase")
        if name not in found or found[name].dims != ("phase",):
            continue
        error, how = law_error(study, _volume(found))
        if math.isfinite(error):
            blank = np.full(found[name].shape, np.nan)
            before = errors[name] if name in errors else _error(blank, found[name], f"study, {how}")
            errors[name] = before.where(before["phase"] != phase, error).assign_attrs(before.attrs)
    return {name: _both(one) if name == "phase_fraction" else one for name, one in errors.items()}


def _both(error: xr.DataArray) -> xr.DataArray:
    """Fractions of two phases err alike: they add up to 1."""
    known = error.values[np.isfinite(error.values)]
    return error.fillna(known[0]) if error.size == 2 and known.size else error


def _volume(found: xr.Dataset) -> float:
    ends: Mapping[str, Sequence[float]] = found.attrs
    return math.prod(b - a for a, b in zip(ends["origin_nm"], ends["end_nm"], strict=True))


def law_error(study: xr.Dataset, volume: float) -> tuple[float, str]:
    """Standard error of a volume (nm³) by a study, and how it follows.

    By the integral range where the study found it, else from the largest windows of which there are
    enough, whose variance falls as one over the volume; nan if the volume is too small for either.

    >>> known = xr.Dataset({"integral_range": 8.0, "point_variance": 0.25})
    >>> law_error(known, 800.0)
    (0.05, 'integral range')
    """
    reach = float(study["integral_range"]) * float(study["point_variance"])
    if math.isfinite(reach):
        return math.sqrt(reach / volume), "integral range"
    judged = np.flatnonzero(study["judged"].values)
    if not judged.size:
        return math.nan, ""
    last = study.isel(window=int(judged[-1]))
    share = math.prod(last["edges"].values.tolist()) / volume
    return float(last["standard_deviation"]) * math.sqrt(share), "windows of one size"
