"""Creation of a voxel field: refuse or resume, plan, run, build the pyramid, mark as complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Pass, Plan, Work, forget_sample, lock_sample, run
from tim3d.engine.passes.run import BASE_BYTES
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.forecast import expected
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.kernels.image import pyramid
from tim3d.lazy import xarray as xr
from tim3d.stages.shared import differences, siblings
from tim3d.stages.shared.grid_agreement import refuse_other_grid
from tim3d.stages.shared.siblings import Siblings, record_of
from tim3d.stages.shared.verb import Task
from tim3d.storage import sample_image, schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Edges, Seconds

# Default number of voxels of a block: seconds of work, megabytes of memory.
BLOCK_VOXELS = 2**26
# Options that a verb does not have, as its blocks depend on each other or are chosen otherwise; and
# the cure.
_WATCH = "leave it out, and watch the run with  tim3d status {}"
UNUSED = {
    "solve": {
        "block": "leave it out; workers share the volume among them: --workers",
        "time_limit": _WATCH,
    },
    "geodesic": {"time_limit": _WATCH},
    "embed": {"block": "leave it out; a block of this verb is a slice"},
    "porosimetry": {"time_limit": _WATCH},
    "describe": {"block": "leave it out; the blocks are those in which  tim3d measure {}  counted"},
    "export": {"time_limit": "leave it out"},
    "study": {"block": "a block of this verb is a window; give --windows instead of --block"},
}


@dataclass(frozen=True)
class Options:
    """How a verb runs, as opposed to what it computes: nothing here changes a number.

    Parameters
    ----------
    block : (z, y, x), optional
        Voxels of a block, a multiple of the field's shard (default: as many whole shards as suit
        the verb).
    overwrite : bool
        Replace results made from other inputs, parameters or blocks.
    progress : bool
        Show a progress bar on standard error.
    durable : bool
        Force every shard and marker to the disk, against loss of power.
    time_limit : float, optional
        Seconds after which a block counts as hung (default: none). Its worker is started again and
        the block tried again, then set aside. Without workers (``serial``) only a warning is
        possible. Verbs refuse options that they do not have: `solve`, `geodesic` and `porosimetry` a time limit,
        `solve`, `study`, `describe` and `embed` a block.

    Raises
    ------
    ArgumentError
        If the time limit is not positive.
    """

    block: Edges | None = None
    overwrite: bool = False
    progress: bool = True
    durable: bool = False
    time_limit: Seconds | None = None

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit > 0:
            raise ArgumentError(
                f"time limit {self.time_limit}: it must be a positive number of seconds"
            )

    def refuse_unused(self, verb: str, sample: str) -> None:
        """Raise `ArgumentError` if an option is given that the verb does not have."""
        for name, cure in UNUSED[verb].items():
            if getattr(self, name) is not None:
                raise ArgumentError(f"{verb} has no {name}: {cure.format(sample)}")


DEFAULTS = Options()


@dataclass(frozen=True)
class Making:
    """Description of a field and of how its blocks are computed.

    `inputs` and `parameters` decide the numbers; together with the name of the verb they form the
    fingerprint. `siblings` are fields that the same blocks also write, without a pyramid; without
    `pyramid` the field has none either.
    `naming` are the options that name siblings, where that of the field does not.
    `other_grid` states that the field deliberately has another resolution than the other fields of
    the sample. `remarks` are recorded with the field and decide nothing.
    """

    verb: str
    field: Field
    work: Work
    block: Triple
    inputs: Mapping[str, Any] = attribute(default_factory=dict)
    parameters: Mapping[str, Any] = attribute(default_factory=dict)
    halo: Triple = (0, 0, 0)
    read_bytes: float = 1.0
    base_bytes: int = BASE_BYTES
    siblings: tuple[Field, ...] = ()
    naming: Mapping[str, str] = attribute(default_factory=dict)
    other_grid: bool = False
    pyramid: bool = True
    remarks: Mapping[str, Any] = attribute(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the numbers; independent of the blocks."""
        grid = {
            "shape": self.field.shape,
            "dtype": self.field.dtype,
            "spacing_nm": self.field.spacing_nm,
        }
        phases = dict(self.field.phases or {})
        return schema.fingerprint(
            verb=self.verb, inputs=self.inputs, parameters=self.parameters, grid=grid, phases=phases
        )


Finish = Callable[[Ledger], None]


def field_task(
    sample: str, making: Making, options: Options, finish: Finish | None = None
) -> Task[xr.DataArray]:
    """Task of a verb whose result is a field; see `produce`."""
    return Task(
        partial(plan_field, sample, making, options),
        partial(produce, sample, making, options, finish),
    )


def plan_field(sample: str, making: Making, options: Options) -> list[Plan]:
    """Plans of the passes that make a field and its pyramid; empty if the field is complete.

    Raises
    ------
    ArgumentError
        If the name is not allowed for a field, or a block does not consist of whole shards.
    MixedRunError
        If the field exists with different parameters.
    WriteError
        If the sample cannot be written.
    """
    if making.field.name in (*schema.NOT_FIELDS, *schema.AXES, schema.LABELS_FOLDER):
        raise ArgumentError(f"a field cannot be called {making.field.name!r}; give another name")
    _refuse_another(sample, making)
    there = _what_is_there(sample, making, options)
    if there == "complete":
        siblings.refuse_lost(sample, _beside(making))
        return []
    store.refuse_unwritable_sample(sample)
    if there == "nothing":
        siblings.refuse_others(sample, _beside(making), overwrite=options.overwrite)
        if not making.other_grid:
            refuse_other_grid(sample, making.field, making.verb)
    for made in (making.field, *making.siblings):
        record = {
            "fingerprint": making.fingerprint,
            "parameters": making.parameters,
            "inputs": making.inputs,
        }
        store.expect_field(sample, made, record | {"verb": making.verb})
    afresh = there == "nothing"
    return [one.plan(afresh=afresh) for one in _passes(sample, making, _factors(making), options)]


def _factors(making: Making) -> list[Triple]:
    if not making.pyramid:
        return [(1, 1, 1)]
    return pyramid.level_factors(making.field.shape, making.field.spacing_nm)


def produce(
    sample: str,
    making: Making,
    options: Options,
    finish: Finish | None = None,
    prepare: Callable[[], None] | None = None,
) -> xr.DataArray:
    """Make a field, or finish an interrupted one.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    making : Making
        Description of the field and of the work on its blocks.
    options : Options
        How it runs.
    finish : callable, optional
        Called with the ledger of the finest level when all blocks are done, before the field counts
        as finished.
    prepare : callable, optional
        Called before the first block if any is left, to write what the blocks read.

    Raises
    ------
    MixedRunError
        If the field exists with different parameters.
    MemoryPlanError, LockedError, FailedBlocksError, WriteError
        As raised by the engine.
    """
    plans = plan_field(sample, making, options)
    for plan in plans:
        plan.check()
    if plans:
        factors = _factors(making)
        with lock_sample(sample):
            passes = _passes(sample, making, factors, options)
            _write(sample, making, factors, passes, options, finish, prepare)
    return store.open_field(sample, making.field.name)


def renewing(sample: str, making: Making, options: Options) -> Options:
    """Options that replace a field with equal parameters if an input is newer, else `options`."""
    record = record_of(sample, making.field.name)
    alike = record.get("verb") == making.verb and schema.fingerprint(
        p=record["parameters"]
    ) == schema.fingerprint(p=making.parameters)
    return (
        replace(options, overwrite=True)
        if alike and record["fingerprint"] != making.fingerprint
        else options
    )


def _refuse_another(sample: str, making: Making) -> None:
    """Refuse a field in place of a result, or of its own input, even with --overwrite."""
    for name in (made.name for made in (making.field, *making.siblings)):
        record = store.claimed(sample, name) if store.is_sample(sample) else {}
        if record:
            store.refuse_another_kind(sample, name, "field")
        if record and making.inputs.get(name) == record.get("fingerprint"):
            raise ArgumentError(
                f"{making.verb} reads {name!r} of {sample} and cannot write it. Add {_naming(making)} another-name"
            )


def _what_is_there(sample: str, making: Making, options: Options) -> str:
    """State of the requested field in the sample: `complete`, `writing` or `nothing`."""
    name = making.field.name
    record = {} if options.overwrite else record_of(sample, name)
    if not record:
        return "nothing"
    if record["fingerprint"] != making.fingerprint:
        raise MixedRunError(
            f"field {name!r} in {sample} exists but was created with different parameters: "
            f"{_differences(sample, record, making)}. "
            f"Replace it with --overwrite, or keep both: {_naming(making)} another-name"
        )
    return str(record["status"])


def refuse_other_shards(sample: str, field: Field, asked: Triple | None, options: Options) -> None:
    """Raise `MixedRunError` if the field has other shards than requested.

    Its hash does not cover them.
    """
    if asked is None or options.overwrite or not record_of(sample, field.name):
        return
    there = (
        expected("field", f"{sample}/{field.name}") or store.read_field(sample, field.name)
    ).shard
    if there != field.shard:
        raise MixedRunError(
            f"field {field.name!r} in {sample} has shards of {there}, now {field.shard}. Leave out --shard, "
            "replace it with --overwrite, or keep both under another name"
        )


def _beside(making: Making) -> Siblings:
    """Fields that the same blocks write, each with the option that names it."""
    named = {one.name: making.naming.get(one.name) or _naming(making) for one in making.siblings}
    return Siblings(making.verb, making.field.name, making.fingerprint, named)


def _naming(making: Making) -> str:
    """Option of the verb that names its field."""
    return "--field" if making.verb == "ingest" else "--out"


def _differences(sample: str, record: Mapping[str, Any], making: Making) -> str:
    """Differences between the field that is there and what is asked for, in words."""
    before, now = record.get("parameters", {}), making.parameters
    if before and now and before.keys().isdisjoint(now):
        return f"{making.verb} did not make it"
    inputs = differences.changed(record.get("inputs", {}), making.inputs, "from another {key}")
    name = making.field.name
    there = expected("field", f"{sample}/{name}") or store.read_field(sample, name)
    said = ", ".join(
        [
            *inputs,
            *differences.changed(before, now),
            *differences.changed_field(there, making.field),
        ]
    )
    return f"{said or 'another verb or version'}{differences.origin(record, sample, said)}"


def _write(
    sample: str,
    making: Making,
    factors: list[Triple],
    passes: list[Pass],
    options: Options,
    finish: Finish | None,
    prepare: Callable[[], None] | None,
) -> None:
    fresh_sample = not store.is_sample(sample)
    if fresh_sample:
        forget_sample(sample)
    store.create_sample(sample)
    name, ledger = making.field.name, passes[0].ledger
    created = _what_is_there(sample, making, options) == "nothing"
    if created:
        ledger.forget(name)
        _create(sample, making, factors)
    if prepare is not None and passes[0].left():
        prepare()
    try:
        for one in passes:
            run(one, progress=options.progress)
    except InputError:
        if created:  # bad input leaves nothing behind; corrected input has another fingerprint
            for made in (making.field, *making.siblings):
                store.delete_node(sample, made.name)
            ledger.forget(name)
            if fresh_sample:
                store.delete_empty_sample(sample)
        raise
    if finish is not None:
        finish(ledger)
    sample_image.show(sample, adding=[made.name for made in (*making.siblings, making.field)])
    for made in (*making.siblings, making.field):
        store.update_node(sample, made.name, status="complete")


def _create(sample: str, making: Making, factors: list[Triple]) -> None:
    record = store.provenance(making.fingerprint, making.parameters, making.inputs) | {
        "verb": making.verb
    }
    record |= {"other_grid": True} if making.other_grid else {}
    record |= {} if making.pyramid else {"intermediate": True}
    record |= dict(making.remarks)
    sample_image.show(sample, without=[made.name for made in (making.field, *making.siblings)])
    for sibling in making.siblings:
        store.delete_node(sample, sibling.name)
        store.create_field(
            sample, sibling, record | siblings.record(_beside(making), making.inputs)
        )
    store.delete_node(sample, making.field.name)
    store.create_field(sample, making.field, record, factors)


def _passes(sample: str, making: Making, factors: list[Triple], options: Options) -> list[Pass]:
    out = making.field
    block = whole_shards(options.block or making.block, out)
    finest = Pass(
        work=making.work,
        grid=Grid(out.shape, block, making.halo),
        ledger=Ledger(sample, f"{out.name}/s0", making.fingerprint),
        shard=out.shard,
        read_bytes=making.read_bytes,
        write_bytes=out.voxel_bytes + sum(f.voxel_bytes for f in making.siblings),
        base_bytes=making.base_bytes,
        durable=options.durable,
        time_limit=options.time_limit,
        arrays=tuple(f"{one.name}/s0/{one.name}" for one in (out, *making.siblings)),
    )
    return [
        finest,
        *(_level_pass(sample, making, factors, n, options) for n in range(1, len(factors))),
    ]


def _level_pass(
    sample: str, making: Making, factors: list[Triple], number: int, options: Options
) -> Pass:
    out = store.level_field(making.field, factors[number])
    step = triple(b // a for a, b in zip(factors[number - 1], factors[number], strict=True))
    return Pass(
        work=LevelWork(
            sample, out.name, number, step, out.labels, out.voxel_bytes, options.durable
        ),
        grid=Grid(out.shape, many_shards(out, BLOCK_VOXELS // 8)),
        ledger=Ledger(sample, f"{out.name}/s{number}", making.fingerprint),
        shard=out.shard,
        read_bytes=out.voxel_bytes * float(np.prod(step)),
        write_bytes=out.voxel_bytes,
        durable=options.durable,
        time_limit=options.time_limit,
        arrays=(f"{out.name}/s{number}/{out.name}",),
    )


@dataclass(frozen=True)
class LevelWork:
    """One level of a pyramid, made from the next finer one."""

    sample: str
    name: str
    level: int
    step: Triple
    labels: bool
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the finer voxels under the block."""
        finer = store.field_array(self.sample, self.name, self.level - 1)
        scale = zip(block.core.start, block.core.stop, self.step, strict=True)
        low, high = zip(*((a * s, b * s) for a, b, s in scale), strict=True)
        return store.read_box(
            finer, Box(triple(low), triple(high)).clip(Box.whole(triple(finer.shape)))
        )

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Average grey values, or pick labels."""
        shrink = pyramid.stride_downsample if self.labels else pyramid.mean_downsample
        return shrink(inputs, self.step)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write one box of whole shards."""
        store.write_block(
            self.sample, self.name, block.core, outputs, level=self.level, durable=self.durable
        )
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the finer voxels while decoded, and of the coarser ones while encoded."""
        return int(np.prod(core)) * self.voxel_bytes * (2 * int(np.prod(self.step)) + 4)


def whole_shards(block: Triple, out: Field) -> Triple:
    """Cut a block to the volume, and check that it consists of whole shards.

    Raises
    ------
    ArgumentError
        With the nearest allowed block.
    """
    top = triple(-(-n // s) * s for n, s in zip(out.shape, out.shard, strict=True))
    cut = triple(min(b, t) for b, t in zip(block, top, strict=True))
    if min(cut) < 1 or any(c % s for c, s in zip(cut, out.shard, strict=True)):
        near = triple(max(1, round(c / s)) * s for c, s in zip(cut, out.shard, strict=True))
        raise ArgumentError(
            f"block {block} is not made of whole shards of {out.name!r}, which are {out.shard} (z, y, x). "
            f"Use --block {','.join(map(str, near))}"
        )
    return cut


def slab(out: Field, voxels: int = BLOCK_VOXELS) -> Triple:
    """Block of whole slices: one shard thick, or thicker if slices are small."""
    z, y, x = (-(-n // s) * s for n, s in zip(out.shape, out.shard, strict=True))
    thick = max(1, voxels // (out.shard[0] * y * x)) * out.shard[0]
    return (min(thick, z), y, x)


def many_shards(out: Field, voxels: int = BLOCK_VOXELS) -> Triple:
    """Block of about `voxels` voxels, as close to a cube as whole shards allow."""
    top = triple(-(-n // s) * s for n, s in zip(out.shape, out.shard, strict=True))
    block = triple(min(s, t) for s, t in zip(out.shard, top, strict=True))
    while True:
        open_axes = [a for a in range(3) if block[a] < top[a]]
        if not open_axes:
            return block
        axis = min(open_axes, key=lambda a: block[a])
        longer = triple(
            min(2 * b, t) if a == axis else b
            for a, (b, t) in enumerate(zip(block, top, strict=True))
        )
        if int(np.prod(longer)) > voxels:
            return block
        block = longer
