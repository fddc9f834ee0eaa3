"""Laws of the plans of every verb that goes through blocks: memory grows with each edge of a block."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.property.test_every_result import EVERY, PHASES, QUIET, World, verb_of
from tests.turns import Change
from tim3d import engine

pytestmark = pytest.mark.long
# Of so many threads the blocks are nearly all that is planned, and what the process has now hardly counts.
THREADS = 4096
EDGES = (48, 48, 48)
# The others take whole slices, windows, or the blocks of an earlier verb, or share the volume by themselves.
BY_BLOCKS = sorted(set(EVERY) - {"prepare", "solve", "study", "describe"})


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A sample of six shards along each axis, with the fields that verbs are planned on."""
    folder = tmp_path_factory.mktemp("plan")
    path = str(folder / "a.zarr")
    labels = np.random.default_rng(0).integers(0, 2, EDGES, np.uint8)
    for name in ("phase", "truth", "raw"):
        np.save(folder / f"{name}.npy", labels)
        tim3d.ingest(
            folder / f"{name}.npy",
            path,
            voxel_size={"z": 10.0, "y": 8.0, "x": 5.0},
            field=name,
            phases=None if name == "raw" else PHASES,
            shard=(8, 8, 8),
            options=QUIET,
        )
    world = World(path, Change())
    for name in ("distance", "skeleton", "watershed", "label"):
        verb_of(name)(path, **EVERY[name](world), options=replace(QUIET, block=EDGES))
    return world


def planned(world: World, name: str, block: tuple[int, int, int]) -> dict[str, Any]:
    """Plans of the passes, by their names without the edges of the block."""
    options = replace(QUIET, block=block, overwrite=True)
    with engine.prospective("local", workers=1, threads=THREADS, memory_bytes=2**40):
        plans = verb_of(name).plan(world.sample, **EVERY[name](world), options=options)
    return {re.sub(r"\d+x\d+x\d+", "", one.name): one for one in plans if hasattr(one, "blocks")}


def held(plan: Any) -> tuple[float, float]:
    """Bytes that a thread is planned to need for a block but for what the process has, and those read and written."""
    return plan.peak_bytes / THREADS, (plan.read_bytes + plan.write_bytes) / plan.blocks


@pytest.mark.parametrize("name", BY_BLOCKS)
def test_memory_grows_with_every_edge_of_a_block(sample: World, name: str) -> None:
    """By what is read and written at least: else a longer block would not be refused where it does not fit."""
    small = planned(sample, name, (8, 8, 8))
    assert small
    for block in ((16, 8, 8), (8, 16, 8), (8, 8, 16)):
        for key, plan in planned(sample, name, block).items():
            if plan.block == small[key].block:  # the pass has blocks of its own
                continue
            (more, moved), (less, before) = held(plan), held(small[key])
            assert more - less > max(moved - before, 1), f"{key} in blocks of {block}"
