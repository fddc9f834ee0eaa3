"""Partials of fields of a sample: counted block by block, stored by block or summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.base import (
    Descriptor,
    Material,
    Partial,
    add_blocks,
    evaluate,
    inputs_of,
    largest_halo,
    partials_of,
)
from tim3d.descriptors.builtin import inputs_read
from tim3d.descriptors.coupled import Coupled
from tim3d.descriptors.inputs import DTYPES, LABELS, Input
from tim3d.descriptors.parametric import Parametric
from tim3d.engine import Pass
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.kernels.statistics.exact_sums import exact_sum
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.one_phase import refuse_one_phase
from tim3d.stages.shared.percolating import Through, percolating, through_bits
from tim3d.stages.shared.reduction import ReduceWork, inner, reduction_pass
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field

Inputs = Mapping[Input, Field]


def material_of(measured: Field, reads: Sequence[Input] = (LABELS,)) -> Material:
    """Phases, voxel edges and unit of a field.

    Parameters
    ----------
    measured : Field
        The field.
    reads : sequence of Input
        Inputs that will be read.

    Raises
    ------
    ArgumentError
        If `reads` includes labels and the field holds none.
    """
    if measured.phases is None and LABELS in reads:
        raise ArgumentError(
            f"field {measured.name!r} holds no labels; segment it first, or ingest it with --phases"
        )
    return Material(measured.phases or Phases.none(), measured.spacing_nm, schema.UNIT)


def reads_of(
    additive: Iterable[Descriptor | Parametric], coupled: Iterable[Coupled]
) -> tuple[Input, ...]:
    """Inputs that descriptors read; results of other verbs are computed from labels."""
    whole = (one for c in coupled for one in (c.whole.reads if c.whole else (LABELS,)))
    own = (one for a in additive for one in inputs_read(a))
    return tuple(dict.fromkeys([*own, *whole]))


def stored_inputs(
    sample: str, measured: Field, reads: Sequence[Input], asking: str
) -> dict[Input, Field]:
    """Return the finished field of every input, on the grid of the measured field.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    measured : Field
        The measured field.
    reads : sequence of Input
        Inputs to read.
    asking : str
        Names of the descriptors that read them, for messages.

    Raises
    ------
    MissingFieldError
        If a field is missing; the message names the command that creates it.
    MixedRunError
        If a field was computed from one that was replaced since.
    ArgumentError
        If a field has another type than its role requires.
    InputError
        If a field lies on another grid.
    """
    return {one: _stored_input(sample, measured, one, asking) for one in reads}


def inputs_of_all(sample: str, measured: Field, chosen: Iterable[Descriptor]) -> Inputs:
    """Field of every input of some descriptors; a message names the descriptor that lacks one.

    Raises what `stored_inputs` raises.
    """
    found: dict[Input, Field] = {}
    for one in chosen:
        found |= stored_inputs(sample, measured, inputs_of(one.needs), repr(one.name))
    return found


def sources_of(sample: str, measured: Field, inputs: Inputs) -> dict[str, str]:
    """Fingerprint of every field that is read, the measured one first."""
    names = [measured.name, *(field.name for field in inputs.values())]
    return {name: store.fingerprint_of(sample, name) for name in names}


def _stored_input(sample: str, measured: Field, one: Input, asking: str) -> Field:
    name = one.field_name(measured.name)
    if not store.node_attributes(sample, name):
        if one.of_two_phases:
            refuse_one_phase(sample, measured.name)
        raise MissingFieldError(
            f"{asking} reads the field {name!r}, not in {sample} (has {', '.join(store.fields(sample))}). "
            f"Make it: {one.cure(sample, measured.name)}"
        )
    field = store.complete_field(sample, name)
    if field.dtype not in DTYPES[one.role]:
        raise ArgumentError(
            f"{asking} reads {name!r} as {one.role}, which are {' or '.join(DTYPES[one.role])}; in {sample} it is "
            f"{field.dtype}. Name another field, or give its Input the role that it has"
        )
    refuse_unlike(sample, measured, field)
    return field


@dataclass(frozen=True)
class PartialsKernel:
    """Function that computes the partials of a block.

    Parameters
    ----------
    partials : tuple of Partial
        Partials to compute.
    places : tuple of (Input, int)
        Index of each input among the fields that are read.
    material : Material
        Phases and spacing.
    through : tuple of (Input, numbers by axis)
        Components that percolate, of inputs that ask for it.
    """

    partials: tuple[Partial, ...]
    places: tuple[tuple[Input, int], ...]
    material: Material
    through: tuple[tuple[Input, Through], ...] = ()

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Compute the partials, as nested lists of integers."""
        found = evaluate(self.partials, self.voxels(fields), inner(block), self.material)
        return {name: values.tolist() for name, values in found.items()}

    def voxels(self, fields: tuple[np.ndarray, ...]) -> dict[Input, np.ndarray]:
        """Voxels of every input, from those of the fields that are read."""
        voxels = {one: fields[place] for one, place in self.places}
        return voxels | {one: through_bits(voxels[one], numbers) for one, numbers in self.through}


def counting_pass(
    sample: str,
    measured: Field,
    inputs: Inputs,
    partials: Sequence[Partial],
    material: Material,
    **how: Any,
) -> Pass:
    """Return the pass that computes the partials of all blocks.

    Each field is read once, with the largest halo that a partial needs.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    measured : Field
        The measured field; blocks are whole shards of it.
    inputs : mapping of Input to Field
        Fields that the partials read.
    partials : sequence of Partial
        Partials to compute.
    material : Material
        Phases and spacing.
    **how : object
        Name, fingerprint, options and block, as in `reduction_pass`.
    """
    fields = {field.name: field for field in inputs.values()}
    places = tuple((one, list(fields).index(field.name)) for one, field in inputs.items())
    through = tuple(
        (one, percolating(sample, measured, field))
        for one, field in inputs.items()
        if one.role == "through"
    )
    return reduction_pass(
        sample,
        tuple(fields.values()),
        PartialsKernel(tuple(partials), places, material, through),
        halo=largest_halo(partials),
        kernel_bytes=max(p.voxel_bytes for p in partials),
        cut=measured,
        **how,
    )


def kernel_of(counting: Pass) -> PartialsKernel:
    """Kernel of a pass of `counting_pass`."""
    assert isinstance(counting.work, ReduceWork)
    assert isinstance(counting.work.kernel, PartialsKernel)
    return counting.work.kernel


def sums(counting: Pass) -> xr.Dataset:
    """Partials of a finished pass, summed over all blocks, without coordinates or attributes."""
    kernel = kernel_of(counting)
    totals = add_blocks(kernel.partials, counting.grid.shape, counting.records(), kernel.material)
    return xr.Dataset({p.name: (p.dims, totals[p.name]) for p in kernel.partials})


def gather(counting: Pass) -> xr.Dataset:
    """Partials of all blocks on the block grid; partials of planes by voxel plane on their axis."""
    kernel = kernel_of(counting)
    grid, material = counting.grid, kernel.material
    arrays = {p.name: np.zeros(_stored_shape(p, grid, material), np.int64) for p in kernel.partials}
    for block, record in counting.records():
        for p in kernel.partials:
            arrays[p.name][_place(p, block)] = np.asarray(record[p.name], np.int64)
    variables = {p.name: (_stored_dims(p), arrays[p.name], {"units": "1"}) for p in kernel.partials}
    attributes = {"volume_shape": list(grid.shape), "block_shape": list(grid.block)}
    return xr.Dataset(variables, _block_coordinates(grid, material), attributes)


def _stored_dims(partial: Partial) -> tuple[str, ...]:
    blocks = tuple(a if a == partial.plane else f"{a}_block" for a in AXES)
    own = partial.dims if partial.plane is None else partial.dims[1:]
    return blocks + own


def _stored_shape(partial: Partial, grid: Grid, material: Material) -> tuple[int, ...]:
    blocks = tuple(
        n if a == partial.plane else c
        for a, n, c in zip(AXES, grid.shape, grid.counts, strict=True)
    )
    return blocks + partial.own_sizes(material)


def _place(partial: Partial, block: Block) -> tuple[Any, ...]:
    return tuple(
        s if a == partial.plane else i
        for a, s, i in zip(AXES, block.core.slices, block.index, strict=True)
    )


def _block_coordinates(grid: Grid, material: Material) -> dict[str, Any]:
    coordinates = {}
    for axis, name in enumerate(AXES):
        edges = np.minimum(np.arange(grid.counts[axis] + 1) * grid.block[axis], grid.shape[axis])
        centres = (edges[:-1] + edges[1:]) / 2 * material.spacing[axis]
        attributes = {"units": material.units, "long_name": f"centre of the block along {name}"}
        coordinates[f"{name}_block"] = (f"{name}_block", centres, attributes)
    return coordinates


def finalize_whole(
    partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material
) -> xr.Dataset:
    """Results of the whole volume from stored partials."""
    grid = grid_of(partials)
    return finalize_blocks(partials, chosen, material, tuple(range(n) for n in grid.counts), grid)


def grid_of(partials: xr.Dataset) -> Grid:
    """Grid of the blocks in which stored partials were counted."""
    return Grid(triple(partials.attrs["volume_shape"]), triple(partials.attrs["block_shape"]))


def finalize_blocks(
    partials: xr.Dataset,
    chosen: Sequence[Descriptor],
    material: Material,
    blocks: Sequence[range],
    grid: Grid,
) -> xr.Dataset:
    """Results of a range of blocks along each axis."""
    origin = triple(r.start * edge for r, edge in zip(blocks, grid.block, strict=True))
    totals = {p.name: total_of(partials[p.name], p, blocks, grid) for p in partials_of(chosen)}
    results = xr.merge(
        [d.finalize(totals, material, origin) for d in chosen], join="exact", compat="no_conflicts"
    )
    end = triple(min(r.stop * e, n) for r, e, n in zip(blocks, grid.block, grid.shape, strict=True))
    return with_region(results, origin, end, material)


def with_region(results: xr.Dataset, origin: Triple, end: Triple, material: Material) -> xr.Dataset:
    """Add the region of validity, in nm, to the attributes of results."""
    return results.assign_attrs(
        origin_nm=_lengths(origin, material),
        end_nm=_lengths(end, material),
        spacing_nm=list(material.spacing),
    )


def _lengths(place: Triple, material: Material) -> list[float]:
    return [float(n * s) for n, s in zip(place, material.spacing, strict=True)]


def total_of(
    stored: xr.DataArray, partial: Partial, blocks: Sequence[range], grid: Grid
) -> np.ndarray:
    """Sum of a stored partial over a range of blocks along each axis."""
    picks = {}
    for axis, name in enumerate(AXES):
        chosen = blocks[axis]
        if name == partial.plane:
            edge = grid.block[axis]
            picks[name] = slice(chosen.start * edge, min(chosen.stop * edge, grid.shape[axis]))
        else:
            picks[f"{name}_block"] = slice(chosen.start, chosen.stop)
    region = stored.isel(picks)
    over = tuple(number for number, dim in enumerate(region.dims) if str(dim).endswith("_block"))
    return exact_sum(region.values, over)


def no_results(measured: Field, material: Material) -> xr.Dataset:
    """Return an empty dataset with the region of the whole volume."""
    return with_region(xr.Dataset(), (0, 0, 0), measured.shape, material)


def each_block(
    partials: xr.Dataset, chosen: Sequence[Descriptor], material: Material
) -> Iterator[xr.Dataset]:
    """Yield the results of every block of stored partials, without profiles."""
    grid = grid_of(partials)
    for place in np.ndindex(grid.counts):
        one = finalize_blocks(partials, chosen, material, [range(i, i + 1) for i in place], grid)
        yield one.drop_dims([axis for axis in AXES if axis in one.dims])
