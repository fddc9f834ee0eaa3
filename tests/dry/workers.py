"""Workers of GPUs that are not there: what dask-cuda does when the driver's library says so many.

    python -m tests.dry.workers local FOLDER [WORKERS]       # --cluster cuda
    python -m tests.dry.workers job FOLDER GPUS              # the start line of a Slurm job, run on this machine
    python -m tests.dry.workers plan SAMPLE NETWORK          # what tim3d segment --plan says

Runs in a process that was started under `stand_in` of test_clusters.py. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.job_model import WaitWork
from benchmarks.scale import empty_pass
from tim3d.engine import cluster, run
from tim3d.engine.clusters import slurm
from tim3d.engine.clusters.slurm import Site

# Blocks of a pass, and how long it lasts at least in seconds: utilisation is read every two.
BLOCKS, LASTING = 64, 8.0


def seen_by_a_worker(dask_worker: Any) -> dict[str, Any]:
    """On a worker: its devices, its CPUs and what it tells the scheduler."""
    from distributed.diagnostics import nvml

    return {
        "name": str(dask_worker.name),
        "visible": os.environ["CUDA_VISIBLE_DEVICES"],
        "cpus": sorted(os.sched_getaffinity(0)),
        "threads": dask_worker.state.nthreads,
        "busy": dask_worker.monitor.recent().get("gpu_utilization"),
        "used": nvml.real_time()["memory-used"],
        "address": dask_worker.address,
        "ucx": {name: value for name, value in os.environ.items() if name.startswith("UCX")},
    }


def of_all(client: Any) -> list[dict[str, Any]]:
    """What every worker sees, by name."""
    return sorted(client.run(seen_by_a_worker).values(), key=lambda one: one["name"])


def local(folder: Path, workers: int | None) -> dict[str, Any]:
    """Workers of `--cluster cuda`, and the share that a pass of blocks on them calls busy."""
    with cluster("cuda", workers=workers) as on:
        found = of_all(on.client)
        each = LASTING * on.workers * on.threads / BLOCKS
        blocks = replace(empty_pass(folder, BLOCKS), work=WaitWork((0.0, each, 0.0)))
        summary = run(blocks, progress=False)
        return {
            "workers": found,
            "cluster": [on.workers, on.threads, on.memory_bytes],
            "busy": summary.gpu_busy_share,
            "computed": summary.computed,
            "said": str(summary),
        }


def job(folder: Path, gpus: int) -> dict[str, Any]:
    """Workers that the last line of a job's script starts here, for a scheduler that is here."""
    from distributed import Client, LocalCluster

    site = Site("lo", cores=3 * gpus, memory=f"{gpus}GiB", gpus=gpus, scratch=str(folder))
    arguments = slurm.job_arguments(replace(site, logs=str(folder / "logs")))
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as made:
        described = slurm.job_cluster().job_cls(made.scheduler_address, name="job", **arguments)
        script = described.job_script().splitlines()
        environment = dict(line[7:].split("=", 1) for line in script if line.startswith("export "))
        started = subprocess.Popen(
            shlex.split(script[-1]), env=os.environ | environment, stderr=subprocess.DEVNULL
        )
        try:
            with Client(made) as client:
                client.wait_for_workers(gpus, timeout=120)
                return {"workers": of_all(client), "line": script[-1]}
        finally:
            started.terminate()
            started.wait(60)


def planned(sample: Path, network: Path) -> dict[str, Any]:
    """Lines of the plan of a segmentation on devices that torch takes to be there."""
    import tim3d
    from tests.dry_cuda import dry_cuda

    with dry_cuda(8):
        plans = tim3d.segment.plan(str(sample), model=network, device="cuda")
    return {"lines": [str(one) for one in plans]}


if __name__ == "__main__":
    given = sys.argv[3:]
    where = Path(sys.argv[2])
    if sys.argv[1] == "local":
        found = local(where, int(given[0]) if given else None)
    elif sys.argv[1] == "job":
        found = job(where, int(given[0]))
    else:
        found = planned(where, Path(given[0]))
    print("seen", json.dumps(found))
