"""Conduction by tim3d and by other packages: the same volume, time, memory, and error against a reference.

    python -m benchmarks.peers_transport --folder FOLDER [--sizes 128 256 400] [--cases one-phase
    contrast-100]
        [--tools tim3d taufactor] [--limit 900] [--memory 16] [--threads 2]
    python -m benchmarks.peers_transport --folder FOLDER --table

Peers: benchmarks/requirements-peers.txt, in an environment of their own. Volume: smoothed noise, 42
% pore; flux along axis 0. Every result is brought to one quantity, k_eff = Q L / (A dT) with the L
of the tool's own electrodes: on the outer faces, on the centres of the end layers, or one voxel
beyond these. The error is that against the reference with the same electrodes; the offset is
against the reference with electrodes on the outer faces, so it has the definition in it.
References: algebraic multigrid in float64 to a residual of 1e-10 where it fits into --memory, else
tim3d to 1e-8; both where both fit, and their difference is printed.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import algebraic, peers
from benchmarks.peers import Comparison, Job, Problem, Row, Tool, UnableError

CASES = {
    "one-phase": (1.0, 1.0, 1.0),
    "contrast-100": (1.0, 1.0, 1.0),
    "anisotropic": (2.0, 1.0, 1.0),
    "contrast-100-anisotropic": (2.0, 1.0, 1.0),
}
# Measured bytes per voxel of the algebraic reference, one phase and two.
ALGEBRAIC_BYTES = (420, 900)
ELECTRODES: tuple[algebraic.Electrodes, ...] = ("outer", "centres", "beyond")
COLUMNS = (
    "volume | case | tool | wall s | CPU s | bytes per voxel | k_eff | electrodes | error | offset | wall / tim3d | "
    "CPU / tim3d"
)


def conductivity(case: str) -> dict[int, float]:
    return {0: 100.0 if case.startswith("contrast") else 0.0, 1: 1.0}


def one_phase(problem: Problem, why: str) -> None:
    if problem.case.startswith("contrast"):
        raise UnableError(why)


def cubic(problem: Problem, why: str) -> None:
    if len(set(problem.spacing)) > 1:
        raise UnableError(why)


def tim3d(problem: Problem, tolerance: float, electrodes: algebraic.Electrodes = "outer") -> Row:
    from tim3d.kernels.conduction.conduction import conduct

    labels = problem.labels
    if electrodes == "beyond":
        labels = np.pad(labels, ((1, 1), (0, 0), (0, 0)), mode="edge")
    found = conduct(
        labels, conductivity(problem.case), spacing=problem.spacing, tolerance=tolerance, threads=problem.threads,
        electrodes="outer" if electrodes == "outer" else "centres",
    )  # fmt: skip
    return {
        "k": found.conductivity,
        "electrodes": electrodes,
        "iterations": found.iterations,
        "spread": found.spread,
    }


def multigrid(
    problem: Problem, tolerance: float, electrodes: algebraic.Electrodes = "outer"
) -> Row:
    k = np.array([conductivity(problem.case)[label] for label in (0, 1)])[problem.labels]
    value, spread, steps = algebraic.solve(k, problem.spacing, electrodes, tolerance)
    return {"k": value, "electrodes": electrodes, "iterations": steps, "spread": spread}


def taufactor(problem: Problem, criterion: float) -> Row:
    import taufactor as tau
    import torch

    torch.set_num_threads(problem.threads)
    if problem.case == "contrast-100-anisotropic":
        raise UnableError("several phases or unequal edges, not both")
    if problem.case == "contrast-100":
        solver = tau.MultiPhaseSolver(2 - problem.labels, {1: 1.0, 2: 100.0}, device="cpu")
    elif problem.case == "anisotropic":
        solver = tau.AnisotropicSolver(problem.labels, problem.spacing, device="cpu")
    else:
        solver = tau.Solver(problem.labels, device="cpu")
    value = solver.solve(verbose=False, conv_crit=criterion)
    k = np.ravel(solver.D_eff)[0]
    electrodes = "beyond" if problem.case == "contrast-100" else "outer"
    said = {"tau": float(np.ravel(value)[0]), "converged": bool(np.all(solver.converged))}
    return {"k": float(k), "electrodes": electrodes, "iterations": int(solver.iter)} | said


def porespy(problem: Problem) -> Row:
    import porespy as ps

    one_phase(problem, "one phase only")
    cubic(problem, "cubic voxels only")
    found = ps.simulations.tortuosity_fd(problem.labels.astype(bool), axis=0)
    said = {"tau": float(found.tortuosity), "converged": bool(found.converged)}
    return {"k": 1 / float(found.formation_factor), "electrodes": "centres"} | said


@functools.cache
def openimpala_session() -> Any:
    """One session per process: the library starts once only."""
    import openimpala
    from openimpala.session import _has_core

    if not _has_core():
        raise ImportError(
            "openimpala has no compiled core here: libmpi 40 or libgfortran 5 is missing"
        )
    session = openimpala.Session()
    session.__enter__()
    return session


def openimpala(problem: Problem, solver: str) -> Row:
    """Its HYPRE solver has the electrodes on centres but takes L = N h; this is undone here."""
    openimpala_session()
    import openimpala as oi

    one_phase(problem, "one phase only from Python")
    cubic(problem, "cubic voxels only")
    hypre = {"max_grid_size": "auto", "solver": solver}
    # Of an array (z, y, x) its direction z is array axis 0.
    found = oi.tortuosity(problem.labels.astype(np.int32), phase=1, direction="z", **hypre)
    edge = problem.labels.shape[0]
    k = float(problem.labels.mean()) / found.tortuosity
    centres = solver != "mlmg"
    said = {"tau": float(found.tortuosity), "iterations": int(found.iterations)}
    return {
        "k": k * (edge - 1) / edge if centres else k,
        "electrodes": "centres" if centres else "outer",
    } | said


PEERS = {
    "tim3d": Tool(lambda p: tim3d(p, 1e-3), "tim3d", "plane spread 1e-3, the default"),
    "tim3d-1e-2": Tool(lambda p: tim3d(p, 1e-2), "tim3d", "plane spread 1e-2, TauFactor's default"),
    "taufactor": Tool(lambda p: taufactor(p, 1e-2), "taufactor", "default: plane spread 1e-2"),
    "porespy": Tool(porespy, "porespy", "tortuosity_fd, default: ends within 1e-3"),
    "algebraic": Tool(
        lambda p: multigrid(p, 1e-5), "pyamg", "smoothed aggregation and CG, residual 1e-5"
    ),
    "openimpala-pcg": Tool(
        lambda p: openimpala(p, "pcg"), "openimpala", "HYPRE PCG and SMG, one rank"
    ),
    "openimpala-mlmg": Tool(
        lambda p: openimpala(p, "mlmg"), "openimpala", "MLMG, its default, one rank"
    ),
}
MORE = {"taufactor-1e-3": Tool(lambda p: taufactor(p, 1e-3), "taufactor", "plane spread 1e-3")}


def reference_tools() -> dict[str, Tool]:
    """A tool for each kind of reference and each place of the electrodes."""
    tools = {}
    for place in ELECTRODES:
        slow = functools.partial(multigrid, tolerance=1e-10, electrodes=place)
        tools[f"reference algebraic {place}"] = Tool(slow, "pyamg", "residual 1e-10")
        own = functools.partial(tim3d, tolerance=1e-8, electrodes=place)
        tools[f"reference tim3d {place}"] = Tool(own, "tim3d", "plane spread 1e-8")
    return tools


def look(_job: Job, _problem: Problem, found: Row) -> Row:
    return found


COMPARISON = Comparison("benchmarks.peers_transport", PEERS | MORE | reference_tools(), CASES, look)


def references(given: Any) -> None:
    """Make the references that the rows of these sizes and cases need and the folder has not."""
    folder = Path(given.folder)
    path = folder / "references.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for key in needed(given, peers.rows_in(folder / "transport.jsonl")):
        if key not in known:
            edge, case, place, kind = key.split()
            job = Job(
                f"reference {kind} {place}",
                case,
                int(edge),
                given.threads,
                given.folder,
                given.memory,
            )
            row = peers.row_of(COMPARISON, job, given.limit)
            if "k" in row:
                known[key] = {"k": row["k"], "spread": row["spread"]}
                path.write_text(json.dumps(known, indent=1))
            else:
                print(f"no reference {key}: {row['note']}", file=sys.stderr)


def needed(given: Any, rows: Sequence[Row]) -> list[str]:
    """Names of references: on the outer faces, and wherever a tool has its electrodes."""
    names: dict[str, None] = {}
    for row in rows:
        edge, case = row["edge"], row["case"]
        if "k" in row and edge in given.sizes and case in given.cases:
            fits = ALGEBRAIC_BYTES[case.startswith("contrast")] * edge**3 < given.memory * 2**30
            for place in ("outer", row["electrodes"]):
                for kind in ("algebraic", "tim3d") if fits else ("tim3d",):
                    names[f"{edge} {case} {place} {kind}"] = None
    return list(names)


def reference(known: dict[str, Row], edge: int, case: str, place: str) -> float | None:
    for kind in ("algebraic", "tim3d"):
        if found := known.get(f"{edge} {case} {place} {kind}"):
            return float(found["k"])
    return None


def reference_table(known: dict[str, Row]) -> str:
    """Both kinds side by side."""
    lines = [
        "| volume | case | electrodes | algebraic, 1e-10 | tim3d, 1e-8 | difference |",
        "|" + "---|" * 6,
    ]
    for name in dict.fromkeys(key.rsplit(" ", 1)[0] for key in known):
        edge, case, place = name.split()
        a, b = (known.get(f"{name} {kind}", {}).get("k") for kind in ("algebraic", "tim3d"))
        texts = [f"{v:.8g}" if v else "-" for v in (a, b)]
        apart = f"{b / a - 1:+.0e}" if a and b else "-"
        lines.append(f"| {edge}³ | {case} | {place} | {' | '.join(texts)} | {apart} |")
    return "\n".join(lines)


def line(row: Row, known: dict[str, Row], base: Row | None) -> str:
    head = f"| {row['edge']}³ | {row['case']} | {row['tool']} |"
    if "k" not in row:
        return f"{head} {row['note']} |" + " |" * 8
    own, outer = (
        reference(known, row["edge"], row["case"], p) for p in (row["electrodes"], "outer")
    )
    errors = [f"{row['k'] / value - 1:+.1e}" if value else "-" for value in (own, outer)]
    cost = f"{row['wall']:.2f} | {row['cpu']:.2f} | {row['bytes_per_voxel']:.0f}"
    ratios = [peers.ratio(row, base, key) for key in ("wall", "cpu")]
    value = f"{row['k']:.6f}" + ("" if row.get("converged", True) else ", not converged")
    return f"{head} {cost} | {value} | {row['electrodes']} | {' | '.join(errors + ratios)} |"


def table(folder: Path) -> str:
    path = folder / "references.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    rows = [r for r in peers.rows_in(folder / "transport.jsonl") if r["tool"] in PEERS | MORE]
    rows.sort(key=lambda r: (list(CASES).index(r["case"]), r["edge"]))
    base = {(r["edge"], r["case"]): r for r in rows if r["tool"] == "tim3d"}
    settings = dict.fromkeys(f"{r['tool']}: {r['settings']}" for r in rows)
    lines = [
        peers.heading("python -m benchmarks.peers_transport", rows),
        f"Settings: {'; '.join(settings)}.\n",
    ]
    lines += [f"| {COLUMNS} |", "|" + "---|" * (COLUMNS.count("|") + 1)]
    lines += [line(row, known, base.get((row["edge"], row["case"]))) for row in rows]
    return "\n".join([*lines, "", reference_table(known)])


def main(arguments: Sequence[str] | None = None) -> None:
    given = peers.options(str(__doc__), COMPARISON, list(PEERS), (128, 256, 400), 2).parse_args(
        arguments
    )
    if given.job:
        return peers.answer(COMPARISON, given)
    folder = Path(given.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    given.folder = str(folder)
    if not given.table:
        peers.run(COMPARISON, given, folder / "transport.jsonl")
        references(given)
    return print(table(folder))


if __name__ == "__main__":
    main()
