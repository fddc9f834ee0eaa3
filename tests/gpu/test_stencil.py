"""The flux solver's kernels on a CUDA device against those of numba, their memory and a replayed cycle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.stencils import KERNELS, SHIFTS, Volume, both, conduction, w_cycle
from tim3d.kernels.conduction.thread_pool import Team
from tim3d.models.conduction import stencil
from tim3d.models.conduction.device import Device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]

LARGE = (96, 101, 118)
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-11, np.dtype(np.uint8): 0}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("shape", [(9, 7, 8), LARGE])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_agree_with_numba_to_rounding(name, shape, fused):
    if fused:
        pytest.importorskip("triton")
    for shifts in SHIFTS[:3]:
        volume = Volume(shape, shifts, 4)
        planes = range(1, volume.call(name)[0] + 1)
        for theirs, mine in zip(
            *both(volume, name, planes, Device("cuda", fused=fused)), strict=True
        ):
            most = TOLERANCE[theirs.dtype] * max(1.0, float(np.abs(theirs).max()))
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=most)


def test_a_cycle_agrees_with_numba_and_with_itself():
    problem, steps = conduction((64, 65, 70), 2), [(1, 1, 1)] * 4
    with Team() as team:
        expected = w_cycle(team, *problem, steps)
    once, again = (w_cycle(Device("cuda"), *problem, steps) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", KERNELS)
def test_memory_stays_within_what_is_promised(name, monkeypatch):
    monkeypatch.setattr(stencil, "SCRATCH", 2**22)
    volume, device = Volume(LARGE, (1, 1, 1), 4), Device("cuda")
    count, arguments = volume.call(name)
    mine = [device.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    device.run(getattr(stencil, name), range(1, count + 1), 0, *mine)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    device.run(getattr(stencil, name), range(1, count + 1), 0, *mine)
    assert torch.cuda.max_memory_allocated() - before <= stencil.scratch_bytes(LARGE)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_never_wait_for_the_device(name):
    volume, device = Volume((9, 7, 8), (1, 1, 1), 4), Device("cuda")
    count, arguments = volume.call(name)
    mine = [device.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    torch.cuda.set_sync_debug_mode("error")
    try:
        device.run(getattr(stencil, name), range(1, count + 1), 0, *mine)
    finally:
        torch.cuda.set_sync_debug_mode("default")
