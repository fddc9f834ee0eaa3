"""Windows that a network gets at a time: one on a CPU, on a GPU as many as its free memory holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.dry.paths import small_checkpoint
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import crop_lattice, slice_lattice
from tim3d.models.common import gpu_memory
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.batch import MOST_VOXELS, SHARE, room_for
from tim3d.models.segmentation.by_network import network_segmenter
from tim3d.models.segmentation.inference import segment_core
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.predictor import Predictor

SHAPE: Triple = (7, 32, 40)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return small_checkpoint(tmp_path_factory.mktemp("n") / "n.safetensors", ("pore", "solid"))


def made(net: Path, device: str, **how: Any) -> Any:
    called = Predictor(str(net), checkpoint.digest(net), device=device, batch=how.get("batch") or 1)
    return network_segmenter(SHAPE, checkpoint.describe(net).spec, called, Inference(**how))


@given(st.integers(1, 2**38), st.integers(1, 2**34), st.integers(1, 300), st.integers(8, 4096))
def test_a_batch_is_the_largest_power_of_two_within_its_limits(
    free: int, window_bytes: int, slices: int, edge: int
) -> None:
    lattices = [slice_lattice((slices, edge, edge), 8), slice_lattice((slices + 3, edge, 8), 8)]
    batch = room_for(free, window_bytes, lattices).batch
    voxels = max(math.prod(one.input_shape) for one in lattices)

    def fits(count: int) -> bool:
        return (
            count * window_bytes <= SHARE * free
            and count * voxels <= MOST_VOXELS
            and count <= slices
        )

    assert batch.bit_count() == 1
    assert batch == 1 or fits(batch)
    assert not fits(2 * batch)


@pytest.mark.parametrize("planes", [("z",), ("z", "x")])
def test_on_a_cpu_it_is_one_window_whatever_a_gpu_has(
    net: Path, monkeypatch: pytest.MonkeyPatch, planes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gpu_memory, "free_bytes", lambda device: 2**36)
    plain, one = made(net, "cpu", planes=planes), made(net, "cpu", planes=planes, batch=1)
    assert plain == one
    assert plain.description() == one.description()
    assert plain.note == ""


@pytest.mark.parametrize("planes", [("z",), ("z", "x")])
def test_on_a_gpu_the_record_does_not_depend_on_its_memory(
    net: Path, monkeypatch: pytest.MonkeyPatch, planes: tuple[str, ...]
) -> None:
    found = []
    for free in (2**20, 2**36):
        monkeypatch.setattr(gpu_memory, "free_bytes", lambda device, free=free: free)
        found.append(made(net, "cuda", planes=planes))
    assert [one.predictor.batch for one in found] == [1, 4]
    assert found[0].description() == found[1].description()
    assert [one.note.partition(" ")[0] for one in found] == ["1", "4"]
    # A number that is given is recorded, and one that no memory is known for is one window.
    assert made(net, "cuda", batch=3).description()["batch"] == 3
    monkeypatch.setattr(gpu_memory, "free_bytes", lambda device: None)
    assert (made(net, "cuda").predictor.batch, made(net, "cuda").note) == (1, "")


def test_labels_are_those_of_single_windows(net: Path) -> None:
    """On a CPU in fp32: a larger batch may change last bits of probabilities, which no label shows."""
    grey = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    lattice, whole = crop_lattice(SHAPE, (1, 16, 16), (0, 4, 4)), Box.whole(SHAPE)
    found = [
        segment_core(
            made(net, "cpu", batch=batch).predictor, lattice, whole, grey[lattice.read_box(whole).slices],
            lattice.read_box(whole), ("labels", "shares"),
        )
        for batch in (1, 2, 8)
    ]  # fmt: skip
    for one in found[1:]:
        np.testing.assert_array_equal(one["labels"], found[0]["labels"])
        np.testing.assert_allclose(one["shares"], found[0]["shares"], atol=1e-5)


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert gpu_memory.free_bytes("cuda") is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    assert gpu_memory.free_bytes("cuda:1") == 5


@pytest.mark.parametrize(
    ("text", "names"), [("", []), ("0, 2", ["0", "2"]), ("GPU-a,", ["GPU-a"]), (None, None)]
)
def test_visible_devices(
    monkeypatch: pytest.MonkeyPatch, text: str | None, names: list[str] | None
) -> None:
    if text is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert gpu_memory.visible_devices() == names
