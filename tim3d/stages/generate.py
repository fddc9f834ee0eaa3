"""Volumes of any size, block by block: level cuts of Gaussian fields, particles in a matrix, trained networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr

from tim3d import store
from tim3d.engine import Plan
from tim3d.engine.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, Box, Triple, triple
from tim3d.kernels.grains import Grains, lognormal
from tim3d.kernels.packing import HardCore, Overlapping, Packed
from tim3d.kernels.philox import Noise
from tim3d.kernels.random_field import GaussianField, LevelCuts
from tim3d.kernels.spectral_field import SpectralField, correlation_of
from tim3d.phases import Phases
from tim3d.schema import Field, Spacing, asked_shard
from tim3d.stages.field import DEFAULTS, Making, Options, many_shards, produce

KINDS = ("field", "overlapping", "hard-core", "packed", "network")
FILLED = Phases(matrix=0, filler=1)
# Arguments that have a meaning for some kinds only.
OF_FIELDS = ("fractions", "correlation_nm", "s2")
OF_GRAINS = ("loading", "phases", "diameter_nm", "spread", "sizes", "aspect", "orientation")
OF_NETWORKS = ("weights", "precision", "tile", "device")


class Generator(Protocol):
    """What makes the labels of any box of an endless volume from the coordinates of the box alone.

    Two boxes agree, bit for bit, where they overlap. A generator pickles in a few kilobytes.
    """

    @property
    def halo(self) -> Triple:
        """Voxels around a block that decide it, for the plan."""

    def labels(self, box: Box) -> np.ndarray:
        """Labels 0, 1, ... of the phases in their order, or grey values; uint8 of shape `box.shape` (colours first)."""

    def block_bytes(self, core: Triple) -> int:
        """Bytes of all buffers while the labels of a block are made."""


def generate(
    sample: str,
    *,
    kind: Literal["field", "overlapping", "hard-core", "packed", "network"],
    shape: Triple,
    voxel_size: Mapping[str, float] | None = None,
    seed: int = 0,
    fractions: Mapping[str, float] | None = None,
    correlation_nm: float | Sequence[float] | None = None,
    s2: str | Path | None = None,
    loading: float | None = None,
    phases: Phases | None = None,
    diameter_nm: float | None = None,
    spread: float | None = None,
    sizes: Mapping[str, float] | None = None,
    aspect: float | None = None,
    orientation: Sequence[float] | None = None,
    cell_nm: Sequence[float] | None = None,
    weights: str | Path | None = None,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    tile: int | None = None,
    device: str | None = None,
    periodic: bool = False,
    out: str | None = None,
    shard: Triple | None = None,
    options: Options = DEFAULTS,
) -> xr.DataArray | list[Plan]:
    """Generate a volume of labels; no voxel depends on the blocks, the workers or the order of work.

    Parameters
    ----------
    kind : {"field", "overlapping", "hard-core", "packed", "network"}
        Level cuts of a Gaussian field; or grains in a matrix that know nothing of one another, that never touch at low
        loading, or that are packed densely; or what a trained network makes of noise. See docs/generate.md.
    shape : (z, y, x)
        Voxels of the volume. A larger volume of the same seed begins with the smaller one, unless it is periodic or
        packed.
    voxel_size : mapping of axis to nm
        Edges of a voxel; of a network those of its training by default.
    seed : int
        0 to 2^64 - 1.
    fractions : mapping of name to float
        Of a field: expected share of every phase, from the lowest values of the field on; they get the codes 0, 1, ...
    correlation_nm : float or (z, y, x)
        Of a field: distance at which its correlation exp(-(r/l)^2) falls to 1/e.
    s2 : path, optional
        Of a field of two phases, instead: text with rows ``distance in nm, S2`` of the first phase.
    loading : float
        Of grains: share of the volume that they fill.
    phases : Phases, optional
        Of grains: names and codes, first the matrix, which has the lower code (default matrix=0, filler=1).
    diameter_nm, spread : float
        Median diameter (of a sphere of the same volume) and standard deviation of its logarithm (default 0).
    sizes : mapping of diameter in nm to share by number, optional
        Instead: a histogram.
    aspect : float
        Polar over equatorial axis (default 1).
    orientation : (z, y, x)
        Weights of the directions of the polar axis (default 1,1,1: all alike).
    cell_nm : (z, y, x), optional
        Of packed grains: edges of the cell that is repeated (default: the volume).
    weights : path
        Of a network: file written by ``tim3d train-generator``.
    precision : {"float32", "bfloat16", "float16"}, optional
        Of a network: of its arithmetic; float16 on CUDA only.
    tile : int, optional
        Of a network: edge in voxels of what it computes at a time (default about 128, on CUDA 256).
    device : str, optional
        Of a network: "auto", "cpu", "cuda" or "cuda:1".
    periodic : bool
        The volume continues itself across opposite faces. Packed grains do so if the cell is the volume.
    out : str, optional
        Name of the field (default phase; of a network of grey values raw, of colours raw_red and so on).

    Returns
    -------
    xarray.DataArray
        The labels (or grey values, or those of the first colour), lazily; or the plans.

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
    making = _of_network(ask, options) if kind == "network" else _of_law(ask, options)
    return produce(sample, making, options)


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


def _of_law(ask: Asked, options: Options) -> Making:
    if ask.voxel_size is None:
        raise ArgumentError(f"--kind {ask.kind} needs --voxel-size; for example --voxel-size 10,5,5")
    spacing, period = _spacing(ask.voxel_size), ask.shape if ask.periodic else (0, 0, 0)
    generator, names = choose(ask.kind, ask.given, ask.shape, spacing, ask.seed, period)
    labels = ask.field(ask.out or "phase", spacing, names)
    if isinstance(generator, Packed) and not options.plan:
        generator.cell()  # what does not pack is refused before anything is written
    return Making(
        verb="generate",
        field=labels,
        work=GenerateWork(ask.sample, (labels.name,), generator, names.codes, options.durable),
        block=many_shards(labels),
        parameters={"kind": ask.kind, "seed": ask.seed, "periodic": ask.periodic, "generator": repr(generator)},
        halo=generator.halo,
        read_bytes=0.0,
    )


def _of_network(ask: Asked, options: Options) -> Making:
    _only("network", ask.given, OF_NETWORKS)
    _need(ask.given, "weights", "network", "gen.safetensors")
    from tim3d.stages import neural

    generator, about = neural.network_field(ask.given, ask.shape, ask.seed, ask.periodic)
    spacing = neural.spacing_of(about, _spacing(ask.voxel_size) if ask.voxel_size is not None else None)
    names = neural.names_of(about.architecture, ask.out)
    first, *others = (ask.field(name, spacing, about.phases) for name in names)
    neural.warn_of_cut_tiles(options.block, first, generator.edge)
    codes = about.phases.codes if about.phases else ()
    return Making(
        verb="generate",
        field=first,
        siblings=tuple(others),
        work=GenerateWork(ask.sample, names, generator, codes, options.durable),
        block=neural.tiled_block(first, generator.edge),
        inputs={"weights": generator.sha256},
        parameters={"kind": "network", "seed": ask.seed, "periodic": ask.periodic, **neural.parameters(generator)},
        read_bytes=0.0,
        base_bytes=TORCH_BASE_BYTES,
    )


def _check_shape(kind: str, shape: Triple) -> None:
    if kind not in KINDS:
        raise ArgumentError(f"no kind {kind!r} of structure; there are {', '.join(KINDS)}")
    if min(shape) < 1:
        raise ArgumentError(f"a volume of shape {shape} has no voxels; give three edges as 512,512,512")


def choose(
    kind: str, given: Mapping[str, Any], shape: Triple, spacing: Spacing, seed: int, period: Triple
) -> tuple[Generator, Phases]:
    """The generator of a kind with a stated law, and the names of its labels.

    Raises
    ------
    ArgumentError
        If an argument is missing or without meaning for the kind.
    """
    Noise(seed)  # refuses a seed that is none
    _only(kind, given, OF_FIELDS if kind == "field" else OF_GRAINS + ("cell_nm",) * (kind == "packed"))
    if kind == "field":
        return _field(given, spacing, seed, period)
    grains, loading = _grains(given), _need(given, "loading", kind, "0.3")
    phases = given.get("phases", FILLED)
    if len(phases) != 2:
        raise ArgumentError(f"grains in a matrix are two phases, and {len(phases)} are named: {phases}")
    phases.require_order("the matrix")
    if kind == "packed":
        volume = [n * d for n, d in zip(shape, spacing, strict=True)]
        z, y, x = (float(v) for v in given.get("cell_nm", volume))
        if any(period) and (z, y, x) != tuple(volume):
            raise ArgumentError("a periodic volume of packed grains is one cell: leave out --cell-nm or --periodic")
        return Packed(grains, loading, spacing, seed, (z, y, x)), phases
    model = Overlapping if kind == "overlapping" else HardCore
    return model(grains, loading, spacing, seed, period), phases


def _only(kind: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    foreign = [name for name in given if name not in known]
    if foreign:
        dashed = [f"--{name.replace('_', '-')}" for name in (foreign[0], *known)]
        raise ArgumentError(f"--kind {kind} has no use for {dashed[0]}; it has {', '.join(dashed[1:])}")


def _need(given: Mapping[str, Any], name: str, kind: str, example: str) -> Any:
    if name not in given:
        dashed = name.replace("_", "-")
        raise ArgumentError(f"--kind {kind} needs --{dashed}; for example --{dashed} {example}")
    return given[name]


def _spacing(voxel_size: Mapping[str, float]) -> Spacing:
    if sorted(voxel_size) != ["x", "y", "z"]:
        raise ArgumentError(f"a voxel has three edges, got {dict(voxel_size)}; write --voxel-size 10,5,5")
    z, y, x = (float(voxel_size[a]) for a in "zyx")
    if not all(0 < v < math.inf for v in (z, y, x)):
        raise ArgumentError(f"voxel size {z:g}, {y:g}, {x:g} nm: every edge must be a positive length")
    return (z, y, x)


def _field(given: Mapping[str, Any], spacing: Spacing, seed: int, period: Triple) -> tuple[Generator, Phases]:
    shares = _need(given, "fractions", "field", "pore=0.4,solid=0.6")
    phases = Phases(**{name: code for code, name in enumerate(shares)})
    fractions = tuple(float(v) for v in shares.values())
    if ("s2" in given) == ("correlation_nm" in given):
        raise ArgumentError("--kind field needs either --correlation-nm 80 or --s2 table.csv")
    if "s2" in given:
        if len(fractions) != 2:
            raise ArgumentError(f"S2 is that of two phases, and {len(fractions)} are named: {', '.join(shares)}")
        return LevelCuts(_from_s2(Path(given["s2"]), fractions[0], spacing, seed, period), fractions), phases
    z, y, x = _three(given["correlation_nm"], "correlation-nm")
    return LevelCuts(GaussianField((z, y, x), spacing, seed, period), fractions), phases


def _three(value: float | Sequence[float], name: str) -> list[float]:
    values = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
    if len(values) not in (1, 3):
        raise ArgumentError(f"--{name} takes one number or three for z, y, x; got {len(values)}")
    return values * 3 if len(values) == 1 else values


def _from_s2(path: Path, fraction: float, spacing: Spacing, seed: int, period: Triple) -> SpectralField:
    """The field whose cut has the S2 of a table, which begins at distance 0 with the fraction itself."""
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected rows of numbers: distance in nm, S2") from error
    if table.shape[0] < 4 or table.shape[1] != 2 or not np.isfinite(table).all():
        raise InputError(
            f"{path} has {table.shape[0]} rows of {table.shape[1]}; expected 4 or more: distance in nm, S2"
        )
    if table[0, 0] != 0 or abs(table[0, 1] - fraction) > 0.01:
        raise InputError(
            f"{path} begins with {table[0, 0]:g}, {table[0, 1]:g}; S2 at distance 0 is the fraction, {fraction:g}"
        )
    correlation = correlation_of(np.minimum(table[:, 1], fraction), fraction)
    correlation[0] = 1.0
    return SpectralField(tuple(table[:, 0].tolist()), tuple(correlation.tolist()), spacing, seed, period)


def _grains(given: Mapping[str, Any]) -> Grains:
    if ("sizes" in given) == ("diameter_nm" in given) or ("sizes" in given and "spread" in given):
        raise ArgumentError("grains need either --diameter-nm 200 (and --spread 0.3) or --sizes 150=3,250=1")
    if "sizes" in given:
        sizes = {float(d): float(n) for d, n in given["sizes"].items()}
    else:
        sizes = lognormal(given["diameter_nm"], given.get("spread", 0.0))
    z, y, x = _three(given.get("orientation", 1.0), "orientation")
    return Grains(tuple(sizes), tuple(sizes.values()), given.get("aspect", 1.0), (z, y, x))


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
