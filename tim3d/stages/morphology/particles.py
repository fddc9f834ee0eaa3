"""Particles of a phase: which voxels belong to each, and a row of numbers for each and each contact."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tim3d.descriptors.particles import Measured
from tim3d.descriptors.particles import particles as results_of
from tim3d.engine import Gathering, Outline, Pass, Plan
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, triple
from tim3d.kernels.morphology.instances import OWN_BYTES, Tallies, growing, tally, tally_bytes
from tim3d.kernels.morphology.joined_basins import Joining
from tim3d.lazy import xarray as xr
from tim3d.stages.morphology.basins import AROUND, BasinField
from tim3d.stages.morphology.joined_field import COUNTS
from tim3d.stages.morphology.stored_distances import StoredDistances, stored_distances
from tim3d.stages.shared.chosen_phases import chosen_phases
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.planes import warn_of_plane, warn_of_slender_voxels
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import ResultMaking, plan_result, produce_result, result_name
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)
NECK = 0.75
# Bytes a voxel of the rows of a block, and of the table that finds them.
ROW_BYTES = 4.0
COLUMNS = ("ids", "rows", "pairs", "contacts")


@Verb
def particles(
    sample: str,
    *,
    phase: str = "",
    field: str = "phase",
    distance: str = "",
    neck: float = NECK,
    instances: str = "",
    substrate: Literal["none", "z", "y", "x", "z-high", "y-high", "x-high"] = "none",
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Tell the particles of a phase apart, and measure each of them and each contact.

    Every voxel climbs the field of distances to a peak; peaks are one particle if the neck between
    them is wide. The field of the particles' numbers is kept as FIELD_instances. Numbers do not
    depend on the blocks. See docs/particles.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    phase : str
        Name of the phase that the particles are of, such as copper.
    field : str
        The label field.
    distance : str
        The field of distances that `tim3d distance` made of it (default: FIELD_distance; with
        `instances` none, and then no necks are measured).
    neck : float
        Two sides of a neck are one particle if its radius is more than this share of the radius of
        the smaller one, 0 to 1. With 0 all that touches is one.
    instances : str
        Field of numbered objects to measure in place of particles of a phase, such as component.
    substrate : str
        Face of the volume that distances are measured from too: z is where z begins, z-high where it
        ends.
    out : str
        Name of the result (default: FIELD_particles and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        A row for each particle and each contact, and distributions; see
        `tim3d.descriptors.particles.particles`.

    Raises
    ------
    MissingFieldError
        If the labels, the distances or the instances are missing.
    ArgumentError
        If the phase is not known, the distances are not those of these labels or lie on another
        grid, the share is not one, the instances are not numbers, or arguments exclude each other.
    InputError
        If there is no voxel of the phase, or no instance.
    MixedRunError
        If the field of particles or `out` exists with different parameters.

    References
    ----------
    S. Beucher, F. Meyer, The morphological approach to segmentation: the watershed transformation,
    in Mathematical Morphology in Image Processing (1993) 433-481.
    """
    if instances:
        _refuse_of_phase(phase=(phase, ""), field=(field, "phase"), neck=(neck, NECK))
        job = _of_instances(sample, instances, distance, substrate, out, options)
    else:
        job = _of_phase(sample, phase, field, distance, neck, substrate, out, options)
    warn_of_plane(job.numbers, "its particles are sections, and none counts as cut by the plane")
    warn_of_slender_voxels(job.numbers)
    return Task(job.plans, job.result)


def _refuse_of_phase(**given: tuple[Any, Any]) -> None:
    for name, (value, default) in given.items():
        if value != default:
            raise ArgumentError(
                f"--{name} is for particles of a phase, and --instances names numbered objects: leave it out"
            )


def _of_instances(
    sample: str, name: str, distance: str, substrate: str, out: str, options: Options
) -> Particles:
    numbers = store.complete_field(sample, name, "label --keep")
    if numbers.dtype != schema.ID_DTYPE:
        raise ArgumentError(
            f"{name!r} of {sample} does not hold numbered objects (it is {numbers.dtype}, not {schema.ID_DTYPE}). "
            "Give a field of label --keep, of particles or of a segmenter: --instances"
        )
    far = stored_distances(sample, distance).field if distance else None
    if far is not None:
        _refuse_other_grid(numbers, far, sample)
    asked = {"distance": (distance, ""), "substrate": (substrate, "none")}
    node = out or result_name(f"{name}_particles", **asked)
    inputs = {one.name: store.fingerprint_of(sample, one.name) for one in (numbers, far) if one}
    return Particles(
        sample, node, numbers, far, inputs, {"substrate": substrate}, "", None, options
    )


def _refuse_other_grid(numbers: Field, far: Field, sample: str) -> None:
    if (numbers.shape, numbers.spacing_nm) != (far.shape, far.spacing_nm):
        raise ArgumentError(
            f"{numbers.name!r} of {sample} is {numbers.shape} voxels of {numbers.spacing_nm} nm and {far.name!r} "
            f"{far.shape} of {far.spacing_nm}: give distances on the same grid: --distance"
        )


def _of_phase(
    sample: str, phase: str, field: str, distance: str, neck: float, substrate: str, out: str, options: Options
) -> Particles:  # fmt: skip
    labels = store.complete_field(sample, field, "segment")
    if not phase:
        there = ", ".join(chosen_phases(labels, None))
        raise ArgumentError(
            f"which phase are the particles of? Give --phase, one of {there}; or --instances"
        )
    if not 0 <= neck <= 1:
        raise ArgumentError(
            f"neck is {neck:g}: it is a share of a radius, from 0 to 1, for example --neck {NECK:g}"
        )
    (code,) = chosen_phases(labels, [phase]).codes
    name = distance or f"{field}_distance"
    far = stored_distances(sample, name)
    _refuse_other_distances(sample, field, phase, name, far)
    asked = {
        "phase": (phase, None),
        "distance": (name, f"{field}_distance"),
        "neck": (neck, NECK),
    }
    base = out or result_name(f"{field}_instances", **asked)
    kept = f"{out}_instances" if out else base
    inputs = {one: store.fingerprint_of(sample, one) for one in (field, name)}
    basins = BasinField(
        sample, "particles", labels, (far.field,), code, Joining(neck), {"phase": phase, "neck": neck}, inputs, kept,
        "number of the particle", options,
    )  # fmt: skip
    node = out or result_name(f"{field}_particles", **asked, substrate=(substrate, "none"))
    parameters = {**basins.parameters, "substrate": substrate}
    return Particles(
        sample,
        node,
        basins.making.field,
        far.field,
        inputs,
        parameters,
        phase,
        basins,
        options,
    )


def _refuse_other_distances(
    sample: str, field: str, phase: str, name: str, far: StoredDistances
) -> None:
    if field not in far.inputs or phase not in far.phases:
        raise ArgumentError(
            f"{name!r} of {sample} holds no distances of {field!r} in {phase}: give another field: --distance"
        )
    if far.largest is not None and not far.largest[phase]:
        raise InputError(f"no voxel of {field!r} in {sample} is of the phase {phase}")


@dataclass(frozen=True)
class Particles:
    """A field of numbers, how it is made if it is not there, and the pass that measures it."""

    sample: str
    node: str
    numbers: Field
    distance: Field | None
    inputs: dict[str, str]
    parameters: dict[str, Any]
    phase: str
    basins: BasinField | None
    options: Options

    @cached_property
    def making(self) -> ResultMaking:
        """Description of the result node."""
        return ResultMaking(
            "particles", self.sample, self.node, self.inputs, self.parameters, (self.tallying,), self.gather
        )  # fmt: skip

    @cached_property
    def tallying(self) -> Pass:
        """Pass that counts the voxels and neighbours of every particle."""
        fields = (self.numbers, self.distance) if self.distance else (self.numbers,)
        mark = schema.fingerprint(verb="particles", inputs=self.inputs, parameters=self.parameters)
        return reduction_pass(
            self.sample,
            fields,
            tally_record,
            name=f"{self.node}/rows",
            fingerprint=mark,
            options=self.options,
            halo=AROUND,
            kernel_bytes=ROW_BYTES,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left."""
        made = self.basins.plans() if self.basins else []
        left = plan_result(self.making, self.options)
        kept = None if made else store.node_attributes(self.sample, self.numbers.name).get(COUNTS)
        return [*made, *left, self.rows(kept)] if left else made

    def result(self) -> xr.Dataset:
        """The result; it and the field of particles are made if they are not there."""
        for plan in self.plans():
            plan.check()
        if self.basins:
            self.basins.make()
        return produce_result(self.making, self.options)

    def rows(self, counts: Sequence[int] | None) -> Gathering:
        """Plan of the rows, by the particles and pairs if they are known."""
        return Gathering(
            f"{self.node}/table",
            "adds up the rows of all blocks",
            None if counts is None else tally_bytes(*counts),
            (OWN_BYTES, "particles without contacts"),
        )

    def _tallies(self) -> Tallies:
        """Rows of all blocks added up, refused as soon as they do not fit."""
        places = [triple(place) for place in np.ndindex(self.tallying.grid.counts)]
        records = self.tallying.ledger.records(places)
        found, plan = None, self.rows(None)
        for found in growing(Tallies(*(unpack(one[name]) for name in COLUMNS)) for one in records):
            plan.of(tally_bytes(len(found.ids), len(found.pairs))).check()
        assert found is not None
        return found

    def gather(self) -> xr.Dataset:
        """Results from the rows of all blocks."""
        rows = self._tallies()
        if not len(rows.ids):
            raise InputError(
                f"no voxel of {self.numbers.name!r} in {self.sample} has a number: there is no particle"
            )
        found = results_of(
            Measured(
                rows, self.numbers.shape, self.numbers.spacing_nm, self.distance is not None,
                self.parameters["substrate"], self.phase,
            )
        )  # fmt: skip
        self._warn_of_border(found)
        about = {} if self.basins is None else {"neck": self.basins.how.share}
        return found.assign_attrs(spacing_nm=list(self.numbers.spacing_nm), **about)

    def _warn_of_border(self, found: xr.Dataset) -> None:
        if not found.particle_count_inside.any():
            log.warning(
                "none of the %d particles of %r keeps clear of the border: means and number density are nan; "
                "take a larger volume",
                int(found.particle_count.sum()), self.numbers.name,
            )  # fmt: skip


def tally_record(fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
    """Rows of the particles of a block, with packed arrays."""
    numbers, *radii = fields
    found = tally(numbers, radii[0] if radii else None, block.read, block.core)
    return {name: pack(getattr(found, name)) for name in COLUMNS}
