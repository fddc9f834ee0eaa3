"""Partials of a label field on the grid of its blocks, and the results that they add up to for any region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d.descriptors.base import Descriptor, Material, Partial, compute_partials, partials_of
from tim3d.engine import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.stages.shared.reduction import inner
from tim3d.storage import schema
from tim3d.storage.schema import AXES, Field


def material_of(labels: Field) -> Material:
    """Phases, voxel edges and unit of a label field.

    Raises
    ------
    ArgumentError
        If it holds no labels.
    """
    if labels.phases is None:
        raise ArgumentError(f"field {labels.name!r} holds no labels; segment it first, or ingest it with --phases")
    return Material(labels.phases, labels.spacing_nm, schema.UNIT)


def finalize_whole(partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material) -> xr.Dataset:
    """Results of the whole volume from stored partials."""
    grid = grid_of(partials)
    return finalize_blocks(partials, chosen, material, tuple(range(n) for n in grid.counts), grid)


def grid_of(partials: xr.Dataset) -> Grid:
    """The blocks that stored partials were counted in."""
    return Grid(triple(partials.attrs["volume_shape"]), triple(partials.attrs["block_shape"]))


@dataclass(frozen=True)
class PartialsKernel:
    """All partials of a block."""

    descriptors: tuple[Descriptor, ...]
    material: Material

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Integers, as nested lists."""
        found = compute_partials(fields[0], inner(block), self.descriptors, self.material)
        return {name: values.tolist() for name, values in found.items()}


def gather(measuring: Pass, partials: Sequence[Partial], material: Material) -> xr.Dataset:
    """Partials of all blocks on the block grid; those by planes run over voxel planes along their own axis."""
    grid = measuring.grid
    arrays = {p.name: np.zeros(_stored_shape(p, grid, material), np.int64) for p in partials}
    for block, record in measuring.records():
        for p in partials:
            arrays[p.name][_place(p, block)] = np.asarray(record[p.name], np.int64)
    variables = {p.name: (_stored_dims(p), arrays[p.name], {"units": "1"}) for p in partials}
    attributes = {"volume_shape": list(grid.shape), "block_shape": list(grid.block)}
    return xr.Dataset(variables, _block_coordinates(grid, material), attributes)


def _stored_dims(partial: Partial) -> tuple[str, ...]:
    blocks = tuple(a if a == partial.plane else f"{a}_block" for a in AXES)
    own = partial.dims if partial.plane is None else partial.dims[1:]
    return blocks + own


def _stored_shape(partial: Partial, grid: Grid, material: Material) -> tuple[int, ...]:
    blocks = tuple(n if a == partial.plane else c for a, n, c in zip(AXES, grid.shape, grid.counts, strict=True))
    return blocks + partial.sizes(material)


def _place(partial: Partial, block: Block) -> tuple[Any, ...]:
    return tuple(s if a == partial.plane else i for a, s, i in zip(AXES, block.core.slices, block.index, strict=True))


def _block_coordinates(grid: Grid, material: Material) -> dict[str, Any]:
    coordinates = {}
    for axis, name in enumerate(AXES):
        edges = np.minimum(np.arange(grid.counts[axis] + 1) * grid.block[axis], grid.shape[axis])
        centres = (edges[:-1] + edges[1:]) / 2 * material.spacing[axis]
        attributes = {"units": material.units, "long_name": f"centre of the block along {name}"}
        coordinates[f"{name}_block"] = (f"{name}_block", centres, attributes)
    return coordinates


def finalize_blocks(
    partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material, blocks: Sequence[range], grid: Grid
) -> xr.Dataset:
    """Results of a range of blocks along each axis."""
    origin = triple(r.start * edge for r, edge in zip(blocks, grid.block, strict=True))
    totals = {p.name: _total(partials[p.name], p, blocks, grid) for p in partials_of(chosen)}
    results = xr.merge([d.finalize(totals, material, origin) for d in chosen], join="exact")
    end = triple(min(r.stop * e, n) for r, e, n in zip(blocks, grid.block, grid.shape, strict=True))
    return with_region(results, origin, end, material)


def with_region(results: xr.Dataset, origin: Triple, end: Triple, material: Material) -> xr.Dataset:
    """Results with the region that they hold for, in nm."""
    return results.assign_attrs(
        origin_nm=_lengths(origin, material), end_nm=_lengths(end, material), spacing_nm=list(material.spacing)
    )


def _lengths(place: Triple, material: Material) -> list[float]:
    return [float(n * s) for n, s in zip(place, material.spacing, strict=True)]


def _total(stored: xr.DataArray, partial: Partial, blocks: Sequence[range], grid: Grid) -> np.ndarray:
    picks = {}
    for axis, name in enumerate(AXES):
        chosen = blocks[axis]
        if name == partial.plane:
            edge = grid.block[axis]
            picks[name] = slice(chosen.start * edge, min(chosen.stop * edge, grid.shape[axis]))
        else:
            picks[f"{name}_block"] = slice(chosen.start, chosen.stop)
    region = stored.isel(picks)
    return np.asarray(region.sum([d for d in region.dims if str(d).endswith("_block")]).values, np.int64)


def no_results(labels: Field) -> xr.Dataset:
    """No results, and the region they hold for."""
    material = material_of(labels)
    return with_region(xr.Dataset(), (0, 0, 0), labels.shape, material)
