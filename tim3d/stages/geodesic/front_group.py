"""Fronts that share rounds of visits: their passes, their fields, and the arrays that survive a kill."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tim3d.descriptors.geodesic import Planes
from tim3d.engine import Ledger, Pass, Plan, Work, run
from tim3d.errors import InputError
from tim3d.stages.geodesic.block_relaxation import Visits, iterate_until_stable
from tim3d.stages.geodesic.block_solver import (
    NO_PATH,
    ArriveWork,
    FieldWork,
    Front,
    RefineWork,
    SumsWork,
    Travel,
)
from tim3d.stages.geodesic.job import Job, added_up, every_place
from tim3d.stages.shared.field import (
    Making,
    Options,
    plan_field,
    renewing,
)
from tim3d.stages.shared.unfinished import Unfinished
from tim3d.storage import schema
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Bytes per voxel that a visit writes: a value, and less than a tenth for the layers.
WRITTEN = {"arrival": 4.4, "exact": 4.4, "sums": 0.0}
# Bytes per voxel that a visit reads: codes and values.
READ = {"arrival": 5.4, "exact": 8.8, "sums": 5.0}


@dataclass(frozen=True)
class Group:
    """Fronts that share rounds: one ledger per round for all of them."""

    job: Job
    number: int
    travel: Travel

    @property
    def name(self) -> str:
        """Prefix of the group's ledgers, with the block: sums over other blocks are not reused."""
        return f"{self.job.name}/{'x'.join(map(str, self.travel.visits.block))}/{self.number:03d}"

    @property
    def unfinished(self) -> Unfinished:
        """Arrays of an interrupted run of this group."""
        visits = self.travel.visits
        state = {"group": self.number, "block": list(visits.block), "depth": self.travel.depth}
        return _unfinished(self.job, state)

    def settling(self) -> Iterator[tuple[str, Work]]:
        """Kinds of values and their work, in the order in which they are computed."""
        yield "arrival", ArriveWork(self.travel)
        if self.travel.result == "exact":
            yield "exact", RefineWork(self.travel)

    def blocks(self) -> Visits:
        """Visits of all blocks of all fronts."""
        grid = self.travel.visits
        places = [
            grid.stacked(n, place)
            for n in range(len(self.travel.fronts))
            for place in every_place(grid)
        ]
        return replace(grid, places=places)

    def round(self, kind: str, work: Work, number: int, visits: Visits) -> Pass:
        """Pass of one round of visits."""
        return self.one_pass(kind, work, visits, f"{kind}/{number:04d}")

    def one_pass(self, kind: str, work: Work, visits: Visits, name: str) -> Pass:
        """Pass over some blocks, with its ledger."""
        return Pass(
            work=work,
            grid=visits,
            ledger=Ledger(self.job.sample, f"{self.name}/{name}", self.job.fingerprint),
            shard=self.job.labels.shard,
            read_bytes=READ[kind],
            write_bytes=WRITTEN[kind],
            durable=self.travel.durable,
        )

    def sums(self) -> Pass:
        """Pass that sums the distances by plane."""
        return self.one_pass("sums", SumsWork(self.travel), self.blocks(), "sums")

    def planes(self) -> Iterator[tuple[Front, Planes]]:
        """Plane sums of each front, added up over the blocks."""
        return added_up(self.travel, self.sums().ledger)

    def makings(self) -> list[Making]:
        """Description of the distance field of each front."""
        return [self._making(volume, front) for volume, front in enumerate(self.travel.fronts)]

    def _making(self, volume: int, front: Front) -> Making:
        labels, seeds = self.job.labels, self.job.seeds
        name = self.job.field_name(front)
        start = f"along {front.direction}" if seeds is None else f"from {seeds[1]} of {seeds[0]}"
        attributes = {"units": schema.UNIT, "no_path": NO_PATH, "metric": self.job.metric}
        # Coarse levels pick a voxel: averaging lengths with the value for "no path" would be
        # meaningless.
        out = Field(
            name=name,
            shape=labels.shape,
            dtype="float32",
            spacing_nm=labels.spacing_nm,
            chunk=labels.chunk,
            shard=labels.shard,
            labels=True,
            long_name=f"geodesic distance through {front.phase} {start}",
            attributes=attributes,
        )
        parameters = vars(front) | {"metric": self.job.metric}
        work = FieldWork(self.travel, volume, name)
        return Making(
            verb="geodesic",
            field=out,
            work=work,
            block=self.travel.visits.block,
            inputs=self.job.inputs,
            parameters=parameters,
            read_bytes=4.0,
        )

    def plans(self, options: Options) -> list[Plan]:
        """Plans of one visit of every block, and of the sums."""
        afresh = options.overwrite or not self.unfinished.goes_on()
        visits = [
            self.round(kind, work, 1, self.blocks()).plan(afresh=afresh)
            for kind, work in self.settling()
        ]
        return [*visits, self.sums().plan(afresh=options.overwrite)]

    def field_plans(self, options: Options) -> list[Plan]:
        """Plans of the missing fields; a name that another node has is refused."""
        wanted = [(making, renewing(self.job.sample, making, options)) for making in self.makings()]
        return [plan for making, how in wanted for plan in plan_field(self.job.sample, making, how)]


def solve_group(group: Group, options: Options) -> None:
    """Iterate the fronts of a group until they are stable, and sum their planes."""
    grid, fronts = group.travel.visits, group.travel.fronts
    _prepare(group)
    places = every_place(grid)
    first = [
        grid.stacked(n, p)
        for n, f in enumerate(fronts)
        for p in places
        if f.starts_at(p, grid.counts)
    ]
    try:
        for kind, work in group.settling():
            rounds, visits = iterate_until_stable(
                grid, first, partial(group.round, kind, work), progress=options.progress
            )
            log.info(
                "%s/%s: %d visits of %d blocks in %d rounds",
                group.name,
                kind,
                visits,
                len(group.blocks()),
                rounds,
            )
        run(group.sums(), progress=options.progress)
    except InputError:  # bad input leaves nothing behind
        drop_scratch(group.job)
        raise


def _prepare(group: Group) -> None:
    """Create the arrays for the values, unless an interrupted run left them.

    Drop markers without arrays.

    Raises
    ------
    MixedRunError
        If a run with other blocks is not finished.
    """
    job, travel = group.job, group.travel
    if group.unfinished.goes_on():
        return
    group.unfinished.refuse_other_blocks()
    drop_scratch(job)
    for kind, _ in group.settling():
        Ledger(job.sample, f"{group.name}/{kind}", job.fingerprint).forget()
        for volume in range(len(travel.fronts)):
            travel.borders(kind).create(volume)
    group.unfinished.begin(job.record)


def _unfinished(job: Job, state: Mapping[str, Any]) -> Unfinished:
    return Unfinished(job.sample, job.scratch, job.name, {"fingerprint": job.fingerprint, **state})


def drop_scratch(job: Job) -> None:
    """Delete the arrays that hold values between visits."""
    _unfinished(job, {}).drop()
