"""Components of a field over blocks: tables of blocks, pairs over their borders, and both merged.

A first pass labels every block and records a table of its components and the labels on its border
(`block_record`). A second pairs the borders of neighbours (`PairsWork`). The client merges
(`merged`). A third pass may label the blocks again and give each component what the client decided
(`lookup`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Pass
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.kernels.morphology import components as kernel
from tim3d.kernels.morphology.components import Border, Components
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.packed import pack, unpack
from tim3d.storage import store
from tim3d.storage.schema import AXES

# Bound on the memory of labelling beside the labels, in bytes per voxel (benchmarks/RESULTS.md,
# "Components").
KERNEL_BYTES = 12.0
COLUMNS = ("code", "voxels", "first", "start", "stop")


def block_record(
    ids: kernel.Ids, labels: kernel.Labels, origin: Triple, shape: Triple
) -> dict[str, Any]:
    """Record of a labelled block: its table and its border, with packed arrays.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Components of the block.
    labels : (z, y, x) uint8
        Code of each voxel.
    origin, shape : (z, y, x)
        First voxel of the block in the volume, and the shape of the volume.
    """
    table = kernel.tabulate(ids, labels, origin, shape)
    planes = {
        _plane_name(*key): pack(plane)
        for key, plane in kernel.border(ids, table.code).planes.items()
    }
    return {name: pack(getattr(table, name)) for name in COLUMNS} | planes


def pairing_pass(labelling: Pass, connectivity: int, name: str) -> Pass:
    """Return the pass that pairs the borders which a finished pass of `block_record` recorded."""
    before = labelling.ledger
    work = PairsWork(before, labelling.grid, connectivity)
    ledger = Ledger(before.sample, name, before.fingerprint)
    return replace(labelling, work=work, ledger=ledger, read_bytes=0)


def _plane_name(axis: int, side: int) -> str:
    return f"{AXES[axis]}_{'low' if side < 0 else 'high'}"


@dataclass(frozen=True)
class PairsWork:
    """Pass B: pairs of components that touch across the borders of a block."""

    ledger: Ledger
    grid: Grid
    connectivity: int

    def read(self, block: Block) -> dict[Triple, Border]:
        """Read the borders of the block and of its neighbours, by offset."""
        offsets = [(0, 0, 0), *kernel.neighbours(self.grid, block.index, self.connectivity)]
        return {
            offset: _border(self.ledger.record(_beside(block.index, offset))) for offset in offsets
        }

    def compute(self, block: Block, inputs: dict[Triple, Border]) -> dict[str, Any]:
        """Find the touching pairs with each neighbour."""
        own = inputs.pop((0, 0, 0))
        found = {
            o: kernel.border_pairs(own, there, o, self.connectivity) for o, there in inputs.items()
        }
        return {
            "pairs": [{"offset": offset, "rows": pack(pairs)} for offset, pairs in found.items()]
        }

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of 14 blocks' borders and their text, and 40 per voxel of the largest plane."""
        return 14 * 8 * kernel.border_voxels(core) + 40 * int(np.prod(core)) // min(core)


def _border(record: Mapping[str, Any]) -> Border:
    planes = {
        (axis, side): unpack(record[_plane_name(axis, side)])
        for axis in range(3)
        for side in (-1, 1)
    }
    return Border(unpack(record["code"]), planes)


def _beside(index: Triple, offset: Triple) -> Triple:
    return triple(i + o for i, o in zip(index, offset, strict=True))


def merged(labelling: Pass, pairing: Pass) -> tuple[np.ndarray, Components, np.ndarray]:
    """Join and merge the tables of all blocks.

    Returns
    -------
    starts : array
        First row of each block in the joined table.
    table : Components
        The merged table.
    rows : array
        Row in the merged table of each row of the joined one.
    """
    grid = labelling.grid
    # Rows are in C order, unlike the order in which blocks are computed.
    places = [triple(place) for place in np.ndindex(grid.counts)]
    tables = [_table(record) for record in labelling.ledger.records(places)]
    starts = kernel.first_rows([len(table) for table in tables]).reshape(grid.counts)
    pairs = [np.zeros((0, 2), np.int64)]
    for block, record in pairing.records():
        for found in record["pairs"]:
            there = _beside(block.index, triple(found["offset"]))
            pairs.append(unpack(found["rows"]) + np.array([starts[block.index], starts[there]]))
    return starts, *kernel.merge(tables, np.concatenate(pairs))


def _table(record: Mapping[str, Any]) -> Components:
    return Components(*(unpack(record[name]) for name in COLUMNS))


def lookup_node(out: str) -> str:
    """Name of the temporary lookup node of the field `out`."""
    return f"{out}_lookup"


def lookup(starts: np.ndarray, values: np.ndarray) -> xr.Dataset:
    """Table of a value for each component of each block, for `values_of_block`."""
    ends = np.append(starts.ravel()[1:], len(values)).reshape(starts.shape)
    blocks = tuple(f"{axis}_block" for axis in AXES)
    return xr.Dataset(
        {"value": ("label", values), "start": (blocks, starts), "stop": (blocks, ends)}
    )


def values_of_block(sample: str, out: str, index: Triple) -> np.ndarray:
    """Values of the components of a block, from the lookup node of the field `out`."""
    table = store.lazy_dataset(sample, lookup_node(out))
    start, stop = int(table.start[index]), int(table.stop[index])
    return np.asarray(table.value[start:stop].values)
