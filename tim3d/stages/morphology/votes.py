"""Objects of a phase over blocks: where most voxels point, as a field of numbers.

A first pass finds the centres in every block, from all voxels that may point near it. They are put
in one order. A second pass gives every voxel the number of the centre nearest to where it points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tim3d.engine import Gathering, Pass
from tim3d.errors import InputError
from tim3d.grid import Block, Box, Triple
from tim3d.kernels.morphology.offset_votes import (
    NOWHERE,
    Centres,
    Voting,
    centres_in,
    numbered_by_votes,
    targets,
)
from tim3d.lazy import xarray as xr
from tim3d.stages.components.blocks import lookup_node
from tim3d.stages.morphology.joined_field import COUNTS, JoinedField, check_count
from tim3d.stages.shared.field import BLOCK_VOXELS, Making, Options
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

# Memory of votes for each voxel that is read, and of all centres for each of them.
VOTE_BYTES, CENTRE_BYTES = 110, 64


@dataclass(frozen=True)
class Pointing:
    """Voxels of a phase in a box, and where they point."""

    code: int
    how: Voting
    shape: Triple
    spacing: schema.Spacing

    def aims(self, labels: np.ndarray, planes: np.ndarray, start: Triple) -> np.ndarray:
        """Voxel that each one points to."""
        try:
            return targets(planes, labels == self.code, start, self.shape, self.how.reach)
        except ValueError as error:
            raise InputError(f"in the block at {start} {error}") from error

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Record of a block: its centres."""
        labels, *planes = fields
        stack = np.stack(planes).astype(np.float32, copy=False)
        aims = self.aims(labels, stack, block.read.start)
        found = centres_in(block.core, aims, stack, self.shape, self.how, self.spacing)
        return {"place": pack(found.place), "margin": pack(found.margin)}


@dataclass(frozen=True)
class PointWork:
    """Second pass: the number of the centre nearest to where a voxel points."""

    pointing: Pointing
    sample: str
    fields: tuple[str, ...]
    out: str
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> tuple[list[np.ndarray], Centres, int]:
        """Read labels and offsets of the core, and the centres of the planes that it may point to."""
        read = [store.read_box(store.field_array(self.sample, n), block.core) for n in self.fields]
        return read, *self._centres(block.core)

    def _centres(self, core: Box) -> tuple[Centres, int]:
        table = store.lazy_dataset(self.sample, lookup_node(self.out))
        starts = table["start"].values
        how, spacing = self.pointing.how, self.pointing.spacing
        far = how.reach[0] + how.apart(spacing)[0]
        last = len(starts) - 1
        first, stop = (
            int(starts[min(max(z, 0), last)]) for z in (core.start[0] - far, core.stop[0] + far)
        )
        # The leading row, which is not a centre, keeps the table from being empty.
        rows = slice(first + 1, stop + 1)
        return Centres(table["place"][rows].values, table["margin"][rows].values), first + 1

    def compute(self, block: Block, inputs: tuple[list[np.ndarray], Centres, int]) -> np.ndarray:
        """Numbers of the objects."""
        (labels, *planes), centres, first = inputs
        stack = np.stack(planes).astype(np.float32, copy=False)
        aims = self.pointing.aims(labels, stack, block.core.start)
        how, spacing = self.pointing.how, self.pointing.spacing
        return numbered_by_votes(aims, centres, first, self.pointing.shape, how, spacing)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards; return how many voxels have an object."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {"voxels": int(np.count_nonzero(outputs))}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of labels and offsets while decoded, of where they point, and of numbers."""
        return int(math.prod(core) * (3 * self.voxel_bytes + 56))


@dataclass(frozen=True)
class VoteField(JoinedField):
    """The field of objects that are found by votes, and the pass that finds their centres.

    Parameters
    ----------
    sample, verb : str
        The sample, and the verb that makes the field.
    labels : Field
        The labels.
    planes : sequence of Field
        Offsets along z, y and x, and what else the network gives.
    code : int
        Code of the phase.
    how : Voting
        How voxels vote.
    parameters, inputs : mapping
        Arguments that decide the numbers, and fingerprints of what is read.
    out, long_name : str
        Name of the field, and what its numbers are.
    options : Options
        How it runs.
    """

    sample: str
    verb: str
    labels: Field
    planes: tuple[Field, ...]
    code: int
    how: Voting
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    out: str
    long_name: str
    options: Options
    block_voxels: ClassVar[int] = BLOCK_VOXELS // 4

    @property
    def _pointing(self) -> Pointing:
        return Pointing(self.code, self.how, self.labels.shape, self.labels.spacing_nm)

    @cached_property
    def making(self) -> Making:
        """The field."""
        read = (self.labels, *self.planes)
        voxel_bytes = sum(one.voxel_bytes for one in read)
        work = PointWork(
            self._pointing, self.sample, tuple(one.name for one in read), self.out, voxel_bytes, self.options.durable
        )  # fmt: skip
        return Making(
            verb=self.verb, field=self.numbers, work=work, block=self.block, read_bytes=voxel_bytes, inputs=self.inputs,
            parameters=self.parameters,
        )  # fmt: skip

    @cached_property
    def passes(self) -> tuple[Pass]:
        """The pass that finds centres."""
        mark = schema.fingerprint(
            verb=self.verb, step="centres", inputs=self.inputs, parameters=self.parameters
        )
        finding = reduction_pass(
            self.sample, (self.labels, *self.planes), self._pointing, name=f"{self.out}_centres", fingerprint=mark,
            options=self.options, halo=self.how.halo(self.labels.spacing_nm), kernel_bytes=VOTE_BYTES,
            block=self.block,
        )  # fmt: skip
        return (finding,)

    @property
    def gathering(self) -> Gathering:
        """Plan of the table of all centres."""
        return Gathering(
            f"{self.out}/centres", "puts centres in order", None, (CENTRE_BYTES, "centres")
        )

    def write_lookup(self) -> None:
        """Write the centres in the order of their places, and the first one of each plane.

        Raises
        ------
        MemoryPlanError
            If they do not fit into the memory of this process.
        """
        records = list(self._records())
        place, margin = (np.concatenate(one) for one in zip(*records, strict=True))
        check_count(len(place), "give a larger radius")
        order = np.argsort(place)
        _, y, x = self.labels.shape
        starts = np.searchsorted(place[order], np.arange(self.labels.shape[0] + 1) * y * x)
        table = {
            "place": ("centre", np.concatenate([[NOWHERE], place[order]])),
            "margin": ("centre", np.concatenate([[0], margin[order]])),
            "start": ("plane", starts),
        }
        record = store.provenance(self.making.fingerprint, self.parameters, self.inputs)
        store.write_dataset(
            self.sample, lookup_node(self.out), xr.Dataset(table), record | {"verb": self.verb, COUNTS: [len(place)]}
        )  # fmt: skip

    def _records(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        (finding,) = self.passes
        count = 0
        for record in finding.ledger.records(finding.grid.indices()):
            place, margin = unpack(record["place"]), unpack(record["margin"])
            count += len(place)
            self.gathering.of(count * CENTRE_BYTES).check()
            yield place, margin
