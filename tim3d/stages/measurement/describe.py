"""The verb `describe`: stored measurements of a sample or a region of it, as one Dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import xarray as xr

from tim3d.descriptors.base import Descriptor
from tim3d.descriptors.builtin import is_known, select, settled, split_descriptors
from tim3d.descriptors.coupled import Coupled, Descriptors
from tim3d.descriptors.inputs import LABELS
from tim3d.descriptors.parametric import Parametric
from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.grid import Grid
from tim3d.stages.measurement.extras import Cut, Extras
from tim3d.stages.shared.partials import (
    each_block,
    finalize_blocks,
    grid_of,
    material_of,
    no_results,
    reads_of,
)
from tim3d.stages.shared.stored_results import answers, joined
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field
from tim3d.typed import Densities, Names, Range


@Verb
def describe(
    sample: str,
    descriptors: Descriptors | None = None,
    *,
    field: str = "phase",
    transport: str = "",
    z: Range = slice(None),
    y: Range = slice(None),
    x: Range = slice(None),
    pore: Names = (),
    density: Densities | None = None,
    plain: bool = False,
) -> Task[xr.Dataset]:
    """Return what was measured, for the whole sample or a region of whole blocks; reads no voxel.

    Beside the stored numbers stand `porosity`, `open_porosity` and `closed_porosity`, and standard
    errors of the volume as a sample of its material: ``NAME_standard_error``, which the attribute
    ``ancillary_variables`` of a variable names.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    descriptors : iterable of str, Descriptor, Parametric or Coupled, optional
        Names of descriptors, those with parameters as correlation:lags=64 (default: all that were
        measured). Any whose partials are stored, and coupled ones; by default the built-in ones
        that were measured, and, for the whole sample, what is there of the coupled ones.
    field : str
        The label field. Any other, where descriptors of your own were measured on it.
    transport : str
        Name of the result of solve that is meant (default: all). Several stand along the dimension
        ``transport``.
    z, y, x : slice of nm
        Region along the axis in nm, from outer face to outer face (default: all). Its faces must be
        faces of blocks.
    pore : list of str
        Phases that count as pores (default: the one named pore, pores, void, voids, air or vacuum;
        of several such none).
    density : mapping of str to float, optional
        Density of some phases in g cm-3 (default: none): adds the surface over their mass.
    plain : bool
        Leave out porosity and standard errors: the stored numbers alone.

    Returns
    -------
    xarray.Dataset
        As from `measure`, with the values of the region. Results of one verb under different
        conditions (conductivities, connectivity ...) stand along a dimension that names their
        nodes.

    Raises
    ------
    MissingFieldError
        If the sample has not been measured, or the verb that computes a coupled descriptor has not
        been run.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field.
    ArgumentError
        If a face of the region cuts a block (the nearest faces of blocks are named), a coupled
        descriptor is requested for a region (its value for the whole does not hold for a part), or
        `pore` or `density` names a phase that is not there.
    """
    wanted = None if descriptors is None else list(descriptors)

    def described() -> xr.Dataset:
        found, cut = _describe(sample, wanted, field, transport, (z, y, x))
        asked = Extras(sample, field, tuple(pore), density or {})
        return found if plain else asked.beside(found, cut)

    return Task(lambda: [Outline("describe", "reads stored results, no voxel")], described)


def _describe(
    sample: str,
    descriptors: Sequence[str | Descriptor | Parametric | Coupled] | None,
    field: str,
    transport: str,
    region: tuple[slice, slice, slice],
) -> tuple[xr.Dataset, Cut | None]:
    chosen, coupled = (None, None) if descriptors is None else split_descriptors(descriptors)
    labels = store.read_field(sample, field)
    material = material_of(labels, (LABELS,) if chosen is None else reads_of(chosen, coupled or ()))
    around = answers(sample, labels, material.phases, coupled, region=region, transport=transport)
    if around and not (chosen if chosen is not None else _has_results(sample, field)):
        return joined([no_results(labels, material), *around], labels), None
    partials = store.open_dataset(sample, f"{field}_partials")
    grid = grid_of(partials)
    cure = _shorter_blocks(sample, labels, grid)
    cut = zip(region, range(len(AXES)), material.spacing, strict=True)
    blocks = tuple(_block_range(wanted, grid, axis, step, cure) for wanted, axis, step in cut)
    asked = _measured(sample, field) if chosen is None else chosen
    additive = settled(asked, material, grid.shape)
    _refuse_unmeasured(sample, field, partials, additive)
    measured = finalize_blocks(partials, additive, material, blocks, grid)
    return joined([measured, *around], labels), Cut(additive, material, blocks)


def blocks_of(sample: str, field: str) -> Iterator[xr.Dataset]:
    """Yield what was measured in every block, one after the other, without profiles of planes.

    Parameters
    ----------
    sample, field : str
        The sample and its label field.

    Raises
    ------
    MissingFieldError
        If the field has not been measured.
    """
    material = material_of(store.read_field(sample, field))
    partials = store.open_dataset(sample, f"{field}_partials")
    additive = settled(_measured(sample, field), material, grid_of(partials).shape)
    yield from each_block(partials, additive, material)


def _has_results(sample: str, field: str) -> bool:
    return bool(store.node_attributes(sample, f"{field}_descriptors").get("status") == "complete")


def _measured(sample: str, field: str) -> tuple[Descriptor | Parametric, ...]:
    """Descriptors that were measured, without those of the user."""
    record = store.open_dataset(sample, f"{field}_descriptors").attrs["tim3d"]
    return select(name for name in record["parameters"]["descriptors"] if is_known(name))


def _refuse_unmeasured(
    sample: str, field: str, partials: xr.Dataset, chosen: Sequence[Descriptor]
) -> None:
    missing = [d.name for d in chosen if not {p.name for p in d.needs} <= set(partials.data_vars)]
    if missing:
        raise ArgumentError(
            f"{', '.join(missing)} was not measured on {field!r} of {sample}. Run: tim3d measure {sample}"
            f" --descriptors {','.join(missing)}"
        )


def _shorter_blocks(sample: str, labels: Field, grid: Grid) -> str:
    """Advice for regions whose faces cut the measured blocks, with the command to type."""
    if any(b > s for b, s in zip(grid.block, labels.shard, strict=True)):
        z, y, x = (n * step for n, step in zip(labels.shard, labels.spacing_nm, strict=True))
        shard = ",".join(map(str, labels.shard))
        faces = f"faces at multiples of {z:g}, {y:g}, {x:g} nm along z, y, x"
        return f"Smaller blocks have {faces}: tim3d measure {sample} --overwrite --block {shard}"
    return "A block is one shard here; for smaller ones make another sample with a smaller --shard"


def _block_range(wanted: slice, grid: Grid, axis: int, step: float, cure: str) -> range:
    """Range of blocks along an axis whose outer faces are the faces of the region."""
    shape, edge = grid.shape[axis], grid.block[axis]
    faces = [min(i * edge, shape) * step for i in range(grid.counts[axis] + 1)]
    low = 0 if wanted.start is None else _face(wanted.start, faces, axis, cure)
    high = len(faces) - 1 if wanted.stop is None else _face(wanted.stop, faces, axis, cure)
    if high <= low:
        raise ArgumentError(
            f"the region is empty along {AXES[axis]}: {wanted.start} to {wanted.stop} nm"
        )
    return range(low, high)


def _face(position: float, faces: list[float], axis: int, cure: str) -> int:
    if position < 0 or position > faces[-1] * (1 + 1e-9):
        raise ArgumentError(
            f"{AXES[axis]} = {position:g} nm is outside of the sample, which ends at {faces[-1]:g} nm"
        )
    nearest = min(range(len(faces)), key=lambda i: abs(faces[i] - position))
    if not math.isclose(faces[nearest], position, rel_tol=1e-9, abs_tol=1e-6):
        raise ArgumentError(
            f"{AXES[axis]} = {position:g} nm cuts a block; the nearest face of a block is at {faces[nearest]:g} nm, "
            f"and blocks are {faces[1]:g} nm long. {cure}"
        )
    return nearest
