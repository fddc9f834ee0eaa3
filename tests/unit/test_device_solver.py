"""The flux solver on a device of torch agrees with that on threads to rounding, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.integration.test_solve import ingested, solve, volume  # noqa: E402
from tim3d.kernels.conduction.conduction import Conduction, Physics, conduct_slab  # noqa: E402
from tim3d.kernels.conduction.ghost_layers import Alone, Halo  # noqa: E402
from tim3d.kernels.conduction.thread_pool import Team  # noqa: E402
from tim3d.models.conduction.device import Device  # noqa: E402


def solved(labels: np.ndarray, physics: Physics, team: Any, spacing: Any) -> Conduction:
    def read(start: int, stop: int, out: np.ndarray) -> None:
        out[...] = labels[start:stop]

    halo = Halo(Alone(), physics.wrap(labels.shape))
    return conduct_slab(
        read, labels.shape, physics.drive(0, spacing), halo, team,
        tolerance=1e-6, keep_potential=True, keep_flux=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "border", [{}, {"electrodes": "centres"}, {"sides": "periodic"}, {"cell": True}]
)
@pytest.mark.parametrize("k", [0.0, 0.01])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 2.0)])
def test_it_takes_the_same_steps(border: dict[str, Any], k: float, spacing: Any) -> None:
    labels = (np.random.default_rng(0).random((24, 21, 22)) < 0.7).astype(np.uint8)
    physics = Physics({0: k, 1: 1.0}, **border)
    on_threads, on_device = (
        solved(labels, physics, team, spacing) for team in (Team(1), Device("cpu"))
    )
    assert on_device.iterations == on_threads.iterations
    assert on_device.conductivity == pytest.approx(on_threads.conductivity, rel=1e-9)
    np.testing.assert_allclose(on_device.flux, on_threads.flux, rtol=1e-6)
    np.testing.assert_allclose(on_device.potential, on_threads.potential, atol=1e-5)
    np.testing.assert_allclose(on_device.size, on_threads.size, atol=1e-4)


def test_the_verb_takes_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tim3d.stages.conduction.slab_solver.Case.team", lambda case, seat: Device("cpu")
    )
    sample = ingested(tmp_path, volume())
    on_device = solve(sample, out="device", keep_potential=True, checkpoint=0.0).load()
    monkeypatch.undo()
    on_threads = solve(sample, out="threads", keep_potential=True).load()
    np.testing.assert_allclose(
        on_device.effective_conductivity, on_threads.effective_conductivity, rtol=1e-9
    )
