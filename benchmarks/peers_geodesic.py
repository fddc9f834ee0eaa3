"""Geodesic distance by tim3d and by other packages: the same volume, time, memory, agreement.

    python -m benchmarks.peers_geodesic --folder FOLDER [--sizes 128 256 400] [--cases isotropic
    anisotropic]
        [--tools tim3d-graph26 dijkstra3d] [--limit 900] [--memory 16]
    python -m benchmarks.peers_geodesic --folder FOLDER --table

Peers: benchmarks/requirements-peers.txt, in an environment of their own. Volume: smoothed noise, 42
% pore; distance in the pore from the centres of its voxels in layer 0; tim3d's eikonal takes
--threads, all else one. tau: mean of d / (z h) over the reached voxels of a plane, mean over the
planes from three quarters of the edge on. Each field is compared with tim3d's of the same metric,
voxel by voxel: largest and mean difference over the largest distance, of the voxels that both
reach. Run tim3d first: its field is kept in the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.peers import Comparison, Job, Problem, Row, Tool

Field = NDArray[Any]
CASES = {"isotropic": (1.0, 1.0, 1.0), "anisotropic": (2.0, 1.0, 1.0)}
COLUMNS = (
    "volume | case | tool | wall s | CPU s | bytes per voxel | tau | reached | largest difference | mean difference | "
    "wall / tim3d | CPU / tim3d"
)


def inlet(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found = np.zeros(labels.shape, bool)
    found[0] = labels[0] == 1
    return found


def tim3d(problem: Problem, metric: str) -> Field:
    from tim3d.kernels.geodesic.geodesic import distance

    return distance(
        problem.labels,
        inlet(problem.labels),
        problem.spacing,
        metric=metric,
        threads=problem.threads,
    )


def dijkstra3d(problem: Problem) -> Field:
    import dijkstra3d as package

    starts = np.argwhere(inlet(problem.labels)[:1])
    return package.euclidean_distance_field(problem.labels, starts, anisotropy=problem.spacing)


def skimage(problem: Problem) -> Field:
    from skimage.graph import MCP_Geometric

    costs = np.where(problem.labels == 1, 1.0, -1.0)
    search = MCP_Geometric(costs, fully_connected=True, sampling=problem.spacing)
    return search.find_costs(np.argwhere(inlet(problem.labels)[:1]))[0]


def skfmm(problem: Problem, order: int) -> Field:
    """The front starts half-way between layers 0 and 1; half an edge is added behind it, and layer 0 is 0."""
    import skfmm as package

    phi = np.ma.MaskedArray(np.full(problem.labels.shape, 0.5), problem.labels != 1)
    phi[0] = np.ma.MaskedArray(np.full(problem.labels.shape[1:], -0.5), problem.labels[0] != 1)
    found = package.distance(phi, dx=problem.spacing, order=order)
    field: Field = np.ma.filled(found, np.nan)
    field += problem.spacing[0] / 2
    field[0] = np.where(problem.labels[0] == 1, 0.0, np.nan)
    return field


TOOLS = {
    "tim3d-eikonal": Tool(lambda p: tim3d(p, "eikonal"), "tim3d", "eikonal"),
    "skfmm-1": Tool(lambda p: skfmm(p, 1), "scikit-fmm", "eikonal, order 1"),
    "skfmm-2": Tool(lambda p: skfmm(p, 2), "scikit-fmm", "eikonal, order 2"),
    "tim3d-graph26": Tool(lambda p: tim3d(p, "graph26"), "tim3d", "26 neighbours"),
    "dijkstra3d": Tool(dijkstra3d, "dijkstra3d", "26 neighbours"),
    "skimage": Tool(skimage, "scikit-image", "MCP_Geometric, 26 neighbours"),
}


def base_of(tool: str) -> str:
    """The tool of tim3d with the same metric."""
    return "tim3d-eikonal" if tool in ("tim3d-eikonal", "skfmm-1", "skfmm-2") else "tim3d-graph26"


def reached(field: Field) -> NDArray[np.bool_]:
    """Peers mark what is not reached by nan, inf or a negative number."""
    found: NDArray[np.bool_] = np.isfinite(field) & (field >= 0)
    return found


def tortuosity(field: Field, edge: float) -> float:
    """Mean over the planes of the last quarter of the plane's mean of d / (z h)."""
    planes = range(int(0.75 * len(field)), len(field))
    return float(
        np.mean([field[z][reached(field[z])].mean(dtype=np.float64) / (z * edge) for z in planes])
    )


def differences(field: Field, other: Field) -> Row:
    """Plane by plane, so that no more than a field is held."""
    largest = total = 0.0
    count = 0
    top = max(float(plane[reached(plane)].max(initial=0)) for plane in other)
    for a, b in zip(field, other, strict=True):
        both = reached(a) & reached(b)
        apart = np.abs(a[both].astype(np.float64) - b[both])
        largest, total, count = (
            max(largest, float(apart.max(initial=0))),
            total + float(apart.sum()),
            count + both.sum(),
        )
    return {"largest": largest / top, "mean": total / max(1, int(count)) / top}


def look(job: Job, problem: Problem, field: Field) -> Row:
    pore = int((problem.labels == 1).sum())
    found = {
        "tau": tortuosity(field, problem.spacing[0]),
        "reached": sum(int(reached(p).sum()) for p in field) / pore,
    }
    kept = Path(job.folder) / f"field_{base_of(job.tool)}_{job.case}_{job.edge}.npy"
    if job.tool == base_of(job.tool):
        np.save(kept, field.astype(np.float32))
    elif kept.exists():
        found |= differences(field, np.load(kept, mmap_mode="r"))
    return found


COMPARISON = Comparison("benchmarks.peers_geodesic", TOOLS, CASES, look)


def line(row: Row, base: Row | None) -> str:
    head = f"| {row['edge']}³ | {row['case']} | {row['tool']} |"
    if "tau" not in row:
        return f"{head} {row['note']} |" + " |" * 8
    cost = f"{row['wall']:.2f} | {row['cpu']:.2f} | {row['bytes_per_voxel']:.0f}"
    apart = [f"{row[key]:.1e}" if key in row else "-" for key in ("largest", "mean")]
    ratios = [peers.ratio(row, base, key) for key in ("wall", "cpu")]
    return (
        f"{head} {cost} | {row['tau']:.5f} | {row['reached']:.6f} | {' | '.join(apart + ratios)} |"
    )


def table(folder: Path) -> str:
    rows = peers.rows_in(folder / "geodesic.jsonl")
    order = list(TOOLS)
    rows.sort(key=lambda r: (list(CASES).index(r["case"]), r["edge"], order.index(r["tool"])))
    base = {(r["edge"], r["case"], r["tool"]): r for r in rows}
    settings = dict.fromkeys(f"{r['tool']}: {r['settings']}" for r in rows)
    lines = [
        peers.heading("python -m benchmarks.peers_geodesic", rows),
        f"Settings: {'; '.join(settings)}.\n",
    ]
    lines += [f"| {COLUMNS} |", "|" + "---|" * (COLUMNS.count("|") + 1)]
    lines += [line(row, base.get((row["edge"], row["case"], base_of(row["tool"])))) for row in rows]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    given = peers.options(str(__doc__), COMPARISON, list(TOOLS), (128, 256, 400), 1).parse_args(
        arguments
    )
    if given.job:
        return peers.answer(COMPARISON, given)
    folder = Path(given.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not given.table:
        peers.run(COMPARISON, given, folder / "geodesic.jsonl")
    return print(table(folder))


if __name__ == "__main__":
    main()
