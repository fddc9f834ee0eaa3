"""Conductivities of labels, interface resistances, and conductances of pairs of voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.conduction.arrays import F64, U8

LARGEST_CONTRAST = 1e5
# One byte holds 256 codes: 0 is the insulator, two represent the electrodes.
MOST_LABELS = 253

Conductivity = float | Sequence[float]
Diagonal = tuple[float, float, float]
Interfaces = Mapping[tuple[int, int], float]


def check_conductivities(conductivity: Mapping[int, Conductivity]) -> dict[int, Diagonal]:
    """Return the conductivities along z, y, x by label, or raise if one is out of range.

    Parameters
    ----------
    conductivity : mapping of int to float or three floats
        0 or positive, and positive along all three axes or along none.

    Raises
    ------
    ArgumentError
        If one is missing, negative, nan or infinite, a label conducts along some axes only, or the
        largest is more than 1e5 times the smallest that is not 0.

    Examples
    --------
    >>> check_conductivities({0: 0, 1: (4, 2, 2)})
    {0: (0.0, 0.0, 0.0), 1: (4.0, 2.0, 2.0)}
    """
    values = {int(label): diagonal(f"label {label}", k) for label, k in conductivity.items()}
    above = [part for k in values.values() for part in k if part > 0]
    if above and max(above) > LARGEST_CONTRAST * min(above) * (1 + 1e-9):
        raise ArgumentError(
            f"conductivities run from {min(above):g} to {max(above):g}, a contrast of {max(above) / min(above):.3g}; "
            f"up to {LARGEST_CONTRAST:g} is resolved. Set the smallest to 0"
        )
    return values


def check_labels(counts: NDArray[np.int64], conductivity: Mapping[int, Diagonal]) -> None:
    """Raise `InputError` if a label without a conductivity occurs; `counts` is voxels per label."""
    if strays := sorted(set(np.flatnonzero(counts).tolist()) - set(conductivity)):
        raise InputError(
            f"labels {strays} belong to no phase and have no conductivity; there are conductivities of "
            f"{sorted(conductivity)}. Give each label one, 0 for an insulator, or correct the labels"
        )


def diagonal(what: str, k: Conductivity) -> Diagonal:
    """Return the conductivities along z, y, x, or raise if one is out of range.

    Parameters
    ----------
    what : str
        For messages: a label or a phase.
    k : float or three floats
        0 or positive, and positive along all three axes or along none.

    Raises
    ------
    ArgumentError
        If it is negative, nan, infinite, or 0 along some axes only.
    """
    parts = [float(part) for part in k] if isinstance(k, Sequence) else [float(k)] * 3
    if len(parts) != 3:
        raise ArgumentError(
            f"conductivity of {what} has {len(parts)} numbers; give one, or one for z, y and x"
        )
    for part in parts:
        if not 0 <= part < math.inf:
            raise ArgumentError(
                f"conductivity of {what} is {part}; it must be 0 or positive, and finite"
            )
    if 0 < sum(part > 0 for part in parts) < 3:
        raise ArgumentError(
            f"conductivity of {what} is {parts}; 0 along some axes only is not solved. Use a small value there, "
            f"for example {max(parts) / LARGEST_CONTRAST:g}"
        )
    return parts[0], parts[1], parts[2]


def check_conductances(
    interface: Interfaces, contact: Sequence[float], labels: Mapping[int, Diagonal]
) -> None:
    """Raise `ArgumentError` unless conductances per area are positive and between given labels.

    Parameters
    ----------
    interface : mapping of (int, int) to float
        Conductance per area between two labels.
    contact : two floats
        Conductance per area of the contacts with the electrodes.
    labels : mapping of int to three floats
        Conductivity of each label.
    """
    for (one, other), value in interface.items():
        where = f"interface {one}-{other}"
        if not {one, other} <= set(labels):
            raise ArgumentError(f"{where} is not between two of the labels {sorted(labels)}")
        if not 0 < value < math.inf:
            raise ArgumentError(
                f"conductance per area of {where} is {value}; it must be positive and finite"
            )
    for value in contact:
        if not value > 0:
            raise ArgumentError(
                f"conductance per area of a contact is {value}; it must be positive (inf: perfect)"
            )


@dataclass(frozen=True)
class Material:
    """Conducting labels in the order of their codes 1, 2, ..., and their conductances.

    Attributes
    ----------
    labels : tuple of int
        Label of each code, from code 1 on.
    values : (codes, 3) float64
        Conductivity of each code along the three axes of the arrays; 0 for code 0.
    interface : (codes, codes) float64
        Conductance per area between two codes; inf where they are in perfect contact.
    """

    labels: tuple[int, ...]
    values: F64
    interface: F64

    @property
    def code_of(self) -> U8:
        """Code of each label, as a table of 256 entries."""
        table = np.zeros(256, np.uint8)
        table[list(self.labels)] = np.arange(1, len(self.labels) + 1)
        return table


def material(
    conductivity: Mapping[int, Diagonal],
    counts: NDArray[np.int64],
    interface: Interfaces,
    order: Sequence[int],
) -> Material:
    """Create the material of a volume, with codes for the conducting labels that occur.

    Parameters
    ----------
    conductivity : mapping of int to three floats
        Conductivity of each label along z, y, x.
    counts : (256,) int64
        Voxels of each label in the volume.
    interface : mapping of (int, int) to float
        Conductance per area between two labels.
    order : three ints
        Index in (z, y, x) of each axis of the arrays.
    """
    labels = tuple(
        n for n, k in sorted(conductivity.items()) if 0 <= n < 256 and counts[n] and k[0] > 0
    )
    if len(labels) > MOST_LABELS:
        raise ArgumentError(f"{len(labels)} labels conduct; up to {MOST_LABELS} are possible")
    values = np.zeros((len(labels) + 1, 3))
    for code, label in enumerate(labels, 1):
        values[code] = [conductivity[label][axis] for axis in order]
    across = np.full((len(values),) * 2, math.inf)
    for (one, other), value in interface.items():
        if one in labels and other in labels:
            i, j = labels.index(one) + 1, labels.index(other) + 1
            across[i, j] = across[j, i] = value
    return Material(labels, values, across)


def pair_conductances(found: Material, spacing: Sequence[float], contact: Sequence[float]) -> F64:
    """Conductance of the face between two voxels, by axis and codes.

    Both half voxels and the interface between them, in series. In the units used, a cube of
    conductivity 1 between two planes at distance 1 along the first axis conducts 1. The last two
    codes are the electrodes below and above, half a voxel away and behind their contact resistance.

    Parameters
    ----------
    found : Material
        Conductivities and interfaces.
    spacing : three floats
        Edges of a voxel along the axes of the arrays.
    contact : two floats
        Conductance per area of the contacts with the electrodes below and above.

    Returns
    -------
    (3, codes + 2, codes + 2) float64
    """
    count = len(found.values)
    pairs = np.zeros((3, count + 2, count + 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, h in enumerate(spacing):
            half = 0.5 / found.values[:, axis]
            resistance = np.add.outer(half, half) + 1 / found.interface / h
            pairs[axis, :count, :count] = (spacing[0] / h) ** 2 / resistance
        for electrode, conductance in zip((count, count + 1), contact, strict=True):
            to = 1 / (0.5 / found.values[:, 0] + 1 / (conductance * spacing[0]))
            pairs[0, electrode, :count] = pairs[0, :count, electrode] = to
    return pairs
