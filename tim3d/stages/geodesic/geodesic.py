"""Geodesic distances and tortuosity of a label field.

Fronts travel from block to block until they are stable.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from tim3d.descriptors.geodesic import DIRECTIONS, with_limit
from tim3d.engine import Ledger, Outline, Plan, lock_sample
from tim3d.engine.passes.plan import smaller_block
from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.lazy import xarray as xr
from tim3d.stages.geodesic.block_relaxation import Visits
from tim3d.stages.geodesic.block_solver import (
    Front,
    Travel,
)
from tim3d.stages.geodesic.front_group import Group, drop_scratch, solve_group
from tim3d.stages.geodesic.job import Job, every_place, job_of, results_of_planes
from tim3d.stages.shared.draws import with_draws
from tim3d.stages.shared.field import (
    DEFAULTS,
    Options,
    produce,
    renewing,
    whole_shards,
)
from tim3d.stages.shared.planes import warn_of_plane
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    is_there,
    refuse_another_question,
    result_name,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import Directions, Names, Seeds

log = logging.getLogger(__name__)

# Fronts share rounds of up to this many blocks: where there are few blocks, a front wakes few of
# them at a time.
TOGETHER = 64
# Largest block in voxels, and largest share of a worker's memory, unless the user asks for more.
MOST_VOXELS = 2**28
SHARE = 0.7


@Verb
def geodesic(
    sample: str,
    *,
    field: str = "phase",
    phases: Names | None = None,
    directions: Directions = DIRECTIONS,
    metric: str = "eikonal",
    seeds: Seeds | None = None,
    keep: bool = False,
    richardson: bool = False,
    out: str = "",
    draws: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Find geodesic distances in phases and their geodesic tortuosity, in any number of blocks.

    Distances depend neither on the blocks nor on the workers: they are integers, and the only ones
    that are consistent with their neighbours everywhere. See docs/geodesic.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field.
    phases : sequence of str, optional
        Names of the phases to travel through (default: all).
    directions : sequence of str
        Directions of travel, each from one face of the volume. ``+z`` is from the lowest plane
        towards larger z, ``-z`` from the highest, and so on. In the shell a list that begins with a
        minus needs ``--directions=-z,+z``.
    metric : {"eikonal", "graph26"}
        Lengths as in free space (eikonal), or from voxel centre to voxel centre (graph26). Those go
        over faces, edges and corners.
    seeds : (field, phase), optional
        Field and phase of the voxels to start from (default: a face of the volume). They belong to
        the way. There is no tortuosity then, and the field is always kept.
    keep : bool
        Write the distances as fields too, in nm. They are float32 fields
        ``FIELD_geodesic_PHASE_z_up`` and so on (with seeds ``FIELD_geodesic_PHASE_seeds=...``), and
        -1 where no path leads.
    richardson : bool
        Travel through every second voxel too, and estimate the tortuosity at vanishing voxel size.
        With its uncertainty.
    out : str
        Name of the result (default: FIELD_geodesic and what is not a default). Fields are then
        called ``OUT_PHASE_z_up``.
    draws : bool
        Do the same for every draw of the field (`sample_labels`), which gives intervals.
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        The results as stored in their node; see `tim3d.descriptors.geodesic.geodesic_results`. A
        plan covers one visit of every block: the paths decide how often a block is visited.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase, direction or metric is not known, the field has no phases, an axis has one voxel
        only, or `options` has a time limit.
    InputError
        If a path is too long for the integers.
    MemoryPlanError
        If a block does not fit into a worker.
    MixedRunError
        If a run of other blocks is not finished, a field is outdated, or `out` is another result.
    """
    if draws:
        return with_draws(geodesic, locals())
    options.refuse_unused("geodesic", sample)
    job = job_of(sample, field, phases, directions, metric, seeds, out)
    if seeds is not None and tuple(directions) != DIRECTIONS:
        raise ArgumentError(
            "with seeds a front has no direction: leave out --directions or --seeds"
        )
    if richardson and seeds is not None:
        raise ArgumentError(
            "with seeds tortuosity is not computed and cannot be extrapolated: leave out --richardson"
        )
    warn_of_plane(job.labels, "paths stay in it, and are at most as long in the material")
    jobs = (job, job.coarser()) if richardson else (job,)
    finding = Finding(jobs, keep or seeds is not None, options)
    return Task(finding.plans, finding.results)


@dataclass(frozen=True)
class Finding:
    """Results to be computed.

    They are computed at one voxel size or at two, with or without the distances as fields.
    """

    jobs: tuple[Job, ...]
    keep: bool
    options: Options

    @cached_property
    def making(self) -> ResultMaking:
        """Description of the result node."""
        job, richardson = self.jobs[0], len(self.jobs) > 1
        node = result_name(
            f"{job.labels.name}_geodesic", **job.asked, richardson=(richardson, False)
        )
        parameters = job.parameters | {"richardson": richardson}
        return ResultMaking(
            "geodesic", job.sample, job.out or node, job.inputs, parameters, (), self.gather
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the fronts that are not yet stable, and of the fields.

        Empty if all is stored.
        """
        making = self.making
        refuse_another_question(
            making.sample, making.node, "geodesic", making.parameters, self.options
        )
        fields = [
            plan
            for group in self._groups[0]
            if self.keep
            for plan in group.field_plans(self.options)
        ]
        if not fields and is_kept(making, self.options):
            return []
        store.expect_dataset(making.sample, making.node, making.record)
        left = [
            plan
            for number in range(len(self.jobs))
            for group in self._groups[number]
            if not _is_done(group, self._keeps(number), self.options)
            for plan in group.plans(self.options)
        ]
        return [*left, *fields] or [
            Outline(making.node, "adds up what was found before, reads no voxel")
        ]

    def results(self) -> xr.Dataset:
        """The results, computed if they are missing or to be replaced."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        if plans:
            for number in range(len(self.jobs)):
                _work(self.jobs[number], self._groups[number], self._keeps(number), self.options)
            with lock_sample(self.making.sample):
                store.write_dataset(
                    self.making.sample, self.making.node, self.gather(), self.making.record
                )
        return store.open_dataset(self.making.sample, self.making.node)

    def gather(self) -> xr.Dataset:
        """Results from the plane sums of all fronts."""
        found = [
            results_of_planes(
                job, [planes for group in self._groups[number] for planes in group.planes()]
            )
            for number, job in enumerate(self.jobs)
        ]
        return found[0] if len(found) == 1 else with_limit(found[0], found[1], self.jobs[0].metric)

    def _keeps(self, number: int) -> bool:
        return self.keep and number == 0

    @cached_property
    def _groups(self) -> list[list[Group]]:
        return [_groups(job, self.options) for job in self.jobs]


def _groups(job: Job, options: Options) -> list[Group]:
    grid = Visits(job.labels.shape, _block(job, options))
    together = max(1, TOGETHER // len(every_place(grid)))
    cuts = range(0, len(job.fronts), together)
    return [
        _group(job, n, job.fronts[at : at + together], grid, options.durable)
        for n, at in enumerate(cuts)
    ]


def _group(job: Job, number: int, fronts: tuple[Front, ...], grid: Visits, durable: bool) -> Group:
    labels = job.labels
    travel = Travel(
        sample=job.sample,
        field=labels.name,
        fronts=fronts,
        visits=grid,
        spacing=labels.spacing_nm,
        metric=job.metric,
        node=job.scratch,
        durable=durable,
        every=job.every,
    )
    return Group(job, number, travel)


def _block(job: Job, options: Options) -> Triple:
    """Block of whole shards: as requested, as in an interrupted run, or as large as memory allows.

    A path that alternates between two blocks costs visits of both: fewer blocks are better.
    """
    labels = job.labels
    if options.block:
        return _thick_enough(whole_shards(options.block, labels), labels)
    before = store.node_attributes(job.sample, job.scratch)
    if (
        before.get("status") == "writing"
        and before["fingerprint"] == job.fingerprint
        and not options.overwrite
    ):
        return triple(before["block"])
    whole = triple(-(-n // s) * s for n, s in zip(labels.shape, labels.shard, strict=True))
    return _thick_enough(
        smaller_block(whole, labels.shard, partial(_fits, job)) or labels.shard, labels
    )


def _thick_enough(block: Triple, labels: Field) -> Triple:
    """Enlarge a block to at least two voxels where it has a neighbour: refining reads two."""
    return triple(
        s * 2 if b == 1 and n > 1 else b
        for b, s, n in zip(block, labels.shard, labels.shape, strict=True)
    )


def _fits(job: Job, block: Triple) -> bool:
    group = _group(job, 0, job.fronts, Visits(job.labels.shape, block), False)
    plans = [
        group.round(kind, work, 1, group.travel.visits).plan() for kind, work in group.settling()
    ]
    return math.prod(block) <= MOST_VOXELS and all(
        plan.peak_bytes <= SHARE * plan.limit_bytes for plan in plans
    )


def _is_done(group: Group, keep: bool, options: Options) -> bool:
    """Whether only the sums of a group are still needed."""
    if options.overwrite or group.sums().left():
        return False
    sample = group.job.sample
    return not keep or all(
        is_there(sample, making.field.name, making.fingerprint) for making in group.makings()
    )


def _work(job: Job, groups: Sequence[Group], keep: bool, options: Options) -> None:
    if options.overwrite:
        with lock_sample(job.sample):
            store.delete_node(job.sample, job.scratch)
            Ledger(job.sample, job.name, job.fingerprint).forget()
    for group in groups:
        if not _is_done(group, keep, replace(options, overwrite=False)):
            with lock_sample(job.sample):
                solve_group(group, options)
            for making in group.makings() if keep else ():
                produce(job.sample, making, renewing(job.sample, making, options))
    with lock_sample(job.sample):
        drop_scratch(job)
