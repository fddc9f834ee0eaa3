"""Small works for the tests of the engine: importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tim3d.engine import Ledger, Pass
from tim3d.errors import InputError
from tim3d.grid import Block, Grid, Triple
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

SHAPE: Triple = (40, 37, 29)
SHARD: Triple = (8, 16, 16)


def truth(shape: Triple = SHAPE) -> np.ndarray:
    """What `NumberWork` writes: a number that depends on the voxel's place only."""
    z, y, x = np.indices(shape)
    return ((z * 31 + y * 7 + x) % 251 + 1).astype(np.uint8)


@dataclass(frozen=True)
class NumberWork:
    """Writes `truth`; can be slow, and can be told to fail, to raise bad input, or to kill its process at a block."""

    sample: str
    slow: float = 0.0
    poison: tuple[Triple, ...] = ()
    bad_input: tuple[Triple, ...] = ()
    kill_once: tuple[Triple, ...] = ()

    def read(self, block: Block) -> np.ndarray:
        time.sleep(self.slow)
        return truth()[block.read.slices]

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        if block.index in self.poison:
            raise ValueError(f"poisoned block {block.index}")
        if block.index in self.bad_input:
            raise InputError("a torn slice")
        return inputs[block.core.within(block.read).slices]

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        array = store.field_array(self.sample, "raw", mode="r+")
        store.write_box(array, block.core, outputs)
        if block.index in self.kill_once:
            self._die_once(block.index)
        return {"sum": int(outputs.sum())}

    def _die_once(self, index: Triple) -> None:
        """Die between data and marker, the first time only."""
        tombstone = Path(f"{self.sample}.died-{index}")
        if not tombstone.exists():
            tombstone.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        return 3 * int(np.prod(read))


def number_pass(
    sample: str, *, block: Triple = SHARD, fingerprint: str = "f" * 64, **work: Any
) -> Pass:
    """A pass over a new field `raw` of `SHAPE`."""
    if not store.is_sample(sample):
        store.create_sample(sample)
        shard, chunk = schema.shard_and_chunk(SHAPE, SHARD)
        field = Field("raw", SHAPE, "uint8", (20.0, 5.0, 5.0), chunk, shard)
        store.create_field(sample, field, store.provenance(fingerprint, {}, {}))
    grid = Grid(SHAPE, block, halo=(1, 2, 0))
    return Pass(
        NumberWork(sample, **work), grid, Ledger(sample, "raw/s0", fingerprint), SHARD, 1, 1
    )


@contextmanager
def dying_at(kind: type[Any], number: int) -> Iterator[None]:
    """Within it, a work of this kind is interrupted at its n-th block."""
    blocks = count(1)
    plain = kind.compute

    def dying(self: Any, block: Block, inputs: Any) -> Any:
        if next(blocks) == number:
            raise KeyboardInterrupt
        return plain(self, block, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "compute", dying)
        with pytest.raises(KeyboardInterrupt):
            yield
