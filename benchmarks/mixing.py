"""Error of the voxels: as they are, extrapolated, and with interface voxels mixed as laminates.

Run as ``python -m benchmarks.mixing --sizes 16 32 64``.

A coarse level of N voxels an edge is made from a finer labelled one of twice the edge. Mixed, a coarse voxel of
both phases conducts harmonically along the normal of its interface and arithmetically across it: k_i =
k_A + (k_H - k_A) n_i^2, of which a scheme with six faces takes the diagonal. The normal is that of the smoothed
fraction. Everything a method reads is the finer level; methods that solve it cost eight times as much.

Exact: a cubic array of spheres (series of McPhedran and McKenzie) at the fraction of the sphere, and
layers at 0, 45 and 63 degrees along and across their normal (laminate).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.ndimage as ndi

from tim3d.kernels.conduction.conduction import conduct

Truth = tuple[np.ndarray, Callable[..., float], float]
# Mixed voxels are told apart by eighths of their fraction and by quarters of n_i^2.
EIGHTHS, QUARTERS = 8, 4


def sphere(edge: int) -> np.ndarray:
    """A sphere of a third of the volume in a unit cube, a little off the grid's symmetry."""
    places = (np.indices((edge,) * 3) + 0.5) / edge
    radius = (3 * 0.3 / (4 * math.pi)) ** (1 / 3)
    return np.asarray(((places - 0.5) ** 2).sum(0) < radius**2).astype(np.uint8)


def layers(edge: int, up: int, across: int) -> np.ndarray:
    """Layers normal to (up, across, 0), half and half, in a periodic cell."""
    z, y, _ = (np.indices((edge, edge, 8)) + 0.5) / edge
    return ((up * z + across * y + 0.1357) % 1.0 < 0.5).astype(np.uint8)


def mcphedran(contrast: float, f: float) -> float:
    """Effective over matrix conductivity of a simple cubic array of spheres, to f^(25/3)."""
    beta = (contrast - 1) / (contrast + 2)
    three = (contrast - 1) / (contrast + 4 / 3)
    five = (contrast - 1) / (contrast + 6 / 5)
    d = (
        1 / beta
        - f
        - 1.305 * three * f ** (10 / 3) / (1 - 0.4054 * three * f ** (7 / 3))
        - 0.0723 * five * f ** (14 / 3)
    )
    return 1 + 3 * f / d


def mixed(fine: np.ndarray, contrast: float) -> tuple[np.ndarray, dict[int, Any]]:
    """Labels of every second voxel, and their conductivities: 0 and 1 are pure, others mixed."""
    nz, ny, nx = (n // 2 for n in fine.shape)
    fraction = fine.reshape(nz, 2, ny, 2, nx, 2).mean((1, 3, 5))
    smooth = ndi.gaussian_filter(fraction, 1.0, mode="wrap")
    normal = np.stack([(np.roll(smooth, -1, a) - np.roll(smooth, 1, a)) / 2 for a in range(3)])
    square = normal**2 / np.maximum((normal**2).sum(0), 1e-12)
    first, second = (np.rint(QUARTERS * square[a]).astype(int) for a in (0, 1))
    second = np.minimum(second, QUARTERS - first)
    part = np.rint(EIGHTHS * fraction).astype(int)
    places, codes = np.unique(
        np.stack([part, first, second]).reshape(3, -1), axis=1, return_inverse=True
    )
    known = {n: _laminate(*place, contrast) for n, place in enumerate(places.T)}
    return codes.reshape(fraction.shape).astype(np.uint8), known


def _laminate(part: int, first: int, second: int, contrast: float) -> tuple[float, float, float]:
    f = part / EIGHTHS
    along, across = 1 - f + f * contrast, 1 / (1 - f + f / contrast)
    squares = first / QUARTERS, second / QUARTERS, (QUARTERS - first - second) / QUARTERS
    z, y, x = (along + (across - along) * n for n in squares)
    return z, y, x


def ways(fine: np.ndarray, contrast: float, value: Callable[..., float]) -> dict[str, float]:
    """Results of all methods that know the finer level."""
    pure = {0: 1.0, 1: contrast}
    coarse = value(fine[::2, ::2, ::2], pure)
    found = value(fine, pure)
    labels, known = mixed(fine, contrast)
    return {
        "every second voxel": coarse,
        "every voxel": found,
        "both, extrapolated": 2 * found - coarse,
        "mixed, on the coarse level": value(labels, known),
    }


def cubic(labels: np.ndarray, k: Any) -> float:
    """Conductivity of an array, insulated sides: its planes of symmetry."""
    return conduct(labels, k, spacing=(1 / labels.shape[0],) * 3, tolerance=1e-5).conductivity


def along(direction: Sequence[float]) -> Callable[..., float]:
    """Conductivity of a cell along a direction in the plane of z and y."""

    def value(labels: np.ndarray, k: Any) -> float:
        rows = [
            conduct(
                labels, k, axis, spacing=(1 / labels.shape[0],) * 3, cell=True, tolerance=1e-6
            ).row
            for axis in (0, 1)
        ]
        tensor = np.array(rows)[:, :2]
        unit = np.array(direction) / np.hypot(*direction)
        return float(unit @ tensor @ unit)

    return value


def cases(
    contrast: float,
) -> Iterator[tuple[str, Callable[[int], np.ndarray], Callable[..., float], float]]:
    """Name, labels of an edge, what is solved, and its exact value."""
    yield "sphere", sphere, cubic, mcphedran(contrast, 0.3)
    series, parallel = 2 / (1 + 1 / contrast), (1 + contrast) / 2
    for up, across in ((1, 0), (1, 1), (1, 2)):
        angle = round(math.degrees(math.atan2(across, up)))
        made = lambda n, u=up, a=across: layers(n, u, a)  # noqa: E731
        yield f"layers at {angle}°, normal", made, along((up, across)), series
        yield f"layers at {angle}°, along", made, along((-across, up)), parallel


def main(arguments: Sequence[str] | None = None) -> None:
    """Print relative errors in percent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[16, 32, 64], help="of the finer level"
    )
    parser.add_argument("--contrasts", type=float, nargs="+", default=[10.0, 100.0])
    given = parser.parse_args(arguments)
    for contrast in given.contrasts:
        print(
            f"\n| contrast {contrast:g}, error % | "
            + " | ".join(f"{n}³" for n in given.sizes)
            + " |"
        )
        print("|---|" + "---|" * len(given.sizes))
        for name, made, value, exact in cases(contrast):
            table = [ways(made(n), contrast, value) for n in given.sizes]
            for way in table[0]:
                row = " | ".join(f"{100 * (one[way] / exact - 1):+.2f}" for one in table)
                print(f"| {name}: {way} | {row} |", flush=True)


if __name__ == "__main__":
    main()
