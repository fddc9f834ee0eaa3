"""Connected components of phases, numbered over the whole volume independently of the blocks.

Pass A labels every block and stores a table of its components and the labels on its border. Pass B
pairs the borders of neighbours. The client merges. Statistics need no more; the field of
components, if it is kept, is a third pass that labels every block again and renumbers it: faster
than writing and reading labels that may not be needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d.descriptors.base import check_labels
from tim3d.descriptors.percolation import percolation
from tim3d.engine import Ledger, Outline, Pass, Plan, lock_sample
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.kernels.morphology import components as kernel
from tim3d.kernels.morphology.components import Border, Components
from tim3d.phases import Phases
from tim3d.spelling import given_twice
from tim3d.stages.shared.field import DEFAULTS, Making, Options, plan_field, produce
from tim3d.stages.shared.packed import pack, unpack
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
from tim3d.storage.schema import AXES, Field
from tim3d.typed import Names

# Bound on the memory of labelling beside the labels, in bytes per voxel (benchmarks/RESULTS.md,
# "Components").
KERNEL_BYTES = 12.0
COLUMNS = ("code", "voxels", "first", "start", "stop")
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
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Find the connected components of each phase, and what leads from face to face of the volume.

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
    job = _job(sample, field, phases, connectivity, out)
    if component != "component" and not keep:
        raise ArgumentError(
            "--component names the field of components, which is not written: add --keep"
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
            lookup = _lookup_node(self.field.field.name)
            produce(
                self.job.sample,
                self.field,
                self.options,
                lambda _: store.delete_node(self.job.sample, lookup),
            )
        return found

    def _write_lookup(self) -> None:
        """Write the lookup table of pass C: the final number of each component of each block."""
        starts, table, rows = _merge(*self.passes)
        if len(table) > MOST:
            raise InputError(
                f"{len(table)} components are more than {schema.ID_DTYPE} can number; label fewer phases"
            )
        node = _lookup_node(self.field.field.name)
        store.write_dataset(self.job.sample, node, _lookup(starts, rows), self.results.record)


def _job(sample: str, field: str, names: Sequence[str] | None, connectivity: int, out: str) -> Job:
    labels = store.complete_field(sample, field, "segment")
    kernel.check_connectivity(connectivity)
    if labels.phases is None:
        raise ArgumentError(
            f"field {field!r} holds no phases; segment it first, or ingest it with --phases"
        )
    unknown = [name for name in names or () if name not in labels.phases]
    if unknown or (names is not None and not names):
        raise ArgumentError(
            f"{field!r} has no phase {', '.join(unknown)}; it has {', '.join(labels.phases)}"
        )
    if twice := given_twice(names or ()):
        raise ArgumentError(f"{twice!r} is given twice: give it once in --phases")
    chosen = Phases(
        **{name: code for name, code in labels.phases.items() if names is None or name in names}
    )
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
    work = PairsWork(labelling.ledger, labelling.grid, job.connectivity)
    ledger = Ledger(job.sample, f"{job.node}/pairs", fingerprint)
    return labelling, replace(labelling, work=work, ledger=ledger, read_bytes=0)


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
        table = kernel.tabulate(ids, labels, block.core.start, self.shape)
        planes = {
            _plane_name(*key): pack(plane)
            for key, plane in kernel.border(ids, table.code).planes.items()
        }
        return {name: pack(getattr(table, name)) for name in COLUMNS} | planes


def _plane_name(axis: int, side: int) -> str:
    return f"{AXES[axis]}_{'low' if side < 0 else 'high'}"


@dataclass(frozen=True)
class PairsWork:
    """Pass B: pairs of components that touch across the borders of a block."""

    ledger: Ledger
    grid: Grid
    connectivity: int

    def read(self, block: Block) -> dict[Triple, Border]:
        """Read the borders of the block and of its neighbours, by offset."""
        offsets = [(0, 0, 0), *kernel.neighbours(self.grid, block.index, self.connectivity)]
        return {
            offset: _border(self.ledger.record(_beside(block.index, offset))) for offset in offsets
        }

    def compute(self, block: Block, inputs: dict[Triple, Border]) -> dict[str, Any]:
        """Find the touching pairs with each neighbour."""
        own = inputs.pop((0, 0, 0))
        found = {
            o: kernel.border_pairs(own, there, o, self.connectivity) for o, there in inputs.items()
        }
        return {
            "pairs": [{"offset": offset, "rows": pack(pairs)} for offset, pairs in found.items()]
        }

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of 14 blocks' borders and their text, and 40 per voxel of the largest plane."""
        return 14 * 8 * kernel.border_voxels(core) + 40 * int(np.prod(core)) // min(core)


def _border(record: Mapping[str, Any]) -> Border:
    planes = {
        (axis, side): unpack(record[_plane_name(axis, side)])
        for axis in range(3)
        for side in (-1, 1)
    }
    return Border(unpack(record["code"]), planes)


def _beside(index: Triple, offset: Triple) -> Triple:
    return triple(i + o for i, o in zip(index, offset, strict=True))


def _results(job: Job, passes: tuple[Pass, Pass]) -> xr.Dataset:
    """Results by phase and axis, from the merged table."""
    _, table, _ = _merge(*passes)
    found = percolation(table, job.phases, job.labels.shape, job.connectivity)
    return found.assign_attrs(spacing_nm=list(job.labels.spacing_nm))


def _merge(labelling: Pass, pairing: Pass) -> tuple[np.ndarray, Components, np.ndarray]:
    """Join and merge the tables of all blocks.

    Returns
    -------
    starts : array
        First row of each block in the joined table.
    table : Components
        The merged table.
    rows : array
        Row in the merged table of each row of the joined one.
    """
    grid = labelling.grid
    # Rows are in C order, unlike the order in which blocks are computed.
    places = [triple(place) for place in np.ndindex(grid.counts)]
    tables = [_table(record) for record in labelling.ledger.records(places)]
    starts = kernel.first_rows([len(table) for table in tables]).reshape(grid.counts)
    pairs = [np.zeros((0, 2), np.int64)]
    for block, record in pairing.records():
        for found in record["pairs"]:
            there = _beside(block.index, triple(found["offset"]))
            pairs.append(unpack(found["rows"]) + np.array([starts[block.index], starts[there]]))
    return starts, *kernel.merge(tables, np.concatenate(pairs))


def _table(record: Mapping[str, Any]) -> Components:
    return Components(*(unpack(record[name]) for name in COLUMNS))


def _lookup_node(out: str) -> str:
    """Name of the temporary lookup node of the field `out`."""
    return f"{out}_lookup"


def _lookup(starts: np.ndarray, rows: np.ndarray) -> xr.Dataset:
    ends = np.append(starts.ravel()[1:], len(rows)).reshape(starts.shape)
    blocks = tuple(f"{axis}_block" for axis in AXES)
    return xr.Dataset({"row": ("label", rows), "start": (blocks, starts), "stop": (blocks, ends)})


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
        rows = store.lazy_dataset(self.sample, _lookup_node(self.out))
        start, stop = int(rows.start[block.index]), int(rows.stop[block.index])
        codes = store.read_box(store.field_array(self.sample, self.source), block.core)
        return codes, np.asarray(rows.row[start:stop].values)

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Compute the numbers of the components."""
        codes, rows = inputs
        return np.take(
            kernel.lookup(rows), kernel.label_block(codes, self.codes, self.connectivity)
        )

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of codes while decoded, of labelling, and of numbers while encoded."""
        return int(np.prod(core) * (2 + KERNEL_BYTES + 8))
