"""Counters of a worker: each number of a block's record under its own name."""

from __future__ import annotations

import pytest

from tim3d.engine.passes.metrics import STEPS, count, count_failure


def test_every_number_of_a_record_is_added_to_its_counter() -> None:
    client = pytest.importorskip(
        "prometheus_client", reason="counters need prometheus_client: pip install 'tim3d[metrics]'"
    )
    seconds = {f"{step}_seconds": 2.0**n for n, step in enumerate(STEPS)}
    record = {"voxels": 100, "read_bytes": 300, "write_bytes": 500, **seconds}
    for _ in range(2):
        count("one sweep", record)
    count("other", record)
    count_failure("one sweep")

    def value(name: str, **labels: str) -> float | None:
        return client.REGISTRY.get_sample_value(
            f"tim3d_{name}_total", {"sweep": "one sweep", **labels}
        )

    assert (value("blocks"), value("voxels"), value("block_failures")) == (2, 200, 1)
    assert [value("bytes", way=way) for way in ("read", "write")] == [600, 1000]
    for step in STEPS:
        assert value("block_seconds", step=step) == 2 * seconds[f"{step}_seconds"]
