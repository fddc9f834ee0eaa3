"""The verb `describe`: measurements of a sample, of any region or of windows, as one Dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tim3d.descriptors.base import Descriptor, Material
from tim3d.descriptors.builtin import is_known, select, settled, split_descriptors
from tim3d.descriptors.coupled import Coupled, Descriptors
from tim3d.descriptors.inputs import LABELS
from tim3d.descriptors.parametric import Parametric
from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.forecast import expected
from tim3d.grid import Box
from tim3d.lazy import xarray as xr
from tim3d.stages.measurement.cell_sums import Counting, results_of, results_of_windows
from tim3d.stages.measurement.draw_intervals import with_intervals
from tim3d.stages.measurement.extras import Extras
from tim3d.stages.measurement.uncertainty import faces_of_parts, standard_errors
from tim3d.stages.measurement.windows import Lattice, cells_of, lattice_of
from tim3d.stages.shared.draws import draws_of
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.partials import (
    each_block,
    grid_of,
    material_of,
    no_results,
    reads_of,
)
from tim3d.stages.shared.region import Unit, box_of, rulers_of
from tim3d.stages.shared.stored_results import answers, joined
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import ByAxis, Densities, Names, Range


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
    windows: ByAxis | None = None,
    step: ByAxis | None = None,
    unit: Unit = "nm",
    pore: Names = (),
    density: Densities | None = None,
    plain: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Return what was measured, for the whole sample, any region of it, or windows side by side.

    Whole blocks are added up from stored sums. Blocks that a region cuts are read again with their
    halo; the numbers are those of a sample whose blocks end at the faces of the region. Such a face
    is not a border: a pair of voxels that begins in the region may end outside of it.

    Beside the numbers stand `porosity`, `open_porosity` and `closed_porosity`, and standard
    errors of the volume as a sample of its material: ``NAME_standard_error``, which the attribute
    ``ancillary_variables`` of a variable names. Windows have no standard errors. Where the field has
    draws (`sample_labels`) that were measured too, the limits of 90 % intervals stand beside the
    numbers of the volume or the region, ``NAME_low`` and ``NAME_high``: what the segmentation leaves
    open.

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
    z, y, x : slice of nm or voxels
        Region along the axis, from outer face to outer face (default: all). Its faces must be
        faces of voxels.
    windows : mapping of str to float, optional
        Edges of windows along some axes, as z=200 for slabs or z=200,y=200,x=200 for boxes
        (default: the region as one). They fill the region from its lowest faces on.
    step : mapping of str to float, optional
        Distance from window to window along some of these axes (default: their edge). Windows may
        overlap.
    unit : {"nm", "voxels"}
        Unit of region, windows and step.
    pore : list of str
        Phases that count as pores (default: the one named pore, pores, void, voids, air or vacuum;
        of several such none).
    density : mapping of str to float, optional
        Density of some phases in g cm-3 (default: none): adds the surface over their mass.
    plain : bool
        Leave out porosity and standard errors: the measured numbers alone.
    options : Options
        How it runs, where blocks are read again.

    Returns
    -------
    xarray.Dataset
        As from `measure`, with the values of the region. Results of one verb under different
        conditions (conductivities, connectivity ...) stand along a dimension that names their
        nodes. Windows stand along ``z_window``, ``y_window``, ``x_window`` with their centres in nm,
        ``z_window_from`` and ``z_window_to`` beside them; profiles along these axes are left out.

    Raises
    ------
    MissingFieldError
        If the sample has not been measured, the verb that computes a coupled descriptor has not
        been run, or a field is missing that has to be read again.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field.
    ArgumentError
        If a face of the region cuts a voxel, windows are not whole voxels or do not fit, a coupled
        descriptor is requested for a region (its value for the whole does not hold for a part), or
        `pore` or `density` names a phase that is not there.
    MemoryPlanError
        If a cut block, or the sums of all windows, do not fit into memory.
    """
    options.refuse_unused("describe", sample)
    if step and not windows:
        raise ArgumentError("a step is that of windows: give --windows too, or leave out --step")
    wanted = None if descriptors is None else list(descriptors)
    place = Place((z, y, x), windows, step, unit)
    query = Query(sample, wanted, field, transport, place, plain, options)
    extras = Extras(sample, field, tuple(pore), density or {})

    def described() -> xr.Dataset:
        found, errors = query.answer()
        if plain:
            return found
        full = extras.beside(found, errors, whole=query.is_whole)
        return full if windows else with_intervals(sample, field, full, of_draw, wanted or ())

    def of_draw(name: str) -> xr.Dataset:
        """The same of a draw of the field."""
        found, errors = drawn(name).answer()
        own = replace(extras, field=name)
        return own.beside(found, errors, whole=query.is_whole)

    def drawn(name: str) -> Query:
        return replace(query, field=name, transport="", plain=True)

    def plans() -> list[Plan | Outline]:
        """Blocks that the region cuts are read again, those of the draws too."""
        with_draws = () if plain or windows or place.is_open else draws_of(sample, field)
        each = (query, *(drawn(name) for name in with_draws))
        return [plan for one in each for plan in one.plans()]

    return Task(plans, described)


@dataclass(frozen=True)
class Place:
    """A region and the windows in it, as they were given."""

    region: tuple[slice, slice, slice]
    windows: ByAxis | None
    step: ByAxis | None
    unit: Unit

    @property
    def is_open(self) -> bool:
        """Whether it is the whole of any volume."""
        return not self.windows and all(one == slice(None) for one in self.region)

    def lattice(self, field: Field) -> Lattice:
        """Windows of a field; the region alone is one.

        Raises
        ------
        ArgumentError
            If region or windows do not fit the field.
        """
        rulers = rulers_of(field, self.unit)
        return lattice_of(box_of(self.region, rulers), rulers, self.windows, self.step)


@dataclass(frozen=True)
class Query:
    """A question about a measured field, and its answer."""

    sample: str
    wanted: Sequence[str | Descriptor | Parametric | Coupled] | None
    field: str
    transport: str
    place: Place
    plain: bool
    options: Options

    @cached_property
    def labels(self) -> Field:
        """The field."""
        return store.read_field(self.sample, self.field)

    @cached_property
    def lattice(self) -> Lattice:
        """Windows, or the region as one."""
        return self.place.lattice(self.labels)

    @property
    def is_whole(self) -> bool:
        """Whether the whole volume is described as one."""
        return not self.lattice.axes and self.lattice.hull == Box.whole(self.labels.shape)

    @cached_property
    def split(self) -> tuple[tuple[Descriptor | Parametric, ...] | None, tuple[Coupled, ...] | None]:  # fmt: skip
        """Descriptors asked for, those that add up and coupled ones; none for all of them."""
        return (None, None) if self.wanted is None else split_descriptors(self.wanted)

    @property
    def material(self) -> Material:
        """Phases and spacing."""
        chosen, coupled = self.split
        return material_of(
            self.labels, (LABELS,) if chosen is None else reads_of(chosen, coupled or ())
        )

    def plans(self) -> list[Plan | Outline]:
        """Plan of the blocks that are read again; one line where it is not known yet."""
        planned = expected("node", f"{self.sample}/{self.field}_partials")
        if self.place.is_open or planned or not self._has_additive():
            return [Outline("describe", "reads stored results, no voxel")]
        return self.counting().plans()

    def answer(self) -> tuple[xr.Dataset, xr.Dataset | None]:
        """Results, and standard errors of those that were counted in blocks, if any were."""
        _, coupled = self.split
        phases = self.material.phases
        around = answers(
            self.sample, self.labels, phases, coupled, self.transport, whole=self.is_whole
        )
        if around and not self._has_additive():
            return joined([no_results(self.labels, self.material), *around], self.labels), None
        found, errors = self._counted()
        return joined([found, *around], self.labels), errors

    def _has_additive(self) -> bool:
        chosen, _ = self.split
        return bool(chosen if chosen is not None else _has_results(self.sample, self.field))

    def counting(self) -> Counting:
        """Counting of the windows' cells; of a region of its parts too, for its standard errors."""
        partials = _opened(self.sample, self.field, "partials")
        grid, lattice = grid_of(partials), self.lattice
        chosen, _ = self.split
        asked = _measured(self.sample, self.field) if chosen is None else chosen
        additive = settled(asked, self.material, grid.shape)
        _refuse_unmeasured(self.sample, self.field, partials, additive)
        in_parts = not self.plain and not lattice.axes
        faces = faces_of_parts(lattice.hull, grid) if in_parts else ([], [], [])
        cells = cells_of(lattice, faces)
        return Counting(
            self.sample, self.labels, additive, self.material, partials, cells, self.options
        )

    def _counted(self) -> tuple[xr.Dataset, xr.Dataset]:
        counting, lattice = self.counting(), self.lattice
        sums, chosen, material = counting.sums(), counting.chosen, counting.material
        if lattice.axes:
            return results_of_windows(sums, lattice, chosen, material), xr.Dataset()
        found = results_of(sums, lattice.hull, chosen, material)
        if self.plain:
            return found, xr.Dataset()
        errors = standard_errors(
            self.sample, self.field, found, sums, chosen, material, whole=self.is_whole
        )
        return found, errors


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
    partials = _opened(sample, field, "partials")
    additive = settled(_measured(sample, field), material, grid_of(partials).shape)
    yield from each_block(partials, additive, material)


def _has_results(sample: str, field: str) -> bool:
    return bool(store.node_attributes(sample, f"{field}_descriptors").get("status") == "complete")


def _measured(sample: str, field: str) -> tuple[Descriptor | Parametric, ...]:
    """Descriptors that were measured, without those of the user."""
    record = _opened(sample, field, "descriptors").attrs["tim3d"]
    return select(name for name in record["parameters"]["descriptors"] if is_known(name))


def _opened(sample: str, field: str, kind: str) -> xr.Dataset:
    """Return what `measure` stored of a field; the message is the command where it stored nothing."""
    node = f"{field}_{kind}"
    if not store.node_attributes(sample, node):
        of = "" if field == "phase" else f" --field {field}"
        raise MissingFieldError(
            f"{field!r} of {sample} was not measured: {node!r} is missing. Run: tim3d measure {sample}{of}"
        )
    return store.open_dataset(sample, node)


def _refuse_unmeasured(
    sample: str, field: str, partials: xr.Dataset, chosen: Sequence[Descriptor]
) -> None:
    missing = [d.name for d in chosen if not {p.name for p in d.needs} <= set(partials.data_vars)]
    if missing:
        raise ArgumentError(
            f"{', '.join(missing)} was not measured on {field!r} of {sample}. Run: tim3d measure {sample}"
            f" --descriptors {','.join(missing)}"
        )
