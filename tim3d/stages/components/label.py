"""Phases become connected components: one numbering of the whole volume, whatever the blocks.

Pass A labels every block and keeps a table of its components and the labels on its border. Pass B pairs the borders of
neighbours. The client merges. Statistics need no more; the field of components, if it is kept, is a third pass that
labels every block again and renumbers it: faster than writing and reading labels that nobody asked for.
"""

from __future__ import annotations

import base64
import zlib
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
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import ResultMaking, plan_result, produce_result, result_name, run_passes
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field
from tim3d.typed import Names

# Bound on what labelling holds beside the labels, in bytes per voxel (benchmarks/RESULTS.md, "Components").
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

    Numbers, sizes and boxes do not depend on the blocks. Components are numbered from 1 by their first voxel in C
    order, over all phases; the components of one phase are in the order of `scipy.ndimage.label`.

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
        Write the number of every voxel's component as a field too. It is the field `component` (uint32, 0 is
        background).
    component : str
        Name of that field.
    out : str
        Name of the result (default: FIELD_components and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        As kept in the node of the result; see `tim3d.descriptors.percolation.percolation`.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase is not known, the connectivity is another, or the field holds no labels.
    InputError
        If a voxel has a code that no phase names, or there are more components than uint32 can number.
    MixedRunError
        If `component` was made otherwise, blocks of another edge are done, or `out` is another result.
    """
    job = _job(sample, field, phases, connectivity, out)
    if component != "component" and not keep:
        raise ArgumentError("--component names the field of components: add --keep to write it")
    labelling = Labelling(job, component if keep else None, options)
    return Task(labelling.plans, labelling.result)


@dataclass(frozen=True)
class Job:
    """What is labelled, and how: everything that decides the numbers."""

    sample: str
    labels: Field
    source: str
    phases: Phases
    connectivity: int
    out: str

    @property
    def node(self) -> str:
        """Where the results are kept."""
        every = list(self.labels.phases or ())
        question = {"phases": (list(self.phases), every), "connectivity": (self.connectivity, 6)}
        return self.out or result_name(f"{self.labels.name}_components", **question)

    @property
    def inputs(self) -> dict[str, Any]:
        """The label field by its fingerprint."""
        return {self.labels.name: self.source}

    @property
    def parameters(self) -> dict[str, Any]:
        """As recorded."""
        return {"phases": dict(self.phases), "connectivity": self.connectivity}


@dataclass(frozen=True)
class Labelling:
    """The passes of a job, and the field of components if it is `kept`."""

    job: Job
    kept: str | None
    options: Options

    @cached_property
    def passes(self) -> tuple[Pass, Pass]:
        """Tables of all blocks, and pairs over their borders."""
        return _passes(self.job, self.options)

    @cached_property
    def results(self) -> ResultMaking:
        """The node of results."""
        job = self.job
        return ResultMaking(
            "label", job.sample, job.node, job.inputs, job.parameters, self.passes, partial(_results, job, self.passes)
        )

    @cached_property
    def field(self) -> Making:
        """The field of components."""
        return _making(self.job, str(self.kept), self.passes[0], self.options)

    def plans(self) -> list[Plan | Outline]:
        """What of both passes and the field is left to do."""
        field = plan_field(self.job.sample, self.field, self.options) if self.kept else []
        found = plan_result(self.results, self.options)
        if field and not found:  # the tables of all blocks are needed once more; markers may still hold them
            found = [one.plan() for one in self.passes]
        return [*found, *field]

    def result(self) -> xr.Dataset:
        """The results, kept with the field of components if it is asked for."""
        fields = plan_field(self.job.sample, self.field, self.options) if self.kept else []  # refuses before any work
        found = produce_result(self.results, self.options)
        if fields:
            with lock_sample(self.job.sample):
                run_passes(self.passes, replace(self.options, overwrite=False))
                self._keep_lookup()
            lookup = _lookup_node(self.field.field.name)
            produce(self.job.sample, self.field, self.options, lambda _: store.delete_node(self.job.sample, lookup))
        return found

    def _keep_lookup(self) -> None:
        """What the third pass needs: the number in the volume of each component of each block."""
        starts, table, rows = _merge(*self.passes)
        if len(table) > MOST:
            raise InputError(f"{len(table)} components are more than {schema.ID_DTYPE} can number; label fewer phases")
        node = _lookup_node(self.field.field.name)
        store.write_dataset(self.job.sample, node, _lookup(starts, rows), self.results.record)


def _job(sample: str, field: str, names: Sequence[str] | None, connectivity: int, out: str) -> Job:
    labels = store.complete_field(sample, field, "segment")
    kernel.check_connectivity(connectivity)
    if labels.phases is None:
        raise ArgumentError(f"field {field!r} holds no phases; segment it first, or ingest it with --phases")
    unknown = [name for name in names or () if name not in labels.phases]
    if unknown or (names is not None and not names):
        raise ArgumentError(f"{field!r} has no phase {', '.join(unknown)}; it has {', '.join(labels.phases)}")
    if twice := given_twice(names or ()):
        raise ArgumentError(f"{twice!r} is given twice: give it once in --phases")
    chosen = Phases(**{name: code for name, code in labels.phases.items() if names is None or name in names})
    return Job(sample, labels, store.fingerprint_of(sample, field), chosen, connectivity, out)


def _passes(job: Job, options: Options) -> tuple[Pass, Pass]:
    codes = job.phases.codes
    mark = schema.fingerprint(verb="label", inputs=job.inputs, parameters=job.parameters)
    labelling = reduction_pass(
        job.sample,
        (job.labels,),
        LabelKernel(codes, _all_phases(job), job.connectivity, job.labels.shape),
        name=f"{job.node}/blocks",
        fingerprint=mark,
        options=options,
        kernel_bytes=KERNEL_BYTES,
    )
    work = PairsWork(labelling.ledger, labelling.grid, job.connectivity)
    ledger = Ledger(job.sample, f"{job.node}/pairs", mark)
    return labelling, replace(labelling, work=work, ledger=ledger, read_bytes=0)


def _all_phases(job: Job) -> Phases:
    assert job.labels.phases is not None
    return job.labels.phases


@dataclass(frozen=True)
class LabelKernel:
    """Pass A: the table of a block and its border."""

    codes: tuple[int, ...]
    phases: Phases
    connectivity: int
    shape: Triple

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Packed arrays."""
        (labels,) = fields
        check_labels(labels, Box.whole(block.core.shape), self.phases)
        ids = kernel.label_block(labels, self.codes, self.connectivity)
        table = kernel.tabulate(ids, labels, block.core.start, self.shape)
        planes = {_plane_name(*key): _pack(plane) for key, plane in kernel.border(ids, table.code).planes.items()}
        return {name: _pack(getattr(table, name)) for name in COLUMNS} | planes


def _plane_name(axis: int, side: int) -> str:
    return f"{AXES[axis]}_{'low' if side < 0 else 'high'}"


def _pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON can hold it, the numbers deflated: a border has thousands of them."""
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 1)).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "deflated": data}


def _unpack(packed: Mapping[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["deflated"]))
    return np.frombuffer(data, packed["dtype"]).reshape(packed["shape"])


@dataclass(frozen=True)
class PairsWork:
    """Pass B: which components of a block go on in the blocks behind it."""

    ledger: Ledger
    grid: Grid
    connectivity: int

    def read(self, block: Block) -> dict[Triple, Border]:
        """Borders of the block and of its neighbours, by offset."""
        offsets = [(0, 0, 0), *kernel.neighbours(self.grid, block.index, self.connectivity)]
        return {offset: _border(self.ledger.record(_beside(block.index, offset))) for offset in offsets}

    def compute(self, block: Block, inputs: dict[Triple, Border]) -> dict[str, Any]:
        """Pairs with each neighbour."""
        own = inputs.pop((0, 0, 0))
        found = {o: kernel.border_pairs(own, there, o, self.connectivity) for o, there in inputs.items()}
        return {"pairs": [{"offset": offset, "rows": _pack(pairs)} for offset, pairs in found.items()]}

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Nothing but the record."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Borders of 14 blocks, once more as text, and 40 bytes a voxel for the pairs of the largest plane."""
        return 14 * 8 * kernel.border_voxels(core) + 40 * int(np.prod(core)) // min(core)


def _border(record: Mapping[str, Any]) -> Border:
    planes = {(axis, side): _unpack(record[_plane_name(axis, side)]) for axis in range(3) for side in (-1, 1)}
    return Border(_unpack(record["code"]), planes)


def _beside(index: Triple, offset: Triple) -> Triple:
    return triple(i + o for i, o in zip(index, offset, strict=True))


def _results(job: Job, passes: tuple[Pass, Pass]) -> xr.Dataset:
    """The merged table, counted by phase and axis."""
    _, table, _ = _merge(*passes)
    found = percolation(table, job.phases, job.labels.shape, job.connectivity)
    return found.assign_attrs(spacing_nm=list(job.labels.spacing_nm))


def _merge(labelling: Pass, pairing: Pass) -> tuple[np.ndarray, Components, np.ndarray]:
    """First row of each block in the joined tables, the merged table, and the row there of each joined one."""
    grid = labelling.grid
    places = [triple(place) for place in np.ndindex(grid.counts)]  # rows are in C order, in which blocks are not run
    tables = [_table(record) for record in labelling.ledger.records(places)]
    starts = kernel.first_rows([len(table) for table in tables]).reshape(grid.counts)
    pairs = [np.zeros((0, 2), np.int64)]
    for block, record in pairing.records():
        for found in record["pairs"]:
            there = _beside(block.index, triple(found["offset"]))
            pairs.append(_unpack(found["rows"]) + np.array([starts[block.index], starts[there]]))
    return starts, *kernel.merge(tables, np.concatenate(pairs))


def _table(record: Mapping[str, Any]) -> Components:
    return Components(*(_unpack(record[name]) for name in COLUMNS))


def _lookup_node(out: str) -> str:
    """Lives only while the field `out` is written."""
    return f"{out}_lookup"


def _lookup(starts: np.ndarray, rows: np.ndarray) -> xr.Dataset:
    ends = np.append(starts.ravel()[1:], len(rows)).reshape(starts.shape)
    blocks = tuple(f"{axis}_block" for axis in AXES)
    return xr.Dataset({"row": ("label", rows), "start": (blocks, starts), "stop": (blocks, ends)})


def _making(job: Job, out: str, labelling: Pass, options: Options) -> Making:
    labels = job.labels
    component = Field(
        out,
        labels.shape,
        schema.ID_DTYPE,
        labels.spacing_nm,
        labels.chunk,
        labels.shard,
        labels=True,
        long_name="number of the connected component",
    )
    return Making(
        verb="label",
        field=component,
        work=NumberWork(job.sample, labels.name, out, job.phases.codes, job.connectivity, options.durable),
        block=labelling.grid.block,
        inputs=job.inputs,
        parameters=job.parameters,
    )


@dataclass(frozen=True)
class NumberWork:
    """Pass C: label a block again and give its components their numbers in the volume."""

    sample: str
    source: str
    out: str
    codes: tuple[int, ...]
    connectivity: int
    durable: bool

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Codes, and rows of the block's components."""
        rows = store.lazy_dataset(self.sample, _lookup_node(self.out))
        start, stop = int(rows.start[block.index]), int(rows.stop[block.index])
        codes = store.read_box(store.field_array(self.sample, self.source), block.core)
        return codes, np.asarray(rows.row[start:stop].values)

    def compute(self, block: Block, inputs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Numbers of the components."""
        codes, rows = inputs
        return np.take(kernel.lookup(rows), kernel.label_block(codes, self.codes, self.connectivity))

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards."""
        store.write_box(store.field_array(self.sample, self.out, mode="r+"), block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Codes twice while they are decoded, what labelling needs, and numbers twice while they are encoded."""
        return int(np.prod(core) * (2 + KERNEL_BYTES + 8))
