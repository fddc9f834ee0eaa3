"""The algebra of descriptors: `finalize(sum of partials)`.

A `Partial` turns one block of some fields (labels, grey values, a distance, a flux ...) into
integers that add up over blocks. A `Descriptor` turns their sum into named variables with units.
Several descriptors may need the same partial; it is computed once.

A block is an array that holds a core and the halo around it, cut at the border of the volume. The
contract: **where the array ends with less than the full halo around the core, the volume ends**. So
a block may carry more halo than a partial needs, never less, except at the border of the volume;
with that, the sum over any blocking equals the value of the whole, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.inputs import LABELS, Input
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES, Block, Box, Triple, triple
from tim3d.kernels.morphology.phase_mask import as_labels, plane_counts
from tim3d.kernels.morphology.surface import check_spacing
from tim3d.kernels.statistics.exact_sums import add_exactly
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases

Labels: TypeAlias = NDArray[np.uint8]
Counts: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]
Voxels: TypeAlias = Mapping[Input, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Material:
    """Meaning of the numbers of a block: the phases of the labels and the size of a voxel.

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
        """Unit of a length to a power: `nm-1`, `1`, `nm`."""
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
    sizes : tuple of int, or callable
        Lengths of the dimensions, without the first one if `plane` is set; ``sizes(material)``
        where they depend on it.
    compute : callable
        ``compute(*voxels, core, material)``: whole numbers of these dimensions for the voxels of
        `core`, a box within `voxels`, which are the arrays of `reads` in this order. Floats become
        whole numbers by `tim3d.kernels.statistics.exact_sums.FixedPoint`.
    plane : {None, "z", "y", "x"}
        If set, the first dimension runs over the voxel planes of the core along this axis: blocks
        are joined along this axis and added along the two others.
    reads : tuple of Input
        The fields (default: the measured labels).
    part : str
        If set, `compute` returns several arrays by name, and this is one of them: partials of equal
        `compute` and `reads` share one call.
    voxel_bytes : float
        Bound on the memory of `compute` besides the voxels, in bytes per voxel that is read.
    """

    name: str
    halo: Triple
    dims: tuple[str, ...]
    sizes: tuple[int, ...] | Callable[[Material], tuple[int, ...]]
    compute: Callable[..., Any]
    plane: str | None = None
    reads: tuple[Input, ...] = (LABELS,)
    part: str = ""
    voxel_bytes: float = 2.0

    def shape(self, core: Triple, material: Material) -> tuple[int, ...]:
        """Shape of the array of a block whose core has this shape."""
        planes = () if self.plane is None else (core[AXES.index(self.plane)],)
        return planes + self.own_sizes(material)

    def own_sizes(self, material: Material) -> tuple[int, ...]:
        """Lengths of all dimensions except the one over planes."""
        return self.sizes(material) if callable(self.sizes) else self.sizes


@dataclass(frozen=True, slots=True)
class Variable:
    """A result: its dimensions, unit and source.

    Parameters
    ----------
    name : str
        Name of the result.
    dims : tuple of str
        Names of its dimensions.
    power : int
        Its unit as a power of length, unless `units` is set.
    long_name, method, reference : str
        What it is, how it is computed, and where that is described.
    units : str
        Its unit, where it is not a power of length: grey values have ``1``.
    """

    name: str
    dims: tuple[str, ...]
    power: int
    long_name: str
    method: str
    reference: str
    units: str = ""

    def attributes(self, material: Material) -> dict[str, str]:
        """Attributes of the xarray variable."""
        return {
            "units": self.units or material.unit(self.power),
            "long_name": self.long_name,
            "method": self.method,
            "reference": self.reference,
        }


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A named set of results, with the partials and the formula that give them.

    Parameters
    ----------
    name : str
        Name by which a user asks for it.
    needs : tuple of Partial
        The partials whose sums `formula` reads.
    variables : tuple of Variable
        The results. Variables that `formula` does not return are left out.
    formula : callable
        ``formula(totals, material)``: value of each variable by its name, from the sum of each
        partial by its name.
    needs_volume : bool
        Whether it has a meaning in three dimensions only: a volume of one slice is a plane, of
        which it is not measured.
    coordinates : mapping, optional
        Coordinates of the results besides axes and phases, as `xarray.Dataset` takes them: lags,
        radii, bins.
    """

    name: str
    needs: tuple[Partial, ...]
    variables: tuple[Variable, ...]
    formula: Callable[[Mapping[str, Counts], Material], Mapping[str, Values]] = field(repr=False)
    needs_volume: bool = False
    coordinates: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def halo(self) -> Triple:
        """Largest halo of the partials, in voxels along z, y, x."""
        return halo_of([self])

    def finalize(
        self, totals: Mapping[str, Counts], material: Material, origin: Triple = (0, 0, 0)
    ) -> xr.Dataset:
        """Compute the results from the sums of the partials.

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
            A variable for each result, with `units`, `long_name`, `method` and `reference`;
            coordinates are the names of the phases, the centres of planes in `material.units`, and
            `coordinates`.
        """
        found = assembled(self.variables, self.formula(totals, material), material, origin)
        return found.assign_coords(self.coordinates) if self.coordinates else found


def assembled(
    variables: Iterable[Variable],
    values: Mapping[str, Any],
    material: Material,
    origin: Triple = (0, 0, 0),
) -> xr.Dataset:
    """Values by name as a Dataset with units, sources and coordinates.

    Parameters
    ----------
    variables : iterable of Variable
        Variables that may be among the values; variables without a value are left out.
    values : mapping
        Values of some of the variables, by name.
    material : Material
        For units, names of phases and centres of planes.
    origin : (z, y, x)
        First voxel of the region.

    Returns
    -------
    xarray.Dataset
        A dimension z, y or x has the centres of its planes as coordinate, one that begins with
        ``phase`` the names of the phases, any other none.
    """
    found = {
        v.name: xr.Variable(v.dims, values[v.name], v.attributes(material))
        for v in variables
        if v.name in values
    }
    sizes = {str(dim): n for v in found.values() for dim, n in v.sizes.items()}
    named = {dim: n for dim, n in sizes.items() if dim in AXES or dim.startswith("phase")}
    return xr.Dataset(
        found, {dim: _coordinate(dim, n, material, origin) for dim, n in named.items()}
    )


def halo_of(descriptors: Iterable[Descriptor]) -> Triple:
    """Halo that a block needs for all of these descriptors, in voxels."""
    return largest_halo(partials_of(descriptors))


def largest_halo(partials: Iterable[Partial]) -> Triple:
    """Halo that a block needs for all of these partials, in voxels."""
    halos = [partial.halo for partial in partials]
    return triple(max((h[axis] for h in halos), default=0) for axis in range(3))


def inputs_of(partials: Iterable[Partial]) -> tuple[Input, ...]:
    """Every field that the partials read, once."""
    return tuple(dict.fromkeys(one for partial in partials for one in partial.reads))


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
    labels: Labels,
    core: Box,
    descriptors: Sequence[Descriptor],
    material: Material,
    others: Voxels | None = None,
) -> dict[str, Counts]:
    """Every partial of one block.

    Parameters
    ----------
    labels : (z, y, x) uint8
        The block with its halo.
    core : Box
        The core within `labels`.
    descriptors : sequence of Descriptor
        Descriptors to be finalized.
    material : Material
        Phases and spacing.
    others : mapping of Input to array, optional
        The same box of the other fields that the descriptors read.

    Returns
    -------
    dict of str to int64 array
        The partials by name.

    Raises
    ------
    InputError, ArgumentError
        As raised by `evaluate`.
    """
    return evaluate(partials_of(descriptors), {LABELS: labels, **(others or {})}, core, material)


def evaluate(
    partials: Iterable[Partial], voxels: Voxels, core: Box, material: Material
) -> dict[str, Counts]:
    """Partials of one block of fields.

    Parameters
    ----------
    partials : iterable of Partial
        Partials of one `part` are computed together.
    voxels : mapping of Input to array
        The block with its halo, the same box of every field that a partial reads.
    core : Box
        The core within these arrays.
    material : Material
        Phases and spacing.

    Returns
    -------
    dict of str to int64 array
        The partials by name.

    Raises
    ------
    InputError
        If the core of the measured labels holds a code that no phase names.
    ArgumentError
        If a partial returns anything but whole numbers of its dimensions.
    """
    arrays = {
        one: _contiguous(one, array) for one, array in voxels.items()
    }  # once: every kernel would copy it again
    if LABELS in arrays:
        check_labels(arrays[LABELS], core, material.phases)
    together: dict[Any, Mapping[str, Any]] = {}
    found = {}
    for p in partials:
        given = (*(arrays[one] for one in p.reads), core, material)
        if not p.part:
            found[p.name] = _whole_numbers(p, p.compute(*given), core, material)
            continue
        key = (p.compute, p.reads)
        together[key] = together[key] if key in together else p.compute(*given)
        found[p.name] = _whole_numbers(p, together[key][p.part], core, material)
    return found


def _contiguous(one: Input, array: NDArray[Any]) -> NDArray[Any]:
    return as_labels(array) if one.role == "labels" else np.ascontiguousarray(array)


def _whole_numbers(partial: Partial, values: Any, core: Box, material: Material) -> Counts:
    counts, expected = np.asarray(values), partial.shape(core.shape, material)
    if counts.dtype.kind not in "iu":
        raise ArgumentError(
            f"partial {partial.name!r} gave {counts.dtype}; partials are whole numbers, so that they add up in any "
            "order: count floats in quanta, with FixedPoint of tim3d.kernels.statistics.exact_sums"
        )
    if counts.shape != expected:
        raise ArgumentError(
            f"partial {partial.name!r} gave the shape {counts.shape}, and declares {expected}"
        )
    if counts.dtype == np.uint64 and counts.max(initial=0) > np.iinfo(np.int64).max:
        raise ArgumentError(f"partial {partial.name!r} leaves 64 bits: count in larger quanta")
    return counts.astype(np.int64, copy=False)


def check_labels(labels: Labels, core: Box, phases: Phases) -> None:
    """Raise `InputError` if the core holds a code that no phase names."""
    if plane_counts(labels, phases.codes, 0, core).sum() == core.size:
        return
    strays = sorted(set(np.unique(labels[core.slices]).tolist()) - set(phases.codes))
    raise InputError(
        f"labels {strays} belong to no phase of {phases}; name them, or correct the labels"
    )


def add_blocks(
    partials: Sequence[Partial],
    shape: Triple,
    blocks: Iterable[tuple[Block, Mapping[str, Any]]],
    material: Material,
) -> dict[str, Counts]:
    """Sums of partials over all blocks of a volume; plane by plane along the axis of their planes.

    Parameters
    ----------
    partials : sequence of Partial
        Partials that were computed.
    shape : (z, y, x)
        Voxels of the volume.
    blocks : iterable of (Block, mapping)
        Each block and its partials by name.
    material : Material
        As given to the partials.

    Returns
    -------
    dict of str to int64 array
        As if the whole volume had been one block.

    Raises
    ------
    ArgumentError
        If a sum does not fit into 64 bits.
    """
    totals = {p.name: np.zeros(p.shape(shape, material), np.int64) for p in partials}
    for block, found in blocks:
        for p in partials:
            place = ... if p.plane is None else block.core.slices[AXES.index(p.plane)]
            add_exactly(totals[p.name][place], np.asarray(found[p.name], np.int64))
    return totals


def _coordinate(dim: str, size: int, material: Material, origin: Triple) -> xr.Variable:
    if dim not in AXES:
        return xr.Variable(dim, np.array(material.phases.names, dtype=object))
    axis = AXES.index(dim)
    centres = (np.arange(origin[axis], origin[axis] + size) + 0.5) * material.spacing[axis]
    return xr.Variable(
        dim,
        centres,
        {"units": material.units, "long_name": f"centre of the voxel plane along {dim}"},
    )
