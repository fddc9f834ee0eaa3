"""The verb `generate`: a volume of any size from a generator, block by block."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Outline, Plan
from tim3d.engine.passes.run import BASE_BYTES, TORCH_BASE_BYTES
from tim3d.errors import ArgumentError
from tim3d.forecast import expected, will_exist
from tim3d.grid import AXES, Block, Box, Grid, Triple, triple
from tim3d.kernels.generation.generator import Generator, Grown, Numbered
from tim3d.kernels.generation.iterated import Iterated
from tim3d.lazy import xarray as xr
from tim3d.sources.units import edges_given, refuse_mistyped
from tim3d.stages.generation.growth import Growth, Stored
from tim3d.stages.generation.guided_iteration import iteration
from tim3d.stages.generation.iteration import Iteration, LastState
from tim3d.stages.shared.awaited import cannot_plan, plan_awaiting
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    refuse_other_shards,
    whole_shards,
)
from tim3d.stages.shared.slice_statistics import keep_sums, sums_of_slices
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field, Spacing, asked_shard

log = logging.getLogger(__name__)

# Bytes a voxel of the numbers of particles, of a copy to encode, and of the labels that they follow.
NUMBER_BYTES = 10
# Relative difference of the voxel size beyond which the same labels are a different material.
SPACING_TOLERANCE = 1e-3


@Verb
def generate(
    sample: str,
    generator: Generator,
    *,
    shape: Triple,
    voxel_size: Mapping[str, float] | None = None,
    out: str | None = None,
    particles: str | None = None,
    shard: Triple | None = None,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Generate a volume; no voxel depends on the blocks, the workers or the order of work.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    generator : Generator
        What makes the labels or grey values: one of `tim3d.generators`, or one of your own
        (docs/extend.md).
    shape : (z, y, x)
        Voxels of the volume. A larger volume of the same generator begins with the smaller one,
        unless the generator depends on the shape.
    voxel_size : mapping of axis to nm, optional
        Edges of a voxel (default: from the generator). Other values scale the structure, with
        a warning.
    out : str, optional
        Name of the field (default phase; of grey values raw, of colours raw_red and so on).
    particles : str, optional
        Name of a second field, the number of each voxel's particle (uint32, 0 between particles;
        default: it is not written). A particle that goes on across the faces of the volume has one
        number. For generators that tell particles apart, such as Packed.
    shard : (z, y, x), optional
        Edges of a shard (default 64, 512, 512).
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels (or grey values, or the values of the first colour), lazily.

    Raises
    ------
    ArgumentError
        If an argument is out of range, `generator` is not a generator, or it does not number
        particles.
    InputError
        If a file of the generator cannot be read.
    ConvergenceError
        If the overlaps of a packing cannot be removed.
    """
    asked = Asked(sample, generator, triple(shape), voxel_size, out, shard, particles)
    return generation(asked, options)


@dataclass(frozen=True)
class Asked:
    """The arguments of `generate`."""

    sample: str
    generator: Generator
    shape: Triple
    voxel_size: Mapping[str, float] | None
    out: str | None
    shard: Triple | None
    particles: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.generator, Generator):
            raise ArgumentError(
                f"generate takes a generator, and {self.generator!r} is a {type(self.generator).__name__}; "
                "tim3d.generators has them, for example Packed"
            )
        if self.particles is not None and not (isinstance(self.particles, str) and self.particles):
            raise ArgumentError(
                f"particles is {self.particles!r}: it is the name of the field of their numbers, as grain"
            )
        if min(self.shape) < 1:
            raise ArgumentError(
                f"a volume of shape {self.shape} has no voxels; give three edges as 512,512,512"
            )

    def fields(self, generator: Generator) -> list[Field]:
        """Fields that the generator writes: labels if it names phases."""
        shards, chunk = asked_shard(self.shape, self.shard)
        phases, spacing = generator.phases, chosen_spacing(generator, self.voxel_size)
        what = "generated phase" if phases else "generated grey value"
        found = [
            Field(
                name,
                self.shape,
                "uint8",
                spacing,
                chunk,
                shards,
                labels=bool(phases),
                phases=phases,
                long_name=what,
            )
            for name in generator.names(self.out)
        ]
        if self.particles:
            found.append(
                replace(
                    found[0],
                    name=self.particles,
                    dtype=schema.ID_DTYPE,
                    labels=True,
                    phases=None,
                    long_name="number of the particle",
                )
            )
        return found

    def refuse_unnumbered(self, generator: Generator) -> None:
        """Raise `ArgumentError` if particles are to be numbered and the generator has none."""
        if not self.particles:
            return
        if not isinstance(generator, Numbered):
            raise ArgumentError(
                f"--particles numbers packed grains, and the generator {generator.kind!r} does not tell particles "
                "apart: leave it out, or take --kind packed or interface"
            )
        if self.particles in generator.names(self.out):
            raise ArgumentError(
                f"--particles {self.particles} is the field of the phases: give another name, for example "
                "--particles particle"
            )


def generation(ask: Asked, options: Options, awaited: str = "") -> Task[xr.DataArray]:
    """The task of a volume; its plan needs the description of the generator's file.

    `awaited` is what the generator follows from and an earlier step of a recipe has yet to write.
    """
    path = ask.generator.reads
    if path and will_exist(path) and not _is_described(path):
        return Task(partial(cannot_plan, "generate", path), lambda: _generating(ask, options).run())
    generating = _generating(ask, options, awaited)
    return Task(generating.plans, generating.run)


@dataclass(frozen=True)
class Generating:
    """A generator and its fields; `awaited` is a file that an earlier step has yet to write."""

    ask: Asked
    generator: Generator
    making: Making
    options: Options
    awaited: str
    before: Growth | Iteration | None

    def plans(self) -> list[Plan | Outline]:
        """The passes; none if the fields exist."""
        ask = self.ask
        refuse_other_shards(ask.sample, self.making.field, ask.shard, self.options)
        plans = (
            plan_awaiting(ask.sample, self.making, self.options, self.awaited)
            if self.awaited
            else plan_field(ask.sample, self.making, self.options)
        )
        is_made = not any(isinstance(one, Plan) for one in plans)
        return [*([] if is_made or not self.before else self.before.plans()), *plans]

    def run(self) -> xr.DataArray:
        """The first field, generated unless it exists."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        if plans:
            self.generator.check()
        before = self.before
        return produce(
            self.ask.sample,
            self.making,
            self.options,
            finish=self._finish,
            prepare=before.run if before else None,
        )

    def _finish(self, ledger: Ledger) -> None:
        """Write the table of slices of grey values, and delete what was kept of a growth or of states."""
        making = self.making
        if self.generator.phases is None:
            grid = Grid(
                making.field.shape, whole_shards(self.options.block or making.block, making.field)
            )
            for one in (making.field, *making.siblings):
                if one.name == self.ask.particles:
                    continue
                keep_sums(self.ask.sample, one, ledger, grid, "generate", one.name)
        if self.ask.particles and isinstance(self.generator, Numbered):
            wraps = [AXES[axis] for axis in self.generator.wrapped(self.ask.shape)]
            store.update_node(self.ask.sample, self.ask.particles, wraps=wraps)
        if isinstance(self.before, Iteration):
            store.update_node(self.ask.sample, making.field.name, **self.before.record())
        if self.before:
            self.before.drop()


def _generating(ask: Asked, options: Options, awaited: str = "") -> Generating:
    generator = ask.generator.of_shape(ask.shape)
    ask.refuse_unnumbered(generator)
    for doubt in generator.doubts():
        log.warning("%s", doubt)
    first, *others = ask.fields(generator)
    codes = generator.phases.codes if generator.phases else ()
    edge = 1 if isinstance(generator, Iterated) else generator.tile_edge
    _warn_of_cut_tiles(options.block, first, edge)
    makes = _maker(generator, ask.sample, first.name)
    making = Making(
        verb="generate",
        field=first,
        siblings=tuple(others),
        naming={ask.particles: "--particles"} if ask.particles else {},
        work=GenerateWork(
            ask.sample,
            generator.names(ask.out),
            makes,
            codes,
            options.durable,
            ask.particles or "",
            ask.shape,
        ),
        block=_block(generator, first),
        inputs=generator.inputs(),
        parameters=generator.description()
        | ({"particles": ask.particles} if ask.particles else {}),
        halo=generator.halo,
        read_bytes=makes.states.voxel_bytes if isinstance(makes, LastState) else 0.0,
        base_bytes=TORCH_BASE_BYTES if generator.needs_torch else BASE_BYTES,
    )
    path = ask.generator.reads
    awaited = awaited or (path if path and _is_described(path) else "")
    before: Growth | Iteration | None = None
    if isinstance(generator, Grown):
        before = Growth(ask.sample, first.name, generator, making.fingerprint, options)
    if isinstance(generator, Iterated):
        before = iteration(ask.sample, first, generator, making.fingerprint, options)
    return Generating(ask, generator, making, options, awaited, before)


def _is_described(path: str) -> bool:
    """Whether an earlier step of a recipe has described the network that it will write."""
    return expected("generator", path) is not None or expected("diffusion", path) is not None


def _maker(generator: Generator, sample: str, out: str) -> Generator:
    """Return what makes the blocks of the field: it reads what was made before, if anything was."""
    if isinstance(generator, Grown):
        return Stored.of(generator, sample, out)
    return LastState.of(generator, sample, out) if isinstance(generator, Iterated) else generator


def _block(generator: Generator, out: Field) -> Triple:
    """Voxels of a block of the field."""
    if isinstance(generator, Iterated):
        return many_shards(out, 2**24)
    return tiled_block(out, generator.tile_edge) if generator.tile_edge > 1 else many_shards(out)


def spacing_nm(voxel_size: Mapping[str, float]) -> Spacing:
    """Return the voxel edges (z, y, x) in nm; raise `ArgumentError` unless all are positive."""
    given = edges_given(voxel_size)
    if sorted(given) != ["x", "y", "z"]:
        raise ArgumentError(f"a voxel has three edges, got {given}; write --voxel-size 10,5,5")
    z, y, x = (float(voxel_size[a]) for a in "zyx")
    if not all(0 < v < math.inf for v in (z, y, x)):
        raise ArgumentError(
            f"voxel size {z:g}, {y:g}, {x:g} nm: every edge must be a positive length"
        )
    refuse_mistyped({"z": z, "y": y, "x": x})
    return (z, y, x)


def chosen_spacing(generator: Generator, voxel_size: Mapping[str, float] | None) -> Spacing:
    """Edges of a voxel: from `voxel_size` with a warning if they differ, or from the generator."""
    if voxel_size is None:
        return generator.spacing_nm
    wanted = spacing_nm(voxel_size)
    if any(
        abs(math.log(a / b)) > SPACING_TOLERANCE
        for a, b in zip(generator.spacing_nm, wanted, strict=True)
    ):
        log.warning(
            "the generator makes voxels of %s nm, and %s nm are asked for (z, y, x): the structure is scaled",
            generator.spacing_nm,
            wanted,
        )
    return wanted


def tiled_block(out: Field, edge: int) -> Triple:
    """Blocks of whole shards and whole tiles, so that no tile is computed twice.

    >>> tiled_block(Field("phase", (300, 700, 700), "uint8", (1.0,) * 3, (64, 64, 64), (64, 512, 512)), 128)
    (128, 512, 512)
    """
    axes = zip(many_shards(out, 2**25), out.shape, out.shard, strict=True)
    return triple(_whole(b, n, math.lcm(s, edge)) for b, n, s in axes)


def _whole(block: int, length: int, unit: int) -> int:
    return block if block >= length else -(-block // unit) * unit


def _warn_of_cut_tiles(block: Triple | None, out: Field, edge: int) -> None:
    """Warn if the requested blocks cut tiles, which are then computed more than once."""
    if block is not None and any(b < n and b % edge for b, n in zip(block, out.shape, strict=True)):
        log.warning(
            "blocks of %s cut tiles of %d voxels, which are then computed several times; use --block %s",
            block,
            edge,
            ",".join(map(str, tiled_block(out, edge))),
        )


@dataclass(frozen=True)
class GenerateWork:
    """Block work without input, whose output is codes of phases or grey values."""

    sample: str
    out: tuple[str, ...]
    generator: Generator
    codes: tuple[int, ...]
    durable: bool
    particles: str
    shape: Triple

    def read(self, block: Block) -> None:
        """Return nothing: the position of a block determines its voxels."""

    def compute(self, block: Block, inputs: None) -> tuple[np.ndarray, np.ndarray | None]:
        """Codes of the core, or grey values; and numbers of particles, if they are kept.

        Raises
        ------
        ArgumentError
            If the generator returns anything but labels of its phases.
        """
        labels = self.generator.labels(block.core)
        self._check(labels, block.core.shape)
        if self.codes and self.codes != tuple(range(len(self.codes))):
            labels = np.take(np.asarray(self.codes, np.uint8), labels)
        return labels, self._numbers(block.core) if self.particles else None

    def _numbers(self, core: Box) -> np.ndarray:
        assert isinstance(self.generator, Numbered)
        numbers = self.generator.numbers(core, self.shape)
        if numbers.dtype != schema.ID_DTYPE or numbers.shape != core.shape:
            raise ArgumentError(
                f"the generator {self.generator.kind!r} numbered particles by {numbers.dtype} of shape "
                f"{numbers.shape}, expected {schema.ID_DTYPE} of shape {core.shape}"
            )
        return numbers

    def _check(self, labels: np.ndarray, core: Triple) -> None:
        shape = core if len(self.out) == 1 else (len(self.out), *core)
        kind = self.generator.kind
        if labels.dtype != np.uint8 or labels.shape != shape:
            raise ArgumentError(
                f"the generator {kind!r} made {labels.dtype} of shape {labels.shape}, expected uint8 of shape {shape}"
            )
        if self.codes and (largest := int(labels.max())) >= len(self.codes):
            raise ArgumentError(
                f"the generator {kind!r} made the label {largest}, and it has {len(self.codes)} phases: labels are "
                f"0 to {len(self.codes) - 1}, in the order of the codes"
            )

    def write(self, block: Block, outputs: tuple[np.ndarray, np.ndarray | None]) -> dict[str, Any]:
        """Write whole shards of each field, and return the number of voxels of each phase, or sums over slices."""
        labels, numbers = outputs
        written = dict(zip(self.out, labels.reshape(len(self.out), *block.core.shape), strict=True))
        named = written if numbers is None else written | {self.particles: numbers}
        for name, values in named.items():
            store.write_block(self.sample, name, block.core, values, durable=self.durable)
        if not self.codes:
            return {name: sums_of_slices(one) for name, one in written.items()}
        counts = _counts(labels)
        return {"voxels": {str(code): int(counts[code]) for code in self.codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: buffers of the generator, and two copies of the labels to encode, and of the numbers."""
        a_voxel = 2 * len(self.out) + (NUMBER_BYTES if self.particles else 0)
        return a_voxel * math.prod(core) + self.generator.block_bytes(core)


def _counts(labels: np.ndarray) -> np.ndarray:
    """Histogram by planes: for a whole block numpy would make a copy of 8 bytes a voxel."""
    return np.asarray(sum(np.bincount(plane.reshape(-1), minlength=256) for plane in labels))
