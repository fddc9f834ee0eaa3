"""The algebra of descriptors: `finalize(sum of partials)`.

A `Partial` turns one block of labels into integers that add up over blocks. A `Descriptor` turns their sum into named
variables with units. Several descriptors may need the same partial; it is computed once.

A block is an array that holds a core and what there is of a halo around it. The contract: **where the array ends with
less than the full halo around the core, the volume ends**. So a block may carry more halo than a partial needs, never
less, except at the border of the volume; with that, the sum over any blocking equals the value of the whole, bit for
bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES, Box, Grid, Triple, triple
from tim3d.kernels.morphology.phase_mask import as_labels, plane_counts
from tim3d.kernels.morphology.surface import check_spacing
from tim3d.phases import Phases

Labels: TypeAlias = NDArray[np.uint8]
Counts: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Material:
    """What the numbers of a block mean: the phases of the labels and the size of a voxel.

    Parameters
    ----------
    phases : Phases
        Name of every label.
    spacing : (dz, dy, dx)
        Edge lengths of a voxel.
    units : str
        Unit of the spacing, in UDUNITS spelling.

    Examples
    --------
    >>> Material(Phases(pore=0, solid=1), (10, 5, 5)).voxel_volume
    250.0
    """

    phases: Phases
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    units: str = "nm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", check_spacing(self.spacing))

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel, in cubic units of the spacing."""
        return math.prod(self.spacing)

    def unit(self, power: int) -> str:
        """The unit of a length to a power: `nm-1`, `1`, `nm`."""
        return "1" if power == 0 else self.units if power == 1 else f"{self.units}{power}"


@dataclass(frozen=True, slots=True)
class Partial:
    """An integer array computed from one block, which adds up over blocks.

    Parameters
    ----------
    name : str
        Name under which the sum is stored.
    halo : (z, y, x)
        Voxels around the core that `compute` reads.
    dims : tuple of str
        Names of the dimensions of the array.
    sizes : callable
        ``sizes(material)``: lengths of the dimensions, without the first one if `plane` is set.
    compute : callable
        ``compute(labels, core, material)``: int64 array of these dimensions for the voxels of `core`, a box within
        `labels` (uint8).
    plane : {None, "z", "y", "x"}
        If set, the first dimension runs over the voxel planes of the core along this axis: blocks are joined along
        this axis and added along the two others.
    """

    name: str
    halo: Triple
    dims: tuple[str, ...]
    sizes: Callable[[Material], tuple[int, ...]]
    compute: Callable[[Labels, Box, Material], Counts]
    plane: str | None = None

    def shape(self, core: Triple, material: Material) -> tuple[int, ...]:
        """Shape of the array of a block whose core has this shape."""
        planes = () if self.plane is None else (core[AXES.index(self.plane)],)
        return planes + self.sizes(material)


@dataclass(frozen=True, slots=True)
class Variable:
    """A result: its dimensions, its unit as a power of length, and where it comes from."""

    name: str
    dims: tuple[str, ...]
    power: int
    long_name: str
    method: str
    reference: str

    def attributes(self, material: Material) -> dict[str, str]:
        """The attributes of the xarray variable."""
        return {
            "units": material.unit(self.power),
            "long_name": self.long_name,
            "method": self.method,
            "reference": self.reference,
        }


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A named set of results and what they are computed from.

    Parameters
    ----------
    name : str
        Name by which a user asks for it.
    needs : tuple of Partial
        The partials whose sums `formula` reads.
    variables : tuple of Variable
        The results. Those that `formula` leaves out are left out.
    formula : callable
        ``formula(totals, material)``: value of each variable by its name, from the sum of each partial by its name.
    """

    name: str
    needs: tuple[Partial, ...]
    variables: tuple[Variable, ...]
    formula: Callable[[Mapping[str, Counts], Material], Mapping[str, Values]] = field(repr=False)

    @property
    def halo(self) -> Triple:
        """The largest halo of the partials."""
        return halo_of([self])

    def finalize(self, totals: Mapping[str, Counts], material: Material, origin: Triple = (0, 0, 0)) -> xr.Dataset:
        """The results from the sums of the partials.

        Parameters
        ----------
        totals : mapping of str to int64 array
            Sum of every needed partial over a volume or a region of whole blocks.
        material : Material
            As given to the partials.
        origin : (z, y, x)
            First voxel of the region, for the positions of profiles.

        Returns
        -------
        xarray.Dataset
            A variable for each result, with `units`, `long_name`, `method` and `reference`; coordinates are the names
            of the phases and the centres of planes in `material.units`.
        """
        values = self.formula(totals, material)
        found = {
            v.name: xr.Variable(v.dims, values[v.name], v.attributes(material))
            for v in self.variables
            if v.name in values
        }
        sizes = {dim: n for v in found.values() for dim, n in v.sizes.items()}
        return xr.Dataset(found, {str(dim): _coordinate(str(dim), n, material, origin) for dim, n in sizes.items()})


def halo_of(descriptors: Iterable[Descriptor]) -> Triple:
    """The halo that a block needs for all of these descriptors, in voxels."""
    halos = [partial.halo for partial in partials_of(descriptors)]
    return triple(max((h[axis] for h in halos), default=0) for axis in range(3))


def partials_of(descriptors: Iterable[Descriptor]) -> tuple[Partial, ...]:
    """Every partial that the descriptors need, once.

    Raises
    ------
    ArgumentError
        If two different partials share a name.
    """
    found: dict[str, Partial] = {}
    for partial in (p for d in descriptors for p in d.needs):
        if found.setdefault(partial.name, partial) != partial:
            raise ArgumentError(f"two partials are named {partial.name!r}; give each its own name")
    return tuple(found.values())


def compute_partials(
    labels: Labels, core: Box, descriptors: Sequence[Descriptor], material: Material
) -> dict[str, Counts]:
    """Every partial of one block.

    Parameters
    ----------
    labels : (z, y, x) uint8
        The block with its halo.
    core : Box
        The core within `labels`.
    descriptors : sequence of Descriptor
        What will be finalized.
    material : Material
        Phases and spacing.

    Returns
    -------
    dict of str to int64 array
        The partials by name.

    Raises
    ------
    InputError
        If the core holds a label that no phase names.
    """
    labels = as_labels(labels)  # once: every kernel would copy a strided block anew
    check_labels(labels, core, material.phases)
    return {p.name: p.compute(labels, core, material) for p in partials_of(descriptors)}


def check_labels(labels: Labels, core: Box, phases: Phases) -> None:
    """Raise `InputError` if the core holds a label that no phase names."""
    if plane_counts(labels, phases.codes, 0, core).sum() == core.size:
        return
    strays = sorted(set(np.unique(labels[core.slices]).tolist()) - set(phases.codes))
    raise InputError(f"labels {strays} belong to no phase of {phases}; name them, or correct the labels")


def add_blocks(partial: Partial, grid: Grid, blocks: Mapping[Triple, Counts], material: Material) -> Counts:
    """Sum of a partial over all blocks of a grid: added, or joined along the axis of its planes.

    Parameters
    ----------
    partial : Partial
        What was computed.
    grid : Grid
        The blocking.
    blocks : mapping of (z, y, x) to int64 array
        The partial of each block by its place on the block grid.
    material : Material
        As given to the partial.

    Returns
    -------
    int64 array
        As if the whole volume had been one block.
    """
    total = np.zeros(partial.shape(grid.shape, material), np.int64)
    for block in grid:
        if partial.plane is None:
            total += blocks[block.index]
        else:
            total[block.core.slices[AXES.index(partial.plane)]] += blocks[block.index]
    return total


def describe_array(
    labels: Labels, descriptors: Sequence[Descriptor], material: Material, block: Triple | None = None
) -> xr.Dataset:
    """Results of a volume in memory, block by block.

    Parameters
    ----------
    labels : (Z, Y, X) uint8
        Phase code of each voxel.
    descriptors : sequence of Descriptor
        For example ``list(tim3d.descriptors.builtin.BUILTIN.values())``.
    material : Material
        Phases and spacing.
    block : (z, y, x), optional
        Edge of a block in voxels; by default the whole volume. It does not change any result.

    Returns
    -------
    xarray.Dataset
        The variables of all descriptors.

    Examples
    --------
    >>> from tim3d.descriptors.fraction import PHASE_FRACTION
    >>> labels = np.zeros((4, 4, 4), np.uint8)
    >>> labels[:, :, 1:] = 1
    >>> describe_array(labels, [PHASE_FRACTION], Material(Phases(pore=0, solid=1))).phase_fraction.values.tolist()
    [0.25, 0.75]
    """
    grid = Grid(triple(labels.shape), block or triple(labels.shape), halo_of(descriptors))
    pieces = {
        b.index: compute_partials(labels[b.read.slices], b.core.within(b.read), descriptors, material) for b in grid
    }
    totals = {
        p.name: add_blocks(p, grid, {i: piece[p.name] for i, piece in pieces.items()}, material)
        for p in partials_of(descriptors)
    }
    return xr.merge([d.finalize(totals, material) for d in descriptors], join="exact")


def _coordinate(dim: str, size: int, material: Material, origin: Triple) -> xr.Variable:
    if dim not in AXES:
        return xr.Variable(dim, np.array(material.phases.names, dtype=object))
    axis = AXES.index(dim)
    centres = (np.arange(origin[axis], origin[axis] + size) + 0.5) * material.spacing[axis]
    return xr.Variable(dim, centres, {"units": material.units, "long_name": f"centre of the voxel plane along {dim}"})
