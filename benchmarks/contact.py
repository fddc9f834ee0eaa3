"""Conductance of rough contacts against pressure: solved in voxels, by Fourier sums, and the law of CMY.

Run as ``python -m benchmarks.contact --edge 128 --seeds 4``.

Two Gaussian surfaces of nearly one wavelength are pressed together plastically, with nothing in the
gap. Each contact is solved in voxels of one size and of half of it, and its spots alone are solved
between flat bodies of the same depth (`spots_resistance`), in pixels of the smaller size. Numbers are
over those of Cooper, Mikic and Yovanovich, h = k (m / sigma) f(P / H), and fitted to a power of P / H.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.conduction.contact_spots import (
    EXPONENT,
    PREFACTOR,
    mean_spot_radius,
    plastic_conductance,
    spots_resistance,
)
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface

PRESSURES = (0.003, 0.01, 0.03, 0.1)
WAYS = ("voxels", "half voxels", "vanishing voxels", "flat spots")


def contact(edge: int, refined: int, pressure: float, seed: int, depth: int) -> RoughContact:
    """Surfaces of waves of 16 nm, slopes of 0.1, in voxels of 1 nm or a part of it."""
    n, h = edge * refined, 1 / refined
    low = RoughSurface(0.25, 0.8, 16.0, 15.5, (h, h), (n, n), seed)
    return RoughContact(low, replace(low, stream=1), pressure, 2.0 * depth, (h, h, h))


def solved(pressed: RoughContact) -> float:
    """Resistance times area in the voxels, less that of the bodies."""
    (h, *_), (ny, nx) = pressed.spacing_nm, pressed.lower.period
    labels = pressed.labels(Box.whole((round(pressed.thickness_nm / h), ny, nx)))
    k = {0: 1.0, 1: 0.0, 2: 1.0}
    found = conduct(labels, k, spacing=(h,) * 3, sides="periodic", tolerance=1e-3)
    return pressed.thickness_nm * (1 / found.conductivity - 1)


def flat(pressed: RoughContact) -> float:
    """The same of the spots between flat bodies."""
    whole = (0, 0), pressed.lower.period
    overlap = pressed.lower.heights(*whole) + pressed.upper.heights(*whole) > pressed.separation_nm
    h, depth = pressed.spacing_nm[1], pressed.thickness_nm / 2
    return spots_resistance(overlap, (h, h), (1.0, 1.0), (depth, depth))


def conductances(
    edge: int, pressure: float, seed: int, depth: int, *, only_flat: bool = False
) -> list[float]:
    """Conductances of a contact in all ways, or of its flat spots only, over k m / sigma."""
    coarse, fine = (contact(edge, refined, pressure, seed, depth) for refined in (1, 2))
    scale = fine.rms_nm / fine.mean_slope
    if only_flat:
        return [scale / flat(fine)]
    first, second = solved(coarse), solved(fine)
    return [scale / r for r in (first, second, 2 * second - first, flat(fine))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print conductances over the law at every pressure, then exponents and prefactors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--edge", type=int, default=128, help="voxels of the coarser volume")
    parser.add_argument(
        "--depth", type=int, default=24, help="thickness of a body in coarse voxels"
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--pressures", type=float, nargs="+", default=PRESSURES)
    parser.add_argument(
        "--flat", action="store_true", help="only the spots between flat bodies: seconds a contact"
    )
    given = parser.parse_args(arguments)
    ways = WAYS[-1:] if given.flat else WAYS
    print(
        "| P/H | spot radius, voxels | " + " | ".join(ways) + " |\n|---|---|" + "---|" * len(ways)
    )
    table = []
    for pressure in given.pressures:
        rows = [
            conductances(given.edge, pressure, seed, given.depth, only_flat=given.flat)
            for seed in range(given.seeds)
        ]
        table.append(rows)
        one = contact(given.edge, 1, pressure, 0, given.depth)
        radius = mean_spot_radius(pressure, one.mean_slope, one.rms_nm)
        law = plastic_conductance(pressure, 1.0, 1.0, 1.0)
        means, errors = np.mean(rows, 0) / law, np.std(rows, 0) / law / math.sqrt(len(rows))
        cells = " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True))
        print(f"| {pressure:g} | {radius:.1f}, {2 * radius:.1f} | {cells} |", flush=True)
    print("\n" + "\n".join(_fits(np.array(table), np.array(given.pressures), ways)))


def _fits(table: np.ndarray, pressures: np.ndarray, ways: Sequence[str]) -> list[str]:
    """Power laws of each way, of the mean over seeds; the law has its correlation's."""
    lines, x = [f"law: exponent {EXPONENT}, prefactor {PREFACTOR}"], np.log(pressures)
    for way, name in enumerate(ways):
        values = table[:, :, way]
        exponents = np.polyfit(x, np.log(values), 1)[0]
        exponent, constant = np.polyfit(x, np.log(values.mean(1)), 1)
        spread = exponents.std() / math.sqrt(len(exponents))
        middle = math.exp(float(np.mean(np.log(values.mean(1)) - EXPONENT * x)))
        lines.append(
            f"{name}: exponent {exponent:.3f} ± {spread:.3f}, prefactor {math.exp(constant):.3f}; "
            f"with the exponent of the law {middle:.3f}, {middle / PREFACTOR - 1:+.0%}"
        )
    return lines


if __name__ == "__main__":
    main()
