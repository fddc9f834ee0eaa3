"""One run of many tools on the same volumes, each in a process of its own; the parts that the comparisons share.

A process loads the volume, solves a tiny one so that code is compiled and libraries are started,
and only then is measured: wall seconds, CPU seconds of all threads (user and system), and the peak
of the resident memory above what was held before. A tool that is not installed, cannot do a case,
runs out of time or memory, or dies, leaves a row that says so. Rows are added to a file of JSON
lines, so that a long run may be cut into pieces and tabulated later.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.descriptors import blobs

Row = dict[str, Any]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOT = Path(__file__).resolve().parent.parent


class UnableError(Exception):
    """A tool cannot do a case; the text says why."""


@dataclass(frozen=True)
class Problem:
    """What a tool is given: labels (1 is pore), edges of a voxel, the case by name, threads."""

    labels: NDArray[np.uint8]
    case: str
    spacing: tuple[float, float, float]
    threads: int


@dataclass(frozen=True)
class Tool:
    """`solve` imports its package and returns what it found; distribution whose version is told; settings in words."""

    solve: Callable[[Problem], Any]
    package: str
    settings: str


@dataclass(frozen=True)
class Job:
    tool: str
    case: str
    edge: int
    threads: int
    folder: str
    memory: float


@dataclass(frozen=True)
class Comparison:
    """Tools by name, spacing of each case, and `look(job, problem, found)`: numbers of a row, after the clock stops."""

    module: str
    tools: Mapping[str, Tool]
    cases: Mapping[str, tuple[float, float, float]]
    look: Callable[[Job, Problem, Any], Row]


def volume(folder: Path, edge: int) -> NDArray[np.uint8]:
    """Smoothed noise, 42 % pore, made once."""
    path = folder / f"blobs_{edge}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, blobs(edge))
        part.replace(path)
    found: NDArray[np.uint8] = np.load(path)
    return found


def tiny() -> NDArray[np.uint8]:
    """To warm a tool up: mostly open, so that every tool finds a path."""
    labels = np.ones((16, 16, 16), np.uint8)
    labels[4:9, 4:9, 4:9] = 0
    return labels


def status(key: str) -> int:
    """Bytes of VmRSS or VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measured(work: Callable[[], Any]) -> tuple[Any, Row]:
    """What `work` returns and what it cost; the peak is that of resident memory above the start."""
    Path("/proc/self/clear_refs").write_text("5")
    before, cpu, wall = status("VmRSS"), cpu_seconds(), time.perf_counter()
    found = work()
    cost = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}
    return found, cost | {"bytes": status("VmHWM") - before}


def version(package: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def work(comparison: Comparison, job: Job) -> Row:
    """Inside the child: warm up, measure, look."""
    limit = int(job.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    tool, spacing = comparison.tools[job.tool], comparison.cases[job.case]
    try:
        tool.solve(Problem(tiny(), job.case, spacing, job.threads))
        problem = Problem(volume(Path(job.folder), job.edge), job.case, spacing, job.threads)
        found, cost = measured(lambda: tool.solve(problem))
        cost["bytes_per_voxel"] = cost["bytes"] / problem.labels.size
        return cost | comparison.look(job, problem, found)
    except UnableError as error:
        return {"note": str(error)}
    except ImportError as error:
        return {"note": f"not installed: {error}"}
    except MemoryError:
        return {"note": f"over {job.memory:g} GiB"}
    except Exception as error:  # a peer may raise anything, and the row has to tell it
        return {"note": f"{type(error).__name__}: {reason(str(error))}"}


def row_of(comparison: Comparison, job: Job, limit: float) -> Row:
    """Run a job in a fresh process and describe it, whatever becomes of it."""
    tool = comparison.tools[job.tool]
    head = asdict(job) | {
        "version": version(tool.package),
        "package": tool.package,
        "settings": tool.settings,
    }
    head["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    environment = os.environ | dict.fromkeys(THREADS, str(job.threads)) | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        command = [
            sys.executable,
            "-m",
            comparison.module,
            "--job",
            json.dumps(asdict(job)),
            "--answer",
            str(answer),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=environment,
                timeout=limit,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return head | {"note": f"stopped after {limit:g} s"}
        if answer.exists():
            return head | dict(json.loads(answer.read_text()))
    return head | {
        "note": f"the process died with code {done.returncode}: {reason(done.stderr or done.stdout)}"
    }


def reason(text: str) -> str:
    """The first line that speaks of an abort or an error, or the last of all."""
    lines = [line.strip() for line in text.splitlines() if any(c.isalnum() for c in line)]
    loud = [line for line in lines if "abort" in line.lower() or "error" in line.lower()]
    return [*loud[:1], *lines[-1:], "it said nothing"][0][:160].replace("|", "/")


def rows_in(path: Path) -> list[Row]:
    """The newest row of each tool, case and edge, in the order of the file."""
    found: dict[tuple[Any, ...], Row] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        found[row["edge"], row["case"], row["tool"]] = row
    return list(found.values())


def ratio(row: Row, base: Row | None, key: str) -> str:
    return f"{row[key] / base[key]:.2f}" if base and base.get(key) and key in row else "-"


def heading(command: str, rows: Sequence[Row]) -> str:
    """Date, machine, command and versions, as RESULTS.md wants them."""
    days = sorted({row["date"][:10] for row in rows})
    when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "no runs"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = sorted({f"{r['package']} {r['version']}" for r in rows if r["version"]})
    threads = ", ".join(map(str, sorted({row["threads"] for row in rows})))
    return (
        f"{when}, {os.cpu_count()} CPU cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {threads} thread(s).\n"
        f"Command: `{command}`. Versions: {', '.join(versions)}.\n"
    )


def options(
    text: str, comparison: Comparison, tools: Sequence[str], sizes: Sequence[int], threads: int
) -> Any:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(sizes))
    parser.add_argument(
        "--cases", nargs="+", choices=list(comparison.cases), default=list(comparison.cases)
    )
    parser.add_argument("--tools", nargs="+", choices=list(comparison.tools), default=list(tools))
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--limit", type=float, default=900, help="seconds that a process may take")
    parser.add_argument("--memory", type=float, default=16, help="GiB that a process may hold")
    parser.add_argument("--folder", default="peers", help="for volumes, references and rows")
    parser.add_argument("--table", action="store_true", help="only tabulate the rows of the folder")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    return parser


def answer(comparison: Comparison, given: Any) -> None:
    """The child's part."""
    row = work(comparison, Job(**json.loads(given.job)))
    Path(given.answer).write_text(json.dumps(row))


def run(comparison: Comparison, given: Any, path: Path) -> None:
    """Every tool on every case and size; each row is on disk before the next begins."""
    folder = Path(given.folder).resolve()
    for edge in given.sizes:
        volume(folder, edge)
        for case in given.cases:
            for tool in given.tools:
                job = Job(tool, case, edge, given.threads, str(folder), given.memory)
                row = row_of(comparison, job, given.limit)
                with path.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(
                    f"{edge}³ {case} {tool}: {row.get('note') or format(row['wall'], '.2f') + ' s'}",
                    file=sys.stderr,
                )
