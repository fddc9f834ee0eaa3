"""The cluster that a plan is made for, described without being started where its size is known."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tim3d.engine.clusters.cluster import Cluster, cluster, using
from tim3d.engine.clusters.memory import available_memory


@contextlib.contextmanager
def prospective(
    kind: str = "serial",
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory_bytes: int | None = None,
    site: str | Path | None = None,
    **options: Any,
) -> Iterator[Cluster]:
    """Describe a cluster for a plan without starting its workers; arguments as for `tim3d.cluster`.

    A cluster of GPUs is started, and a scheduler at an address is asked: their sizes are not known
    otherwise.

    Raises
    ------
    ArgumentError, DeviceError, InputError
        As `tim3d.cluster`.

    Examples
    --------
    >>> with prospective("local", workers=3, memory_bytes=2**30) as c:
    ...     c.workers, c.client is None
    (3, True)
    """
    if kind == "local" and site is None and not set(options) - {"tls"}:
        count = workers or os.cpu_count() or 1
        with using(
            Cluster("local", None, count, threads or 1, memory_bytes or available_memory() // count)
        ) as made:
            yield made
    elif kind == "slurm" and not (threads or memory_bytes):
        with using(_of_site(workers, site, options)) as made:
            yield made
    else:
        with cluster(
            kind, workers=workers, threads=threads, memory_bytes=memory_bytes, site=site, **options
        ) as started:
            yield started


def _of_site(jobs: int | None, file: str | Path | None, options: dict[str, Any]) -> Cluster:
    from tim3d.engine.clusters.slurm import load_site, worker_memory

    given = {key: value for key, value in {"jobs": jobs, **options}.items() if value is not None}
    site = load_site(file, given)
    return Cluster(
        "slurm", None, site.jobs * site.workers_per_job, site.threads, worker_memory(site)
    )
