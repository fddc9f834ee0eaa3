"""Spinodal decomposition: exponent of coarsening in 2-D and 3-D, and steps a second beside plain transforms.

Run as ``python -m benchmarks.phase_field [--edges 1024 192]``.

The wavelength of late coarsening grows as the cube root of time (Lifshitz, Slyozov, DOI
10.1016/0022-3697(61)90054-3), and the energy falls with the area of the interfaces, as its inverse.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import scipy.fft

from tim3d.generators import Box, Noise
from tim3d.grid import Triple
from tim3d.kernels.generation.phase_field import STABILISER, TIME_STEP, Cell

DELTA = 1.3


def started(shape: Triple) -> tuple[Cell, np.ndarray]:
    """A mixture of equal shares."""
    cell = Cell(shape, (1.0, 1.0, 1.0), DELTA)
    return cell, cell.begin(0.5, Noise(1).normals(Box.whole(shape)) * np.float32(0.05))


def coarsened(shape: Triple, most: float) -> Iterator[tuple[float, float, float]]:
    """Time in units of delta squared, wavelength over delta, and energy, at steps that grow by a tenth."""
    cell, waves = started(shape)
    step, following = 0, 50
    while True:
        cell.step(waves)
        step += 1
        if step == following:
            wavelength = cell.wavelength(waves) / DELTA
            yield step * TIME_STEP, wavelength, cell.energy(waves)
            following = int(following * 1.1)
            if wavelength > most:
                return


def exponent(shape: Triple, least: float, most: float) -> tuple[float, float, int]:
    """Slopes of log wavelength and of -log energy between two wavelengths, and the steps that were run."""
    rows = np.array(list(coarsened(shape, most)))
    late = rows[rows[:, 1] > least]
    logs = np.log(late)
    grows, falls = (float(np.polyfit(logs[:, 0], logs[:, n], 1)[0]) for n in (1, 2))
    return grows, -falls, int(rows[-1, 0] / TIME_STEP)


def seconds_a_step(shape: Triple, steps: int = 5) -> tuple[float, float]:
    """CPU seconds of a step, and of the same step by plain complex transforms in double precision."""
    cell, waves = started(shape)
    cell.step(waves)
    begun = time.process_time()
    for _ in range(steps):
        cell.step(waves)
    ours = (time.process_time() - begun) / steps
    k2 = sum(np.meshgrid(*((2 * np.pi * np.fft.fftfreq(n)) ** 2 for n in shape), indexing="ij"))
    c, dt = scipy.fft.fftn(cell.concentration(waves).astype(np.float64)), TIME_STEP * DELTA**2
    begun = time.process_time()
    for _ in range(steps):
        v = scipy.fft.ifftn(c).real
        force = scipy.fft.fftn(2 * v * (1 - v) * (1 - 2 * v) - STABILISER * v)
        c = (c - dt * k2 * force) / (1 + dt * (STABILISER * k2 + cell.kappa * k2**2))
    return ours, (time.process_time() - begun) / steps


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edges", type=int, nargs=2, default=(1024, 192))
    parser.add_argument("--most", type=float, nargs=2, default=(36.0, 30.0))
    plane, cube = parser.parse_args().edges
    most = parser.parse_args().most
    for shape in ((1, plane, plane), (cube, cube, cube)):
        ours, plain = seconds_a_step(shape)
        print(
            f"{shape}: {ours:.3f} s a step, plain {plain:.3f} s, {plain / ours:.1f} times",
            flush=True,
        )
    for shape, end in zip(((1, plane, plane), (cube, cube, cube)), most, strict=True):
        grows, falls, steps = exponent(shape, 18.0, end)
        print(f"{shape}: wavelength {grows:.3f}, energy {falls:.3f}, {steps} steps", flush=True)


if __name__ == "__main__":
    main()
