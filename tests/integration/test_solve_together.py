"""The flux solver on workers: the same bits as in one process, and on from a checkpoint after any kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.integration.test_solve import SPACING, ingested, planned, solve, volume
from tim3d.engine import Cluster, Seat, run_collective
from tim3d.engine.clusters.cluster import using
from tim3d.engine.collective.launch import interface_of
from tim3d.engine.collective.sockets import SocketRing
from tim3d.errors import ConvergenceError, DeviceError
from tim3d.kernels.conduction.conduction import conduct
from tim3d.stages.conduction import solve as stage
from tim3d.storage import store

PORE = {"pore": 1.0, "copper": 0.03, "unused": 1.0}
BY_CODE = {0: 1.0, 7: 0.03}


@pytest.fixture(scope="module")
def workers() -> Iterator[Cluster]:
    with tim3d.cluster("local", workers=2, memory_bytes=2**31) as made:
        yield made


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Each test begins in this process, whatever cluster is at hand."""
    with tim3d.cluster("serial"):
        yield


def large() -> np.ndarray:
    return volume((37, 30, 29), seed=4)


def smaller() -> np.ndarray:
    return volume((25, 22, 21), seed=4)


@pytest.mark.parametrize(
    "border",
    [{}, {"faces": "centres"}, {"sides": "periodic"}, {"cell": True, "axis": ["z", "y", "x"]}],
)
@pytest.mark.long
def test_two_workers_give_the_bits_of_one_process(
    tmp_path: Path, workers: Cluster, border: dict[str, Any]
) -> None:
    sample = ingested(tmp_path, smaller())
    keep = {
        "conductivity": PORE,
        "keep_potential": True,
        "keep_flux": True,
        "richardson": True,
        **border,
    }
    whole = solve(sample, out="alone", **keep).load()
    fields = {
        name: tim3d.open_field(sample, f"alone_{name}").values for name in ("potential_z", "flux_z")
    }
    with using(workers):
        shared = solve(sample, out="shared", **keep).load()
    assert shared.equals(whole)
    for name, values in fields.items():
        np.testing.assert_array_equal(tim3d.open_field(sample, f"shared_{name}").values, values)
    assert {n for n in store.nodes(sample) if "scratch" in n} == set()
    assert tim3d.validate(sample, deep=True) == []


@pytest.mark.long
def test_what_is_kept_is_what_the_kernel_gives(tmp_path: Path) -> None:
    sample = ingested(tmp_path, large())
    found = solve(
        sample,
        conductivity=PORE,
        axis="y",
        keep_flux=True,
        interface={"pore:copper": 1e9},
        contact=[2e9, 4e9],
        out="walls",
    )
    expected = conduct(
        large(), BY_CODE, 1, spacing=SPACING, interface={(0, 7): 1.0}, contact=(2.0, 4.0), keep_flux=True
    )  # fmt: skip
    assert float(found.effective_conductivity[0]) == expected.conductivity
    np.testing.assert_array_equal(tim3d.open_field(sample, "walls_flux_y").values, expected.size)
    assert expected.local is not None
    means = expected.local.total[1:] / expected.local.voxels[1:] / expected.conductivity
    np.testing.assert_allclose(found.flux_mean.sel(axis="y", phase=["pore", "copper"]), means)
    assert np.isnan(found.flux_mean.sel(axis="y", phase="unused"))
    assert 0 < float(found.dissipation_share.sum()) < 1  # interfaces and contacts dissipate too
    assert int(found.flux_histogram.sum()) == large().size
    assert "conductivity_wiener_lower" not in found
    assert found.attrs["interface"] == {"pore:copper": 1e9}


def test_conductivities_along_three_axes(tmp_path: Path) -> None:
    sample = ingested(tmp_path, volume())
    tensor = {"copper": [1.0, 2.0, 4.0], "pore": [0.5, 0.5, 0.5], "unused": 1.0}
    found = solve(sample, conductivity=tensor, axis=["z", "y", "x"])
    for number, axis in enumerate("zyx"):
        expected = conduct(volume(), {7: (1.0, 2.0, 4.0), 0: 0.5}, number, spacing=SPACING)
        one = found.sel(axis=axis)
        assert float(one.effective_conductivity) == expected.conductivity
        assert (
            float(one.conductivity_wiener_lower)
            < expected.conductivity
            < float(one.conductivity_wiener_upper)
        )
    assert "conductivity_hashin_shtrikman_upper" not in found


@pytest.mark.long
def test_a_solution_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each step in turn; the last run does one step and ends in the same bits."""
    sample = ingested(tmp_path, large())
    arguments = {"conductivity": PORE, "tolerance": 1e-8, "checkpoint": 0.0}
    whole = solve(sample, out="whole", **arguments).load()
    steps = int(whole.iterations[0])
    assert steps > 3
    for most in range(2, steps):
        monkeypatch.setattr("tim3d.kernels.conduction.solver.MOST_ITERATIONS", most)
        with pytest.raises(ConvergenceError):
            solve(sample, out="halting", **arguments)
    monkeypatch.undo()
    began: list[int] = []
    watch = stage.Case.__call__
    monkeypatch.setattr(
        stage.Case, "__call__", lambda self, seat: watch(self, _noting(seat, began))
    )
    assert solve(sample, out="halting", **arguments).equals(whole)
    assert began == [steps]


def _noting(seat: Seat, began: list[int]) -> Seat:
    return Seat(
        seat.rank,
        seat.size,
        seat.meeting,
        seat.threads,
        lambda news: began.append(news["iterations"]),
    )


KILLED = """
import sys, tim3d
with tim3d.cluster("local", workers=2, memory_bytes=2**31):
    tim3d.solve(sys.argv[1], conductivity={"pore": 1.0, "copper": 0.03, "unused": 1.0}, axis=["z", "y"],
                tolerance=1e-9, checkpoint=0.0, out="killed", options=tim3d.Options(progress=False))
"""


@pytest.mark.parametrize("victim", [pytest.param("client", marks=pytest.mark.slow), "group"])
@pytest.mark.long
def test_killed_it_goes_on_and_ends_in_the_same_bits(tmp_path: Path, victim: str) -> None:
    sample = ingested(tmp_path, large())
    arguments = {"conductivity": PORE, "tolerance": 1e-9, "axis": ["z", "y"]}
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, sample], start_new_session=True, stderr=subprocess.DEVNULL
    )
    checkpoint = Path(f"{sample}.runs/killed/checkpoints")
    deadline = time.monotonic() + 120
    while not list(checkpoint.rglob("done/0/1/0.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    if victim == "client":
        run.kill()
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert list(checkpoint.rglob("done/0/1/0.json"))
    assert "killed" not in store.nodes(sample)
    if victim == "client":  # its workers end by themselves when they miss it
        os.killpg(run.pid, signal.SIGKILL)
    on_from = solve(sample, out="killed", checkpoint=0.0, **arguments).load()
    assert on_from.equals(solve(sample, out="whole", **arguments).load())


@pytest.mark.long
def test_a_lost_worker_is_replaced(tmp_path: Path) -> None:
    sample = ingested(tmp_path, large())
    arguments = {"conductivity": PORE, "tolerance": 1e-9}
    whole = solve(sample, out="whole", **arguments).load()
    with tim3d.cluster("local", workers=2, memory_bytes=2**31):
        flag = tmp_path / "killed"
        stage_call = _Suicide(str(flag))
        assert run_collective(stage_call, 2) == [0, 1]
        assert flag.exists()
        assert solve(sample, out="shared", **arguments).equals(whole)


class _Suicide:
    """The second member kills its process, the first time."""

    def __init__(self, flag: str) -> None:
        self.flag = flag

    def __call__(self, seat: Seat) -> int:
        with SocketRing(seat.rank, seat.size, seat.meeting, seat.key) as ring:
            if seat.rank == 1 and not Path(self.flag).exists():
                Path(self.flag).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return ring.collect(seat.rank)[seat.rank]  # type: ignore[no-any-return]


def _raises(seat: Seat) -> None:
    raise ConvergenceError(f"member {seat.rank}")


def _breaks(seat: Seat) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "size", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)]
)
def test_no_member_takes_more_than_planned(tmp_path: Path, workers: Cluster, size: int) -> None:
    sample = ingested(tmp_path, np.tile(volume((48, 80, 80)), (4, 2, 2)), (64, 160, 160))
    with using(workers) if size == 2 else contextlib.nullcontext():
        plan, *_ = planned(sample, conductivity=PORE, keep_flux=True, out="kept")
        solve(sample, conductivity=PORE, keep_flux=True, out="kept")
    (note,) = Path(f"{sample}.runs/kept/solutions").rglob("summary-z-1.json")
    summary = json.loads(note.read_text())
    assert summary["workers"] == size
    # What workers hold already is part of the plan, and changes by pages from one look to the next.
    assert abs(summary["planned_peak_bytes"] - plan.peak_bytes) < 2**22
    assert 2**20 < summary["peak_bytes"] < plan.peak_bytes


def test_errors_of_members_arrive(workers: Cluster) -> None:
    with using(workers), pytest.raises(ConvergenceError, match="member"):
        run_collective(_raises, 2)
    with using(workers), pytest.raises(DeviceError, match="lost 3 times"):
        run_collective(_breaks, 1)


@pytest.mark.long
def test_members_speak_where_their_workers_do() -> None:
    assert interface_of("127.0.0.1")
    assert interface_of("203.0.113.1") is None
