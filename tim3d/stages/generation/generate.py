"""Volumes of any size, block by block: level cuts of Gaussian fields, particles in a matrix, trained networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d.engine import Outline, Plan
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError
from tim3d.forecast import expected, will_exist
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.generation.packing import Packed
from tim3d.phases import Phases
from tim3d.stages.generation.structures import (
    OF_FIELDS,
    OF_GRAINS,
    Generator,
    choose,
    described,
    need,
    refuse_foreign,
    spacing_nm,
)
from tim3d.stages.shared.awaited import cannot_plan, plan_awaiting
from tim3d.stages.shared.field import DEFAULTS, Making, Options, many_shards, plan_field, produce, refuse_other_shards
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field, Spacing, asked_shard
from tim3d.typed import Cell, Correlations, Edges, Fractions, Histogram, Orientation, Shape, VoxelSize

KINDS = ("field", "overlapping", "hard-core", "packed", "network")
OF_NETWORKS = ("weights", "precision", "tile", "device")


@Verb
def generate(
    sample: str,
    *,
    kind: Literal["field", "overlapping", "hard-core", "packed", "network"],
    shape: Shape,
    voxel_size: VoxelSize | None = None,
    seed: int = 0,
    fractions: Fractions | None = None,
    correlation_nm: Correlations | None = None,
    s2: str | Path | None = None,
    loading: float | None = None,
    phases: Phases | None = None,
    diameter_nm: float | None = None,
    spread: float | None = None,
    sizes: Histogram | None = None,
    aspect: float | None = None,
    orientation: Orientation | None = None,
    cell_nm: Cell | None = None,
    weights: str | Path | None = None,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    tile: int | None = None,
    device: str | None = None,
    periodic: bool = False,
    out: str | None = None,
    shard: Edges | None = None,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Generate a volume of labels; no voxel depends on the blocks, the workers or the order of work.

    Parameters
    ----------
    sample : str
        Path or URL of the sample. It is made if it is not there.
    kind : {"field", "overlapping", "hard-core", "packed", "network"}
        The law of the volume. Level cuts of a Gaussian field; or grains in a matrix that overlap freely, that never
        touch at low loading, or that are packed densely; or what a trained network makes of noise. See
        docs/generate.md.
    shape : (z, y, x)
        Voxels of the volume. A larger volume of the same seed begins with the smaller one, unless it is periodic or
        packed.
    voxel_size : mapping of axis to nm
        Edges of a voxel in nm (default of a network: those of its training).
    seed : int
        Number from which all that is random follows, 0 to 2^64 - 1.
    fractions : mapping of name to float
        Of a field: expected share of every phase (needed by a field). From the lowest values of the field on; they get
        the codes 0, 1, ...
    correlation_nm : float or (z, y, x)
        Of a field: length in nm over which it is correlated (needed by a field without a table of S2). At this distance
        its correlation exp(-(r/l)^2) falls to 1/e.
    s2 : path, optional
        Of a field, instead: file with rows of distance in nm, S2 of the first phase (default: none). Of a field of two
        phases only.
    loading : float
        Of grains: share of the volume that they fill (needed by grains).
    phases : Phases, optional
        Of grains: names and codes, first the matrix, which has the lower code (default: matrix=0,filler=1).
    diameter_nm : float
        Of grains: median diameter in nm, of a sphere of the same volume (needed by grains without a histogram of
        sizes).
    spread : float
        Of grains: standard deviation of the logarithm of the diameter (default: 0).
    sizes : mapping of diameter in nm to share by number, optional
        Of grains, instead: histogram of the diameters in nm (default: none).
    aspect : float
        Of grains: polar over equatorial axis (default: 1).
    orientation : (z, y, x)
        Of grains: weights of the directions of the polar axis (default: 1,1,1, all alike).
    cell_nm : (z, y, x), optional
        Of packed grains: edges in nm of the cell that is repeated (default: the volume).
    weights : path
        Of a network: file that train-generator wrote (needed by a network).
    precision : {"float32", "bfloat16", "float16"}, optional
        Of a network: precision of its arithmetic (default: float32). On CUDA only: float16.
    tile : int, optional
        Of a network: edge in voxels of what it computes at a time (default: about 128, on CUDA 256).
    device : str, optional
        Of a network: auto, cpu, cuda or cuda:1 (default: auto).
    periodic : bool
        The volume continues itself across opposite faces. Packed grains do so if the cell is the volume.
    out : str, optional
        Name of the field (default: phase; raw of a network of grey values, raw_red and so on of colours).
    shard : (z, y, x), optional
        Edges of a shard in voxels, the unit that is written at once (default: 64,512,512).
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels (or grey values, or those of the first colour), lazily.

    Raises
    ------
    ArgumentError
        If an argument is out of range, missing or without meaning for the kind.
    InputError
        If the table of S2 cannot be read, or the weights are no generator.
    ConvergenceError
        If a packing does not come apart.
    """
    known = (*OF_FIELDS, *OF_GRAINS, *OF_NETWORKS, "cell_nm")
    given = {name: value for name, value in locals().items() if name in known and value is not None}
    _check_shape(kind, triple(shape))
    ask = Asked(sample, kind, given, triple(shape), voxel_size, seed, periodic, out, shard)
    if kind == "network":
        return _by_network(ask, options)
    generating = _of_law(ask, options)
    return Task(generating.plans, generating.run)


@dataclass(frozen=True)
class Asked:
    """The arguments of `generate`."""

    sample: str
    kind: str
    given: Mapping[str, Any]
    shape: Triple
    voxel_size: Mapping[str, float] | None
    seed: int
    periodic: bool
    out: str | None
    shard: Triple | None

    def field(self, name: str, spacing: Spacing, phases: Phases | None) -> Field:
        """A field that the generator writes: labels if they have names."""
        shards, chunk = asked_shard(self.shape, self.shard)
        what = "generated phase" if phases else "generated grey value"
        return Field(
            name, self.shape, "uint8", spacing, chunk, shards, labels=bool(phases), phases=phases, long_name=what
        )


@dataclass(frozen=True)
class Generating:
    """A generator and the fields that it makes; `awaited` is a file that an earlier step has yet to write."""

    ask: Asked
    generator: Generator
    making: Making
    options: Options
    awaited: str = ""

    def plans(self) -> list[Plan | Outline]:
        """The passes; none if the fields are there."""
        ask = self.ask
        refuse_other_shards(ask.sample, self.making.field, ask.shard, self.options)
        if self.awaited:
            return plan_awaiting(ask.sample, self.making, self.options, self.awaited)
        return list(plan_field(ask.sample, self.making, self.options))

    def run(self) -> xr.DataArray:
        """The first field, made if it is not there."""
        if self.plans() and isinstance(self.generator, Packed):
            self.generator.cell()  # what does not pack is refused before anything is written
        return produce(self.ask.sample, self.making, self.options)


def _of_law(ask: Asked, options: Options) -> Generating:
    if ask.voxel_size is None:
        raise ArgumentError(f"--kind {ask.kind} needs --voxel-size; for example --voxel-size 10,5,5")
    spacing, period = spacing_nm(ask.voxel_size), ask.shape if ask.periodic else (0, 0, 0)
    generator, names = choose(ask.kind, ask.given, ask.shape, spacing, ask.seed, period)
    labels = ask.field(ask.out or "phase", spacing, names)
    making = Making(
        verb="generate",
        field=labels,
        work=GenerateWork(ask.sample, (labels.name,), generator, names.codes, options.durable),
        block=many_shards(labels),
        parameters={"kind": ask.kind, "seed": ask.seed, "periodic": ask.periodic, "generator": described(generator)},
        halo=generator.halo,
        read_bytes=0.0,
    )
    return Generating(ask, generator, making, options)


def _by_network(ask: Asked, options: Options) -> Task[xr.DataArray]:
    refuse_foreign("network", ask.given, OF_NETWORKS)
    path = str(need(ask.given, "weights", "network", "gen.safetensors"))
    if will_exist(path) and not expected("generator", path):
        return Task(partial(cannot_plan, "generate", path), lambda: _of_network(ask, options).run())
    generating = _of_network(ask, options)
    return Task(generating.plans, generating.run)


def _of_network(ask: Asked, options: Options) -> Generating:
    from tim3d.stages.generation import network_generator

    generator, about = network_generator.network_field(ask.given, ask.shape, ask.seed, ask.periodic)
    spacing = network_generator.spacing_of(about, spacing_nm(ask.voxel_size) if ask.voxel_size is not None else None)
    names = network_generator.names_of(about.architecture, ask.out)
    first, *others = (ask.field(name, spacing, about.phases) for name in names)
    network_generator.warn_of_cut_tiles(options.block, first, generator.edge)
    codes = about.phases.codes if about.phases else ()
    making = Making(
        verb="generate",
        field=first,
        siblings=tuple(others),
        work=GenerateWork(ask.sample, names, generator, codes, options.durable),
        block=network_generator.tiled_block(first, generator.edge),
        inputs={"weights": generator.sha256},
        parameters={
            "kind": "network",
            "seed": ask.seed,
            "periodic": ask.periodic,
            **network_generator.parameters(generator),
        },
        read_bytes=0.0,
        base_bytes=TORCH_BASE_BYTES,
    )
    awaited = str(ask.given["weights"]) if generator.sha256 == network_generator.NOT_TRAINED else ""
    return Generating(ask, generator, making, options, awaited)


def _check_shape(kind: str, shape: Triple) -> None:
    if kind not in KINDS:
        raise ArgumentError(f"no kind {kind!r} of structure; there are {', '.join(KINDS)}")
    if min(shape) < 1:
        raise ArgumentError(f"a volume of shape {shape} has no voxels; give three edges as 512,512,512")


@dataclass(frozen=True)
class GenerateWork:
    """Nothing in, codes out; or grey values, for which there are no codes."""

    sample: str
    out: tuple[str, ...]
    generator: Generator
    codes: tuple[int, ...]
    durable: bool

    def read(self, block: Block) -> None:
        """Nothing: a block is known by its place."""

    def compute(self, block: Block, inputs: None) -> np.ndarray:
        """Codes of the core."""
        labels = self.generator.labels(block.core)
        if self.codes == tuple(range(len(self.codes))):
            return labels
        return np.take(np.asarray(self.codes, np.uint8), labels)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards of each field, and how many voxels each phase got."""
        for name, values in zip(self.out, outputs.reshape(len(self.out), *block.core.shape), strict=True):
            store.write_box(store.field_array(self.sample, name, mode="r+"), block.core, values, durable=self.durable)
        if not self.codes:
            return {}
        counts = _counts(outputs)
        return {"voxels": {str(code): int(counts[code]) for code in self.codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Labels twice more while they are encoded, and what the generator needs."""
        return 2 * len(self.out) * math.prod(core) + self.generator.block_bytes(core)


def _counts(labels: np.ndarray) -> np.ndarray:
    """A histogram plane by plane: of a whole block numpy would make a copy of eight bytes a voxel."""
    return np.asarray(sum(np.bincount(plane.reshape(-1), minlength=256) for plane in labels))
