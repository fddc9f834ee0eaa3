"""Slices on disk become a voxel field: a slab of slices is read, described and written as whole shards, once."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Outline, Plan
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, StoreError
from tim3d.forecast import will_exist
from tim3d.grid import Block, Grid, Triple
from tim3d.kernels.image.threshold import grey_counts
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.sources import (
    PlannedStack,
    Source,
    resample,
    resolve_voxel_size,
    spacing_statistics,
    uniform_resampling,
)
from tim3d.sources.conversion import Conversion
from tim3d.sources.holes import MissingChunks
from tim3d.sources.opening import Reading
from tim3d.sources.units import edges_given, length_nm, refuse_units_alone
from tim3d.stages.inspection.audit import (
    Subject,
    check_accepted,
    original,
    refuse_suspicious,
)
from tim3d.stages.shared.awaited import cannot_plan, plan_awaiting
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    plan_field,
    produce,
    refuse_other_shards,
    slab,
    whole_shards,
)
from tim3d.stages.shared.slice_statistics import keep_statistics, slice_statistics
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Edges, Names, PartialVoxelSize, Pick, Shape, Sources

log = logging.getLogger(__name__)


@Verb
def ingest(
    source: Sources | Source,
    sample: str,
    *,
    voxel_size: PartialVoxelSize | None = None,
    units: str = "nm",
    field: str = "raw",
    phases: Phases | None = None,
    dataset: str | None = None,
    shape: Shape | None = None,
    dtype: str | None = None,
    shard: Edges | None = None,
    even_z: bool = True,
    missing_chunks: MissingChunks = "refuse",
    scene: Pick | None = None,
    time: Pick | None = None,
    channel: Pick | None = None,
    level: Pick | None = None,
    convert: Conversion = "exact",
    accept: Names = (),
    other_grid: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Write a stack of slices, or a volume, into a sample as a voxel field with coordinates in nm and a pyramid.

    Only one slab of slices, as thick as a shard, is in memory at a time. The stack is read once
    more before, and nothing is written if it looks wrong (see `tim3d.inspect`).

    Parameters
    ----------
    source : path, glob, list of paths or Source
        Folder, glob or files: TIFF, PNG, npy, raw, HDF5, zarr, MRC, NRRD and others
        (docs/ingest.md). Slices come in natural order; a TIFF may have many pages. In Python also a
        `tim3d.Source`, which reads a format of one's own (docs/extend.md).
    sample : str
        Path or URL of the sample. It is made if it is not there.
    voxel_size : mapping of axis to length, optional
        Edges of a voxel along z, y, x in the units (default: as the metadata say). What is not
        given is taken from the files' metadata.
    units : str
        Unit of the voxel size: nm, um, mm ...
    field : str
        Name of the field.
    phases : Phases, optional
        Names and codes, which make it a field of labels (default: grey values). Voxels are codes of
        these phases and are never averaged.
    dataset : str, optional
        Which dataset of an HDF5 or zarr (default: the only one).
    shape : (z, y, x), optional
        Shape of a raw file in voxels (needed by a raw file).
    dtype : str, optional
        Type of the numbers of a raw file (needed by a raw file).
    shard : (z, y, x), optional
        Edges of a shard in voxels, the unit that is written at once (default: 64,512,512).
    even_z : bool
        Resample uneven slices to even positions. Where names of slices carry uneven z positions
        (linear; labels: nearest).
    missing_chunks : {"refuse", "fill"}
        Of HDF5 and zarr: what becomes of chunks that are not there. They are refused, or filled
        with the fill value of the file.
    scene : number or name, optional
        Which image of a file with several, from 0 (needed if there are several).
    time : number or name, optional
        Which time, from 0 (needed if there are several).
    channel : number or name, optional
        Which channel, from 0 (needed if there are several).
    level : number or name, optional
        Which level of a pyramid, from 0 (default: 0, the full resolution).
    convert : {"exact", "shift", "float32", "objects"}
        Values of other types than uint8, uint16, float32 must fit without change (exact), get an
        offset (shift: int8 plus 128, int16 plus 32768), or become the nearest float32. Whole
        numbers may be those of objects, 0 for none (objects), which are never averaged nor judged
        as grey values.
    accept : sequence of str
        Suspicious things to take as they are, by their names: ``gaps``, ``blank``, ``drift`` ...
        (see `tim3d inspect`). All others stop the ingest before anything is written.
    other_grid : bool
        The field is meant to have another shape or voxel size than the other fields of the sample.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The field as written, lazily.

    Raises
    ------
    ArgumentError
        If a block is not made of whole slices and shards, or a shard not of whole chunks.
    InputError
        If the slices cannot be read, differ in size or type, hold NaN or an unknown code, or a
        voxel edge is unknown; if no field of the sample has this shape and voxel size; if the stack
        looks wrong in a way that is not accepted.
    MixedRunError
        If the sample has a field of that name from another source.
    """
    refuse_units_alone(units, voxel_size)
    if not isinstance(source, Source):
        _refuse_sample(source, dataset, sample)
        _refuse_itself(source, dataset, sample, field)
    typed = Typed(
        source=source,
        reading=Reading(dataset, shape, dtype, missing_chunks, scene, time, channel, level, convert),
        voxel_size=edges_given(voxel_size), units=units, field=field, phases=phases, shard=shard, even_z=even_z,
        accept=check_accepted(accept), other_grid=other_grid,
    )  # fmt: skip
    ingesting = Ingesting(typed, sample, options)
    return Task(ingesting.plans, ingesting.run)


@dataclass(frozen=True)
class Typed:
    """Arguments of `ingest`: the source, and the field that it becomes."""

    source: Sources | Source
    reading: Reading
    voxel_size: dict[str, float | None]
    units: str
    field: str
    phases: Phases | None
    shard: Triple | None
    even_z: bool
    accept: tuple[str, ...]
    other_grid: bool

    def open(self) -> tuple[Source, schema.Spacing]:
        """The slices, evenly spaced, and the edges of a voxel in nm; headers are read and no voxel."""
        stack = self.reading.open(self.source)
        _refuse_beyond_memory(stack)
        labels = self.phases is not None or stack.is_numbered
        stack, spacing = _even(
            stack, dict(self.voxel_size), self.units, labels=labels, even_z=self.even_z
        )
        if self.phases is not None and stack.is_numbered:
            raise ArgumentError(
                f"{stack.label} holds numbers of objects, which have no phases: leave out --phases"
            )
        if self.phases is not None and stack.dtype != np.uint8:
            raise InputError(
                f"labels are {stack.dtype}; tim3d needs uint8 codes 0 to 255. Convert {self.source} first"
            )
        return stack, spacing

    def described(self, stack: Source, spacing: schema.Spacing) -> Field:
        """The field that the slices become."""
        shards, chunk = schema.asked_shard(stack.shape, self.shard)
        return Field(
            name=self.field,
            shape=stack.shape,
            dtype=str(stack.dtype),
            spacing_nm=spacing,
            chunk=chunk,
            shard=shards,
            labels=self.phases is not None or stack.is_numbered,
            phases=self.phases,
            long_name=_meaning(self.phases, stack),
        )


@dataclass(frozen=True)
class Ingesting:
    """Slices that become a field of a sample."""

    typed: Typed
    sample: str
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The passes; of a file that an earlier step writes and does not describe, one line that says so."""
        where = _text(self.typed.source)
        try:
            stack, spacing = self.typed.open()
        except InputError:
            if will_exist(where):
                return [*cannot_plan("ingest", where)]
            raise
        making = self._making(stack, spacing)
        if isinstance(stack, PlannedStack):
            return plan_awaiting(self.sample, making, self.options, where)
        refuse_other_shards(self.sample, making.field, self.typed.shard, self.options)
        plans = plan_field(self.sample, making, self.options)
        audit = [Outline("ingest", self._subject(stack, spacing).outline())]
        return [*(audit if plans and not self._is_begun() else []), *plans]

    def run(self) -> xr.DataArray:
        """Write what is not there."""
        stack, spacing = self.typed.open()
        making = self._making(stack, spacing)
        refuse_other_shards(self.sample, making.field, self.typed.shard, self.options)
        subject, kept = self._subject(stack, spacing), self._is_begun()
        plans = plan_field(self.sample, making, self.options)
        audit = functools.cache(lambda: subject.audit(progress=self.options.progress))
        if plans and not kept:
            for plan in plans:
                plan.check()
            making = replace(making, remarks=self._accepted(audit()))
        grid = Grid(making.field.shape, making.block)
        return produce(
            self.sample,
            making,
            self.options,
            lambda ledger: self._keep(making.field, ledger, grid, audit),
        )

    def _subject(self, stack: Source, spacing: schema.Spacing) -> Subject:
        given = tuple(axis for axis, length in self.typed.voxel_size.items() if length is not None)
        labels = self.typed.phases is not None or stack.is_numbered
        return Subject(original(stack), spacing, given, labels=labels)

    def _is_begun(self) -> bool:
        """Whether the field is there, finished or not: its slices were looked at."""
        there = store.is_sample(self.sample) and store.claimed(self.sample, self.typed.field)
        return bool(there) and not self.options.overwrite

    def _accepted(self, found: xr.Dataset) -> dict[str, Any]:
        """Findings that are accepted, for the record of the field."""
        accepted = refuse_suspicious(found, self.typed.accept, _text(self.typed.source))
        return {"accepted": accepted} if accepted else {}

    def _keep(
        self, out: Field, ledger: Ledger, grid: Grid, audit: Callable[[], xr.Dataset]
    ) -> None:
        """Tables beside a field of grey values: of its slices, and of the stack as it was read."""
        if out.labels:
            return
        keep_statistics(self.sample, out, ledger, grid, "ingest")
        record = store.provenance(ledger.fingerprint, {}, {out.name: ledger.fingerprint})
        found = audit().copy()
        del found.attrs["source"]  # the same stack elsewhere is the same
        store.write_dataset(
            self.sample, f"{out.name}_inspection", found, record | {"verb": "ingest"}
        )

    def _making(self, stack: Source, spacing: schema.Spacing) -> Making:
        typed, out = self.typed, self.typed.described(stack, spacing)
        return Making(
            verb="ingest",
            field=out,
            work=IngestWork(stack, self.sample, out.name, typed.phases, self.options.durable),
            block=_slab_block(out, self.options),
            inputs={"source": stack.identity()},
            parameters={"even_z": typed.even_z}
            | ({"filled_chunks": stack.filled} if stack.filled else {})
            | typed.reading.chosen(),
            read_bytes=stack.dtype.itemsize,
            other_grid=typed.other_grid,
        )


def _meaning(phases: Phases | None, stack: Source) -> str:
    if stack.is_numbered:
        return "number of the object"
    return "phase" if phases else "grey value"


def _text(source: Sources | Source) -> str:
    """The source as it is named in a message: the first of a list of files."""
    if isinstance(source, Source):
        return source.label
    return str(source if isinstance(source, str | Path) else next(iter(source), ""))


def _refuse_sample(source: str | Path | Sequence[str], dataset: str | None, sample: str) -> None:
    """Raise `ArgumentError` if the source is a sample: source and sample were typed in the wrong order."""
    named = [source] if isinstance(source, str | Path) else source
    if dataset is not None or len(named) != 1 or not Path(named[0], "zarr.json").is_file():
        return
    with contextlib.suppress(StoreError, InputError):  # a field of a sample may be read
        store.open_sample(str(named[0]))
        raise ArgumentError(
            f"{named[0]} is a sample of tim3d, and the sample comes last: tim3d ingest {sample} {named[0]}. To copy a "
            "field of it add --dataset raw/s0/raw"
        )


def _refuse_itself(
    source: str | Path | Sequence[str], dataset: str | None, sample: str, field: str
) -> None:
    """A field that is its own source would be gone before it is read."""
    target = Path(sample, field).resolve()
    for one in [source] if isinstance(source, str | Path) else source:
        if Path(one, dataset or "").resolve().is_relative_to(target):
            raise ArgumentError(
                f"ingest reads {field!r} of {sample} and cannot write it. Add --field another-name"
            )


def _refuse_beyond_memory(stack: Source) -> None:
    """Headers promise what they like: the first look at the voxels must fit before any plan is made."""
    plane = stack.shape[1] * stack.shape[2]
    needed = 2 * stack.slice_bytes + stack.piece_bytes + plane * stack.extra_voxel_bytes
    there = available_memory()
    if needed > there:
        raise MemoryPlanError(
            f"{stack.label}: {stack.shape} voxels of {stack.dtype}; to read one slice takes {needed / 2**30:.1f} GiB, "
            f"and {there / 2**30:.1f} GiB are free. If the file should be smaller than that, it is damaged"
        )


def _slab_block(out: Field, options: Options) -> Triple:
    """Whole slices only: each file is then opened once."""
    block = whole_shards(options.block or slab(out, out.shard[0]), out)
    if any(b < n for b, n in zip(block[1:], out.shape[1:], strict=True)):
        raise ArgumentError(
            f"ingest works on whole slices; use --block {block[0]},{out.shape[1]},{out.shape[2]}"
        )
    return block


def _even(
    stack: Source, given: dict[str, float | None], units: str, *, labels: bool, even_z: bool
) -> tuple[Source, schema.Spacing]:
    if stack.positions_nm is None or len(stack.positions_nm) < 2:
        return stack, resolve_voxel_size(given, units, stack)
    steps = spacing_statistics(stack.positions_nm)
    log.info("%s", steps)
    if not even_z or steps.is_uniform():
        known = replace(stack, voxel_size_nm=(abs(steps.mean_nm), *stack.voxel_size_nm[1:]))
        return stack, resolve_voxel_size(given, units, known)
    wanted = given.pop("z", None)
    plan = uniform_resampling(
        stack.positions_nm, None if wanted is None else length_nm(wanted, units)
    )
    log.info("resampled to %d slices at %.3f nm", len(plan), plan.step_nm)
    even = resample(stack, plan, labels=labels)
    return even, resolve_voxel_size(given, units, even)


@dataclass(frozen=True)
class IngestWork:
    """A slab of slices: read from the source, described, written."""

    source: Source
    sample: str
    name: str
    phases: Phases | None
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """The slices of the block."""
        return self.source.read(block.core.start[0], block.core.stop[0])

    def compute(
        self, block: Block, inputs: np.ndarray
    ) -> tuple[np.ndarray, dict[str, list[float]]]:
        """Statistics of each slice, but for numbers of objects; unknown codes are refused."""
        if self.source.is_numbered:
            return inputs, {}
        if self.phases is not None:
            _refuse_unknown_codes(inputs, self.phases, self.name, block.core.start[0])
        return inputs, slice_statistics(inputs)

    def write(
        self, block: Block, outputs: tuple[np.ndarray, dict[str, list[float]]]
    ) -> dict[str, Any]:
        """The slab as whole shards."""
        voxels, statistics = outputs
        store.write_block(self.sample, self.name, block.core, voxels, durable=self.durable)
        return dict(statistics)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """The slab, what its shards become on the way to the disk, a decoded piece of the source, and one slice as
        float64 for the statistics."""
        voxels = int(np.prod(core)) * self.source.dtype.itemsize
        converted = int(np.prod(core)) * self.source.extra_voxel_bytes
        return 3 * voxels + converted + self.source.piece_bytes + 3 * 8 * core[1] * core[2]


def _refuse_unknown_codes(labels: np.ndarray, phases: Phases, name: str, first: int) -> None:
    unknown = sorted(set(np.flatnonzero(grey_counts(labels)).tolist()) - set(phases.codes))
    if unknown:
        raise InputError(
            f"field {name!r} has the codes {unknown} in slices {first} to {first + len(labels) - 1}, "
            f"but the phases are {phases}. Name every code: --phases name=code,..."
        )
