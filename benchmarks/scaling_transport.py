"""Cost per voxel of the flux solver and of both geodesic metrics, from 64³ to a given edge: a table and one picture.

    python -m benchmarks.scaling_transport --folder FOLDER [--largest 512] [--picture FILE]

Volume: smoothed noise, 42 % pore. Every point is a process of its own, warmed up (see
benchmarks/peers.py). The flux solver works to its default tolerance on --threads threads; distances
take one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers, peers_geodesic, peers_transport
from benchmarks.peers import Comparison, Job, Row

SERIES: Mapping[str, tuple[Comparison, str, str]] = {
    "flux, one phase": (peers_transport.COMPARISON, "tim3d", "one-phase"),
    "flux, contrast 100": (peers_transport.COMPARISON, "tim3d", "contrast-100"),
    "geodesic, eikonal": (peers_geodesic.COMPARISON, "tim3d-eikonal", "isotropic"),
    "geodesic, 26 neighbours": (peers_geodesic.COMPARISON, "tim3d-graph26", "isotropic"),
}
EDGES = (64, 96, 128, 192, 256, 384, 512, 768, 1024)


def rows(folder: Path, edges: Sequence[int], given: Any) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {name: [] for name in SERIES}
    for edge in edges:
        peers.volume(folder, edge)
        for name, (comparison, tool, case) in SERIES.items():
            threads = given.threads if name.startswith("flux") else 1
            job = Job(tool, case, edge, threads, str(folder), given.memory)
            row = peers.row_of(comparison, job, given.limit)
            print(line(name, row), flush=True)
            found[name].append(row)
    return found


def per_voxel(row: Row, key: str) -> float:
    """Nanoseconds."""
    return float(row[key]) / row["edge"] ** 3 * 1e9


def line(name: str, row: Row) -> str:
    head = f"| {row['edge']}³ | {name} | {row['threads']} |"
    if "note" in row:
        return f"{head} {row['note']} |" + " |" * 4
    costs = " | ".join(f"{per_voxel(row, key):.0f}" for key in ("wall", "cpu"))
    return f"{head} {row['wall']:.2f} | {costs} | {row['bytes_per_voxel']:.1f} | {row.get('iterations', '-')} |"


def draw(found: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Nanoseconds and bytes per voxel over the edge."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for (name, points), mark in zip(found.items(), "os^v", strict=True):
        done = [row for row in points if "note" not in row]
        edges = [row["edge"] for row in done]
        time.plot(edges, [per_voxel(row, "cpu") for row in done], marker=mark, label=name)
        memory.plot(edges, [row["bytes_per_voxel"] for row in done], marker=mark, label=name)
    ticks = sorted({row["edge"] for points in found.values() for row in points})
    for axes, text in (
        (time, "CPU time per voxel, ns"),
        (memory, "memory beside the labels, bytes per voxel"),
    ):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(edge) for edge in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
        axes.set(xlabel="edge of the volume, voxels", ylabel=text)
        axes.grid(alpha=0.3)
    time.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=512)
    parser.add_argument(
        "--edges", type=int, nargs="+", help=f"default: of {EDGES} those up to --largest"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900, help="seconds that a process may take")
    parser.add_argument("--memory", type=float, default=16, help="GiB that a process may hold")
    parser.add_argument("--folder", default="peers", help="for the volumes")
    parser.add_argument("--picture", default="docs/figures/scaling_transport.png")
    given = parser.parse_args(arguments)
    edges = given.edges or [edge for edge in EDGES if edge <= given.largest]
    print(
        "| volume | what | threads | wall s | wall ns per voxel | CPU ns per voxel | bytes per voxel | iterations |"
    )
    print("|" + "---|" * 8)
    draw(rows(Path(given.folder).resolve(), edges, given), Path(given.picture))


if __name__ == "__main__":
    main()
