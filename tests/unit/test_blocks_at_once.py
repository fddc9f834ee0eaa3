"""How many blocks of a process compute at a time: one, or two where a device does the work."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import pytest

from benchmarks.scale import NoWork, empty_pass
from tim3d.engine.passes.run import process_block
from tim3d.grid import Block
from tim3d.kernels.windows.lattice import slice_lattice
from tim3d.models.segmentation.network_segmenter import NetworkSegmenter
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.unet import UNetSpec

computing: list[int] = []
most: list[int] = []
lock = threading.Lock()


@dataclass(frozen=True)
class Counted(NoWork):
    """A block that notes how many others compute beside it."""

    blocks_at_once: int

    def compute(self, block: Block, inputs: None) -> None:
        with lock:
            computing.append(1)
            most.append(len(computing))
        time.sleep(0.05)
        with lock:
            computing.pop()


@pytest.mark.parametrize("count", [1, 2])
def test_so_many_blocks_compute_at_a_time(tmp_path: Path, count: int) -> None:
    most.clear()
    sweep = replace(empty_pass(tmp_path, 8), work=Counted(count))
    pickled = cloudpickle.dumps(sweep)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda block: process_block(pickled, block.index), sweep.grid))
    assert len(most) == 8
    assert max(most) == count


@pytest.mark.parametrize(("device", "count"), [("cpu", 1), ("cuda", 2), ("cuda:1", 2)])
def test_a_network_on_a_gpu_has_two(device: str, count: int) -> None:
    called = Predictor("net", "0" * 64, device=device)
    spec = UNetSpec(("pore", "solid"))
    segmenter = NetworkSegmenter(spec, called, slice_lattice((2, 16, 16), 8), 0)
    assert segmenter.blocks_at_once == count
