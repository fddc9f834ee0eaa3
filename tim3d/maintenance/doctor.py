"""Check of this machine's fitness for tim3d: per item one line, ok, warn or fail, and the cure."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tim3d.engine import cluster
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import Tim3dError
from tim3d.maintenance.finding import Finding
from tim3d.maintenance.storage_check import place
from tim3d.version import __version__

PYTHON = (3, 11)
ENOUGH_MEMORY = 4 * 2**30
# The two are built together: a mismatch shows when an operator of torchvision is called, and can
# end the process.
PAIR = """
import torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
print(torch.cuda.is_available())
"""


# The versions of constraints-cpu.txt, where a torch for the CPU beside the torchvision of an index
# is what is tested.
TESTED_PAIR = {"torch": "2.13.0", "torchvision": "0.28.0"}


def doctor(
    folder: str | None = None, address: str | None = None, tls: str | None = None
) -> Iterator[Finding]:
    """Check everything that tim3d needs, one item after the other.

    Parameters
    ----------
    folder : str, optional
        Where samples will lie: its free space and its speed are measured (256 MiB are written,
        flushed and read). For a URL: whether the store replies, its speed (64 MiB), the latency of
        a small object, and whether its locks hold.
    address : str, optional
        Address of a dask scheduler that should reply, such as ``tcp://host:8786``.
    tls : str, optional
        Folder of the scheduler's certificates, if it is encrypted.
    """
    yield _python()
    yield from _packages()
    yield Finding(
        "ok",
        "CPU",
        f"{_cores()} core(s) for this process of {os.cpu_count()}, {platform.machine()}",
    )
    yield _memory()
    yield _numba()
    yield from _devices()
    if folder is not None:
        yield from place(folder)
    if address is not None:
        yield _scheduler(address, tls)


def _python() -> Finding:
    seen = f"Python {platform.python_version()}, tim3d {__version__}, {platform.system()} {platform.release()}"
    if sys.version_info < PYTHON:
        return Finding(
            "fail", "python", seen, f"Install Python {'.'.join(map(str, PYTHON))} or newer"
        )
    return Finding("ok", "python", seen)


def _packages() -> Iterator[Finding]:
    """Compare the packages that tim3d requires with those that are installed."""
    for line in importlib.metadata.requires("tim3d") or []:
        if "extra ==" not in line:
            yield package_finding(line)


def package_finding(requirement: str) -> Finding:
    """Whether a package is installed in the version that is required, such as ``numpy>=2.0``."""
    name, least = _parsed(requirement)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("fail", name, "is not installed", f"Type: pip install '{name}>={least}'")
    if _numbers(version) < _numbers(least):
        return Finding(
            "fail",
            name,
            f"{version}, at least {least} is needed",
            f"Type: pip install '{name}>={least}'",
        )
    return Finding("ok", name, version)


def _parsed(requirement: str) -> tuple[str, str]:
    """Name and minimum version of a requirement.

    >>> _parsed("dask[diagnostics,distributed]>=2026.6.0"), _parsed("numpy")
    (('dask', '2026.6.0'), ('numpy', '0'))
    """
    name = re.split(r"[\s\[<>=!~;(]", requirement, maxsplit=1)[0]
    least = re.search(r">=\s*([0-9][0-9.]*)", requirement)
    return name, least.group(1) if least else "0"


def _numbers(version: str) -> tuple[int, ...]:
    """
    >>> _numbers("2026.10.1+cpu") > _numbers("2026.9")
    True
    """
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> Finding:
    """Check the free memory of the machine, or of its container if that has a limit."""
    limit = Path("/sys/fs/cgroup/memory.max")
    held = limit.read_text().strip() if limit.exists() else "max"
    bound = (
        "no container limit" if held == "max" else f"container limit {int(held) / 2**30:.1f} GiB"
    )
    free = available_memory()
    seen = f"{free / 2**30:.1f} GiB free, {bound}"
    if free < ENOUGH_MEMORY:
        return Finding(
            "warn",
            "memory",
            seen,
            "Use fewer --workers or a smaller --block; --plan shows what is needed",
        )
    return Finding("ok", "memory", seen)


def _numba() -> Finding:
    """Check that kernels compile and run."""
    try:
        import numba

        assert numba.njit(lambda a: a + 1)(1) == 2
    except Exception as error:  # a broken compiler may raise anything
        return Finding(
            "fail",
            "numba",
            f"cannot compile ({type(error).__name__}: {error})",
            "Type: pip install --force numba",
        )
    threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if threads > _cores():
        return Finding(
            "warn",
            "numba",
            f"{threads} threads on {_cores()} core(s)",
            f"Set NUMBA_NUM_THREADS={_cores()}",
        )
    return Finding("ok", "numba", f"compiles; {threads} thread(s)")


def _devices() -> Iterator[Finding]:
    """Check the libraries of networks, and the GPU as seen by the driver and by torch."""
    driver = _driver()
    yield Finding("ok", "GPU", driver or "none (the CPU does everything)")
    try:
        versions = {name: importlib.metadata.version(name) for name in TESTED_PAIR}
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "warn", "torch", "is not installed: no networks", "Type: pip install 'tim3d[seg]'"
        )
        return
    why, sees = _ran(PAIR)
    broken = _ran("import torch")[0] if why else ""
    yield pair_finding(versions, why=why, broken=broken, blind=bool(driver) and sees != "True")


def pair_finding(versions: Mapping[str, str], *, why: str, broken: str, blind: bool) -> Finding:
    """Whether torch and torchvision work together.

    Parameters
    ----------
    versions : mapping of str to str
        Installed version of each of the two.
    why : str
        Why an operator of torchvision cannot be called; empty if it can.
    broken : str
        Why torch alone cannot be loaded; empty if it can.
    blind : bool
        Whether torch sees no GPU although there is one.
    """
    seen = ", ".join(f"{name} {version}" for name, version in versions.items())
    pinned = " ".join(f"{name}=={version}" for name, version in TESTED_PAIR.items())
    cure = f"Install the tested pair: pip install {pinned}"
    if broken:
        return Finding("fail", "torch", f"{seen}: cannot be loaded ({broken})", cure)
    if why and {name: one.partition("+")[0] for name, one in versions.items()} == TESTED_PAIR:
        text = f"{seen}, the tested pair; operators that tim3d does without do not load"
        return Finding("ok", "torch", text)
    if why:
        text = f"{seen} do not work together ({why}); tim3d does without those operators"
        return Finding("warn", "torch", text, cure)
    if blind:
        cure = "Type: pip install 'tim3d[gpu]', or install a driver that fits torch"
        return Finding("warn", "torch", f"{seen}: sees no GPU, although the driver does", cure)
    return Finding("ok", "torch", f"{seen} work together")


def _ran(code: str) -> tuple[str, str]:
    """Run code in a separate process; return why it failed (empty if it did not) and its output."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False
        )
    except subprocess.TimeoutExpired:
        return "no answer in 180 s", ""
    lines = ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"]
    return (lines[-1] if ran.returncode else ""), ran.stdout.strip()


def _driver() -> str:
    """Name, memory and driver of every GPU, as reported by the driver's own tool."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        ran = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
        return "; ".join(ran.stdout.strip().splitlines()) if ran.returncode == 0 else ""
    return ""


def _scheduler(address: str, tls: str | None) -> Finding:
    """Check that a dask scheduler replies and has workers."""
    try:
        with cluster(address, tls=tls) as on:
            return Finding("ok", "cluster", f"{on}; dashboard {on.dashboard}")
    except Tim3dError as error:
        return Finding("fail", "cluster", str(error))
