"""Fields that the flux solver leaves behind, turned into fields of the sample: block by block, with a pyramid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Plan, lock_sample
from tim3d.grid import Block, Triple
from tim3d.stages.conduction.job import Job
from tim3d.stages.shared.field import Making, Options, many_shards, plan_field, produce, renewing
from tim3d.stages.shared.results import is_there
from tim3d.storage import scratch, store
from tim3d.storage.schema import Field

# Stands in a field for voxels in which there is nothing to tell.
NOTHING = -1.0
KINDS = {
    "potential": ("potential, flux along {}", "1"),
    "flux": ("size of the flux density over its mean, flux along {}", "1"),
}


def makings(job: Job, options: Options) -> list[Making]:
    """The fields that are asked for."""
    return [_making(job, kind, axis, options) for kind, axis in job.fields()]


def _making(job: Job, kind: str, axis: str, options: Options) -> Making:
    case, labels = job.case(axis, 1), job.labels
    text, units = KINDS[kind]
    field = Field(
        job.field_name(kind, axis), labels.shape, "float32", labels.spacing_nm, labels.chunk, labels.shard,
        long_name=text.format(axis), attributes={"units": units, "nothing": NOTHING},
    )  # fmt: skip
    return Making(
        verb="solve",
        field=field,
        work=TurnWork(job.sample, case.path(kind), field.name, case.axis, options.durable),
        block=many_shards(field, 2**24),
        inputs=job.inputs,
        parameters={"kind": kind, "axis": axis, **job.solving.of_field},
        read_bytes=4,
    )


def plan_fields(job: Job, options: Options) -> list[Plan]:
    """Plans of the fields that are not there; refuses a name that something else has."""
    wanted = [(making, renewing(job.sample, making, options)) for making in makings(job, options)]
    return [plan for making, how in wanted for plan in plan_field(job.sample, making, how)]


def keep_fields(job: Job, options: Options) -> None:
    """Make the fields that are asked for."""
    for making in makings(job, options):
        produce(job.sample, making, renewing(job.sample, making, options))


def has_field(job: Job, kind: str, axis: str) -> bool:
    """Whether a field is there, made from this solution."""
    making = _making(job, kind, axis, Options())
    return is_there(job.sample, making.field.name, making.fingerprint)


def drop_scratch(job: Job) -> None:
    """Remove what is of no use when all is done."""
    with lock_sample(job.sample):
        job.ledger("checkpoints").forget()
        store.delete_node(job.sample, job.scratch)


@dataclass(frozen=True)
class TurnWork:
    """A scratch array, its axes in the order z, y, x again."""

    sample: str
    source: str
    out: str
    axis: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Values of the core."""
        array = scratch.array(self.sample, self.source, "r")  # every chunk is there
        order = [self.axis, *(a for a in range(3) if a != self.axis)]
        slices = tuple(slice(block.core.start[a], block.core.stop[a]) for a in order)
        return np.moveaxis(store.read_slices(array, slices), 0, self.axis)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Fields hold finite values."""
        return np.asarray(np.nan_to_num(inputs, nan=NOTHING))

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards."""
        store.write_box(store.field_array(self.sample, self.out, mode="r+"), block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Values three times, while they are turned and encoded."""
        return 12 * math.prod(core)
