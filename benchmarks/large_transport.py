"""The flux solver and geodesic distances on volumes too large for one worker: wall time, steps, memory and plan.

    python -m benchmarks.large_transport FOLDER [--flux 768] [--geodesic 1000x1024x1024] [--share
    256] [--memory 10.5]
        [--metrics eikonal graph26]

The volume is smoothed noise in three phases (42, 30, 28 %), one periodic cell of 256³ voxels
repeated. `share`: one worker of one thread against two on a volume of that edge; what eight devices
would exchange. 0 or "" leaves a part out.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage as ndi

import tim3d
from tim3d.engine.clusters.memory import available_memory
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.conduction.multigrid import slab_cuts
from tim3d.storage import store
from tim3d.storage.schema import Field, shard_and_chunk

CELL = 256
PHASES = tim3d.Phases(pore=1, binder=2, active=3)
CONDUCTIVITY = {"pore": 1.0, "binder": 10.0, "active": 100.0}


def cell(edge: int = CELL) -> np.ndarray:
    """Three phases, periodic."""
    white = np.random.default_rng(20240).standard_normal((edge,) * 3, dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 4.0, mode="wrap")
    low, high = np.quantile(smooth, [0.42, 0.72])
    return np.asarray(1 + (smooth >= low) + (smooth >= high), np.uint8)


def make_sample(url: str, shape: Triple, unit: np.ndarray) -> None:
    """Shard by shard, unless it is there."""
    if store.is_sample(url):
        return
    shard, chunk = shard_and_chunk(shape)
    field = Field(
        "phase", shape, "uint8", (10.0, 10.0, 10.0), chunk, shard, labels=True, phases=PHASES
    )
    store.create_sample(url)
    store.create_field(url, field, store.provenance("made", {}, {}))
    array = store.field_array(url, "phase", mode="r+")
    for box in _boxes(shape, shard):
        places = [
            np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, unit.shape, strict=True)
        ]
        store.write_box(array, box, unit[np.ix_(*places)])
    store.update_node(url, "phase", status="complete")


def _boxes(shape: Triple, edge: Triple) -> Iterator[Box]:
    for corner in np.ndindex(*(-(-n // e) for n, e in zip(shape, edge, strict=True))):
        start = triple(c * e for c, e in zip(corner, edge, strict=True))
        yield Box(start, triple(min(s + e, n) for s, e, n in zip(start, edge, shape, strict=True)))


def on_workers(count: int, memory: float) -> AbstractContextManager[Any]:
    return tim3d.cluster("local", workers=count, threads=1, memory_bytes=int(memory * 2**30))


def solve(url: str, k: dict[str, float], out: str) -> dict[str, Any]:
    """Wall seconds of the solution itself, steps, memory, and the value."""
    start = time.perf_counter()
    found = tim3d.solve(
        url,
        conductivity=k,
        units="1",
        out=out,
        options=tim3d.Options(progress=False, overwrite=True),
    )
    wall = time.perf_counter() - start
    (note,) = Path(f"{url}.runs/{out}/solutions").rglob("summary-z-1.json")
    return json.loads(note.read_text()) | {
        "verb_seconds": wall,
        "steps": int(found.iterations[0]),
        "k": float(found.effective_conductivity[0]),
        "tau": float(found.tortuosity_factor_total[0]),
    }


def print_solution(case: str, edge: int, row: dict[str, Any]) -> None:
    voxels = edge**3 / row["workers"]
    peak, planned = row["peak_bytes"], row["planned_peak_bytes"]
    print(
        f"| {edge}³ | {case} | {row['workers']} | {row['wall_seconds']:.1f} | {row['steps']} | "
        f"{peak / 2**20:.0f} / {planned / 2**20:.0f} | {peak / voxels:.1f} | "
        f"{row['k']:.6f} | {row['tau']:.6f} |",
        flush=True,
    )


def flux(folder: Path, edge: int, counts: Iterable[int], memory: float) -> None:
    url = str(folder / f"three-{edge}.zarr")
    make_sample(url, (edge,) * 3, cell(min(edge, CELL)))
    print(
        "| volume | case | workers | wall s | steps | peak / planned MiB a worker | B/voxel, all in | k | tau |"
    )
    print("|" + "---|" * 9)
    cases = {"contrast 100": CONDUCTIVITY, "pore": {"pore": 1.0, "binder": 0.0, "active": 0.0}}
    for count in counts:
        with on_workers(count, memory):
            for case, k in cases.items():
                print_solution(case, edge, solve(url, k, case.replace(" ", "-")))


class Rounds(logging.Handler):
    """Gathers what a geodesic run tells: visits, blocks and rounds of each kind of values."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(
            r"/(\w+): (\d+) visits of (\d+) blocks in (\d+) rounds", record.getMessage()
        )
        if found:
            kind, visits, blocks, rounds = found.groups()
            self.told.append(f"{kind} {rounds} rounds, {visits} visits of {blocks} blocks")


@contextmanager
def rounds_told() -> Iterator[list[str]]:
    log, handler = logging.getLogger("tim3d.stages.geodesic.front_group"), Rounds()
    level = log.level
    log.addHandler(handler)
    log.setLevel("INFO")
    try:
        yield handler.told
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def geodesic(folder: Path, shape: Triple, memory: float, metrics: Iterable[str]) -> None:
    name = "x".join(map(str, shape))
    url = str(folder / f"three-{name}.zarr")
    make_sample(url, shape, cell())
    options = tim3d.Options(progress=False, overwrite=True)
    with on_workers(2, memory):
        for metric in metrics:
            start = time.perf_counter()
            with rounds_told() as told:
                found = tim3d.geodesic(
                    url, phases=["pore"], directions=["+z"], metric=metric, options=options
                )
            wall = time.perf_counter() - start
            notes = [
                json.loads(p.read_text())
                for p in Path(f"{url}.runs").glob("phase_geodesic*/**/summary-*.json")
            ]
            peak, planned = (
                max(n[key] for n in notes) / 2**20 for key in ("peak_bytes", "planned_peak_bytes")
            )
            value, share = (
                float(found.geodesic_tortuosity[0, 0]),
                float(found.geodesic_reached_share[0, 0]),
            )
            print(
                f"geodesic, {metric}, {name}, pore, +z, 2 workers: {wall:.1f} s, {'; '.join(told)}, tau {value:.6f}, "
                f"reached {share:.6f}, peak {peak:.0f} MiB a worker, planned {planned:.0f}",
                flush=True,
            )


@dataclass(frozen=True)
class Exchange:
    """What a rank sends and receives in one step, a cube with sides that do not wrap: planes, levels, and how often."""

    plane_bytes: int
    level_bytes: int
    swaps: int
    collects: int


def exchanged(edge: int, slabs: int) -> Exchange:
    """Of the second rank, counted from levels and slabs."""
    cuts = slab_cuts((edge,) * 3, (1, 1, 1), slabs)
    depth, neighbours = len(cuts) - 1, 2 if slabs > 2 else 1
    # Planes carry their ghosts; direction float32, potential float64.
    planes = [4 * (-(-edge // 2**level) + 2) ** 2 for level in range(depth + 1)]
    moved, swaps = 3 * planes[0], 2
    for level in range(depth):
        # Four half sweeps before and after the correction, and the correction itself.
        moved, swaps = moved + 9 * 2**level * planes[level], swaps + 9 * 2**level
    gathers, count = 2 ** (depth - 1), cuts[-1][-1]
    own = cuts[-1][2] - cuts[-1][1]
    gathered = gathers * planes[-1] * (own * (slabs - 1) + count - own)
    # Three sums over planes, and whether it is time for a checkpoint.
    return Exchange(2 * neighbours * moved, gathered, swaps, gathers + 4)


def print_exchange(edge: int, slabs: int) -> None:
    found = exchanged(edge, slabs)
    print(
        f"{edge}³ on {slabs} workers: a step sends and receives {found.plane_bytes / 2**20:.1f} MiB of planes in "
        f"{found.swaps} swaps and {found.level_bytes / 2**20:.1f} MiB of coarse levels in {found.collects} collects"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flux", type=lambda text: int(text or 0), default=768)
    parser.add_argument("--geodesic", default="1000x1024x1024")
    parser.add_argument("--metrics", nargs="+", default=["eikonal", "graph26"])
    parser.add_argument("--share", type=lambda text: int(text or 0), default=256)
    parser.add_argument("--memory", type=float, default=available_memory() / 2**30 / 2.1)
    options = parser.parse_args(arguments)
    logging.getLogger("distributed").setLevel("ERROR")
    options.folder.mkdir(exist_ok=True, parents=True)
    if options.share:
        flux(options.folder, options.share, (1, 2), options.memory)
        for edge, slabs in ((options.share, 2), (2000, 8)):
            print_exchange(edge, slabs)
    if options.flux:
        flux(options.folder, options.flux, (2,), options.memory)
    if options.geodesic not in ("", "0"):
        shape = triple(options.geodesic.replace(",", "x").split("x"))
        geodesic(options.folder, shape, options.memory, options.metrics)


if __name__ == "__main__":
    main()
