"""Known conductivity and contact resistance from bond lines of packings: a virtual ASTM D5470 that is judged.

Run as ``python -m benchmarks.bond_lines --packings 20``.

Spheres of the neutral size leave the flux as it is, so k is that of the resin whatever their number
and place, and the contact resistance is that of the flat substrates. Each packing is one line through
five bond lines, as they are solved, and at vanishing voxel size by every second voxel.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.generators import Box, Grains, ThermalInterface
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.statistics.straight_line import Line

RESIN, FILLER, METAL = 0.2, 30.0, 400.0
CONTACT = 1e5
RADIUS_NM = 1000.0
NEUTRAL = 1 / (RADIUS_NM * 1e-9 * (1 / RESIN - 1 / FILLER))
# Bond lines in radii, film in radii, edge of the cell in radii, voxels of each substrate.
BOND_LINES, FILM, CELL, PLATE = (5.0, 6.0, 7.0, 8.5, 10.0), 1.0, 9, 4
NM = 1e-9


@dataclass(frozen=True)
class Found:
    """Relative errors of k and R_c of a line, over their standard errors, and whether intervals hold the truth."""

    errors: tuple[float, float]
    in_standard_errors: tuple[float, float]
    held: tuple[bool, bool]


def interface(voxels: int, bond_line: float, seed: int) -> ThermalInterface:
    """A packing between plates, at this number of voxels a radius."""
    pixel = RADIUS_NM / voxels
    return ThermalInterface(
        Grains((2 * RADIUS_NM,), (1.0,)), 0.12, (pixel,) * 3, seed, bond_line * RADIUS_NM, PLATE * pixel,
        (CELL * voxels, CELL * voxels), FILM * RADIUS_NM,
    )  # fmt: skip


def conductivity(labels: np.ndarray, pixel: float) -> float:
    """Effective conductivity of a volume of labels."""
    interfaces = {(0, 1): NEUTRAL * NM, (0, 2): CONTACT * NM, (0, 3): CONTACT * NM}
    return conduct(
        labels, {0: RESIN, 1: FILLER, 2: METAL, 3: METAL}, spacing=(pixel,) * 3, sides="periodic",
        interface=interfaces, tolerance=1e-4,
    ).conductivity  # fmt: skip


def impedances(voxels: int, bond_line: float, seed: int) -> tuple[float, float]:
    """R'' of a packing as solved, and at vanishing voxel size."""
    model = interface(voxels, bond_line, seed)
    pixel, slices = model.spacing_nm[0], round(bond_line * voxels) + 2 * PLATE
    labels = model.labels(Box.whole((slices, *model.cell)))
    fine = conductivity(labels, pixel)
    coarse = conductivity(np.ascontiguousarray(labels[::2, ::2, ::2]), 2 * pixel)
    limit = 2 * fine - coarse
    length, plates = slices * pixel * NM, 2 * PLATE * pixel * NM / METAL
    return length / fine - plates, length / limit - plates


def judged(impedance: np.ndarray, spread: np.ndarray) -> Found:
    """A line against the truth, its 95 % intervals widened by the error of the voxels."""
    line = Line(np.array(BOND_LINES) * RADIUS_NM * NM, impedance)
    off = np.array([line.slope - 1 / RESIN, line.intercept - 2 / CONTACT])
    own = np.array([line.slope_error, line.intercept_error])
    voxels = np.abs([line.slope_weights @ spread, line.intercept_weights @ spread])
    held = np.abs(off) <= line.half_widths(0.95) * own + voxels
    k, contact = 1 / line.slope / RESIN - 1, line.intercept * CONTACT / 2 - 1
    return Found((k, contact), tuple((off / own).tolist()), tuple(held.tolist()))


def packing(voxels: int, seed: int) -> tuple[Found, Found]:
    """The lines of one packing: as solved, and at vanishing voxel size."""
    rows = np.array([impedances(voxels, one, seed) for one in BOND_LINES])
    none = np.zeros(len(rows))
    return judged(rows[:, 0], none), judged(rows[:, 1], np.abs(rows[:, 1] - rows[:, 0]))


def lines(voxels: int, packings: int) -> Iterator[str]:
    """A row for each packing, and what all of them say."""
    yield f"{voxels} voxels a radius; errors of k and R_c in %, in standard errors; in the 95 % interval"
    every = []
    for seed in range(packings):
        every.append(packing(voxels, seed))
        yield f"| {seed} | " + " | ".join(map(_row, every[-1])) + " |"
    for name, found in zip(
        ("as solved", "at vanishing voxel size"), zip(*every, strict=True), strict=True
    ):
        errors = 100 * np.abs([one.errors for one in found])
        held = np.sum([one.held for one in found], axis=0)
        yield (
            f"{name}: k off by at most {errors[:, 0].max():.2f} %, R_c by {errors[:, 1].max():.2f} %; in the interval: "
            f"k {held[0]}, R_c {held[1]} of {packings}"
        )


def _row(found: Found) -> str:
    parts = zip(found.errors, found.in_standard_errors, found.held, strict=True)
    return " ".join(f"{100 * e:+.2f} ({s:+.1f}) {'in' if held else 'out'}" for e, s, held in parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each packing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--voxels", type=int, default=8, help="voxels of a radius, an even number")
    parser.add_argument("--packings", type=int, default=20)
    given = parser.parse_args(arguments)
    for line in lines(given.voxels, given.packings):
        print(line, flush=True)


if __name__ == "__main__":
    main()
