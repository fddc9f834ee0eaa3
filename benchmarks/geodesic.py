"""Speed and memory of the geodesic distance, in one run, one core.

    python -m benchmarks.geodesic [--edge 256]

Volume: smoothed noise, 42 % inside, as in benchmarks/descriptors.py; seeds are the first plane. CPU
seconds, best of 3.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.descriptors import blobs
from tim3d.kernels.geodesic.geodesic import METRICS, UNREACHED, arrive, distance, refine

ISOTROPIC = (1.0, 1.0, 1.0)


def best(
    work: Callable[[], object], runs: int, before: Callable[[], object] = lambda: None
) -> float:
    """CPU seconds of the quickest run."""
    seconds = []
    for _ in range(runs):
        before()
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def peak(work: Callable[[], object]) -> int:
    """Bytes that are held at most beside what was there."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def steps(volume: NDArray[np.uint8], runs: int) -> Iterator[tuple[str, float, float]]:
    """Name, CPU seconds, bytes per voxel of each step."""
    region = np.pad(volume, 2)
    arrival, exact = (np.empty(region.shape, np.uint32) for _ in range(2))

    def begin() -> None:
        arrival.fill(UNREACHED)
        exact.fill(UNREACHED)
        np.copyto(arrival[2], 0, where=region[2] > 0)

    for metric in METRICS:

        def first(metric: str = metric) -> None:
            arrive(arrival, region, ISOTROPIC, metric=metric)

        # The first call also loads the compiled code.
        for _ in range(2):
            begin()
            held = peak(first)
        yield f"arrive, {metric}", best(first, runs, begin), held / region.size
        yield (
            f"arrive again, nothing changed, {metric}",
            best(first, runs),
            peak(first) / region.size,
        )
    begin()
    arrive(arrival, region, ISOTROPIC)

    def second() -> None:
        refine(exact, arrival, region, ISOTROPIC)

    for _ in range(2):
        exact.fill(UNREACHED)
        held = peak(second)
    yield "refine", best(second, runs, lambda: exact.fill(UNREACHED)), held / region.size
    seeds = np.zeros(volume.shape, np.bool_)
    seeds[0] = True
    for metric in METRICS:

        def through(metric: str = metric) -> None:
            distance(volume, seeds, metric=metric)

        yield f"distance, {metric}", best(through, runs), peak(through) / volume.size


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    volume = blobs(given.edge)
    print(
        f"| blobs_{given.edge}, one core | CPU s | ns per region voxel | bytes per voxel held |\n|---|---|---|---|"
    )
    for name, seconds, held in steps(volume, given.runs):
        print(f"| {name} | {seconds:.3f} | {seconds / volume.sum() * 1e9:.0f} | {held:.1f} |")


if __name__ == "__main__":
    main()
