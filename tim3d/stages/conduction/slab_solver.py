"""The flux solver on one rank.

It reads labels from the sample, writes fields to it, and keeps checkpoints.

Scratch arrays have the axis of the flux first and one plane of voxels per chunk, or a part of one,
so that two ranks never write the same chunk and any number of ranks can continue from the
checkpoints of others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Seat
from tim3d.engine.clusters.memory import forget_peak, peak_memory, resident_memory
from tim3d.engine.collective.sockets import SocketRing
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.conduction.conduction import Conduction, Physics, conduct_slab, turned_order
from tim3d.kernels.conduction.ghost_layers import Alone, Halo, Ring
from tim3d.kernels.conduction.sensitivity import Sensitivity
from tim3d.kernels.conduction.solver import Drive, Problem, State
from tim3d.kernels.conduction.surroundings import as_particles
from tim3d.kernels.conduction.thread_pool import Team, Workers
from tim3d.stages.conduction.interfaces import record_of, refuse_apart
from tim3d.stages.conduction.particle_tables import NAMES, write_tables
from tim3d.storage import scratch as arrays
from tim3d.storage import store

# Planes of labels that are read at a time.
THICK = 64
# Edge of a chunk of a scratch array across the axis of the flux.
WIDE = 1024
# Arrays of the state that a checkpoint stores.
KEPT = {"x": "float64", "direction": "float32"}


@dataclass(frozen=True)
class Case:
    """One solution: the label field, the physics and the axis of the flux.

    Parameters
    ----------
    ledger : Ledger
        Markers of this solution's checkpoints.
    every : int
        Step in voxels along each axis: 1 for every voxel, 2 for every second one.
    scratch : str
        Node of the sample for checkpoints and for fields until they are written to the sample.
    keeps : tuple of str
        Fields left in `scratch`: ``potential``, ``flux``, ``sensitivity``.
    seconds : float
        Time between two checkpoints.
    device : str
        "cpu" for threads with numba's kernels, or a device of torch. The numbers agree to rounding.
    particles : str
        Field that numbers the particles; empty if none are distinguished.
    names : mapping of int to str
        Names of the phases by their codes, for messages.
    """

    sample: str
    field: str
    ledger: Ledger
    shape: Triple
    spacing: tuple[float, float, float]
    physics: Physics
    axis: int
    every: int
    tolerance: float
    scratch: str
    keeps: tuple[str, ...]
    seconds: float
    device: str = "cpu"
    particles: str = ""
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def order(self) -> Triple:
        """Order of the axes, with the axis of the flux first."""
        return turned_order(self.axis)

    @property
    def drive(self) -> Drive:
        """Drive of the flux along this axis."""
        return self.physics.drive(self.axis, [h * self.every for h in self.spacing])

    @property
    def turned(self) -> Triple:
        """Shape of the voxels used, with the axis of the flux first."""
        return triple(-(-self.shape[a] // self.every) for a in self.order)

    @property
    def index(self) -> Triple:
        """Index of this solution in ledgers."""
        return self.axis, self.every, 0

    def path(self, name: str) -> str:
        """Path of a scratch array of this solution."""
        return f"{self.scratch}/{self.axis}_{self.every}_{name}"

    @property
    def tables(self) -> dict[str, str]:
        """Paths of the tables of single particles and contacts."""
        return {name: self.path(name) for name in NAMES}

    def __call__(self, seat: Seat) -> dict[str, Any]:
        """Solve the slab of one rank.

        All ranks return the same numbers, except for their peak memory.
        """
        forget_peak()
        held = 0 if seat.meeting else resident_memory()  # if the process is not shared
        found = self._share(seat)
        return found | {"peak_bytes": peak_memory() - held}

    def _share(self, seat: Seat) -> dict[str, Any]:
        if seat.size == 1:
            return self._on(Alone(), seat)
        with self._ring(seat) as ring:
            return self._on(ring, seat)

    def _ring(self, seat: Seat) -> Any:
        if self.device == "cpu":
            return SocketRing(seat.rank, seat.size, seat.meeting, seat.key)
        from tim3d.models.conduction.ring import TorchRing  # torch takes seconds and memory to load

        return TorchRing(seat.rank, seat.size, seat.meeting)

    def _on(self, ring: Ring, seat: Seat) -> dict[str, Any]:
        with self.team(seat) as team:
            keeper = Keeper(self, ring, seat, team)
            found = conduct_slab(
                self.read,
                self.turned,
                self.drive,
                Halo(ring, self.physics.wrap(self.turned)),
                team,
                tolerance=self.tolerance,
                begin=keeper.begin,
                watch=keeper.watch,
                keep_potential="potential" in self.keeps,
                keep_flux="flux" in self.keeps,
                keep_sensitivity="sensitivity" in self.keeps,
                read_particles=self.read_particles if self.particles else None,
            )
        self._write_fields(ring, found)
        return numbers(found, self.drive)

    def team(self, seat: Seat) -> Any:
        """Threads of this process, or its device, on which the kernels run."""
        if self.device == "cpu":
            return Team(seat.threads or None)
        from tim3d.models.conduction.device import Device

        return Device(self.device, fused=True)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Read labels of these planes box by box, so that only one box is decoded at a time."""
        for place, values in self._values(self.field, start, stop):
            out[place] = values

    def read_particles(self, start: int, stop: int, out: np.ndarray) -> None:
        """Read the numbers of particles of these planes, as `read`."""
        for place, values in self._values(self.particles, start, stop):
            out[place] = as_particles(values)

    def _values(
        self, name: str, start: int, stop: int
    ) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Values of a field by box, and where they belong in the planes start..stop."""
        array = store.field_array(self.sample, name)
        for box, place in self._boxes(start, stop, triple(array.shards or array.chunks)):
            taken = tuple(slice(a, b, self.every) for a, b in zip(box.start, box.stop, strict=True))
            yield place, np.moveaxis(store.read_slices(array, taken), self.axis, 0)

    def _boxes(
        self, start: int, stop: int, shard: Triple
    ) -> Iterator[tuple[Box, tuple[slice, ...]]]:
        """Boxes of the label field, and where their voxels belong in the planes start..stop."""
        edges = [
            math.lcm(self.every, shard[a]) if a != self.axis else THICK * self.every
            for a in range(3)
        ]
        low, high = [0, 0, 0], list(self.shape)
        low[self.axis], high[self.axis] = (
            start * self.every,
            min(stop * self.every, self.shape[self.axis]),
        )
        corners = [range(a, b, e) for a, b, e in zip(low, high, edges, strict=True)]
        for corner in itertools.product(*corners):
            box = Box(
                triple(corner),
                triple(min(c + e, h) for c, e, h in zip(corner, edges, high, strict=True)),
            )
            places = [self._taken(box.start[a] - low[a], box.stop[a] - low[a]) for a in self.order]
            yield box, tuple(places)

    def _taken(self, start: int, stop: int) -> slice:
        return slice(start // self.every, -(-stop // self.every))

    def _write_fields(self, ring: Ring, found: Conduction) -> None:
        """Write this rank's planes of the fields that are kept."""
        kept = {
            "potential": found.potential,
            "flux": found.size,
            "sensitivity": found.derivative,
        }
        for name, part in kept.items():
            if name in self.keeps and part is not None:
                array = scratch(self, ring, name, self.turned, "float32")
                for plane, values in zip(found.owned, part, strict=True):
                    array[plane] = values
        if ring.rank == 0 and found.single is not None:
            write_tables(self.sample, self.tables, found.single, self.order)
        ring.collect(None)


def scratch(
    case: Case, ring: Ring, name: str, shape: Triple, dtype: str, *, fresh: bool = True
) -> Any:
    """Open an array of the scratch node; with `fresh` the first rank creates it."""
    path, chunk = case.path(name), (1, min(WIDE, shape[1]), min(WIDE, shape[2]))
    if ring.rank == 0 and fresh:
        arrays.create(case.sample, path, shape, chunk, 0, dtype)
    ring.collect(None)
    return arrays.array(case.sample, path)


def numbers(found: Conduction, drive: Drive) -> dict[str, Any]:
    """Numbers of a solution as JSON, without its fields."""
    names = (
        "conductivity",
        "percolates",
        "mean_total",
        "mean_through",
        "spread",
        "iterations",
        "row",
        "labels",
    )
    record = {name: getattr(found, name) for name in names} | {"flux": found.flux.tolist()}
    record["voxels"] = {str(label): count for label, count in found.voxels.items()}
    if found.areas is not None:
        record |= record_of(found.areas, drive.spacing)
    if found.sensitivity is not None:
        record["sensitivity"] = _losses(found.sensitivity, drive)
        record["tables"] = found.single is not None
    if found.local is not None:
        record["local"] = {name: values[1:].tolist() for name, values in vars(found.local).items()}
    return record


def _losses(found: Sensitivity, drive: Drive) -> dict[str, Any]:
    """Sensitivities as JSON; interfaces in the order of their names, places along z, y, x."""
    given = [tuple(sorted(pair)) for pair in drive.interface or {}]
    back = [drive.order.index(axis) for axis in range(3)]
    return {
        "phases": {str(label): part for label, part in found.phases.items()},
        "interfaces": {f"{a}:{b}": found.interfaces.get((a, b), 0.0) for a, b in given},
        "contacts": dict(zip(("low", "high"), found.contacts, strict=True)),
        "certificate": found.certificate,
        "worst": [[*(one.place[a] for a in back), one.share] for one in found.worst],
    }


@dataclass
class Keeper:
    """Checkpoints of one rank, in two generations.

    The older stays intact while the newer is written.
    """

    case: Case
    ring: Ring
    seat: Seat
    team: Workers
    last: float = 0.0
    generation: int = 0

    def begin(self, problem: Problem, state: State) -> None:
        """Continue from the last checkpoint, whichever ranks wrote it."""
        self.last = time.monotonic()
        if self.case.every == 1:
            refuse_apart(self.case.names, problem.areas)
        record = self.ring.collect(self.case.ledger.record(self.case.index))[0]
        if not record:
            return
        self.generation = int(record["generation"])
        for name in KEPT:
            array, target = self._array(name, problem, fresh=False), getattr(state, name)
            for row, plane in self._rows(problem):
                target[row, 1:-1, 1:-1] = self.team.from_numpy(np.asarray(array[plane]))
        problem.halo.refresh(state.direction)
        state.before, state.gain = float.fromhex(record["before"]), float.fromhex(record["gain"])
        state.iterations = int(record["iterations"])

    def watch(self, problem: Problem, state: State) -> None:
        """Report the progress; write a checkpoint when it is due by the first rank's clock."""
        if self.ring.rank == 0:
            self.seat.report({"iterations": state.iterations, "spread": state.spread})
        if self.ring.collect(time.monotonic() - self.last >= self.case.seconds)[0]:
            self._write(problem, state)

    def _write(self, problem: Problem, state: State) -> None:
        self.generation = 1 - self.generation
        for name in KEPT:
            array, source = self._array(name, problem, fresh=True), getattr(state, name)
            for row, plane in self._rows(problem):
                array[plane] = self.team.to_numpy(source[row, 1:-1, 1:-1])
        self.ring.collect(None)  # all ranks have written their planes
        if self.ring.rank == 0:
            record = {
                "before": state.before.hex(),
                "gain": state.gain.hex(),
                "iterations": state.iterations,
            }
            self.case.ledger.mark_done(self.case.index, record | {"generation": self.generation})
        self.ring.collect(None)  # the older one is not overwritten before the newer one counts
        self.last = time.monotonic()

    def _rows(self, problem: Problem) -> Iterator[tuple[int, int]]:
        for row in problem.planes:
            yield row, problem.start + row - 1

    def _array(self, name: str, problem: Problem, *, fresh: bool) -> Any:
        return scratch(
            self.case,
            self.ring,
            f"{name}_{self.generation}",
            problem.shape,
            KEPT[name],
            fresh=fresh,
        )
