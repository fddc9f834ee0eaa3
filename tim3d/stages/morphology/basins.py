"""Objects of a phase over blocks: basins of a map, joined over necks, as a field of numbers.

The map is the distance of particles, or any that rises towards the middle of objects.

A first pass lets the voxels of every block climb and records where they end, the necks in the
block, and the planes on its border. A second pass follows those that leave a block and finds the
necks over borders. The client joins basins. A third pass lets the blocks climb again and gives each
basin the number of its particle: climbing is quicker than writing and reading what may change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from tim3d.engine import Gathering, Ledger, Pass
from tim3d.errors import InputError
from tim3d.grid import AXES, Block, Grid, Triple, triple
from tim3d.kernels.morphology.basins import Basins, Radii, basins, closed_up, positive
from tim3d.kernels.morphology.components import border_voxels, first_rows
from tim3d.kernels.morphology.joined_basins import Joining, ends_of, joined, renumbered
from tim3d.kernels.morphology.necks import Necks, Side, necks_across, necks_within, widest
from tim3d.stages.components.blocks import lookup, lookup_node, values_of_block
from tim3d.stages.morphology.joined_field import COUNTS, JoinedField, check_count
from tim3d.stages.shared.field import BLOCK_VOXELS, Making, Options
from tim3d.stages.shared.packed import pack, unpack
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

AROUND: Triple = (1, 1, 1)
OFFSETS = [triple(o) for o in itertools.product((-1, 0, 1), repeat=3)]
# Memory of joining for each basin of a block and each neck, above what was measured.
BASIN_BYTES, NECK_BYTES = 130, 110
# Bytes a voxel of climbing: radii, and the best neighbours, which become numbers.
CLIMB_BYTES = 8
Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Climb:
    """A block of a phase whose voxels climb.

    `maps` are the field that they climb, and one of boundaries if there is such; `voxel_bytes`
    those of the labels and the maps.
    """

    sample: str
    labels: str
    maps: tuple[str, ...]
    code: int
    voxel_bytes: int
    shape: Triple
    spacing: schema.Spacing

    def read(self, block: Block) -> Radii:
        """Heights in the phase, 0 elsewhere and beyond the border of the volume."""
        around = block.core.grow(AROUND)
        radii = np.zeros(around.shape, np.float32)
        inside = self._voxels(self.labels, block) == self.code
        maps = [self._voxels(name, block) for name in self.maps]
        # Plane by plane: heights are made by way of several copies.
        for plane, here, *values in zip(
            radii[block.read.within(around).slices], inside, *maps, strict=True
        ):
            plane[here] = positive(*values)[here]
        if not np.isfinite(radii.sum(dtype=np.float64)):
            raise InputError(
                f"{self.maps[0]!r} of {self.sample} has voxels in the block at {block.core.start} that are not "
                "finite numbers: nothing climbs there"
            )
        return radii

    def _voxels(self, name: str, block: Block) -> np.ndarray:
        return store.read_box(store.field_array(self.sample, name), block.read)

    def basins(self, block: Block, radii: Radii) -> Basins:
        """Basins of the core."""
        return basins(radii, block.core.start, self.shape, self.spacing)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of heights, of labels and maps, and what decoding leaves of these; or of climbing."""
        around, left = math.prod(n + 2 for n in core), math.prod(read) * self.voxel_bytes
        reading = 4 * around + left + math.prod(read)
        return int(left + max(reading, CLIMB_BYTES * around))


@dataclass(frozen=True)
class ClimbWork:
    """First pass: ends, necks and border of a block."""

    climb: Climb

    def read(self, block: Block) -> Radii:
        """Read the radii of the block and around it."""
        return self.climb.read(block)

    def compute(self, block: Block, inputs: Radii) -> dict[str, Any]:
        """Let the voxels climb."""
        found = self.climb.basins(block, inputs)
        inner = closed_up(inputs)  # in their memory: nothing climbs any more
        necks = necks_within(found.ids, inner)
        record = {"end": pack(found.end), "radius": pack(found.radius), "necks": _packed(necks)}
        for axis, side in itertools.product(range(3), (0, -1)):
            planes = {"ids": np.take(found.ids, side, axis), "radii": np.take(inner, side, axis)}
            record[_plane(axis, side)] = {name: pack(plane) for name, plane in planes.items()}
        return record

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block that climbs, and the record."""
        return self.climb.block_bytes(core, read) + 24 * border_voxels(core)


def _plane(axis: int, side: int) -> str:
    return f"{AXES[axis]}_{'high' if side else 'low'}"


def _packed(necks: Necks) -> dict[str, Any]:
    return {name: pack(getattr(necks, name)) for name in ("first", "second", "radius")}


def _necks(record: Record) -> Necks:
    return Necks(*(unpack(record[name]) for name in ("first", "second", "radius")))


@dataclass(frozen=True)
class MeetWork:
    """Second pass: where ascents go on that leave a block, and the necks over its borders."""

    ledger: Ledger
    grid: Grid

    def read(self, block: Block) -> dict[Triple, Record]:
        """Read the records of a block and of those around it, by offset."""
        beside = {o: _beside(block.index, o) for o in OFFSETS}
        return {o: self.ledger.record(i) for o, i in beside.items() if _is_inside(i, self.grid)}

    def compute(self, block: Block, inputs: dict[Triple, Record]) -> dict[str, Any]:
        """Find what meets."""
        own = inputs.pop((0, 0, 0))
        found = []
        for offset, there in inputs.items():
            one: dict[str, Any] = {"offset": offset, **self._going_on(block, own, offset, there)}
            if offset > (0, 0, 0):
                axis = _axis(offset)
                low, high = _side(own, axis, offset[axis]), _side(there, axis, -offset[axis])
                one["necks"] = _packed(necks_across(low, high, offset, axis))
            found.append(one)
        return {"beside": found}

    def _going_on(self, block: Block, own: Record, offset: Triple, there: Record) -> dict[str, Any]:
        """Ends in a neighbour, and their basins there."""
        core, other = block.core, self.grid.block_at(_beside(block.index, offset)).core
        places = np.stack(np.unravel_index(unpack(own["end"]), self.grid.shape), axis=1)
        sides = (places >= np.array(core.stop)).astype(int) - (places < np.array(core.start))
        rows = np.flatnonzero((sides == np.array(offset)).all(axis=1))
        axis = _axis(offset)
        plane = _side(there, axis, -offset[axis]).ids
        at = np.delete(places[rows] - np.array(other.start), axis, axis=1)
        return {"rows": pack(rows), "basins": pack(plane[at[:, 0], at[:, 1]])}

    def write(self, block: Block, outputs: dict[str, Any]) -> dict[str, Any]:
        """Write the record only."""
        return outputs

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the records of 27 blocks, and 120 per voxel of the largest plane."""
        return 27 * 24 * border_voxels(core) + 120 * math.prod(core) // min(core)


def _axis(offset: Triple) -> int:
    return next(axis for axis in range(3) if offset[axis])


def _side(record: Record, axis: int, side: int) -> Side:
    plane = record[_plane(axis, max(side, 0))]
    return Side(unpack(plane["ids"]), unpack(plane["radii"]))


def _beside(index: Triple, offset: Triple) -> Triple:
    return triple(i + o for i, o in zip(index, offset, strict=True))


def _is_inside(index: Triple, grid: Grid) -> bool:
    return all(0 <= i < n for i, n in zip(index, grid.counts, strict=True))


@dataclass(frozen=True)
class NumberWork:
    """Third pass: let a block climb again, and give its basins the numbers of their particles."""

    climb: Climb
    out: str
    durable: bool

    def read(self, block: Block) -> tuple[Radii, np.ndarray]:
        """Read radii, and the numbers of the block's basins."""
        return self.climb.read(block), values_of_block(self.climb.sample, self.out, block.index)

    def compute(self, block: Block, inputs: tuple[Radii, np.ndarray]) -> np.ndarray:
        """Numbers of the particles."""
        radii, numbers = inputs
        return renumbered(self.climb.basins(block, radii).ids, numbers)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.climb.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block that climbs; then, without its heights, of numbers while encoded."""
        return self.climb.block_bytes(core, read)


@dataclass(frozen=True)
class BasinField(JoinedField):
    """The field of objects of a phase, and the passes that make it.

    Parameters
    ----------
    sample, verb : str
        The sample, and the verb that makes the field.
    labels : Field
        The labels.
    maps : sequence of Field
        What the voxels climb, such as distances; then a map of boundaries, if there is one.
    code : int
        Code of the phase.
    how : Joining
        Which basins are one object.
    parameters : mapping
        Arguments that decide the numbers.
    inputs : mapping
        Fingerprints of the labels and of the maps.
    out, long_name : str
        Name of the field, and what its numbers are.
    options : Options
        How it runs.
    """

    sample: str
    verb: str
    labels: Field
    maps: tuple[Field, ...]
    code: int
    how: Joining
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    out: str
    long_name: str
    options: Options
    block_voxels: ClassVar[int] = BLOCK_VOXELS // 2

    @property
    def climb(self) -> Climb:
        """Blocks of the phase that climb."""
        return Climb(
            self.sample, self.labels.name, tuple(one.name for one in self.maps), self.code, self._voxel_bytes,
            self.labels.shape, self.labels.spacing_nm,
        )  # fmt: skip

    @property
    def _voxel_bytes(self) -> int:
        return sum(one.voxel_bytes for one in (self.labels, *self.maps))

    @cached_property
    def making(self) -> Making:
        """The field."""
        return Making(
            verb=self.verb,
            field=self.numbers,
            work=NumberWork(self.climb, self.out, self.options.durable),
            block=self.block,
            halo=AROUND,
            read_bytes=self._voxel_bytes,
            inputs=self.inputs,
            parameters=self.parameters,
        )

    @cached_property
    def passes(self) -> tuple[Pass, Pass]:
        """Passes that climb, and that let the blocks meet."""
        mark = schema.fingerprint(verb=self.verb, step="basins", inputs=self.inputs, code=self.code)
        climbing = Pass(
            work=ClimbWork(self.climb),
            grid=Grid(self.labels.shape, self.block, AROUND),
            ledger=Ledger(self.sample, f"{self.out}_basins/climb", mark),
            shard=self.labels.shard,
            read_bytes=self._voxel_bytes,
            write_bytes=0,
            durable=self.options.durable,
            time_limit=self.options.time_limit,
        )
        meeting = replace(
            climbing,
            work=MeetWork(climbing.ledger, climbing.grid),
            ledger=Ledger(self.sample, f"{self.out}_basins/meet", mark),
            read_bytes=0,
        )
        return climbing, meeting

    @property
    def gathering(self) -> Gathering:
        """Plan of the joining."""
        return joining(self.out)

    def write_lookup(self) -> None:
        """Write the number of the particle of each basin of each block."""
        starts, numbers, pairs = particles_of(*self.passes, self.how, joining(self.out))
        count = int(numbers.max(initial=0))
        check_count(count, "join more of them")
        record = store.provenance(self.making.fingerprint, self.parameters, self.inputs)
        store.write_dataset(
            self.sample,
            lookup_node(self.out),
            lookup(starts, numbers),
            # how many particles there are, and how many pairs of them touch
            record | {"verb": self.verb, COUNTS: [count, pairs]},
        )


def joining(name: str) -> Gathering:
    """Plan of the joining of the basins of all blocks, whose number is not known before."""
    each = (BASIN_BYTES + 7 * NECK_BYTES, "basins with seven necks each")
    return Gathering(f"{name}/necks", "joins basins over necks", None, each)


def particles_of(
    climbing: Pass, meeting: Pass, how: Joining, plan: Gathering
) -> tuple[np.ndarray, np.ndarray, int]:
    """Join the basins of all blocks.

    Returns
    -------
    starts : array
        First row of each block in the joined table of basins.
    numbers : array
        Number of the particle of each row.
    pairs : int
        Pairs of particles that touch, at faces, edges or corners of voxels.

    Raises
    ------
    MemoryPlanError
        If basins and necks do not fit into the memory of this process.
    """
    grid = climbing.grid
    places = [triple(place) for place in np.ndindex(grid.counts)]
    ends, radii, inner, need = [], [], [], 0
    for record in climbing.ledger.records(places):
        ends.append(unpack(record["end"]))
        radii.append(unpack(record["radius"]))
        inner.append(_necks(record["necks"]))
        need += len(ends[-1]) * BASIN_BYTES + len(inner[-1].first) * NECK_BYTES
        plan.of(need).check()
    starts = first_rows([len(one) for one in ends]).reshape(grid.counts)
    following, outer = _met(meeting, places, starts, sum(map(len, ends)))
    plan.of(need + sum(len(one.first) for one in outer) * NECK_BYTES).check()
    peaks = np.flatnonzero(following == np.arange(len(following)))
    place, radius = np.concatenate(ends)[peaks], np.concatenate(radii)[peaks]
    order = np.argsort(place)
    rank = np.empty(len(following), np.int64)
    rank[peaks[order]] = np.arange(len(peaks))
    basin = rank[ends_of(following)]
    within = [_shifted(n, s, s) for n, s in zip(inner, starts.ravel().tolist(), strict=True)]
    necks = _between_basins([*within, *outer], basin)
    numbers = joined(radius[order], necks, how)
    return starts, numbers[basin], _touching(numbers, necks)


def _touching(numbers: np.ndarray, necks: Necks) -> int:
    """Pairs of particles between which there are necks."""
    a, b = numbers[necks.first], numbers[necks.second]
    keys = np.minimum(a, b)[a != b] << 32 | np.maximum(a, b)[a != b]
    return len(np.unique(keys))


def _met(
    meeting: Pass, places: list[Triple], starts: np.ndarray, count: int
) -> tuple[np.ndarray, list[Necks]]:
    """Row at which each row goes on, and the necks over borders."""
    following, outer = np.arange(count), []
    for place, record in zip(places, meeting.ledger.records(places), strict=True):
        for one in record["beside"]:
            there = starts[_beside(place, triple(one["offset"]))]
            following[starts[place] + unpack(one["rows"])] = (
                there + unpack(one["basins"]).astype(np.int64) - 1
            )
            if "necks" in one:
                outer.append(_shifted(_necks(one["necks"]), starts[place], there))
    return following, outer


def _shifted(necks: Necks, first: int, second: int) -> Necks:
    """Rows of the joined table in place of numbers from 1."""
    return Necks(necks.first + first - 1, necks.second + second - 1, necks.radius)


def _between_basins(parts: list[Necks], basin: np.ndarray) -> Necks:
    a, b = (basin[np.concatenate([getattr(p, end) for p in parts])] for end in ("first", "second"))
    apart = a != b
    radius = np.concatenate([p.radius for p in parts])[apart]
    return widest(np.minimum(a, b)[apart], np.maximum(a, b)[apart], radius)
