"""Checked arguments of the geodesic verb, and the sums over its fronts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tim3d.descriptors.base import add_blocks
from tim3d.descriptors.geodesic import (
    DIRECTIONS,
    METHODS,
    Planes,
    SumPlanes,
    geodesic_results,
    seeds_results,
    way,
)
from tim3d.engine import Ledger
from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.lazy import xarray as xr
from tim3d.spelling import given_twice
from tim3d.stages.geodesic.block_relaxation import Visits
from tim3d.stages.geodesic.block_solver import Front, Travel
from tim3d.stages.shared.results import result_name
from tim3d.storage import schema, scratch, store
from tim3d.storage.schema import AXES, Field


@dataclass(frozen=True)
class Job:
    """Fronts, metric and voxel size: everything that decides the numbers."""

    sample: str
    labels: Field
    source: str
    fronts: tuple[Front, ...]
    metric: str
    seeds: tuple[str, str] | None
    seeds_source: str | None
    out: str = ""
    every: int = 1

    @property
    def asked(self) -> dict[str, tuple[Any, Any]]:
        """Arguments and their defaults, from which names are made."""
        parameters = self.parameters
        seeds = {"seeds": (list(self.seeds), None)} if self.seeds else {}
        directions = (
            {} if self.seeds else {"directions": (parameters["directions"], list(DIRECTIONS))}
        )
        phases = {"phases": (parameters["phases"], list(self.labels.phases or ()))}
        return {**phases, **directions, "metric": (self.metric, "eikonal"), **seeds}

    @property
    def name(self) -> str:
        """Name of the ledgers and arrays of the fronts at this voxel size."""
        return result_name(f"{self.labels.name}_geodesic", **self.asked) + (
            "_coarse" if self.every > 1 else ""
        )

    @property
    def scratch(self) -> str:
        """Name of the temporary node."""
        return scratch.node_of(self.name)

    def field_name(self, front: Front) -> str:
        """Name of the distance field of a front; several results may share the field."""
        ending = "seeds" if self.seeds else way(front.direction)
        if self.out:
            return f"{self.out}_{front.phase}_{ending}"
        if self.seeds:
            ending = ""
        base = "_".join(filter(None, (f"{self.labels.name}_geodesic_{front.phase}", ending)))
        return result_name(
            base, **{key: self.asked[key] for key in ("metric", "seeds") if key in self.asked}
        )

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprints of the input fields, stored as provenance."""
        return {self.labels.name: self.source} | (
            {self.seeds[0]: self.seeds_source} if self.seeds else {}
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        return {
            "phases": list(dict.fromkeys(front.phase for front in self.fronts)),
            "directions": list(dict.fromkeys(front.direction for front in self.fronts)),
            "metric": self.metric,
            "seeds": self.seeds,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the distances; independent of the blocks."""
        fronts, coarse = (
            [vars(front) for front in self.fronts],
            {"every": self.every} if self.every > 1 else {},
        )
        return schema.fingerprint(
            verb="geodesic", field=self.inputs, fronts=fronts, metric=self.metric, **coarse
        )

    @property
    def record(self) -> dict[str, Any]:
        """Provenance of the temporary node."""
        return store.provenance(self.fingerprint, self.parameters, self.inputs) | {
            "verb": "geodesic"
        }

    def coarser(self) -> Job:
        """The same job on every second voxel along each axis.

        Raises
        ------
        ArgumentError
            If an axis has no second voxel.
        """
        labels, axes = self.labels, {front.axis for front in self.fronts}
        shape = triple(-(-n // 2) for n in labels.shape)
        if short := [AXES[axis] for axis in axes if shape[axis] < 2]:
            raise ArgumentError(
                f"{labels.name!r} has {labels.shape[AXES.index(short[0])]} voxels along {short[0]}; "
                "every second one is a single one: leave out --richardson"
            )
        shard, chunk = schema.shard_and_chunk(shape, labels.shard)
        z, y, x = (2 * h for h in labels.spacing_nm)
        coarse = replace(labels, shape=shape, shard=shard, chunk=chunk, spacing_nm=(z, y, x))
        return replace(self, labels=coarse, every=2 * self.every)


def job_of(
    sample: str,
    field: str,
    names: Sequence[str] | None,
    directions: Sequence[str],
    metric: str,
    seeds: Sequence[str] | None,
    out: str,
) -> Job:
    """Check the arguments of the verb and describe the job."""
    labels = _labels(sample, field)
    assert labels.phases is not None
    if metric not in METHODS:
        raise ArgumentError(f"metric is {metric!r}; use {' or '.join(METHODS)}")
    for option, given in (("phases", names or ()), ("directions", directions)):
        if twice := given_twice(() if isinstance(given, str) else given):
            raise ArgumentError(f"{twice!r} is given twice: give it once in --{option}")
    wanted = {name: _code(labels, name) for name in (labels.phases if names is None else names)}
    codes = {name: code for name, code in labels.phases.items() if name in wanted}
    if not codes:
        raise ArgumentError(f"no phase to travel through; {field!r} has {', '.join(labels.phases)}")
    if seeds is None:
        ways = _directions(labels, directions)
        fronts = tuple(Front(name, code, d) for name, code in codes.items() for d in ways)
        return Job(
            sample=sample,
            labels=labels,
            source=store.fingerprint_of(sample, field),
            fronts=fronts,
            metric=metric,
            seeds=None,
            seeds_source=None,
            out=out,
        )
    if isinstance(seeds, str) or len(seeds) != 2:
        raise ArgumentError(
            f"seeds are {seeds!r}; give a label field and one of its phases: --seeds phase,metal"
        )
    if set(directions) != set(DIRECTIONS):
        raise ArgumentError(
            "from seeds the fronts travel in all directions at once: leave out --directions"
        )
    start, phase = seeds
    source = (start, _code(_labels(sample, start, labels.shape), phase))
    fronts = tuple(Front(name, code, "", source) for name, code in codes.items())
    return Job(
        sample=sample,
        labels=labels,
        source=store.fingerprint_of(sample, field),
        fronts=fronts,
        metric=metric,
        seeds=(start, phase),
        seeds_source=store.fingerprint_of(sample, start),
        out=out,
    )


def _labels(sample: str, name: str, shape: Triple | None = None) -> Field:
    labels = store.complete_field(sample, name, "segment")
    if labels.phases is None:
        raise ArgumentError(
            f"field {name!r} holds no phases; segment it first, or ingest it with --phases"
        )
    if shape is not None and labels.shape != shape:
        raise ArgumentError(
            f"field {name!r} has the shape {labels.shape}, the phases have {shape}: use fields of one"
        )
    return labels


def _code(labels: Field, phase: str) -> int:
    assert labels.phases is not None
    if phase not in labels.phases:
        raise ArgumentError(
            f"{labels.name!r} has no phase {phase!r}; it has {', '.join(labels.phases)}"
        )
    return labels.phases[phase]


def _directions(labels: Field, directions: Sequence[str]) -> list[str]:
    given = [directions] if isinstance(directions, str) else list(directions)
    if unknown := [d for d in given if d not in DIRECTIONS] or ([] if given else [""]):
        raise ArgumentError(
            f"direction {unknown[0]!r} is not known; use some of {','.join(DIRECTIONS)}"
        )
    for d in given:
        if labels.shape[AXES.index(d[1])] < 2:
            raise ArgumentError(
                f"{labels.name!r} has one voxel along {d[1]}, a path needs at least two planes; leave out {d}"
            )
    return [d for d in DIRECTIONS if d in given]


def every_place(grid: Visits) -> list[Triple]:
    """Indices of the blocks of one volume."""
    return [triple(place) for place in np.ndindex(grid.counts)]


def added_up(travel: Travel, sums: Ledger) -> Iterator[tuple[Front, Planes]]:
    """Plane sums of each front, added up over the blocks."""
    grid = travel.visits
    for number, front in enumerate(travel.fronts):
        indices = [grid.stacked(number, place) for place in every_place(grid)]
        blocks = zip(map(grid.block_at, indices), sums.records(indices), strict=True)
        totals = add_blocks(SumPlanes(front.axis).partials(), grid.shape, blocks, travel.material)
        yield front, Planes(**totals, spacing=travel.spacing, axis=front.axis, rises=front.rises)


def results_of_planes(job: Job, found: Iterable[tuple[Front, Planes]]) -> xr.Dataset:
    """Results: tortuosities, or distances from seeds."""
    if job.seeds is not None:
        return seeds_results(
            {front.phase: planes for front, planes in found}, job.seeds, job.metric
        )
    by_way = {(front.phase, front.direction): planes for front, planes in found}
    return geodesic_results(by_way, job.labels.spacing_nm, job.metric)
