"""Reduction of fields to numbers: a record for each block in the ledger, none in the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Pass
from tim3d.engine.passes.run import BASE_BYTES
from tim3d.grid import Block, Box, Grid, Triple
from tim3d.stages.shared.field import BLOCK_VOXELS, Options, many_shards, whole_shards
from tim3d.storage import store
from tim3d.storage.schema import Field

# Function of the voxels of each field with their halo, and of the block; returns a record for JSON.
Kernel = Callable[[tuple[np.ndarray, ...], Block], dict[str, Any]]


@dataclass(frozen=True)
class ReduceWork:
    """Block work that reads the same box of several fields and reduces it to a record.

    `kernel_bytes` is the memory of the kernel in bytes per voxel, besides the voxels themselves.
    """

    sample: str
    names: tuple[str, ...]
    kernel: Kernel
    voxel_bytes: int
    kernel_bytes: float

    def read(self, block: Block) -> tuple[np.ndarray, ...]:
        """Read the block with its halo from every field."""
        return tuple(
            store.read_box(store.field_array(self.sample, name), block.read) for name in self.names
        )

    def compute(self, block: Block, inputs: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """Compute the record."""
        return self.kernel(inputs, block)

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the record, which the engine stores with the marker; write nothing else."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: the voxels, a copy to decode them, and the memory of the kernel."""
        return int(np.prod(read) * (2 * self.voxel_bytes + self.kernel_bytes))


def reduction_pass(
    sample: str,
    fields: tuple[Field, ...],
    kernel: Kernel,
    *,
    name: str,
    fingerprint: str,
    options: Options,
    halo: Triple = (0, 0, 0),
    kernel_bytes: float = 0.0,
    block: Triple | None = None,
    cut: Field | None = None,
) -> Pass:
    """Return a pass that reads `fields` block by block and stores the kernel's records as `name`.

    Blocks are whole shards of `cut` (default: of the first field).
    """
    voxel_bytes = sum(f.voxel_bytes for f in fields)
    first = cut or fields[0]
    chosen = (
        whole_shards(options.block, first)
        if options.block
        else block or many_shards(first, BLOCK_VOXELS // 2)
    )
    return Pass(
        work=ReduceWork(sample, tuple(f.name for f in fields), kernel, voxel_bytes, kernel_bytes),
        grid=Grid(first.shape, chosen, halo),
        ledger=Ledger(sample, name, fingerprint),
        shard=first.shard,
        read_bytes=voxel_bytes,
        write_bytes=0,
        base_bytes=BASE_BYTES,
        durable=options.durable,
        time_limit=options.time_limit,
    )


def inner(block: Block) -> Box:
    """Box of the core of a block, relative to the voxels that were read for it."""
    return block.core.within(block.read)
