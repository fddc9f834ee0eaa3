"""Flux solver: seconds, iterations, memory and value on volumes that anyone can make again.

    python -m benchmarks.transport [--edges 128 256] [--threads 1 2] [--tolerance 1e-3]

The volume is smoothed noise, 42 % pore. Seconds include the islands and all set-up; the code is
compiled before. Bytes are all arrays that the solver holds at its peak, beside the labels, as
tracemalloc counts them in a second run.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.descriptors import blobs
from tim3d.kernels.conduction.conduction import Conduction, conduct

CASES: dict[str, dict[int, float]] = {
    "pore": {0: 0.0, 1: 1.0},
    "contrast 10": {0: 10.0, 1: 1.0},
    "contrast 100": {0: 100.0, 1: 1.0},
    "contrast 1000": {0: 1000.0, 1: 1.0},
    "contrast 1e5": {0: 1e5, 1: 1.0},
}
SPACINGS = ((1, 1, 1), (2, 1, 1), (10, 1, 1))


@dataclass(frozen=True)
class Run:
    """One solution and what it cost."""

    found: Conduction
    wall_seconds: float
    cpu_seconds: float
    bytes_per_voxel: float


def measured(
    labels: np.ndarray,
    k: dict[int, float],
    spacing: tuple[float, float, float],
    tolerance: float,
    threads: int,
) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    found = conduct(labels, k, spacing=spacing, tolerance=tolerance, threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tracemalloc.start()
    conduct(labels, k, spacing=spacing, tolerance=0.9, threads=threads)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Run(found, wall, cpu, peak / labels.size)


def print_row(
    edge: int, case: str, spacing: tuple[float, float, float], threads: int, run: Run
) -> None:
    found = run.found
    print(
        f"| {edge}³ | {case} | {spacing} | {threads} | {run.wall_seconds:.2f} / {run.cpu_seconds:.2f} | "
        f"{found.iterations} | {found.spread:.1e} | {run.bytes_per_voxel:.1f} | {found.conductivity:.6f} | "
        f"{found.tortuosity_total:.6f} |",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count() or 1])
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args(arguments)
    conduct(blobs(40), CASES["contrast 10"], threads=1)
    print(
        "| volume | phases | spacing | threads | wall / CPU s | iterations | spread | bytes per voxel | k_eff | tau |"
    )
    print("|" + "---|" * 10)
    for edge in options.edges:
        labels = blobs(edge)
        for threads in options.threads:
            for case, k in CASES.items():
                print_row(
                    edge,
                    case,
                    (1, 1, 1),
                    threads,
                    measured(labels, k, (1, 1, 1), options.tolerance, threads),
                )
            for spacing in SPACINGS[1:]:
                run = measured(labels, CASES["pore"], spacing, options.tolerance, threads)
                print_row(edge, "pore", spacing, threads, run)


if __name__ == "__main__":
    main()
