"""Work on blocks of whole slices: corrected slices, and rows of the tables of slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.corrections.base import Measured
from tim3d.corrections.chain import Chain
from tim3d.grid import Block, Box, Triple
from tim3d.stages.shared.slice_statistics import slice_statistics
from tim3d.storage import store


def read_slices(sample: str, name: str, chain: Chain, needed: range) -> np.ndarray:
    """Whole slices of the field that a chain begins with."""
    _, y, x = chain.stack.shape
    array = store.field_array(sample, name)
    return store.read_box(array, Box((needed.start, 0, 0), (needed.stop, y, x)))


@dataclass(frozen=True)
class PrepareWork:
    """Slices of a field, corrected and written."""

    sample: str
    source: str
    out: str
    chain: Chain
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the slices that the block is made from."""
        return read_slices(self.sample, self.source, self.chain, self.chain.reads(_own(block)))

    def compute(
        self, block: Block, inputs: np.ndarray
    ) -> tuple[np.ndarray, dict[str, list[float]]]:
        """Correct the slices, and describe each."""
        own = _own(block)
        voxels = self.chain.correct(inputs, self.chain.reads(own), own)
        return voxels, slice_statistics(voxels)

    def write(
        self, block: Block, outputs: tuple[np.ndarray, dict[str, list[float]]]
    ) -> dict[str, Any]:
        """Write whole shards, and return the statistics of the slices."""
        voxels, statistics = outputs
        store.write_block(self.sample, self.out, block.core, voxels, durable=self.durable)
        return dict(statistics)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the slices read and decoded, of what the corrections hold, and of the result while it is encoded."""
        made = self.chain.made
        return (
            reading_bytes(self.chain, core[0])
            + self.chain.peak_bytes(core[0])
            + 3 * made.bytes_of(core[0])
            + 24 * made.shape[1] * made.shape[2]
        )


@dataclass(frozen=True)
class MeasureWork:
    """Rows of a table, from slices as the correction that needs them is given them."""

    sample: str
    source: str
    chain: Chain
    step: Measured

    def read(self, block: Block) -> np.ndarray:
        """Read the slices that the rows of the block are made from."""
        return read_slices(self.sample, self.source, self.chain, self._needed(block))

    def compute(self, block: Block, inputs: np.ndarray) -> dict[str, Any]:
        """Measure the row of each slice."""
        wanted, own = self._with_those_before(block), _own(block)
        grey = self.chain.correct(inputs, self._needed(block), wanted)
        rows = [
            {
                **self.step.row(grey[self._first(z) - wanted.start : z + 1 - wanted.start], z),
                **self._row_as_stored(inputs, self._needed(block).start, z),
            }
            for z in own
        ]
        return {"rows": rows}

    def _first(self, z: int) -> int:
        return max(0, z - self.step.before)

    def _row_as_stored(self, inputs: np.ndarray, start: int, z: int) -> Mapping[str, float]:
        if type(self.step).row_as_stored is Measured.row_as_stored:
            return {}
        return self.step.row_as_stored(self._stored(inputs, start, z))

    def _stored(self, inputs: np.ndarray, start: int, z: int) -> np.ndarray:
        """The slice before slice z and that slice, as they were stored; `inputs` begin with slice `start`."""
        stored = self.chain.stored
        shown = [
            self.chain.places(one)[len(stored.steps)]
            for one in range(max(self._first(z), z - 1), z + 1)
        ]
        pair = []
        for place in shown:
            (number,) = stored.reads(range(place, place + 1))
            *_, grey = stored.stages(
                inputs[number - start : number - start + 1], range(place, place + 1)
            )
            pair.append(grey[0])
        return np.stack(pair)

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the rows, which are kept with the marker of the block."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the slices read and decoded, of the corrections before, and of one row."""
        slices = core[0] + self.step.before
        return (
            reading_bytes(self.chain, slices)
            + self.chain.peak_bytes(slices)
            + self.chain.made.bytes_of(slices)
            + self.step.row_bytes(self.chain.made)
        )

    def _with_those_before(self, block: Block) -> range:
        own = _own(block)
        return range(max(0, own.start - self.step.before), own.stop)

    def _needed(self, block: Block) -> range:
        return self.chain.reads(self._with_those_before(block))


def reading_bytes(chain: Chain, slices: int) -> int:
    """Bytes of the slices that a number of slices is made from, twice: stored and decoded."""
    count = chain.made.shape[0]
    thick = min(slices, count)
    starts = {0, (count - thick) // 2, count - thick}
    return 2 * max(
        chain.stack.bytes_of(len(chain.reads(range(start, start + thick)))) for start in starts
    )


def _own(block: Block) -> range:
    return range(block.core.start[0], block.core.stop[0])
