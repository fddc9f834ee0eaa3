"""The model of where a GPU's time goes: what it counts, what it was fitted to, and what may not be exceeded."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from benchmarks import gpu_model
from benchmarks.gpu_model import A100, GPU_VOXELS, H100, Node, pace


def test_a_convolution_counts_its_products_and_what_it_reads_and_writes() -> None:
    with torch.device("meta"):
        layer = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    (found,) = gpu_model.operations(layer, (2, 3, 16, 20))
    pixels = 2 * 16 * 20
    assert found.flop == 2 * 3 * 8 * 9 * pixels
    assert found.bytes == 2 * (3 * pixels + 3 * 8 * 9 + 8 * pixels)
    assert found.seconds(A100, 0.5) == gpu_model.LAUNCH_SECONDS
    large = gpu_model.Operation(flop=1e15, bytes=1.0)
    assert large.seconds(A100, 0.5) == pytest.approx(1e15 / 156e12)


def test_the_published_time_is_met_by_the_share_that_was_fitted_to_it() -> None:
    with torch.device("meta"):
        found = gpu_model.operations(gpu_model.Published().eval(), (128, 4, 192, 160))
    spent = sum(one.seconds(A100, gpu_model.share_of_peak()) for one in found)
    assert 128 * 192 * 160 / spent == pytest.approx(GPU_VOXELS, rel=2e-3)
    assert 0.05 < gpu_model.share_of_peak() < 1


def test_no_node_is_faster_than_what_it_has() -> None:
    for device, gpu, store, mode in itertools.product(
        (1e-9, 3e-9, 1e-7), (H100, A100), gpu_model.STORES, gpu_model.HOST
    ):
        one = Node(gpu, store, threads=8)
        found = [pace(device, Node(gpu, store, n, 16 * n, 8), mode) for n in (1, 2, 4, 8)]
        voxels = [each.voxels for each in found]
        assert voxels == sorted(voxels)
        assert voxels[-1] <= 8 * voxels[0] * (1 + 1e-9)
        assert all(0 < each.busy <= 1 for each in found)
        assert all(each.voxels == min(each.needs.values()) for each in found)
        assert (
            pace(device, one, mode).voxels >= pace(device, Node(gpu, store, threads=3), mode).voxels
        )


def test_the_tables_have_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_model.main(["table"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| default") for line in lines) == 8
    gpu_model.main(["scaling"])
    assert capsys.readouterr().out.count("| disk |") == 8
