"""The verb `generate` of the shell and of recipes: builds a generator from its kind and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.generation.generator import Generator
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.generation.diffusion import Diffusion
from tim3d.stages.generation.network import Network
from tim3d.stages.generation.structures import (
    STRUCTURES,
    Place,
    awaits,
    choose,
    need,
    refuse_foreign,
)
from tim3d.stages.generation.volume import Asked, generation, spacing_nm
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage.schema import Spacing
from tim3d.typed import (
    ByName,
    Cell,
    ConditionValues,
    Conductivities,
    Correlations,
    Edges,
    Fractions,
    Histogram,
    ModelFiles,
    Orientation,
    Shape,
    Targets,
    VoxelSize,
)

OF_NETWORKS = ("weights", "precision", "tile", "device")
OF_DIFFUSION = (
    "weights", "steps", "sampler", "planes", "harmonise", "conditions", "fractions", "stored", "tile", "device",
    "target", "conductivity", "axis", "scatter", "coarse", "coarse_sample", "coarse_field",
)  # fmt: skip
KINDS = (*STRUCTURES, "network", "diffusion")


@Verb
def generate(
    sample: str,
    *,
    kind: Literal[
        "field",
        "spinodal",
        "polycrystal",
        "overlapping",
        "hard-core",
        "packed",
        "interface",
        "contact",
        "network",
        "diffusion",
    ],
    shape: Shape,
    voxel_size: VoxelSize | None = None,
    seed: int = 0,
    fractions: Fractions | None = None,
    correlation_nm: Correlations | None = None,
    s2: str | Path | None = None,
    wavelength_nm: Correlations | None = None,
    ripening: float | None = None,
    grain_nm: float | None = None,
    boundary_nm: float | None = None,
    growth: float | None = None,
    loading: float | None = None,
    phases: Phases | None = None,
    diameter_nm: float | None = None,
    spread: float | None = None,
    sizes: Histogram | None = None,
    aspect: float | None = None,
    orientation: Orientation | None = None,
    cell_nm: Cell | None = None,
    bond_line_nm: float | None = None,
    film_nm: float | None = None,
    roughness: ByName | None = None,
    pressure: float | None = None,
    voids: ByName | None = None,
    delamination: ByName | None = None,
    weights: ModelFiles | None = None,
    steps: int | None = None,
    sampler: Literal["euler", "heun", "ancestral"] | None = None,
    planes: Literal["joint", "mean", "alternating"] | None = None,
    harmonise: int | None = None,
    conditions: ConditionValues | None = None,
    target: Targets | None = None,
    conductivity: Conductivities | None = None,
    axis: Literal["z", "y", "x"] | None = None,
    scatter: Targets | None = None,
    coarse: float | None = None,
    coarse_sample: str | Path | None = None,
    coarse_field: str | None = None,
    stored: Literal["float32", "float16"] | None = None,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    tile: int | None = None,
    device: str | None = None,
    periodic: bool = False,
    out: str | None = None,
    particles: str | None = None,
    shard: Edges | None = None,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Generate a volume of labels; no voxel depends on the blocks, the workers or the order of work.

    The shell's form of `tim3d.generate`: it builds the generator of a kind from the options.

    Parameters
    ----------
    sample : str
        Path or URL of the sample. It is made if it is not there.
    kind : str
        The law of the volume. Level cuts of a Gaussian field; or two phases that spinodal
        decomposition separates; or crystals that grow until they have a size, and their
        boundaries; or grains in a matrix that overlap
        freely, that never touch at low loading, or that are packed densely; or grains packed in
        resin between two substrates along z; or two rough bodies pressed together along z; or what
        a trained network makes of noise, at once (network) or in many steps (diffusion). See
        docs/generate.md.
    shape : (z, y, x)
        Voxels of the volume. A larger volume of the same seed begins with the smaller one, unless
        it is periodic, packed or by diffusion.
    voxel_size : mapping of axis to nm
        Edges of a voxel in nm (default of a network: those of its training).
    seed : int
        Number from which all that is random follows, 0 to 2^64 - 1.
    fractions : mapping of name to float
        Of a field or a spinodal structure: share of every phase (needed by both, but not by a field of
        a measured sample). From the lowest values on; they get the codes 0, 1, ... Of diffusion:
        fractions of its two phases, which are met to the voxel (default: as it makes them).
    correlation_nm : float or (z, y, x)
        Of a field: length in nm over which it is correlated (needed by a field without a table of
        S2). At this distance its correlation exp(-(r/l)^2) falls to 1/e.
    s2 : path, optional
        Of a field, instead: file with rows of distance in nm, S2 of the first phase; or a sample of two
        phases, a volume or a section, whose correlation was measured (default: none). The phases and
        the fraction are then those of the sample.
    wavelength_nm : float or (z, y, x)
        Of a spinodal structure: mean wavelength in nm, the distance from one branch to the next
        (needed by it).
    ripening : float, optional
        Of a spinodal structure: wavelength over the half width of an interface, how far it has
        coarsened (default: 16).
    grain_nm : float
        Of a polycrystal: diameter in nm of a disc or sphere with the mean area or volume of the
        crystals (needed by it).
    boundary_nm : float, optional
        Of a polycrystal: thickness in nm of the boundaries between crystals, up to five of the longest
        edges of a voxel (default: two of them).
    growth : float, optional
        Of a polycrystal: crystals at the start for each one that is left, 2 to 1000 (default: 8).
    loading : float
        Of grains: share of the volume that they fill (needed by grains).
    phases : Phases, optional
        Of grains: names and codes, first the matrix, which has the lower code (default:
        matrix=0,filler=1). Of a polycrystal: boundaries and crystals (default:
        boundary=0,grain=1). Of an interface: resin, filler, lower and upper substrate, and void if
        there is any. Of a contact: lower body, gap and upper body.
    diameter_nm : float
        Of grains: median diameter in nm, of a sphere of the same volume (needed by grains without a
        histogram of sizes).
    spread : float
        Of grains: standard deviation of the logarithm of the diameter (default: 0).
    sizes : mapping of diameter in nm to share by number, optional
        Of grains, instead: histogram of the diameters in nm (default: none).
    aspect : float
        Of grains: polar over equatorial axis (default: 1).
    orientation : (z, y, x)
        Of grains: weights of the directions of the polar axis (default: 1,1,1, all alike).
    cell_nm : (z, y, x), optional
        Of packed grains, a spinodal structure or a polycrystal: edges in nm of the cell that is
        repeated (default: the volume).
    bond_line_nm : float
        Of an interface: distance in nm of the mean planes of the substrates (needed by an
        interface). A whole number of voxels; what is left of the volume along z is substrate, half
        on each side.
    film_nm : float
        Of an interface: thickness in nm of the resin that stays between two particles, and half of
        it at a substrate (default: 0).
    roughness : mapping of str to float
        Of a contact or an interface: root mean square of the heights, Hurst exponent, longest and
        shortest wavelength of both faces (needed by a contact; default of an interface: flat). In
        nm: ``rms_nm=60,hurst=0.8,correlation_nm=4000,cutoff_nm=400``. The faces are two draws.
    pressure : float
        Of a contact: pressure over the hardness of the softer body (needed by a contact). It is
        the share of the area in contact.
    voids : mapping of str to float, optional
        Of an interface: share of the resin that is void, and their diameter in nm (default: none).
    delamination : mapping of str to float, optional
        Of an interface: shares of the substrates that a gap separates, size of these areas and
        thickness of the gap in nm (default: none). For example ``below=0.1,patch_nm=2000,gap_nm=100``.
    weights : path, or three
        Of a network: file that train-generator wrote (needed by a network). Of diffusion: file of a
        network of volumes or of sections, or three for the sections normal to z, y and x.
    steps : int, optional
        Of diffusion: steps from noise to data (default: 32 of planes taken together, otherwise 16).
        Fewer show as speckle.
    sampler : {"euler", "heun", "ancestral"}, optional
        Of diffusion: method of a step (default: of planes taken together ancestral, which draws noise
        in every step, otherwise euler). Heun's is of second order and costs two passes.
    planes : {"joint", "mean", "alternating"}, optional
        Of diffusion by sections: what the three planes of a voxel tell together in every step; the
        mean of their velocities, which makes too much of the most frequent phase; or planes of one
        direction in each step by turns, at a third of the work (default: joint; mean of grey values,
        with a local fraction, and with the sampler heun).
    harmonise : int, optional
        Of diffusion: how often every step is done; between two of them noise takes the state back
        (default: 1).
    conditions : mapping of name to number or class, optional
        Of diffusion: conditions that the network was trained with (default: none is given). For
        example ``material=HPA,temperature=250``.
    target : mapping of name to float, optional
        Of diffusion of two phases: values that every step is guided to (default: none). They are
        ``phase_fraction``, of the first phase, and ``conductivity``, the effective one along an
        axis; what is reached is recorded.
    conductivity : mapping of str to float, optional
        Of diffusion: conductivity of both phases, 0 for an insulator (needed by a target for it).
    axis : {"z", "y", "x"}, optional
        Of diffusion: axis along which the flux of a target is driven (default: z).
    scatter : mapping of name to float, optional
        Of diffusion: standard deviation of each target between volumes of this size (default: from
        the octants of an unguided volume, which is made before). A target is met within one.
    coarse : float, optional
        Of diffusion by networks that were trained with --coarse-window: factor of the standard
        deviation of the local fraction, 0 for the same fraction everywhere (default: 1, as measured).
    coarse_sample : path, optional
        Of diffusion by such networks: sample with the local fraction of the first phase instead, float32
        from 0 to 1 in voxels of any size, as large as the volume; a gradient, for example (default: it
        is drawn).
    coarse_field : str, optional
        Of diffusion: name of that field (default: raw).
    stored : {"float32", "float16"}, optional
        Of diffusion: type of the states that lie in the sample meanwhile (default: float32).
    precision : {"float32", "bfloat16", "float16"}, optional
        Of a network: precision of its arithmetic (default: float32). On CUDA only: float16.
    tile : int, optional
        Of a network and diffusion: edge in voxels of what it computes at a time (default: about
        128, of a network on CUDA 256).
    device : str, optional
        Of a network and diffusion: auto, cpu, cuda or cuda:1 (default: auto).
    periodic : bool
        The volume continues itself across opposite faces. Packed grains do so if the cell is the
        volume.
    out : str, optional
        Name of the field (default: phase; raw of a network of grey values, raw_red and so on of
        colours).
    particles : str, optional
        Of packed grains and an interface: name of a second field, the number of each voxel's
        particle (uint32, 0 between particles; default: it is not written). A particle that goes on
        across the faces of the volume has one number.
    shard : (z, y, x), optional
        Edges of a shard in voxels, the unit that is written at once (default: 64,512,512).
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels (or grey values, or the values of the first colour), lazily.

    Raises
    ------
    ArgumentError
        If an argument is out of range, missing or without meaning for the kind.
    InputError
        If the table of S2 cannot be read, or the weights are not a generator.
    ConvergenceError
        If the overlaps of a packing cannot be removed.
    """
    known = {
        *OF_NETWORKS,
        *OF_DIFFUSION,
        *(name for one in STRUCTURES.values() for name in one.options),
    }
    given = {name: value for name, value in locals().items() if name in known and value is not None}
    _check_kind(kind, triple(shape), seed)
    if kind in ("network", "diffusion"):
        generator: Generator = _network(kind, given, seed, periodic)
    else:
        period = triple(shape) if periodic else (0, 0, 0)
        place = Place(triple(shape), _needed_size(kind, voxel_size), seed, period)
        generator = choose(kind, given, place)
    asked = Asked(sample, generator, triple(shape), voxel_size, out, shard, particles)
    return generation(asked, options, awaits(given))


def _check_kind(kind: str, shape: Triple, seed: int) -> None:
    if kind not in KINDS:
        raise ArgumentError(f"no kind {kind!r} of structure; there are {', '.join(KINDS)}")
    if min(shape) < 1:
        raise ArgumentError(
            f"a volume of shape {shape} has no voxels; give three edges as --shape 512,512,512"
        )
    if not 0 <= seed < 2**64:
        raise ArgumentError(f"--seed {seed} is not between 0 and 2^64 - 1")


def _network(kind: str, given: Mapping[str, Any], seed: int, periodic: bool) -> Generator:
    refuse_foreign(kind, given, OF_DIFFUSION if kind == "diffusion" else OF_NETWORKS)
    need(given, "weights", kind, "gen.safetensors")
    if kind == "diffusion":
        return Diffusion(seed=seed, periodic=periodic, **given)
    if not isinstance(given["weights"], str | Path):
        raise ArgumentError("--kind network takes one file; give one to --weights")
    return Network(seed=seed, periodic=periodic, **given)


def _needed_size(kind: str, voxel_size: Mapping[str, float] | None) -> Spacing:
    if voxel_size is None:
        raise ArgumentError(f"--kind {kind} needs --voxel-size; for example --voxel-size 10,5,5")
    return spacing_nm(voxel_size)
