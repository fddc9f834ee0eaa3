"""Codes of voxels that know the normal of an interface and the particle they belong to.

A code stands for a label, a colour and a level of the normal. Two particles that touch have
different colours, so that the conductance of a face is looked up from the codes of its two voxels
as it is without interfaces, and no kernel of the solver has to know of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.conduction.arrays import U8
from tim3d.kernels.conduction.ghost_layers import Ring
from tim3d.kernels.conduction.interfaces import Areas, levels_of, measure, touching
from tim3d.kernels.conduction.material import (
    MOST_LABELS,
    Diagonal,
    Interfaces,
    Material,
    material,
)
from tim3d.kernels.conduction.normals import Ints, face_factors
from tim3d.kernels.conduction.surroundings import MARGIN, PARTICLES, Surroundings
from tim3d.kernels.conduction.thread_pool import Team, Workers

InterfaceArea = Literal["faces", "normal"]
AREAS = ("faces", "normal")
# Levels of the factor of a normal: steps of 0.014 from 1 to 1.73, one of them at 1.414, the factor
# at 45 degrees.
LEVELS = 54
FEWEST_LEVELS = 8
INSIDE = (slice(MARGIN, -MARGIN),) * 3


def code_interfaces(
    codes: U8,
    plain: Material,
    around: Surroundings,
    conducting: Collection[int],
    interface: Interfaces,
    area: InterfaceArea,
    spacing: Sequence[float],
    ring: Ring,
    team: Workers,
) -> tuple[Material, Areas]:
    """Measure the interfaces of a slab, and let its codes tell normals and particles, in place.

    Parameters
    ----------
    codes : (nz, ny, nx) uint8
        Code of each voxel of the slab in `plain`; 0 where nothing flows.
    plain : Material
        The material, with a code for each label.
    around : Surroundings
        Labels and particles of the slab and around it.
    conducting : collection of int
        Labels that have a conductivity above 0, whether they occur or not.
    interface : mapping of (int, int) to float
        Conductance per area between two labels; of particles of one label, if it is given twice.
    area : {"faces", "normal"}
        On which area it acts.
    spacing : three floats
        Edges of a voxel along the axes of the arrays.
    ring : Ring
        The other slabs.
    team : Workers
        Executor of the kernels.

    Returns
    -------
    Material
        A code for each label, colour and level.
    Areas
        Of the whole volume.
    """
    chosen: dict[int, int] = {}
    if touching(interface):
        nothing = levels_of(around, interface, spacing, 0, team)
        chosen = colours(measure(around, nothing, interface, spacing, 0, ring).contacts.pairs)
    hues = max(chosen.values(), default=0) + 1
    coding = choose_coding(plain, conducting, interface, area, hues)
    levels = levels_of(around, interface, spacing, coding.levels, team)
    areas = measure(around, levels, interface, spacing, coding.levels, ring)
    coding.write(codes, levels, around, chosen)
    return coding.material(), areas


def colours(pairs: Ints) -> dict[int, int]:
    """Colour of each particle that touches others, from 1 on; no two that touch have the same.

    The smallest that is left, in the order of the numbers.

    >>> colours(np.array([[1, 2], [1, 3], [2, 3], [3, 4]]))
    {1: 1, 2: 2, 3: 3, 4: 1}
    """
    near: dict[int, list[int]] = {}
    for one, other in pairs.tolist():
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    chosen: dict[int, int] = {}
    for particle in sorted(near):
        taken = {chosen.get(other) for other in near[particle]}
        chosen[particle] = next(n for n in range(1, len(taken) + 2) if n not in taken)
    return chosen


def code_labels(
    labels: U8,
    conductivity: Mapping[int, Diagonal],
    interface: Interfaces,
    area: InterfaceArea,
    spacing: Sequence[float],
) -> tuple[U8, dict[int, Diagonal], dict[tuple[int, int], float]]:
    """Codes of a box that tell normals as those of the solver do, without particles.

    Parameters
    ----------
    labels : (Z+8, Y+8, X+8) uint8
        Labels of the box with `MARGIN` voxels on each side.
    conductivity, interface, area, spacing
        As of the solver, along z, y, x.

    Returns
    -------
    codes : (Z, Y, X) uint8
        Code of each voxel; 0 does not conduct.
    conductivity : dict of int to three floats
        By code.
    interface : dict of (int, int) to float
        Conductance per area between two codes.
    """
    conducting = [label for label, k in conductivity.items() if k[0] > 0]
    counts = np.zeros(256, np.int64)
    counts[conducting] = 1
    plain = material(conductivity, counts, interface, (0, 1, 2))
    around = Surroundings(labels, labels, (False, False, False), True)
    with Team(1) as team:
        coding = choose_coding(plain, conducting, interface, area, 1)
        levels = levels_of(around, interface, spacing, coding.levels, team, above=0)
    codes = plain.code_of[around.inner]
    coding.write(codes, levels, around, {})
    found = coding.material()
    by_code = {code: (k[0], k[1], k[2]) for code, k in enumerate(found.values.tolist()) if code}
    pairs = np.argwhere(np.isfinite(found.interface)).tolist()
    return codes, by_code, {(i, j): float(found.interface[i, j]) for i, j in pairs}


@dataclass(frozen=True)
class Coding:
    """Which code stands for which label, colour and level.

    Attributes
    ----------
    plain : Material
        The material, with a code for each label.
    interface : mapping of (int, int) to float
        Conductances per area between labels that conduct.
    levels : int
        Levels of the normal; 0 if the area is that of the faces.
    colours : int
        Colours of particles; 0 is that of voxels that resist no other particle.
    """

    plain: Material
    interface: Interfaces
    levels: int
    colours: int = 1

    @property
    def depths(self) -> Ints:
        """Number of levels of each plain code, a voxel without a normal included."""
        meets = {one for pair in self.interface for one in pair}
        return np.array([1, *(1 + self.levels * (n in meets) for n in self.plain.labels)], np.int64)

    @property
    def hues(self) -> Ints:
        """Number of colours of each plain code."""
        divided = touching(self.interface)
        return np.array(
            [1, *(self.colours if n in divided else 1 for n in self.plain.labels)], np.int64
        )

    @property
    def parts(self) -> tuple[Ints, Ints, Ints]:
        """Plain code, colour and level of each code."""
        counts = zip(self.hues.tolist(), self.depths.tolist(), strict=True)
        rows = [
            (code, hue, level)
            for code, (hues, depth) in enumerate(counts)
            for hue in range(hues)
            for level in range(depth)
        ]
        plain, hue, level = np.array(rows, np.int64).T
        return plain, hue, level

    def material(self) -> Material:
        """The material with a code for each label, colour and level."""
        plain, hue, level = self.parts
        across = self.plain.interface[np.ix_(plain, plain)]
        apart = (hue[:, None] != hue) & (hue[:, None] > 0) & (hue > 0)
        across = np.where((plain[:, None] != plain) | apart, across, math.inf)
        across = across / face_factors(self.levels)[np.ix_(level, level)]
        labels = tuple(self.plain.labels[code - 1] for code in plain[1:])
        return Material(labels, self.plain.values[plain], across)

    def write(self, codes: U8, levels: U8, around: Surroundings, chosen: Mapping[int, int]) -> None:
        """Replace the plain codes of a slab, in place; `chosen` is the colour of particles."""
        depths, hues = self.depths, self.hues
        widths = depths * hues
        first = np.concatenate([[0], np.cumsum(widths)])[:-1]
        table = np.zeros(max(chosen, default=0) + 1, np.int64)
        table[list(chosen)] = list(chosen.values())
        for plane, level, part in zip(codes, levels, around.parts[INSIDE], strict=False):
            coded = first[plane] + np.where(depths[plane] > 1, level, 0)
            if chosen:
                own = np.where(part >= PARTICLES, part.astype(np.int64) - PARTICLES, 0)
                hue = table[np.where(own < len(table), own, 0)]
                coded += np.where(hues[plane] > 1, hue * depths[plane], 0)
            plane[...] = coded


def choose_coding(
    plain: Material,
    conducting: Collection[int],
    interface: Interfaces,
    area: InterfaceArea,
    hues: int,
) -> Coding:
    """Choose as many levels as one byte a voxel allows for all that conduct, at most `LEVELS`.

    Raises
    ------
    ArgumentError
        If too many labels have interfaces, or too many particles touch each other.
    """
    inside = {pair: h for pair, h in interface.items() if set(pair) <= set(conducting)}
    meets = len({one for pair in inside for one in pair})
    divided = len(touching(inside))
    most, fewest = (LEVELS, FEWEST_LEVELS) if area == "normal" else (0, 0)
    for levels in range(most, fewest - 1, -1):
        coded = (meets - divided + divided * hues) * (1 + levels)
        if len(conducting) - meets + coded <= MOST_LABELS:
            return Coding(plain, inside, levels, hues)
    raise ArgumentError(
        f"{meets} phases with interfaces and particles in {hues - 1} colours do not fit into one byte a voxel. "
        "Give fewer interfaces" + ("" if area == "faces" else ", or --interface-area faces")
    )
