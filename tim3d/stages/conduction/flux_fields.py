"""Fields left by the flux solver, written to the sample block by block, with a pyramid."""

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

# Value of voxels outside of the solution, as a field holds finite values only.
NOTHING = -1.0
KINDS = {
    "potential": ("potential, flux along {}", "1"),
    "flux": ("size of the flux density over its mean, flux along {}", "1"),
    "sensitivity": (
        "derivative of the effective conductivity by that of a voxel, times the number of voxels, flux along {}",
        "1",
    ),
}


def makings(job: Job, options: Options) -> list[Making]:
    """Descriptions of the fields to be kept."""
    return [_making(job, kind, axis, options) for kind, axis in job.fields()]


def _making(job: Job, kind: str, axis: str, options: Options) -> Making:
    case, labels = job.case(axis, 1), job.labels
    text, units = KINDS[kind]
    field = Field(
        name=job.field_name(kind, axis),
        shape=labels.shape,
        dtype="float32",
        spacing_nm=labels.spacing_nm,
        chunk=labels.chunk,
        shard=labels.shard,
        long_name=text.format(axis),
        attributes={"units": units, "nothing": NOTHING},
    )
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
    """Plans of the missing fields; a name that another node has is refused."""
    wanted = [(making, renewing(job.sample, making, options)) for making in makings(job, options)]
    return [plan for making, how in wanted for plan in plan_field(job.sample, making, how)]


def keep_fields(job: Job, options: Options) -> None:
    """Write the fields to be kept."""
    for making in makings(job, options):
        produce(job.sample, making, renewing(job.sample, making, options))


def has_field(job: Job, kind: str, axis: str) -> bool:
    """Whether the sample has a field made from this solution."""
    making = _making(job, kind, axis, Options())
    return is_there(job.sample, making.field.name, making.fingerprint)


def drop_scratch(job: Job) -> None:
    """Remove the checkpoints and temporary arrays of a finished job."""
    with lock_sample(job.sample):
        job.ledger("checkpoints").forget()
        store.delete_node(job.sample, job.scratch)


@dataclass(frozen=True)
class TurnWork:
    """Copy of a scratch array with its axes back in the order z, y, x."""

    sample: str
    source: str
    out: str
    axis: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the values of the core."""
        array = scratch.array(self.sample, self.source, "r")  # every chunk was written
        order = [self.axis, *(a for a in range(3) if a != self.axis)]
        slices = tuple(slice(block.core.start[a], block.core.stop[a]) for a in order)
        return np.moveaxis(store.read_slices(array, slices), 0, self.axis)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Replace values that are not finite by `NOTHING`."""
        return np.asarray(np.nan_to_num(inputs, nan=NOTHING))

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of three copies of the values, while they are transposed and encoded."""
        return 12 * math.prod(core)
