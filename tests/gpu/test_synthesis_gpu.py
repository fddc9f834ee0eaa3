"""Generated volumes on a CUDA device: equal to the CPU but for ties, free of chunks, within what is planned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.generators import TINY, field_of, saved
from tim3d.grid import Box, Grid
from tim3d.kernels.generation.architecture import preset, tile_nodes
from tim3d.models.generation.export import GeneratorDescription, save_generator
from tim3d.models.generation.slicegan import Generator
from tim3d.models.generation.synthesis import NetworkField, home, tile_bytes
from tim3d.phases import Phases

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]

SHAPE = (70, 85, 90)
WHOLE = Box.whole(SHAPE)
# Of all labels, at most; arithmetic of less precision flips those near a tie. Grey values may then
# differ by a few.
FLIPPED = {"float32": 1e-4, "bfloat16": 0.03, "float16": 0.01}
GREY = {"float32": 1, "bfloat16": 16, "float16": 3}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("precision", FLIPPED)
def test_a_gpu_agrees_with_the_cpu(tmp_path: Path, name: str, precision: str) -> None:
    architecture = TINY[name]
    on_cpu = field_of(saved(tmp_path, architecture), architecture, SHAPE)
    on_gpu = dataclasses.replace(on_cpu, device="cuda", precision=precision)  # type: ignore[arg-type]
    slow, fast = on_cpu.labels(WHOLE), on_gpu.labels(WHOLE)
    if architecture.output == "phases":
        assert (slow != fast).mean() <= FLIPPED[precision]
    else:
        assert np.abs(slow.astype(int) - fast).max() <= GREY[precision]


@pytest.mark.parametrize("name", TINY)
def test_chunks_of_fixed_tiles_are_the_volume_bit_for_bit(tmp_path: Path, name: str) -> None:
    architecture = TINY[name]
    field = field_of(saved(tmp_path, architecture), architecture, SHAPE)
    on_gpu = dataclasses.replace(field, device="cuda")
    whole = on_gpu.labels(WHOLE)
    for block in Grid(SHAPE, (33, 40, 47)):
        assert np.array_equal(on_gpu.labels(block.core), whole[(..., *block.core.slices)])


@pytest.mark.parametrize("edge", [128, 256])
def test_a_tile_stays_within_what_is_promised(tmp_path: Path, edge: int) -> None:
    architecture = preset("paper")
    path = tmp_path / "gen.safetensors"
    about = GeneratorDescription(architecture, (1.0, 1.0, 1.0), Phases(pore=0, solid=1))
    sha256 = save_generator(path, Generator(architecture).eval(), about)
    field = NetworkField(
        str(path), sha256, architecture, 0, tile_nodes(architecture, edge), device="cuda"
    )
    tile = Box.whole((field.edge,) * 3)
    home(field).tile(tile)
    torch.cuda.reset_peak_memory_stats()
    home(field).tile(tile)
    assert torch.cuda.max_memory_allocated() <= tile_bytes(architecture, field.nodes)
