"""Connected components of phases, numbered over the whole volume independently of the blocks.

Pass A labels every block and stores a table of its components and the labels on its border. Pass B
pairs the borders of neighbours. The client merges. Statistics need no more; the field of
components, if it is kept, is a third pass that labels every block again and renumbers it: faster
than writing and reading labels that may not be needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from tim3d.descriptors.base import check_labels
from tim3d.descriptors.percolation import percolation
from tim3d.engine import Outline, Pass, Plan, lock_sample
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, Box, Triple
from tim3d.kernels.morphology import components as kernel
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.components.blocks import (
    KERNEL_BYTES,
    block_record,
    lookup,
    lookup_node,
    merged,
    pairing_pass,
    values_of_block,
)
from tim3d.stages.shared.chosen_phases import chosen_phases
from tim3d.stages.shared.draws import with_draws
from tim3d.stages.shared.field import DEFAULTS, Making, Options, plan_field, produce
from tim3d.stages.shared.planes import warn_of_plane
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import (
    ResultMaking,
    plan_result,
    produce_result,
    result_name,
    run_passes,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Names

MOST = int(np.iinfo(schema.ID_DTYPE).max)


@Verb
def label(
    sample: str,
    *,
    field: str = "phase",
    phases: Names | None = None,
    connectivity: Literal[6, 18, 26] = 6,
    keep: bool = False,
    component: str = "component",
    out: str = "",
    draws: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Label the connected components of each phase, and find those that percolate.

    Numbers, sizes and boxes do not depend on the blocks. Components are numbered from 1 by their
    first voxel in C order, over all phases; the components of one phase have the order of
    `scipy.ndimage.label`.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field.
    phases : sequence of str, optional
        Names of the phases to label, the rest is background (default: all).
    connectivity : {6, 18, 26}
        Neighbours share a face, or an edge too, or a corner too.
    keep : bool
        Write the number of every voxel's component as a field too. It is the field `component`
        (uint32, 0 is background).
    component : str
        Name of that field.
    out : str
        Name of the result (default: FIELD_components and what is not a default).
    draws : bool
        Do the same for every draw of the field (`sample_labels`), which gives intervals.
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        The components and their statistics, as stored in the result node; see
        `tim3d.descriptors.percolation.percolation`.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase is not known, the connectivity is not 6, 18 or 26, or the field has no phases.
    InputError
        If a voxel has a code without a phase, or there are more components than uint32 can number.
    MixedRunError
        If `component` exists with different parameters, blocks of another edge are done, or `out`
        is another result.
    """
    if draws:
        return with_draws(label, locals())
    job = _job(sample, field, phases, connectivity, out)
    if component != "component" and not keep:
        raise ArgumentError(
            "--component names the field of components, which is not written: add --keep"
        )
    warn_of_plane(
        job.labels,
        "its components may be joined in the material, and along its thin axis each touches both faces",
    )
    labelling = Labelling(job, component if keep else None, options)
    return Task(labelling.plans, labelling.result)


@dataclass(frozen=True)
class Job:
    """Everything that decides the numbers of a labelling."""

    sample: str
    labels: Field
    source: str
    phases: Phases
    connectivity: int
    out: str

    @property
    def node(self) -> str:
        """Name of the result node."""
        every = list(self.labels.phases or ())
        question = {"phases": (list(self.phases), every), "connectivity": (self.connectivity, 6)}
        return self.out or result_name(f"{self.labels.name}_components", **question)

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprint of the label field, stored as provenance."""
        return {self.labels.name: self.source}

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        return {"phases": dict(self.phases), "connectivity": self.connectivity}


@dataclass(frozen=True)
class Labelling:
    """The passes of a job, and the field of components if it is `kept`."""

    job: Job
    kept: str | None
    options: Options

    @cached_property
    def passes(self) -> tuple[Pass, Pass]:
        """Passes for the tables of all blocks, and for the pairs over their borders."""
        return _passes(self.job, self.options)

    @cached_property
    def results(self) -> ResultMaking:
        """Description of the result node."""
        job = self.job
        return ResultMaking(
            verb="label",
            sample=job.sample,
            node=job.node,
            inputs=job.inputs,
            parameters=job.parameters,
            passes=self.passes,
            gather=partial(_results, job, self.passes),
        )

    @cached_property
    def field(self) -> Making:
        """Description of the field of components."""
        return _making(self.job, str(self.kept), self.passes[0], self.options)

    def plans(self) -> list[Plan | Outline]:
        """Plans of the unfinished passes and of the field."""
        field = plan_field(self.job.sample, self.field, self.options) if self.kept else []
        found = plan_result(self.results, self.options)
        if field and not found:  # the tables of all blocks are needed again, perhaps from markers
            found = [one.plan() for one in self.passes]
        return [*found, *field]

    def result(self) -> xr.Dataset:
        """Compute the results, and write the field of components if it is kept."""
        # Planning refuses a wrong field before any work.
        fields = plan_field(self.job.sample, self.field, self.options) if self.kept else []
        found = produce_result(self.results, self.options)
        if fields:
            with lock_sample(self.job.sample):
                run_passes(self.passes, replace(self.options, overwrite=False))
                self._write_lookup()
            node = lookup_node(self.field.field.name)
            produce(
                self.job.sample,
                self.field,
                self.options,
                lambda _: store.delete_node(self.job.sample, node),
            )
        return found

    def _write_lookup(self) -> None:
        """Write the lookup table of pass C: the final number of each component of each block."""
        starts, table, rows = merged(*self.passes)
        if len(table) > MOST:
            raise InputError(
                f"{len(table)} components are more than {schema.ID_DTYPE} can number; label fewer phases"
            )
        node = lookup_node(self.field.field.name)
        store.write_dataset(self.job.sample, node, lookup(starts, rows), self.results.record)


def _job(sample: str, field: str, names: Sequence[str] | None, connectivity: int, out: str) -> Job:
    labels = store.complete_field(sample, field, "segment")
    kernel.check_connectivity(connectivity)
    chosen = chosen_phases(labels, names)
    return Job(sample, labels, store.fingerprint_of(sample, field), chosen, connectivity, out)


def _passes(job: Job, options: Options) -> tuple[Pass, Pass]:
    codes = job.phases.codes
    fingerprint = schema.fingerprint(verb="label", inputs=job.inputs, parameters=job.parameters)
    labelling = reduction_pass(
        job.sample,
        (job.labels,),
        LabelKernel(codes, _all_phases(job), job.connectivity, job.labels.shape),
        name=f"{job.node}/blocks",
        fingerprint=fingerprint,
        options=options,
        kernel_bytes=KERNEL_BYTES,
    )
    return labelling, pairing_pass(labelling, job.connectivity, f"{job.node}/pairs")


def _all_phases(job: Job) -> Phases:
    assert job.labels.phases is not None
    return job.labels.phases


@dataclass(frozen=True)
class LabelKernel:
    """Pass A: the table of a block's components, and the labels on its border."""

    codes: tuple[int, ...]
    phases: Phases
    connectivity: int
    shape: Triple

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Compute the record of a block, with packed arrays."""
        (labels,) = fields
        check_labels(labels, Box.whole(block.core.shape), self.phases)
        ids = kernel.label_block(labels, self.codes, self.connectivity)
        return block_record(ids, labels, block.core.start, self.shape)


def _results(job: Job, passes: tuple[Pass, Pass]) -> xr.Dataset:
    """Results by phase and axis, from the merged table."""
    _, table, _ = merged(*passes)
    found = percolation(table, job.phases, job.labels.shape, job.connectivity)
    return found.assign_attrs(spacing_nm=list(job.labels.spacing_nm))


def _making(job: Job, out: str, labelling: Pass, options: Options) -> Making:
    labels = job.labels
    component = Field(
        name=out,
        shape=labels.shape,
        dtype=schema.ID_DTYPE,
        spacing_nm=labels.spacing_nm,
        chunk=labels.chunk,
        shard=labels.shard,
        labels=True,
        long_name="number of the connected component",
    )
    return Making(
        verb="label",
        field=component,
        work=NumberWork(
            sample=job.sample,
            source=labels.name,
            out=out,
            codes=job.phases.codes,
            connectivity=job.connectivity,
            durable=options.durable,
        ),
        block=labelling.grid.block,
        inputs=job.inputs,
        parameters=job.parameters,
    )


@dataclass(frozen=True)
class NumberWork:
    """Pass C: label a block again and give its components their final numbers."""

    sample: str
    source: str
    out: str
    codes: tuple[int, ...]
    connectivity: int
    durable: bool

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Read codes, and the lookup rows of the block's components."""
        codes = store.read_box(store.field_array(self.sample, self.source), block.core)
        return codes, values_of_block(self.sample, self.out, block.index)

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Compute the numbers of the components."""
        codes, rows = inputs
        numbers = kernel.label_block(codes, self.codes, self.connectivity)
        return np.asarray(kernel.lookup(rows)[numbers])

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of codes while decoded, of labelling, and of numbers while encoded."""
        return int(np.prod(core) * (2 + KERNEL_BYTES + 8))
