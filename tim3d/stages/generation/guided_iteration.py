"""Passes of a diffusion that is guided: each guided step is a velocity, numbers of the whole volume, and a move.

The velocity and the codes of the soft shares lie in the sample between the two passes of a step, and
what the whole volume decides (lengths, values, weights of the gradients) is recorded there as soon as
it is known. Sums over blocks are whole numbers, or sums over tiles that are rounded once: no bit
depends on the blocks. The flux is solved in this process, with numbers that no number of threads
changes, from the solution of the step before, which is kept in the sample.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tim3d.engine import Outline, Pass, Plan, run
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import LOADED_LATER_BYTES
from tim3d.errors import ArgumentError, ConvergenceError
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.kernels.conduction.conduction import Physics, conduct, conduct_bytes
from tim3d.kernels.conduction.warm_start import conduct_from
from tim3d.kernels.generation.guidable import Guidable
from tim3d.kernels.generation.guidance import (
    HALF,
    LEVELS,
    NEAR,
    Guide,
    Move,
    gain,
    is_guided,
    least_move,
    log_factors,
    products_of,
    products_with_heat,
    shares,
    soft_conductivities,
    steepness,
    usual_factor,
)
from tim3d.kernels.generation.iterated import Iterated, Means
from tim3d.stages.generation.guided_passes import (
    Between,
    MoveWork,
    VelocityWork,
    turned_shape,
)
from tim3d.stages.generation.iteration import Iteration, States, labels_of
from tim3d.stages.shared.field import Options
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field, Spacing

log = logging.getLogger(__name__)
# Relative spread of the flux at which the soft medium is solved, and by how much the dissipation of all voxels may
# differ from the effective conductivity.
SOFT_TOLERANCE, MOST_UNCERTIFIED = 1e-3, 1e-2
HARD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class GuidedIteration(Iteration):
    """All passes of a guided generator for the field `out` of a sample, with voxels of given edges."""

    generator: Guidable
    spacing_nm: Spacing

    @property
    def guide(self) -> Guide:
        """Targets of the volume, and what they need."""
        assert self.generator.guide is not None
        return self.generator.guide

    @property
    def between(self) -> Between:
        """Arrays between the two passes of a step."""
        return Between(self.states, self.generator)

    @property
    def pilot(self) -> Iteration | None:
        """Passes of an unguided volume, whose octants tell the natural scatter unless it is given."""
        if set(self.guide.targets) <= set(dict(self.guide.scatter)):
            return None
        plain = self.generator.unguided()
        return Iteration(self.sample, f"{self.out}_unguided", plain, self.fingerprint, self.options)

    @property
    def guided(self) -> list[int]:
        """Numbers of the guided passes."""
        evaluations = self.generator.process.evaluations()
        return [number for number, one in enumerate(evaluations, 1) if is_guided(one)]

    def plans(self) -> list[Plan | Outline]:
        """Plan of a pass, what is done between passes, and the memory of the flux."""
        plans = super().plans()
        if not plans:
            return []
        guided, pilot = len(self.guided), self.pilot
        unguided = f"{self.generator.passes} passes of an unguided volume before, " if pilot else ""
        solved = f" and {2 * guided} solutions of the flux" if self.guide.solves else ""
        text = (
            f"{unguided}{guided} passes more that move the state{solved}; velocities and codes take "
            f"{size_text(self.between.bytes)} meanwhile"
        )
        first = self.velocities(self.guided[0]).plan(afresh=not self._begun())
        return [*plans, first, Outline(f"{self.out}: guidance", text), self._memory()]

    def _memory(self) -> Plan:
        """Memory of this process for what is done with the volume as a whole."""
        shape = self.generator.shape
        voxels = math.prod(shape)
        slab = min(self.generator.tile_edge, shape[0]) * shape[1] * shape[2]
        need = 2 * voxels + 20 * slab + LOADED_LATER_BYTES
        if self.guide.solves:
            assert self.guide.conductivities is not None
            physics = Physics(dict(enumerate(self.guide.conductivities)))
            drive = physics.drive(self.guide.axis, self.spacing_nm)
            turned = turned_shape(shape, self.guide.axis)
            # Codes and labels, the guess and its copy, the derivatives and their copy in the order z, y, x; and what
            # dissipates between two codes in each plane, twice.
            tables = 2 * 8 * (LEVELS + 4) ** 2 * (turned[0] + 2)
            need += conduct_bytes(turned, drive, fields=1) + 16 * voxels + tables
        return Plan(
            name=f"{self.out}: the volume as a whole",
            blocks=1,
            left=1,
            block=shape,
            halo=(0, 0, 0),
            read_bytes=voxels,
            write_bytes=8 * voxels if self.guide.solves else 0,
            peak_bytes=need,
            limit_bytes=available_memory(),
            workers=1,
            threads=1,
            cure=f"It takes {need / voxels:.0f} bytes a voxel here: ask for a smaller --shape",
        )

    def run(self) -> None:
        """Make all states, or those that an interrupted run has not made, and judge the volume."""
        begun = self._begun()
        if "cut" in begun:
            return
        if not begun:
            self._start()
        means = None
        for number in range(1, self.generator.passes + 1):
            if number in self.guided:
                step = self._guided_step(number, means)
            else:
                step = self.step(number, means)
                run(step, progress=self.options.progress)
            means = self._means(step) if self.generator.balances else None
        found = self._found_cut()
        reached = self._reached(found["cut"])
        self.unfinished.begin({"status": "writing", "reached": reached, **found})

    def _start(self) -> None:
        if not self.options.overwrite:
            self.unfinished.refuse_other_blocks()
        natural = self._natural()
        super().drop()  # the unguided volume is still read
        self.states.create()
        self.between.create()
        self.unfinished.begin({"status": "writing", "natural": natural, "moves": {}})
        self._drop_pilot()

    def _natural(self) -> dict[str, Any]:
        """Natural scatters, and the values of the unguided volume if they were found from one."""
        given, pilot = dict(self.guide.scatter), self.pilot
        if pilot is None:
            return {"scatter": given}
        pilot.run()
        begun = store.node_attributes(self.sample, pilot.states.node)
        values, found = self._judged(pilot.states, begun["cut"], octants=True)
        scatter = {**found, **given}
        for name in self.guide.targets:
            if not scatter[name] > 0:
                raise ArgumentError(
                    f"all octants of the unguided volume have the same {name}, which says nothing about its scatter: "
                    f"say it, for example --scatter {name}=0.01"
                )
        return {"scatter": scatter, "unguided": values}

    def _judged(
        self, states: States, cut: float, *, octants: bool
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Values of the labels of a last state, and the scatter that the octants of the volume tell."""
        shape, names = self.generator.shape, self.guide.targets
        parts = list(_octants(shape)) if octants else []
        labels = labels_of(states, cut, Box.whole(shape))
        values = {name: self._value(name, labels) for name in names}
        pieces = [np.ascontiguousarray(labels[one.slices]) for one in parts]
        scatter = {
            name: float(np.std([self._value(name, one) for one in pieces], ddof=1)) / math.sqrt(8)
            for name in names
            if pieces
        }
        return values, scatter

    def _value(self, name: str, labels: np.ndarray) -> float:
        """Value of a descriptor of labels."""
        if name == "phase_fraction":
            return 1 - int(np.count_nonzero(labels)) / labels.size
        assert self.guide.conductivities is not None
        found = conduct(
            labels, dict(enumerate(self.guide.conductivities)), self.guide.axis,
            spacing=self.spacing_nm, tolerance=HARD_TOLERANCE,
        )  # fmt: skip
        return found.conductivity

    def velocities(self, number: int, means: Means | None = None) -> Pass:
        """The first pass of a guided step; `means` are those of the state before."""
        return self._pass(
            f"{number:03d}-velocity",
            VelocityWork(self.between, number, self.options.durable, means),
            Grid(self.generator.domain.shape, self.block, self.generator.reach(number)),
            (self.states.voxel_bytes, 5),
            (self.generator.tile_edge,) * 3,
        )

    def _guided_step(self, number: int, means: Means | None) -> Pass:
        """Run both passes of a step, and decide between them how far it is moved; return the second."""
        first = self.velocities(number, means)
        run(first, progress=self.options.progress)
        moves = dict(self._attributes()["moves"])
        if str(number) not in moves:
            moves[str(number)] = self._decided(number, [record for _, record in first.records()])
            store.update_node(self.sample, self.states.node, moves=moves)
        decided = moves[str(number)]
        move = Move(decided["plain"], decided["heated"], decided["usual"], decided["cut"])
        second = self._pass(
            f"{number:03d}-of-{self.generator.passes}",
            MoveWork(self.between, number, move, self.options.durable, means),
            Grid(self.generator.domain.shape, self.block, (0, 0, 0)),
            (self.states.voxel_bytes + 9, self.states.voxel_bytes),
            (self.generator.tile_edge,) * 3,
        )
        run(second, progress=self.options.progress)
        return second

    def _attributes(self) -> dict[str, Any]:
        return store.node_attributes(self.sample, self.states.node)

    def _decided(self, number: int, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Values of the estimate, and the move of it."""
        one = self.generator.process.evaluations()[number - 1]
        steep, voxels = steepness(one.at), math.prod(self.generator.shape)
        counts = np.array([record["counts"] for record in records], np.int64).sum(axis=0)
        speed = math.sqrt(math.fsum(float.fromhex(v) for r in records for v in r["squares"]))
        values = {"phase_fraction": int(counts[:HALF].sum()) / voxels}
        soft = {"phase_fraction": 1 - math.fsum(counts * shares()) / voxels}
        products, certificate = products_of(counts, steep), None
        if self.guide.solves:
            products, certificate, values["conductivity"], soft["conductivity"] = self._solved(
                number, steep
            )
        targets, scatter = self.guide.targets, self._attributes()["natural"]["scatter"]
        missed = {name: values[name] - wanted for name, wanted in targets.items()}
        move = Move(0.0)
        if any(abs(value) > NEAR * scatter[name] for name, value in missed.items()):
            longest = self.guide.strength * speed
            asked = {name: gain(one) * value for name, value in missed.items()}
            move = least_move(asked, scatter, products, voxels, longest)
        said = ", ".join(f"{self._called(name)} {value:.6g}" for name, value in values.items())
        log.info("time %.3f: %s", one.at, said)
        return {
            "time": one.at, "values": values, "soft": soft, "certificate": certificate,
            "plain": move.plain, "heated": move.heated, "usual": move.usual, "cut": move.cut,
        }  # fmt: skip

    def _solved(self, number: int, steep: float) -> tuple[Any, float, float, float]:
        """Products of gradients, the certificate, and conductivities of labels and of the soft medium.

        Raises
        ------
        ConvergenceError
            If the dissipation of all voxels is not the effective conductivity.
        """
        between, guide, shape = self.between, self.guide, self.generator.shape
        assert guide.conductivities is not None
        codes = between.read("codes", between.volume)
        table = soft_conductivities(*guide.conductivities)
        turned = Box.whole(turned_shape(shape, guide.axis))
        is_first = number == self.guided[0]
        start = None if is_first else between.read(f"guess_{(number - 1) % 2}", turned)
        found, guess = conduct_from(
            start, codes, dict(enumerate(table.tolist())), guide.axis,
            spacing=self.spacing_nm, tolerance=SOFT_TOLERANCE,
        )  # fmt: skip
        assert found.derivative is not None
        assert found.sensitivity is not None
        certificate = found.sensitivity.certificate
        if abs(certificate) > MOST_UNCERTIFIED:
            raise ConvergenceError(
                f"the dissipation of all voxels is {certificate:+.2g} off the effective conductivity, more than "
                f"{MOST_UNCERTIFIED:g}: the flux of step {number} is not solved"
            )
        durable = self.options.durable
        between.write("heat", Box.whole(shape), found.derivative, durable=durable)
        between.write(f"guess_{number % 2}", turned, guess, durable=durable)
        factors = log_factors(*guide.conductivities)
        usual = usual_factor(codes, found.derivative, factors, steep)
        products = products_with_heat(codes, found.derivative, factors, steep, usual)
        hard = self._value("conductivity", (codes >= HALF).view(np.uint8))
        return products, certificate, hard, found.conductivity

    def _reached(self, cut: float) -> dict[str, float]:
        """Values of the labels; warned of if one is farther than a scatter from what was asked for."""
        values, _ = self._judged(self.states, cut, octants=False)
        scatter = self._attributes()["natural"]["scatter"]
        for name, wanted in self.guide.targets.items():
            log.info(
                "%s %.6g, asked for %g ± %.3g",
                self._called(name),
                values[name],
                wanted,
                scatter[name],
            )
            if abs(values[name] - wanted) > scatter[name]:
                log.warning(
                    "%s %g was asked for and %.6g is reached: farther than a natural scatter, %.3g (docs/generate.md)",
                    self._called(name), wanted, values[name], scatter[name],
                )  # fmt: skip
        return values

    def _called(self, name: str) -> str:
        """Name of a target for messages: of which phase, or along which axis and in which unit."""
        if name == "phase_fraction":
            return f"fraction of {next(iter(self.generator.phases or ['the first phase']))}"
        return f"conductivity along {AXES[self.guide.axis]} (in the unit of --conductivity)"

    def record(self) -> dict[str, Any]:
        """Record of the field: values asked for and reached, and the guided steps."""
        begun = self._attributes()
        natural = begun["natural"]
        targets = {
            name: {
                "asked": wanted,
                "reached": begun["reached"][name],
                "scatter": natural["scatter"][name],
                **({"unguided": natural["unguided"][name]} if "unguided" in natural else {}),
            }
            for name, wanted in self.guide.targets.items()
        }
        steps = [begun["moves"][str(number)] for number in self.guided]
        return {**super().record(), "targets": targets, "guided_steps": steps}

    def drop(self) -> None:
        """Delete the states, also those of the unguided volume, and the markers of their passes."""
        super().drop()
        self._drop_pilot()

    def _drop_pilot(self) -> None:
        if self.pilot is not None:
            self.pilot.drop()


def iteration(
    sample: str, field: Field, generator: Iterated, fingerprint: str, options: Options
) -> Iteration:
    """Return the passes of a generator for a field, guided if it is."""
    if isinstance(generator, Guidable) and generator.guide is not None:
        spacing = field.spacing_nm
        return GuidedIteration(sample, field.name, generator, fingerprint, options, spacing)
    return Iteration(sample, field.name, generator, fingerprint, options)


def _octants(shape: Triple) -> Iterator[Box]:
    """The eight octants of a volume; a plane in the middle may be left out."""
    half = [n // 2 for n in shape]
    for corner in product((0, 1), repeat=3):
        start = triple(c * (n - h) for c, n, h in zip(corner, shape, half, strict=True))
        yield Box(start, triple(a + h for a, h in zip(start, half, strict=True)))
