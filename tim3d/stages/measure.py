"""Labels become numbers: partials of every block, kept in the sample, and what they add up to for any region."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d import schema, store
from tim3d.descriptors.base import Descriptor, Material, Partial, compute_partials, halo_of, partials_of
from tim3d.descriptors.builtin import BUILTIN, parted, select
from tim3d.descriptors.coupled import Coupled
from tim3d.engine import Pass, Plan, lock_sample, run
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.schema import AXES, Field
from tim3d.stages.coupled import answers, joined
from tim3d.stages.field import DEFAULTS, Options
from tim3d.stages.reduction import inner, reduction_pass

# Bound on what the kernels hold beside the labels, in bytes per voxel (benchmarks/RESULTS.md, "A gigavoxel").
KERNEL_BYTES = 2.0


def measure(
    sample: str,
    descriptors: Iterable[str | Descriptor | Coupled] | None = None,
    *,
    field: str = "phase",
    options: Options = DEFAULTS,
) -> xr.Dataset | list[Plan]:
    """Measure a label field: every block is read once, its partials are kept, and their sum is finalized.

    What couples all blocks (conductivity, tortuosity, percolation) is not computed here: `solve`, `geodesic` and
    `label` do, and their results stand beside the others without a voxel read again.

    Parameters
    ----------
    descriptors : iterable of str, Descriptor or Coupled, optional
        Names of built-in descriptors or values of your own (default: all built-in ones, and what is there of the
        coupled ones). A partial of your own that computes something else than before needs another name, or
        `overwrite`.
    field : str
        The label field.

    Returns
    -------
    xarray.Dataset
        The results, as kept in the node ``FIELD_descriptors``: variables with units, method and reference. The partials
        are in ``FIELD_partials``. Those of other verbs name the `conditions` that they hold under. Or the plan.

    Raises
    ------
    MissingFieldError
        If the field is missing, or the results of the verb that computes a coupled descriptor.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field.
    ArgumentError
        If a descriptor is not known, or the field holds no labels.
    InputError
        If a voxel has a code that no phase names.
    """
    chosen, coupled = parted(BUILTIN if descriptors is None else descriptors)
    labels = store.complete_field(sample, field, "segment")
    material = _material(labels)
    around = answers(sample, labels, material.phases, None if descriptors is None else coupled)
    if not chosen:
        return [] if options.plan else joined([_whole_region(labels), *around], labels)
    measuring = _pass(sample, labels, chosen, material, options)
    if options.plan:
        return [measuring.plan()]
    if options.overwrite or not _is_current(sample, field, chosen, material, measuring.ledger.fingerprint):
        with lock_sample(sample):
            _measure(sample, labels, chosen, material, measuring, options)
    return joined([store.open_dataset(sample, f"{field}_descriptors"), *around], labels)


def _is_current(sample: str, field: str, chosen: Sequence[Descriptor], material: Material, fingerprint: str) -> bool:
    """Whether both nodes are there and the partials add up to the results: a formula of one's own may have changed."""
    nodes = (f"{field}_partials", f"{field}_descriptors")
    if any(store.fingerprint_of(sample, node) != fingerprint for node in nodes):
        return False
    partials, results = (store.open_dataset(sample, node) for node in nodes)
    return _whole(partials, chosen, material).equals(results)


def _material(labels: Field) -> Material:
    if labels.phases is None:
        raise ArgumentError(f"field {labels.name!r} holds no labels; segment it first, or ingest it with --phases")
    return Material(labels.phases, labels.spacing_nm, schema.UNIT)


def _pass(sample: str, labels: Field, chosen: Sequence[Descriptor], material: Material, options: Options) -> Pass:
    source = store.fingerprint_of(sample, labels.name)
    names = sorted(p.name for p in partials_of(chosen))
    return reduction_pass(
        sample,
        (labels,),
        PartialsKernel(tuple(chosen), material),
        name=f"{labels.name}_partials",
        fingerprint=schema.fingerprint(verb="measure", field=source, partials=names, phases=dict(material.phases)),
        options=options,
        halo=halo_of(chosen),
        kernel_bytes=KERNEL_BYTES,
    )


def _measure(
    sample: str,
    labels: Field,
    chosen: Sequence[Descriptor],
    material: Material,
    measuring: Pass,
    options: Options,
) -> None:
    node, fingerprint = f"{labels.name}_partials", measuring.ledger.fingerprint
    inputs = {labels.name: store.fingerprint_of(sample, labels.name)}
    record = store.provenance(fingerprint, {"descriptors": [d.name for d in chosen]}, inputs)
    if options.overwrite:
        measuring.ledger.forget()
    if options.overwrite or store.fingerprint_of(sample, node) != fingerprint:
        run(measuring, progress=options.progress)
        store.write_dataset(sample, node, _gather(measuring, partials_of(chosen), material), record)
    whole = _whole(store.open_dataset(sample, node), chosen, material)
    store.write_dataset(sample, f"{labels.name}_descriptors", whole, record)


def _whole(partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material) -> xr.Dataset:
    """Results of the whole volume from stored partials."""
    grid = _grid(partials)
    return _finalize(partials, chosen, material, tuple(range(n) for n in grid.counts), grid)


def _grid(partials: xr.Dataset) -> Grid:
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


def _gather(measuring: Pass, partials: Sequence[Partial], material: Material) -> xr.Dataset:
    """Partials of all blocks on the block grid; those by planes run over voxel planes along their own axis."""
    grid = measuring.grid
    arrays = {p.name: np.zeros(_stored_shape(p, grid, material), np.int64) for p in partials}
    for block in grid:
        record = measuring.ledger.record(block.index)
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


def describe(
    sample: str,
    descriptors: Iterable[str | Descriptor | Coupled] | None = None,
    *,
    field: str = "phase",
    transport: str = "",
    z: slice = slice(None),
    y: slice = slice(None),
    x: slice = slice(None),
) -> xr.Dataset:
    """What was measured, for the whole sample or a region of whole blocks; no voxel is read.

    Parameters
    ----------
    descriptors : iterable of str, Descriptor or Coupled, optional
        Any whose partials are stored, and coupled ones (default: the built-in ones that were measured last, and, for
        the whole sample, what is there of the coupled ones).
    transport : str
        Results of `solve` that are not ``FIELD_transport``: what its `out` named.
    z, y, x : slice of nm
        Region, from outer face to outer face. Its faces must be faces of blocks.

    Returns
    -------
    xarray.Dataset
        As from `measure`; every value is that of the region.

    Raises
    ------
    MissingFieldError
        If the sample has not been measured, or the verb that computes a coupled descriptor has not been run.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field.
    ArgumentError
        If a face of the region cuts a block (the nearest faces of blocks are named), or a coupled descriptor is asked
        for of a region: the value of the whole is not that of a part.
    """
    chosen, coupled = (None, None) if descriptors is None else parted(descriptors)
    labels = store.read_field(sample, field)
    material = _material(labels)
    around = answers(sample, labels, material.phases, coupled, region=(z, y, x), transport=transport)
    if around and not (chosen if chosen is not None else _has_results(sample, field)):
        return joined([_whole_region(labels), *around], labels)
    partials = store.open_dataset(sample, f"{field}_partials")
    grid = _grid(partials)
    blocks = tuple(_block_range(wanted, grid, axis, material.spacing[axis]) for axis, wanted in enumerate((z, y, x)))
    additive = _measured(sample, field, partials, chosen)
    return joined([_finalize(partials, additive, material, blocks, grid), *around], labels)


def _has_results(sample: str, field: str) -> bool:
    return bool(store.node_attributes(sample, f"{field}_descriptors").get("status") == "complete")


def _whole_region(labels: Field) -> xr.Dataset:
    """No results, and the region they hold for."""
    material = _material(labels)
    return _region(xr.Dataset(), (0, 0, 0), labels.shape, material)


def _measured(
    sample: str, field: str, partials: xr.Dataset, chosen: tuple[Descriptor, ...] | None
) -> tuple[Descriptor, ...]:
    if chosen is None:
        stored = store.open_dataset(sample, f"{field}_descriptors").attrs["tim3d"]["parameters"]["descriptors"]
        return select(name for name in stored if name in BUILTIN)
    missing = [d.name for d in chosen if not {p.name for p in d.needs} <= set(partials.data_vars)]
    if missing:
        raise ArgumentError(
            f"{', '.join(missing)} was not measured on {field!r} of {sample}. Run: tim3d measure {sample}"
        )
    return chosen


def _block_range(wanted: slice, grid: Grid, axis: int, step: float) -> range:
    """Blocks whose faces are those of the region."""
    shape, edge = grid.shape[axis], grid.block[axis]
    faces = [min(i * edge, shape) * step for i in range(grid.counts[axis] + 1)]
    low = 0 if wanted.start is None else _face(wanted.start, faces, axis)
    high = len(faces) - 1 if wanted.stop is None else _face(wanted.stop, faces, axis)
    if high <= low:
        raise ArgumentError(f"the region is empty along {AXES[axis]}: {wanted.start} to {wanted.stop} nm")
    return range(low, high)


def _face(position: float, faces: list[float], axis: int) -> int:
    nearest = min(range(len(faces)), key=lambda i: abs(faces[i] - position))
    if not math.isclose(faces[nearest], position, rel_tol=1e-9, abs_tol=1e-6):
        raise ArgumentError(
            f"{AXES[axis]} = {position:g} nm cuts a block; the nearest face of a block is at {faces[nearest]:g} nm, "
            f"blocks are {faces[1]:g} nm long. For other regions measure again: --overwrite --block ..."
        )
    return nearest


def _finalize(
    partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material, blocks: Sequence[range], grid: Grid
) -> xr.Dataset:
    origin = triple(r.start * edge for r, edge in zip(blocks, grid.block, strict=True))
    totals = {p.name: _total(partials[p.name], p, blocks, grid) for p in partials_of(chosen)}
    results = xr.merge([d.finalize(totals, material, origin) for d in chosen], join="exact")
    end = triple(min(r.stop * e, n) for r, e, n in zip(blocks, grid.block, grid.shape, strict=True))
    return _region(results, origin, end, material)


def _region(results: xr.Dataset, origin: Triple, end: Triple, material: Material) -> xr.Dataset:
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
