"""Simulated mercury intrusion: the widest way from a face to each voxel, then balls of that width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.descriptors.porosimetry import ByRadius
from tim3d.descriptors.porosimetry import porosimetry as results_of
from tim3d.engine import Ledger, Outline, Pass, Plan, Work, lock_sample, run
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES, Triple, triple
from tim3d.kernels.morphology.distance import metric_of
from tim3d.lazy import xarray as xr
from tim3d.stages.geodesic.block_relaxation import Visits, iterate_until_stable
from tim3d.stages.morphology.stored_distances import halo_within, stored_distances
from tim3d.stages.morphology.widest_paths import CountWork, Passage, WidenWork
from tim3d.stages.shared.chosen_phases import chosen_phases
from tim3d.stages.shared.field import (
    BLOCK_VOXELS,
    DEFAULTS,
    Options,
    many_shards,
    whole_shards,
)
from tim3d.stages.shared.packed import unpack
from tim3d.stages.shared.planes import warn_of_plane
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    refuse_another_question,
    result_name,
)
from tim3d.stages.shared.unfinished import Unfinished
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, scratch, store
from tim3d.storage.schema import Field
from tim3d.typed import Directions

EVERY = ("+z", "-z", "+y", "-y", "+x", "-x")
BOTH = ("+z", "-z")


@Verb
def porosimetry(
    sample: str,
    *,
    phase: str,
    field: str = "phase",
    distance: str = "",
    directions: Directions = BOTH,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Simulate mercury intrusion: which balls fit into a phase, and which get in from a face.

    r_max is the radius whose balls fill half of the phase, r_min that of the balls that come from
    the face, and (r_min / r_max)² the constriction. Radii are exact, and do not depend on the
    blocks. See docs/morphology.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    phase : str
        Name of the phase that is intruded, such as pore.
    field : str
        The label field.
    distance : str
        The field of distances that `tim3d distance` made of it (default: FIELD_distance).
    directions : sequence of str
        Directions of intrusion, each from one face of the volume: ``+z`` from the lowest plane. In
        the shell a list that begins with a minus needs ``--directions=-z,+z``.
    out : str
        Name of the result (default: FIELD_porosimetry and what is not a default).
    options : Options
        How it runs; it has no time limit.

    Returns
    -------
    xarray.Dataset
        See `tim3d.descriptors.porosimetry.porosimetry`. A plan covers one visit of every block: the
        ways decide how often a block is visited.

    Raises
    ------
    MissingFieldError
        If the labels or the distances are missing.
    ArgumentError
        If the phase or a direction is not known, an axis has one voxel only, the distances are not
        those of these labels, or `options` has a time limit.
    InputError
        If the phase has no distances.
    MixedRunError
        If a run of other blocks is not finished, or `out` is another result.
    """
    options.refuse_unused("porosimetry", sample)
    labels = store.complete_field(sample, field, "segment")
    (code,) = chosen_phases(labels, [phase]).codes
    ways = _ways(labels, directions)
    name = distance or f"{field}_distance"
    far = stored_distances(sample, name)
    if field not in far.inputs or phase not in far.phases:
        raise ArgumentError(
            f"{name!r} of {sample} holds no distances of {field!r} in {phase}. Make them, and name them by --distance: "
            f"tim3d distance {sample} --field {field} --phases {phase}"
        )
    if far.largest is not None and not far.largest[phase]:
        raise InputError(f"no voxel of {field!r} in {sample} is of the phase {phase}")
    reach = (far.largest or {}).get(phase, 0.0)
    warn_of_plane(labels, "discs pass through the phase, not balls")
    job = Intrusion(sample, labels, far.field, phase, code, ways, reach, out, options)
    return Task(job.plans, job.result)


def _ways(labels: Field, directions: Sequence[str]) -> tuple[str, ...]:
    given = [directions] if isinstance(directions, str) else list(directions)
    if unknown := [d for d in given if d not in EVERY] or ([] if given else [""]):
        raise ArgumentError(f"direction {unknown[0]!r} is not known; use some of {','.join(EVERY)}")
    if len(set(given)) < len(given):
        raise ArgumentError("a direction is given twice: give it once in --directions")
    for d in given:
        if labels.shape[AXES.index(d[1])] < 2:
            raise ArgumentError(
                f"{labels.name!r} has one voxel along {d[1]}, a way needs two planes; leave out {d}"
            )
    return tuple(d for d in EVERY if d in given)


@dataclass(frozen=True)
class Intrusion:
    """Fronts of all directions, their rounds of visits, and the counts that follow."""

    sample: str
    labels: Field
    distance: Field
    phase: str
    code: int
    directions: tuple[str, ...]
    reach: float
    out: str
    options: Options

    @cached_property
    def making(self) -> ResultMaking:
        """Description of the result node."""
        inputs = {
            name: store.fingerprint_of(self.sample, name)
            for name in (self.labels.name, self.distance.name)
        }
        parameters = {"phase": self.phase, "directions": list(self.directions)}
        asked = {
            "phase": (self.phase, None),
            "distance": (self.distance.name, f"{self.labels.name}_distance"),
            "directions": (list(self.directions), list(BOTH)),
        }
        node = self.out or result_name(f"{self.labels.name}_porosimetry", **asked)
        return ResultMaking("porosimetry", self.sample, node, inputs, parameters, (), self.gather)

    @property
    def scratch(self) -> str:
        """Name of the temporary node."""
        return scratch.node_of(self.making.node)

    @cached_property
    def passage(self) -> Passage:
        """Fronts and the arrays of their widths."""
        block = (
            whole_shards(self.options.block, self.labels)
            if self.options.block
            else many_shards(self.labels, BLOCK_VOXELS // 2)
        )
        return Passage(
            self.sample,
            self.labels.name,
            self.distance.name,
            self.code,
            self.directions,
            Visits(self.labels.shape, block),
            self.scratch,
            self.options.durable,
        )

    @property
    def places(self) -> list[Triple]:
        """All blocks of all fronts, in the stack."""
        visits = self.passage.visits
        return [
            visits.stacked(number, triple(place))
            for number in range(len(self.directions))
            for place in np.ndindex(visits.counts)
        ]

    def round(self, number: int, visits: Visits) -> Pass:
        """Pass of one round of visits."""
        return self._pass(WidenWork(self.passage), visits, f"widths/{number:04d}", 9.0, 4.4)

    def counting(self) -> Pass:
        """Pass that paints the balls and counts voxels."""
        halo = halo_within(self.reach, self.labels.shape, self.labels.spacing_nm)
        visits = replace(self.passage.visits, halo=halo, places=self.places)
        work = CountWork(self.passage, metric_of(self.labels.spacing_nm), self.reach)
        return self._pass(work, visits, "counts", 9.0, 0.0)

    def _pass(self, work: Work, visits: Visits, name: str, read: float, written: float) -> Pass:
        cut = "x".join(map(str, visits.block))
        return Pass(
            work=work,
            grid=visits,
            ledger=Ledger(self.sample, f"{self.making.node}/{cut}/{name}", self.making.fingerprint),
            shard=self.labels.shard,
            read_bytes=read,
            write_bytes=written,
            durable=self.options.durable,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of one visit of every block and of the counts; none if the result is stored."""
        making = self.making
        refuse_another_question(
            self.sample, making.node, making.verb, making.parameters, self.options
        )
        if is_kept(making, self.options):
            return []
        store.expect_dataset(self.sample, making.node, making.record)
        afresh = self.options.overwrite or not self.unfinished.goes_on()
        visits = self.round(1, replace(self.passage.visits, places=self.places))
        return [visits.plan(afresh=afresh), self.counting().plan(afresh=afresh)]

    def result(self) -> xr.Dataset:
        """The result, computed if it is missing or to be replaced."""
        making, plans = self.making, self.plans()
        for plan in plans:
            plan.check()
        if plans:
            with lock_sample(self.sample):
                self._prepare()
                progress = self.options.progress
                iterate_until_stable(
                    self.passage.visits, self.passage.first(), self.round, progress=progress
                )
                run(self.counting(), progress=progress)
                store.write_dataset(self.sample, making.node, making.gather(), making.record)
                self.unfinished.drop()
        return store.open_dataset(self.sample, making.node)

    def gather(self) -> xr.Dataset:
        """Results from the counts of all blocks."""
        visits, counting = self.passage.visits, self.counting()
        records = list(zip(self.places, counting.ledger.records(self.places), strict=True))
        of = {
            number: [record for place, record in records if visits.volume_of(place) == number]
            for number in range(len(self.directions))
        }
        entered = {
            d: _added([one["entered"] for one in of[n]]) for n, d in enumerate(self.directions)
        }
        left = {d: max(one["left"] for one in of[n]) for n, d in enumerate(self.directions)}
        every, edge = _added([one["all"] for one in of[0]]), min(self.labels.spacing_nm)
        found = results_of(every, entered, left, edge, schema.UNIT)
        about = {
            "phase": self.phase,
            "connectivity": 26,
            "convention": "radii end at voxel centres",
        }
        return found.assign_attrs(spacing_nm=list(self.labels.spacing_nm), **about)

    @cached_property
    def unfinished(self) -> Unfinished:
        """Arrays of an interrupted run."""
        making = self.making
        state = {"fingerprint": making.fingerprint, "block": list(self.passage.visits.block)}
        return Unfinished(self.sample, self.scratch, making.node, state)

    def _prepare(self) -> None:
        """Create the arrays of widths, unless an interrupted run left them."""
        if not self.options.overwrite:
            if self.unfinished.goes_on():
                return
            self.unfinished.refuse_other_blocks()
        self.unfinished.drop()
        Ledger(self.sample, self.making.node, self.making.fingerprint).forget()
        for number in range(len(self.directions)):
            self.passage.borders.create(number)
        self.unfinished.begin(self.making.record)


def _added(records: list[dict[str, Any]]) -> ByRadius:
    return ByRadius.added([(unpack(one["radius"]), unpack(one["voxels"])) for one in records])
