"""Fields that the flux solver leaves behind, turned into fields of the sample: block by block, with a pyramid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tim3d import scratch, store
from tim3d.engine import lock_sample
from tim3d.grid import Block, Triple
from tim3d.schema import Field
from tim3d.stages.field import Making, Options, many_shards, produce
from tim3d.stages.flux import Job

# Stands in a field for voxels in which there is nothing to tell.
NOTHING = -1.0
KINDS = {
    "potential": ("potential, flux along {}", "1"),
    "flux": ("size of the flux density over its mean, flux along {}", "1"),
}


def keep_fields(job: Job, options: Options) -> None:
    """Make the fields that are asked for."""
    for kind, axis in job.fields():
        case, labels = job.case(axis, 1), job.labels
        text, units = KINDS[kind]
        field = Field(
            job.field_name(kind, axis), labels.shape, "float32", labels.spacing_nm, labels.chunk, labels.shard,
            long_name=text.format(axis), attributes={"units": units, "nothing": NOTHING},
        )  # fmt: skip
        making = Making(
            verb="solve",
            field=field,
            work=TurnWork(job.sample, case.path(kind), field.name, case.axis, options.durable),
            block=many_shards(field, 2**24),
            inputs={"solution": job.mark},
            parameters={"kind": kind, "axis": axis},
            read_bytes=4,
        )
        # What was made from another solution makes room; what a killed run began goes on.
        began = store.fingerprint_of(job.sample, field.name) == making.fingerprint
        produce(job.sample, making, replace(options, overwrite=options.overwrite or not began))


def drop_scratch(job: Job) -> None:
    """Remove what nobody needs when all is done."""
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
        array = scratch.array(self.sample, self.source)
        order = [self.axis, *(a for a in range(3) if a != self.axis)]
        slices = tuple(slice(block.core.start[a], block.core.stop[a]) for a in order)
        return np.moveaxis(np.asarray(array[slices]), 0, self.axis)

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
