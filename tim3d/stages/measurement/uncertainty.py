"""Standard errors of measured numbers: the volume as a sample of its material.

Of a phase fraction from its planes; of every other density from sub-blocks of the stored partials;
of either from a representative-volume study, where there is one of it. No voxel is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

from tim3d.descriptors.base import Descriptor, Material, partials_of
from tim3d.grid import Grid
from tim3d.kernels.statistics.representative import FEWEST_WINDOWS
from tim3d.kernels.statistics.sampling_error import parts_error, slabs_error
from tim3d.stages.shared.partials import grid_of, total_of
from tim3d.stages.shared.results import results_of
from tim3d.storage import store
from tim3d.storage.schema import AXES

Blocks = Sequence[range]
PLANES = "slabs of planes"
# More parts along an axis are joined: neighbours agree, and many of them say too little.
_MOST = 8


def standard_errors(
    sample: str,
    field: str,
    found: xr.Dataset,
    additive: Sequence[Descriptor],
    material: Material,
    blocks: Blocks | None = None,
) -> xr.Dataset:
    """Standard errors of the variables by phase of some results, with the attribute ``kind``.

    Parameters
    ----------
    sample, field : str
        The sample and its label field.
    found : Dataset
        Results of a region.
    additive : sequence of Descriptor
        Descriptors that they are of.
    material : Material
        Phases and spacing.
    blocks : sequence of range, optional
        The region in blocks of the stored partials (default: all).
    """
    partials = store.open_dataset(sample, f"{field}_partials")
    grid = grid_of(partials)
    region = blocks or tuple(range(n) for n in grid.counts)
    errors = _of_parts(partials, found, additive, material, region, grid) | _of_planes(found)
    if all(len(r) == n for r, n in zip(region, grid.counts, strict=True)):
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
    partials: xr.Dataset,
    found: xr.Dataset,
    additive: Sequence[Descriptor],
    material: Material,
    region: Blocks,
    grid: Grid,
) -> dict[str, xr.DataArray]:
    """Errors from sub-blocks, as many as are needed and as large as they can be."""
    parts = list(_parts(region))
    if len(parts) < FEWEST_WINDOWS:
        return {}
    names = [
        v.name for d in additive for v in d.variables
        if v.name in found and not set(v.dims) & set(AXES)
    ]  # fmt: skip
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part in parts:
        totals = {p.name: total_of(partials[p.name], p, part, grid) for p in partials_of(additive)}
        for one in additive:
            computed = one.formula(totals, material)
            for name in names:
                if name in computed:
                    values[name].append(np.asarray(computed[name], np.float64))
    volumes = [math.prod(_edges(part, grid)) for part in parts]
    kind = f"{len(parts)} sub-blocks"
    return {
        name: _error(parts_error(np.stack(each), volumes), found[name], kind)
        for name, each in values.items()
        if len(each) == len(parts)
    }


def _parts(region: Blocks) -> Iterator[tuple[range, ...]]:
    """Blocks of a region joined to the fewest parts that are enough; none if there are too few."""
    for most in range(2, _MOST + 1):
        cuts = [_cut(along, most) for along in region]
        if math.prod(map(len, cuts)) >= FEWEST_WINDOWS:
            yield from ((z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2])
            return


def _cut(along: range, most: int) -> list[range]:
    count = min(most, len(along))
    edges = [along.start + n * len(along) // count for n in range(count + 1)]
    return [range(low, high) for low, high in pairwise(edges)]


def _edges(part: Blocks, grid: Grid) -> Iterator[int]:
    for along, edge, size in zip(part, grid.block, grid.shape, strict=True):
        yield min(along.stop * edge, size) - along.start * edge


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
