"""Workers of a pass: this process, local workers, GPUs, Slurm jobs, or a scheduler's address."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.engine.clusters import tls as encryption
from tim3d.engine.clusters.children import refuse_unguarded, starting
from tim3d.engine.clusters.memory import MALLOC, available_memory, resident_memory
from tim3d.engine.clusters.timeouts import refuse_silence
from tim3d.errors import ArgumentError, DeviceError, Tim3dError
from tim3d.typed import Bytes, Folder

log = logging.getLogger(__name__)
KINDS = ("serial", "local", "cuda", "slurm")
ANSWER_SECONDS = 10.0  # that a scheduler has to answer
_DASK_SETTINGS = {
    # A worker that dies takes its blocks with it; preemption must not use up their attempts.
    "distributed.scheduler.allowed-failures": 10,
    # Its nanny starts it again. dask would check 15 s after each death, and close a nanny whose
    # worker is just restarting.
    "distributed.deploy.lost-worker-timeout": "10000 days",
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in MALLOC.items()},
}


@dataclass(frozen=True)
class Cluster:
    """Workers that a pass runs on.

    Attributes
    ----------
    kind : str
        ``serial``, ``local``, ``cuda``, ``slurm`` or a scheduler address.
    client : distributed.Client or None
        None for this process, one block after the other.
    memory_bytes : int
        Memory limit of one worker process.
    """

    kind: str
    client: Any
    workers: int
    threads: int
    memory_bytes: int

    @property
    def dashboard(self) -> str | None:
        """Address of dask's dashboard, if there is one."""
        return None if self.client is None else self.client.dashboard_link

    def resident_bytes(self) -> int:
        """Bytes held by the largest worker process; libraries of earlier passes stay loaded."""
        if self.client is None:
            return (
                resident_memory() if self.kind == "serial" else 0
            )  # workers that are not started hold nothing yet
        found = self.client.run(
            resident_memory, on_error="return"
        ).values()  # a worker may be lost just now
        return max((one for one in found if isinstance(one, int)), default=0)

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"{self.kind}, {self.workers} worker(s) x {self.threads} thread(s), {memory} each"


_current: ContextVar[Cluster | None] = ContextVar("tim3d_cluster", default=None)


def current_cluster() -> Cluster:
    """The cluster of the innermost ``with tim3d.cluster(...)``, else this process."""
    return _current.get() or Cluster("serial", None, 1, 1, available_memory())


@contextlib.contextmanager
def cluster(
    kind: str = "local",
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory_bytes: Bytes | None = None,
    site: str | Path | None = None,
    tls: Folder | None = None,
    **options: Any,
) -> Iterator[Cluster]:
    """Run the verbs inside the ``with`` on workers.

    Parameters
    ----------
    kind : str
        Where it runs: serial, local, cuda, slurm, or the address of a dask scheduler. ``serial`` is
        this process, ``local`` one process per core, ``cuda`` one process per GPU (through
        dask-cuda), ``slurm`` jobs of a Slurm cluster (through dask-jobqueue; lost jobs are
        replaced); an address of a running scheduler looks like ``tcp://host:8786`` or
        ``tls://host:8786``.
    workers : int, optional
        Worker processes, with slurm jobs (default: one per core or GPU).
    threads : int, optional
        Threads of a worker (default: 1; with ``cuda`` an equal share of the cores, 3 to 8). With
        ``cuda`` the blocks of some are read and written while those of others are computed.
    memory_bytes : int, optional
        Memory limit of a worker (default: an equal share of what this machine has free).
    site : path, optional
        With slurm: TOML file that describes a job (default: none). See deploy/slurm.
    tls : path, optional
        Folder of certificates, to encrypt all traffic of the cluster (default: no encryption). A
        process without a certificate is refused. Certificates are made if the folder has none,
        except for an address, where the scheduler has them.
    **options
        With ``slurm``: keys of the site file, which override the file, such as ``partition="gpu"``.

    Raises
    ------
    ArgumentError
        If the kind, an option or a key is unknown or a number is not positive; or if a script
        starts ``local`` or ``cuda`` workers outside of ``if __name__ == "__main__":``.
    DeviceError
        If no GPU is found, the address does not reply, or a worker process or every job fails to
        start.
    InputError
        If the certificates are missing, damaged or out of date.
    MissingExtraError
        If dask-jobqueue or, for certificates, cryptography is not installed.

    Examples
    --------
    >>> with cluster("serial") as c:
    ...     c.workers
    1
    """
    if min(workers or 1, threads or 1, memory_bytes or 1) < 1:
        raise ArgumentError(
            f"workers {workers}, threads {threads}, memory {memory_bytes}: all must be positive"
        )
    if kind != "slurm" and (site is not None or options):
        key = "site" if site is not None else next(iter(options))
        raise ArgumentError(
            f"{key!r} goes with cluster 'slurm', not with {kind!r}: use --cluster slurm, or leave it out"
        )
    _refuse_tls(kind, tls)
    _refuse_size(kind, workers, threads)
    start = _slurm(workers, threads, memory_bytes, site, tls, options) if kind == "slurm" else None
    with start or _start(kind, workers, threads, memory_bytes, tls) as made:
        if made.dashboard:
            log.info("cluster: %s; dashboard %s", made, made.dashboard)
        with using(made):
            yield made


@contextlib.contextmanager
def using(made: Cluster) -> Iterator[Cluster]:
    """Make a cluster the current one."""
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


def _refuse_tls(kind: str, tls: str | Path | None) -> None:
    if tls is not None and kind == "serial":
        raise ArgumentError(
            "cluster 'serial' sends nothing that certificates could protect: leave --tls out"
        )
    if tls is not None and "://" in kind and not kind.startswith("tls://"):
        raise ArgumentError(
            f"the scheduler {kind} is not encrypted: leave --tls out, or start it with certificates"
        )


def _refuse_size(kind: str, workers: int | None, threads: int | None) -> None:
    """Refuse a size that this kind of cluster does not have, instead of ignoring it."""
    if kind == "serial" and max(workers or 1, threads or 1) > 1:
        raise ArgumentError(
            "cluster 'serial' is one process with one thread: add --cluster local, or leave --workers and --threads out"
        )
    if "://" in kind and (workers or threads):
        raise ArgumentError(
            f"the scheduler {kind} has its own workers: leave --workers and --threads out"
        )


def _start(
    kind: str, workers: int | None, threads: int | None, memory: int | None, tls: str | Path | None
) -> contextlib.AbstractContextManager[Cluster]:
    if kind == "serial":
        return contextlib.nullcontext(Cluster("serial", None, 1, 1, memory or available_memory()))
    if kind == "local":
        return _local(workers or os.cpu_count() or 1, threads or 1, memory, tls)
    if kind == "cuda":
        return _cuda(workers, threads or threads_beside(workers), memory, tls)
    if "://" in kind:
        return _address(kind, tls)
    raise ArgumentError(
        f"no cluster {kind!r}: use {', '.join(KINDS)} or a scheduler address such as tcp://host:8786"
    )


def _encrypted(tls: str | Path | None) -> dict[str, Any]:
    """Security arguments for dask's clusters on this machine."""
    return {} if tls is None else {"protocol": "tls", "security": encryption.own_or_new(tls)}


@contextlib.contextmanager
def _local(
    workers: int, threads: int, memory: int | None, tls: str | Path | None
) -> Iterator[Cluster]:
    import dask
    from distributed import Client, LocalCluster

    from tim3d.engine.clusters.ending import deaf_to_interrupts, quiet_and_quick

    refuse_unguarded()
    limit = memory or available_memory() // workers
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK_SETTINGS))
        with starting("local"), deaf_to_interrupts():
            made = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                memory_limit=limit,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                **_encrypted(tls),
            )
            client = stack.enter_context(Client(stack.enter_context(made)))
        quiet_and_quick(client)
        yield Cluster("local", client, workers, threads, limit)


def threads_beside(workers: int | None) -> int:
    """Threads of a worker with a GPU: an equal share of the cores, 3 to 8.

    A block is read, computed and written by one thread. Reading and writing a voxel takes one
    thread longer than a large GPU needs to compute it, so that three threads would leave it
    waiting (docs/scale.md).
    """
    from distributed.diagnostics import nvml

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = workers or nvml.device_get_count() or 1
    return max(3, min(8, (cores or 1) // gpus))


@contextlib.contextmanager
def _cuda(
    workers: int | None, threads: int, memory: int | None, tls: str | Path | None
) -> Iterator[Cluster]:
    import dask
    from distributed import Client

    from tim3d.engine.clusters.ending import quiet_and_quick

    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise DeviceError(
            "cluster 'cuda' needs dask-cuda. Type: pip install 'tim3d[gpu]', or use --cluster local"
        ) from error
    refuse_unguarded()
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK_SETTINGS))  # read when the cluster starts
        try:
            made = LocalCUDACluster(
                n_workers=workers,
                threads_per_worker=threads,
                memory_limit=memory or "auto",
                dashboard_address="127.0.0.1:0",
                **_encrypted(tls),
            )
        except Exception as error:  # the driver's own errors share no base class
            raise DeviceError(
                f"cluster 'cuda' found no usable GPU for each worker ({error}). Give fewer --workers, or "
                "use --cluster local"
            ) from error
        client = stack.enter_context(Client(stack.enter_context(made)))
        quiet_and_quick(client)
        yield _describe("cuda", client)


@contextlib.contextmanager
def _slurm(
    jobs: int | None,
    threads: int | None,
    memory: int | None,
    file: str | Path | None,
    tls: str | Path | None,
    options: dict[str, Any],
) -> Iterator[Cluster]:
    import dask

    from tim3d.engine.clusters.slurm import load_site, slurm_jobs, worker_memory

    if threads or memory:
        raise ArgumentError(
            "with slurm, threads and memory are in the site file: cores, processes and memory of a job"
        )
    given = {"jobs": jobs, "tls": None if tls is None else str(tls)}
    site = load_site(file, {**options, **{key: value for key, value in given.items() if value}})
    with dask.config.set(_DASK_SETTINGS), slurm_jobs(site) as client:
        yield Cluster(
            "slurm", client, site.jobs * site.workers_per_job, site.threads, worker_memory(site)
        )


@contextlib.contextmanager
def _address(address: str, tls: str | Path | None) -> Iterator[Cluster]:
    """Connect to a scheduler.

    Without a folder, an encrypted one needs certificates in dask's own configuration.
    """
    from distributed import Client

    known = {} if tls is None else {"security": encryption.security(tls)}
    cure = "Start one: dask scheduler"
    if address.startswith("tls://"):
        cure = f"Give the certificates that it was started with: --tls FOLDER, now {tls or 'none'}"
    try:
        client = Client(address, timeout=ANSWER_SECONDS, **known)
    except (OSError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        # The assertion is dask's own: its thread had not started in time, on a busy machine.
        within = f"within {ANSWER_SECONDS:g} s"
        # The frames hold the client that failed. Collected later, while another one starts, it blocks it.
        reason = error.with_traceback(None)
        gc.collect()
        raise DeviceError(f"no dask scheduler answers at {address} {within}. {cure}") from reason
    with client:
        try:
            yield _describe(address, client)
        except OSError as error:  # from dask, before the first block or between two passes
            if not isinstance(error, Tim3dError):
                refuse_silence(client)
            raise


def _describe(kind: str, client: Any) -> Cluster:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        raise DeviceError(f"the scheduler {kind} has no workers. Start some: dask worker {kind}")
    memory = min(w["memory_limit"] or available_memory() for w in workers)
    return Cluster(kind, client, len(workers), max(w["nthreads"] for w in workers), int(memory))
