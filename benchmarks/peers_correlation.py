"""Two-point probability by tim3d and by PoreSpy: the same volume, time, memory, agreement.

    python -m benchmarks.peers_correlation --folder FOLDER [--sizes 128 256]
        [--tools tim3d-radial porespy] [--limit 900] [--memory 16]
    python -m benchmarks.peers_correlation --folder FOLDER --table

Peers: benchmarks/requirements-peers.txt, in an environment of their own. Volume: periodic smoothed
noise, 42 % pore. tim3d counts the pairs inside the volume at 64 lags (half the edge, if that is
less) in 13 directions, or along z only; PoreSpy correlates the volume with itself at all displacements
by Fourier transforms. The largest difference of the radial curves is over the lags that both have.
Run tim3d-radial first: its curve is kept in the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.peers import Comparison, Job, Problem, Row, Tool

LAGS = 64
CASES = {"isotropic": (1.0, 1.0, 1.0)}
BASE = "tim3d-radial"
COLUMNS = "volume | tool | wall s | CPU s | bytes per voxel | largest difference | wall / tim3d | CPU / tim3d"
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def radial(problem: Problem) -> Curve:
    """Radii and probability of the pore in 13 directions, by the descriptor itself."""
    from tim3d.descriptors.base import Material
    from tim3d.descriptors.correlation import Correlation
    from tim3d.descriptors.in_memory import describe_array
    from tim3d.phases import Phases

    material = Material(Phases(solid=0, pore=1), problem.spacing)
    wanted = Correlation(min(LAGS, min(problem.labels.shape) // 2))
    found = describe_array(problem.labels, [wanted.descriptor(material)], material)
    curve = found[f"two_point_radial{wanted.suffix}"].sel(phase="pore", phase_other="pore")
    return np.asarray(curve[curve.dims[0]]), np.asarray(curve)


def along_z(problem: Problem) -> Curve:
    """Lags and probability of the pore along z, by the kernel."""
    from tim3d.kernels.statistics.pair_counts import pair_counts, pairs_within

    lags = np.arange(min(LAGS, problem.labels.shape[0] // 2) + 1)
    steps = np.stack([lags, 0 * lags, 0 * lags], axis=1)
    pairs = pair_counts(problem.labels, [[1]], steps)[0]
    z, y, x = problem.labels.shape
    return lags.astype(float), pairs / pairs_within((z, y, x), steps)


def porespy(problem: Problem) -> Curve:
    import porespy as package

    package.settings.tqdm["disable"] = True
    found = package.metrics.two_point_correlation(problem.labels == 1, bins=100)
    return np.asarray(found.distance), np.asarray(found.probability_scaled)


TOOLS = {
    BASE: Tool(radial, "tim3d", "13 directions, two phases and their pairs"),
    "tim3d-z": Tool(along_z, "tim3d", "one direction, one phase"),
    "porespy": Tool(porespy, "porespy", "all displacements, one phase, bins of 1 or 2 voxels"),
}


def look(job: Job, problem: Problem, curve: Curve) -> Row:
    kept = Path(job.folder) / f"curve_{job.edge}.npy"
    if job.tool == BASE:
        np.save(kept, np.stack(curve))
    if job.tool != "porespy" or not kept.exists():
        return {}
    radii, known = np.load(kept)
    inside = (curve[0] >= 2) & (curve[0] <= radii[-1])
    apart = np.abs(np.interp(curve[0][inside], radii, known) - curve[1][inside])
    return {"largest": float(apart.max(initial=0.0))}


COMPARISON = Comparison("benchmarks.peers_correlation", TOOLS, CASES, look)


def line(row: Row, base: Row | None) -> str:
    head = f"| {row['edge']}³ | {row['tool']} |"
    if "wall" not in row:
        return f"{head} {row['note']} |" + " |" * 5
    cost = f"{row['wall']:.2f} | {row['cpu']:.2f} | {row['bytes_per_voxel']:.1f}"
    apart = f"{row['largest']:.1e}" if "largest" in row else "-"
    ratios = " | ".join(peers.ratio(row, base, key) for key in ("wall", "cpu"))
    return f"{head} {cost} | {apart} | {ratios} |"


def table(folder: Path) -> str:
    rows = peers.rows_in(folder / "correlation.jsonl")
    rows.sort(key=lambda r: (r["edge"], list(TOOLS).index(r["tool"])))
    base = {r["edge"]: r for r in rows if r["tool"] == BASE}
    settings = dict.fromkeys(f"{r['tool']}: {r['settings']}" for r in rows)
    lines = [
        peers.heading("python -m benchmarks.peers_correlation", rows),
        f"Settings: {'; '.join(settings)}.\n",
        f"| {COLUMNS} |",
        "|" + "---|" * (COLUMNS.count("|") + 1),
    ]
    return "\n".join([*lines, *(line(row, base.get(row["edge"])) for row in rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    options = peers.options(str(__doc__), COMPARISON, list(TOOLS), (128, 256), 1)
    given = options.parse_args(arguments)
    if given.job:
        peers.answer(COMPARISON, given)
        return
    folder = Path(given.folder).resolve()
    if not given.table:
        peers.run(COMPARISON, given, folder / "correlation.jsonl")
    print(table(folder))


if __name__ == "__main__":
    main()
