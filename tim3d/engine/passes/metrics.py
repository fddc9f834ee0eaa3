"""Counters of a worker process, shown by dask's ``/metrics`` if Prometheus' client is installed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

STEPS = ("read", "wait", "compute", "write")


_making = threading.Lock()


def _counters() -> dict[str, Any]:
    """Counters by name; empty without prometheus_client. Two blocks may end first at one time."""
    with _making:
        return _made()


@functools.cache
def _made() -> dict[str, Any]:
    try:
        from prometheus_client import Counter
    except ImportError:
        return {}
    return {
        "blocks": Counter("tim3d_blocks", "Blocks that were finished", ["sweep"]),
        "failures": Counter("tim3d_block_failures", "Attempts at a block that failed", ["sweep"]),
        "voxels": Counter("tim3d_voxels", "Voxels of finished blocks", ["sweep"]),
        "bytes": Counter("tim3d_bytes", "Bytes before compression", ["sweep", "way"]),
        "seconds": Counter(
            "tim3d_block_seconds", "Seconds of finished blocks by what was done", ["sweep", "step"]
        ),
    }


def count(sweep: str, record: Mapping[str, Any]) -> None:
    """Count a finished block of a pass."""
    if counters := _counters():
        counters["blocks"].labels(sweep).inc()
        counters["voxels"].labels(sweep).inc(record["voxels"])
        for way in ("read", "write"):
            counters["bytes"].labels(sweep, way).inc(record[f"{way}_bytes"])
        for step in STEPS:
            counters["seconds"].labels(sweep, step).inc(record[f"{step}_seconds"])


def count_failure(sweep: str) -> None:
    """Count an attempt that failed."""
    if counters := _counters():
        counters["failures"].labels(sweep).inc()
