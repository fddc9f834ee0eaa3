"""How every verb reduces fields to numbers: one record per block, kept in the ledger, nothing written to the sample."""

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

# Takes the voxels of each field with their halo, and the core within them; gives a record that JSON
# can hold.
Kernel = Callable[[tuple[np.ndarray, ...], Block], dict[str, Any]]


@dataclass(frozen=True)
class ReduceWork:
    """Read the same box of some fields and keep a record of it.

    `kernel_bytes` is what the kernel needs per voxel, beside the voxels themselves.
    """

    sample: str
    names: tuple[str, ...]
    kernel: Kernel
    voxel_bytes: int
    kernel_bytes: float

    def read(self, block: Block) -> tuple[np.ndarray, ...]:
        """The block with its halo from every field."""
        return tuple(
            store.read_box(store.field_array(self.sample, name), block.read) for name in self.names
        )

    def compute(self, block: Block, inputs: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """The record."""
        return self.kernel(inputs, block)

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Nothing but the record, which the engine keeps with the marker."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """The voxels, once more while they are decoded, and what the kernel needs."""
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
    """A pass that reads `fields` block by block and keeps the kernel's records under `name`.

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
    """The core of a block within the voxels that were read for it."""
    return block.core.within(block.read)
