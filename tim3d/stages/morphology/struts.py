"""Struts: the graph of a skeleton, without spurs, and the diameters of its branches.

A pass lists the voxels of the skeleton of each block. The graph of the whole is made of the joined
lists: its rules follow branches as far as they go, whatever the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.descriptors.struts import Struts, strut_results
from tim3d.engine import Gathering, Outline, Pass, Plan
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block
from tim3d.kernels.morphology.strut_graph import MAKING_BYTES, Curves, graph_bytes, network
from tim3d.kernels.morphology.strut_graph import struts as kept_struts
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.morphology.stored_skeleton import StoredSkeleton, stored_skeleton
from tim3d.stages.shared.chosen_phases import chosen_phases
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.planes import warn_of_plane
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import ResultMaking, plan_result, produce_result, result_name
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Names

# Bytes that the list of a block needs, for each voxel that is read.
LISTING_BYTES = 3.0


@Verb
def struts(
    sample: str,
    *,
    field: str = "phase",
    phases: Names | None = None,
    skeleton: str = "",
    spurs: float = 1.0,
    joins: float = 1.0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Measure the struts of phases: their diameters, lengths, and how many meet.

    A strut is a branch of the skeleton between two nodes. Diameters have a log-normal fit, with its
    mean and the interval that holds 95 %. Nothing depends on the blocks. See docs/morphology.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field.
    phases : sequence of str, optional
        Names of the phases whose struts are measured (default: all that have a skeleton).
    skeleton : str
        The field that `tim3d skeleton` made (default: FIELD_skeleton).
    spurs : float
        Longest branch that ends freely and is left out, in diameters of the ball at the node where
        it begins (in radii where the border of the volume cuts it); 0 leaves none out.
    joins : float
        Nodes are one if the distance between them is at most this many radii of the larger one's ball;
        0 joins none.
    out : str
        Name of the result (default: FIELD_struts and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        See `tim3d.descriptors.struts.strut_results`.

    Raises
    ------
    MissingFieldError
        If the labels or the skeleton are missing.
    ArgumentError
        If a phase is not known or has no skeleton, the skeleton is not one of these labels, or
        `spurs` or `joins` is negative.
    InputError
        If a phase that was asked for is not there.
    MemoryPlanError
        If the graph does not fit into the memory of this process.
    """
    labels = store.complete_field(sample, field, "segment")
    chosen_phases(labels, phases)  # names that are not known, before what is missing
    name = skeleton or f"{field}_skeleton"
    curves = stored_skeleton(sample, field, name)
    there = list(curves.phases)
    chosen = chosen_phases(labels, there if phases is None else phases)
    if missing := [one for one in chosen if one not in there]:
        raise ArgumentError(
            f"{name!r} of {sample} has no skeleton of {', '.join(missing)}; it has {', '.join(there)}"
        )
    for word, value in (("spurs", spurs), ("joins", joins)):
        if not (value >= 0 and math.isfinite(value)):
            raise ArgumentError(f"--{word} is {value:g}: give a number from 0 on, such as 1")
    warn_of_plane(labels, "its struts are those of a section")
    job = StrutJob(
        sample,
        labels,
        curves,
        chosen,
        phases is not None,
        (spurs, joins),
        out,
        options,
    )
    return Task(job.plans, job.result)


@dataclass(frozen=True)
class StrutJob:
    """Everything that decides the struts of a sample."""

    sample: str
    labels: Field
    curves: StoredSkeleton
    phases: Phases
    asked: bool
    rules: tuple[float, float]
    out: str
    options: Options

    @property
    def skeleton(self) -> Field:
        """The field of the skeleton."""
        return self.curves.field

    @cached_property
    def making(self) -> ResultMaking:
        """Description of the result node."""
        spurs, joins = self.rules
        node = self.out or result_name(
            f"{self.labels.name}_struts",
            phases=(list(self.phases), list(self.curves.phases)),
            skeleton=(self.skeleton.name, f"{self.labels.name}_skeleton"),
            spurs=(spurs, 1.0),
            joins=(joins, 1.0),
        )
        return ResultMaking(
            "struts", self.sample, node, self.inputs, self.parameters, (self.listing,), self.gather
        )

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of the labels and of the skeleton."""
        names = self.labels.name, self.skeleton.name
        return {name: store.fingerprint_of(self.sample, name) for name in names}

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        spurs, joins = self.rules
        return {"phases": dict(self.phases), "spurs": spurs, "joins": joins}

    @cached_property
    def listing(self) -> Pass:
        """Pass that lists the voxels of the skeleton by phase."""
        mark = schema.fingerprint(verb="struts", inputs=self.inputs, phases=dict(self.phases))
        name = self.out or f"{self.labels.name}_struts"
        return reduction_pass(
            self.sample,
            (self.labels, self.skeleton),
            ListKernel(self.phases, self.labels.shape),
            name=f"{name}/voxels",
            fingerprint=mark,
            options=self.options,
            kernel_bytes=LISTING_BYTES,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plan of the pass that is left, and of the graph that is made of what it lists."""
        left = plan_result(self.making, self.options)
        known = self.curves.voxels
        voxels = None if known is None else [known[name] for name in self.phases]
        return [*left, self.graph(voxels)] if left else []

    def result(self) -> xr.Dataset:
        """The result; what does not fit is refused before a block is read."""
        for plan in self.plans():
            plan.check()
        return produce_result(self.making, self.options)

    def graph(self, voxels: Sequence[int] | None) -> Gathering:
        """Plan of the graph, by the voxels of each phase if they are known."""
        return Gathering(
            f"{self.making.node}/graph",
            "joins the skeleton of all blocks",
            None if voxels is None else graph_bytes(voxels),
            (MAKING_BYTES, "voxels of a skeleton"),
        )

    def gather(self) -> xr.Dataset:
        """Graphs from the lists of all blocks, and what is measured on them."""
        records = [record for _, record in self.listing.records()]
        counts = zip(*(record["count"] for record in records), strict=True)
        self.graph([*map(sum, counts)]).check()
        every = list(self._struts(records))
        found = {name: one for name, one in every if one is not None}
        absent = [name for name, one in every if one is None]
        if absent and (self.asked or not found):
            raise InputError(
                f"no voxel of {self.labels.name!r} in {self.sample} is of the phase {', '.join(absent)}: "
                "leave it out of --phases"
            )
        spurs, joins = self.rules
        results = strut_results(found, schema.UNIT)
        about = {"spurs": spurs, "joins": joins, "convention": "diameters end at voxel centres"}
        return results.assign_attrs(spacing_nm=list(self.labels.spacing_nm), **about)

    def _struts(self, records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Struts | None]]:
        """Struts of each phase, None where it has no skeleton."""
        for rank, name in enumerate(self.phases):
            voxel = np.concatenate([unpack(one["voxel"][rank]) for one in records])
            diameter = np.concatenate([unpack(one["diameter"][rank]) for one in records])
            order = np.argsort(voxel)
            radius = diameter[order].astype(np.float64) / 2
            curves = Curves(voxel[order], radius, self.labels.shape, self.labels.spacing_nm)
            yield name, Struts.of(kept_struts(network(curves), *self.rules)) if len(voxel) else None


@dataclass(frozen=True)
class ListKernel:
    """Voxels of the skeleton in a block: their places in the volume, and the diameters there."""

    phases: Phases
    shape: tuple[int, int, int]

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Compute the record of a block, with packed arrays by phase."""
        labels, diameters = fields
        at = np.argwhere(diameters > 0)
        codes, values = labels[tuple(at.T)], diameters[tuple(at.T)]
        places = np.ravel_multi_index(tuple((at + np.array(block.core.start)).T), self.shape)
        own = [codes == code for code in self.phases.codes]
        return {
            "count": [int(one.sum()) for one in own],
            "voxel": [pack(places[one].astype(np.int64)) for one in own],
            "diameter": [pack(values[one].astype(np.float32)) for one in own],
        }
