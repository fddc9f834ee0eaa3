"""Slurm jobs as workers: one small TOML file describes a job of the site, dask-jobqueue submits them."""

from __future__ import annotations

import contextlib
import difflib
import logging
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tim3d.engine.clusters import tls
from tim3d.engine.clusters.memory import MALLOC
from tim3d.errors import ArgumentError, DeviceError, InputError, MissingExtraError
from tim3d.storage.files import read_toml

log = logging.getLogger(__name__)
# A worker ends itself before Slurm ends its job: it finishes its block, and the next job is
# requested in time.
MARGIN_SECONDS = 300
# How often lost jobs are looked for and replaced.
INTERVAL = "2s"
# A job that is gone does not return under its name; dask would wait 15 s for it.
_LOST = {"distributed.deploy.lost-worker-timeout": "3s"}
_LISTS = ("modules", "prologue", "directives", "worker_arguments")
_NUMBERS = ("jobs", "minimum_jobs", "cores", "processes", "gpus", "start_minutes")


@dataclass(frozen=True)
class Site:
    """A job of this site, as described by the TOML file.

    Parameters
    ----------
    interface : str
        Network interface of the machine that runs tim3d on which the jobs reach it; the scheduler
        listens on no other.
    worker_interface : str, optional
        The interface of the nodes, if it has another name.
    partition, account, walltime : str
        As for sbatch; walltime as ``HH:MM:SS`` or ``D-HH:MM:SS``.
    cores, memory, gpus
        Resources of one job. With GPUs each worker process gets one of them, through dask-cuda.
    processes : int, optional
        Worker processes in a job (default: one per GPU, else one per core), with cores / processes
        threads each.
    jobs, minimum_jobs : int
        Largest number of jobs at a time, and number kept without work (default: all of them).
    modules, prologue, directives, worker_arguments : list of str
        Modules to load; lines of the job before the worker starts; extra options for sbatch, and
        for the dask worker.
    python : str, optional
        How a job starts Python (default: this interpreter), for example
        ``apptainer exec --nv tim3d.sif python``.
    logs, scratch : str
        Where the jobs write their output, and where dask may spill on a node.
    start_minutes : float
        How long to wait for the first job.
    tls : str, optional
        Folder of certificates visible to all nodes, made if it has none; traffic between the jobs
        is then encrypted.
    """

    interface: str
    worker_interface: str | None = None
    partition: str | None = None
    account: str | None = None
    walltime: str = "01:00:00"
    cores: int = 1
    memory: str = "4GiB"
    processes: int | None = None
    gpus: int = 0
    jobs: int = 1
    minimum_jobs: int | None = None
    modules: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    worker_arguments: tuple[str, ...] = ()
    python: str | None = None
    logs: str = "slurm-logs"
    scratch: str | None = None
    start_minutes: float = 60.0
    tls: str | None = None

    @property
    def workers_per_job(self) -> int:
        """Worker processes in a job."""
        return self.processes or self.gpus or self.cores

    @property
    def threads(self) -> int:
        """Threads of a worker process."""
        return self.cores // self.workers_per_job

    @property
    def lifetime(self) -> tuple[int, int]:
        """Seconds after which a worker ends, and their stagger; the sum stays below the walltime.

        >>> Site("eth0", walltime="01:00:00").lifetime, Site("eth0", walltime="4").lifetime
        ((3300, 150), (180, 30))
        """
        wall = seconds(self.walltime)
        margin = min(MARGIN_SECONDS, wall // 4)
        return wall - margin, margin // 2


def seconds(walltime: str) -> int:
    """Length in seconds of a walltime in Slurm's notation.

    >>> [seconds(t) for t in ("30", "30:10", "02:00:00", "1-00", "1-12:30")]
    [1800, 1810, 7200, 86400, 131400]
    """
    days, dash, rest = walltime.rpartition("-")
    parts = rest.split(":")
    if not all(p.isdecimal() for p in (*parts, days or "0")) or len(parts) > 3:
        raise ArgumentError(f"walltime {walltime!r} cannot be read: write HH:MM:SS or D-HH:MM:SS")
    numbers = [int(p) for p in parts]
    if dash or len(numbers) == 3:
        hours, minutes, rest_seconds = (*numbers, 0, 0)[:3]
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest_seconds
    minutes, rest_seconds = (*numbers, 0)[:2]
    return minutes * 60 + rest_seconds


def load_site(given: str | Path | None, changes: Mapping[str, Any]) -> Site:
    """Read a site from a TOML file and from keywords, which override the file.

    Raises
    ------
    InputError
        If the file is missing or is not TOML.
    ArgumentError
        If a key is unknown, a value is of the wrong type, or no interface is named.
    """
    where = "the options of cluster('slurm')" if given is None else f"site file {given}"
    content = {**({} if given is None else _toml(Path(given))), **changes}
    known = [f.name for f in fields(Site)]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ArgumentError(f"{where} has {key!r}{hint}; it may have {', '.join(known)}")
    if "interface" not in content:
        there = ", ".join(name for _, name in socket.if_nameindex())
        raise ArgumentError(
            f"{where} does not name the interface on which jobs reach this machine; write  interface = 'eth0'. "
            f"Here are: {there}"
        )
    site = Site(**{key: _value(key, value, where) for key, value in content.items()})
    _check(site, where)
    return site


def _toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path, "site file")
    except OSError as error:
        raise InputError(f"no site file at {path}. See deploy/slurm for some") from error


def _value(key: str, value: Any, where: str) -> Any:
    """Convert a value to the right type; one line may stand for a list of one."""
    if key in _LISTS:
        lines = [value] if isinstance(value, str) else value
        if isinstance(lines, list | tuple) and all(isinstance(line, str) for line in lines):
            return tuple(lines)
        raise ArgumentError(f"{where}: {key} is {value!r}; write a list of strings")
    if key in _NUMBERS:
        whole = key != "start_minutes"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ArgumentError(
                f"{where}: {key} is {value!r}; write a {'whole ' if whole else ''}number"
            )
        return value
    if not isinstance(value, str) or "\n" in value:
        raise ArgumentError(f"{where}: {key} is {value!r}; write one line of text in quotes")
    return value


def _check(site: Site, where: str) -> None:
    from dask.utils import parse_bytes

    if (
        min(site.cores, site.workers_per_job, site.jobs) < 1
        or min(site.gpus, site.start_minutes) < 0
    ):
        raise ArgumentError(
            f"{where}: cores, processes and jobs must be at least 1, gpus at least 0"
        )
    if site.cores % site.workers_per_job:
        raise ArgumentError(
            f"{where}: {site.cores} cores cannot be shared evenly by {site.workers_per_job} processes; "
            f"write  cores = {site.workers_per_job * max(1, site.cores // site.workers_per_job)}"
        )
    if site.gpus and site.workers_per_job != site.gpus:
        raise ArgumentError(
            f"{where}: with gpus there is one process for each; leave processes out"
        )
    if not 0 <= _minimum(site) <= site.jobs:
        raise ArgumentError(
            f"{where}: minimum_jobs is {site.minimum_jobs}, expected 0 to jobs, which is {site.jobs}"
        )
    if seconds(site.walltime) < 60:
        raise ArgumentError(f"{where}: walltime {site.walltime!r} is less than a minute")
    try:
        parse_bytes(site.memory)
    except ValueError as error:
        raise ArgumentError(
            f"{where}: memory {site.memory!r} cannot be read; write for example '64GiB'"
        ) from error


def _minimum(site: Site) -> int:
    return site.jobs if site.minimum_jobs is None else site.minimum_jobs


def worker_memory(site: Site) -> int:
    """Bytes of one worker process."""
    from dask.utils import parse_bytes

    return int(parse_bytes(site.memory)) // site.workers_per_job


def job_arguments(site: Site) -> dict[str, Any]:
    """Arguments for dask-jobqueue.

    The lifetime is passed by the environment, which dask-cuda's workers read too.
    """
    lifetime, stagger = site.lifetime
    # Numba and BLAS follow the threads of the job, not the cores of the node.
    lines = [f"module load {name}" for name in site.modules]
    lines += [
        f"export OMP_NUM_THREADS={site.threads}",
        *(f"export {name}={value}" for name, value in MALLOC.items()),
        f"export DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION={lifetime}s",
        f"export DASK_DISTRIBUTED__WORKER__LIFETIME__STAGGER={stagger}s",
        *site.prologue,
    ]
    cuda = {"worker_command": "dask cuda worker"} if site.gpus else {}
    gres = (
        [f"--gres=gpu:{site.gpus}"]
        if site.gpus and not any("gpu" in d for d in site.directives)
        else []
    )
    return {
        "queue": site.partition,
        "account": site.account,
        "walltime": site.walltime,
        "cores": site.cores,
        "processes": site.workers_per_job,
        "memory": site.memory,
        "interface": site.worker_interface or site.interface,
        "job_name": "tim3d",
        "job_extra_directives": [*gres, *site.directives],
        "job_script_prologue": lines,
        "worker_extra_args": list(site.worker_arguments),
        "python": site.python or sys.executable,
        "log_directory": site.logs,
        "local_directory": site.scratch,
        **cuda,
    }


def listening_options(site: Site) -> dict[str, Any]:
    """Make scheduler and dashboard listen on the given interface only."""
    from distributed.utils import get_ip_interface

    try:
        address = get_ip_interface(site.interface)
    except ValueError as error:
        there = ", ".join(name for _, name in socket.if_nameindex())
        raise ArgumentError(
            f"this machine has no network interface {site.interface!r}; it has {there}"
        ) from error
    return {"interface": site.interface, "dashboard_address": f"{address}:0"}


@contextlib.contextmanager
def slurm_jobs(site: Site) -> Iterator[Any]:
    """Start a dask scheduler with Slurm jobs as workers, and give its client.

    Lost jobs are replaced.

    Raises
    ------
    MissingExtraError
        If dask-jobqueue is not installed.
    DeviceError
        If jobs cannot be submitted, or none starts in time.
    """
    jobs = job_cluster()
    import dask
    from distributed import Client

    if shutil.which("sbatch") is None:
        raise DeviceError(
            "no command sbatch here: start tim3d on a login node or in a job of the Slurm cluster"
        )
    listening = listening_options(site)
    security = None if site.tls is None else tls.own_or_new(site.tls)
    with (
        dask.config.set(_LOST),
        jobs(scheduler_options=listening, security=security, **job_arguments(site)) as made,
        Client(made) as client,
    ):
        _try_out(made.job_script(), site)
        made.adapt(minimum_jobs=_minimum(site), maximum_jobs=site.jobs, interval=INTERVAL)
        if _minimum(site) > 0:
            _await_first(client, site)
        yield client


def job_cluster() -> Any:
    """Class of dask-jobqueue's clusters; Ctrl-C stays what it was.

    The import alone makes Ctrl-C end the program with exit code 0.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise MissingExtraError(
            "cluster 'slurm' needs dask-jobqueue. Type: pip install 'tim3d[hpc]'"
        ) from error
    finally:
        if signal.getsignal(signal.SIGINT) is not interrupt:
            signal.signal(signal.SIGINT, interrupt)
    return SLURMCluster


def _try_out(script: str, site: Site) -> None:
    """Check that Slurm would accept the job: dask would keep submitting it in vain."""
    done = subprocess.run(
        ["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reply = "; ".join(done.stderr.strip().splitlines()) or f"exit code {done.returncode}"
        asked = f"partition {site.partition}, account {site.account}, {site.cores} cores"
        asked += f", {site.memory}, {site.gpus} GPUs"
        raise DeviceError(
            f"Slurm does not accept a job with {asked}, {site.walltime}: {reply}. Change the site file"
        )


def _await_first(client: Any, site: Site) -> None:
    log.info("%d job(s) requested; waiting for the first ...", site.jobs)
    try:
        client.wait_for_workers(1, timeout=site.start_minutes * 60)
    except TimeoutError as error:
        raise DeviceError(
            f"no job started within {site.start_minutes:g} min. Look at: squeue --me, and at the output of the jobs in "
            f"{site.logs}; a partition, account or interface may be wrong"
        ) from error
