"""Growth of a generator's cell, kept in the sample: a kill loses what came after the last stored state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.engine import Plan
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.progress import progress_bar
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.generator import Generator, Grown, repeats
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.unfinished import Unfinished
from tim3d.storage import scratch, shards, store

# Seconds between two stored states, and values of a chunk of them.
EVERY_S = 30.0
CHUNK = 2**22
# What the process loads to simulate: compiled kernels and Fourier transforms.
LOADED_BYTES = 96 * 2**20


@dataclass(frozen=True)
class Growth:
    """Growth of the cell of a generator.

    Parameters
    ----------
    sample, out : str
        The sample, and the field that is made from the cell.
    generator : Grown
        What grows.
    fingerprint : str
        Hash of the field.
    options : Options
        How it runs.
    """

    sample: str
    out: str
    generator: Grown
    fingerprint: str
    options: Options

    @property
    def node(self) -> str:
        """Node of the temporary arrays."""
        return scratch.node_of(self.out)

    @property
    def unfinished(self) -> Unfinished:
        """Arrays of an interrupted run."""
        return Unfinished(self.sample, self.node, self.out, {"fingerprint": self.fingerprint})

    def plans(self) -> list[Plan]:
        """Memory of the growth, which runs in this process; empty if an interrupted run has grown the cell."""
        return [] if self._begun().get("grown") else [self._plan()]

    def _plan(self) -> Plan:
        cell, need = self.generator.cell, self.generator.growth_bytes + LOADED_BYTES
        limit = available_memory()
        return Plan(
            name=f"{self.out}: growth of the cell",
            blocks=1,
            left=1,
            block=cell,
            halo=(0, 0, 0),
            read_bytes=0,
            write_bytes=math.prod(cell),
            peak_bytes=need,
            limit_bytes=limit,
            workers=1,
            threads=1,
            cure=f"It takes {need / math.prod(cell):.0f} bytes a voxel here: repeat a smaller cell by --cell-nm",
        )

    def run(self) -> None:
        """Grow the cell, from the state of an interrupted run if there is one."""
        begun = self._begun()
        if not begun:
            self.unfinished.drop()
        if not begun.get("grown"):
            self._grow(self._stored_state(begun), begun.get("turn", 0))

    def _begun(self) -> dict[str, Any]:
        """Record of an interrupted run, empty if there is none to go on from."""
        if self.options.overwrite or not store.is_sample(self.sample):
            return {}
        goes_on = self.unfinished.goes_on()
        return store.node_attributes(self.sample, self.node) if goes_on else {}

    def drop(self) -> None:
        """Delete the temporary arrays."""
        self.unfinished.drop()

    def _stored_state(self, begun: Any) -> np.ndarray:
        state = self.generator.begin()
        if begun:
            array = scratch.array(self.sample, self._turn(begun["turn"]), "r")
            flat, row = _flat(state), (1, 1, state.view(state.real.dtype).size)
            for box in _chunks(row, _slab(row)):
                flat[box.slices[2]] = shards.read_slices(array, box.slices)[0, 0]
        return state

    def _grow(self, state: np.ndarray, turn: int) -> None:
        saved, done = time.monotonic(), 0.0
        shown = self.options.progress
        with progress_bar(desc=f"{self.out}: growth", unit="%", total=100, shown=shown) as bar:
            while done < 1:
                before, done = done, self.generator.grow(state)
                bar.update(round(100 * min(done, 1)) - round(100 * min(before, 1)))
                if done < 1 and time.monotonic() - saved > EVERY_S:
                    turn, saved = 1 - turn, time.monotonic()
                    self._keep(self._turn(turn), _flat(state)[None, None], {"turn": turn})
        labels = self.generator.grown(state)
        self._keep(f"{self.node}/cell", labels, {"turn": turn, "grown": True})

    def _turn(self, turn: int) -> str:
        """Path of one of two states, of which one is whole at any time."""
        return f"{self.node}/state_{turn}"

    def _keep(self, path: str, values: np.ndarray, record: dict[str, Any]) -> None:
        """Write an array, and then the record by which it counts."""
        shape: Triple = values.shape
        chunk = _slab(shape)
        scratch.create(self.sample, path, shape, chunk, 0, str(values.dtype))
        array = scratch.array(self.sample, path)
        for box in _chunks(shape, chunk):
            scratch.write(array, box, values[box.slices], durable=self.options.durable)
        self.unfinished.begin({"status": "writing", **record})


def _flat(state: np.ndarray) -> np.ndarray:
    """A state as a row of plain numbers."""
    return state.view(state.real.dtype).reshape(-1)


def _slab(shape: Triple) -> Triple:
    """Chunk of about `CHUNK` values: parts of a row, or whole planes."""
    if shape[:2] == (1, 1):
        return (1, 1, min(shape[2], CHUNK))
    return (max(1, min(shape[0], CHUNK // (shape[1] * shape[2]))), *shape[1:])


def _chunks(shape: Triple, chunk: Triple) -> Iterator[Box]:
    for z in range(0, shape[0], chunk[0]):
        for x in range(0, shape[2], chunk[2]):
            yield Box(
                (z, 0, x), (min(z + chunk[0], shape[0]), shape[1], min(x + chunk[2], shape[2]))
            )


@dataclass(frozen=True, slots=True)
class Stored(Generator):
    """Generator of a cell that lies in a sample, repeated."""

    kind: ClassVar[str] = "stored"

    sample: str
    path: str
    cell: Triple
    spacing_nm: tuple[float, float, float]
    grower: str

    @classmethod
    def of(cls, generator: Grown, sample: str, out: str) -> Stored:
        """Generator of the cell that another one grows for the field `out`."""
        path = f"{scratch.node_of(out)}/cell"
        return cls(sample, path, generator.cell, generator.spacing_nm, generator.kind)

    def labels(self, box: Box) -> np.ndarray:
        """Read the labels of a box, beyond the cell those of its repetition."""
        array, out = scratch.array(self.sample, self.path, "r"), np.empty(box.shape, np.uint8)
        for place, source in repeats(box, self.cell):
            out[place] = shards.read_slices(array, source.slices)
        return out

    def block_bytes(self, core: Triple) -> int:
        """Bytes of the labels, of a part that is put among them, and of a chunk while it is decoded."""
        return 2 * math.prod(core) + 2 * math.prod(_slab(self.cell))
