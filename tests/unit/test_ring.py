"""Rings of processes: planes and values arrive as between threads, strangers are sent away, a loss is noticed."""

from __future__ import annotations

import subprocess
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.rings import in_threads, on_ranks, on_sockets
from tim3d.engine.collective.launch import free_address
from tim3d.engine.collective.sockets import SocketRing
from tim3d.kernels.conduction.ghost_layers import Ring

SMALL = [((4, 5, 3), "float32"), ((6, 31, 9), "uint8")]
# A plane is more than what fits into the buffers of a connection.
LARGE = ((4, 1500, 1500), "float64")


def conversation(ring: Ring) -> list[object]:
    """Everything that a rank ends up with; with two neighbours and with one, large planes too."""
    found: list[object] = []
    shapes = [*SMALL, LARGE] if ring.size in (2, 3) else SMALL
    for wrap in (False, True):
        for shape, dtype in shapes:
            array = np.random.default_rng(ring.rank).integers(0, 200, shape).astype(dtype)
            ring.swap(array, wrap)
            found += [array, ring.collect({"rank": ring.rank, "array": array[:1], "wrap": wrap})]
    return found


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_connections_carry_what_threads_share(size: int) -> None:
    for carried, shared in zip(
        on_sockets(size, conversation), on_ranks(size, conversation), strict=True
    ):
        np.testing.assert_equal(carried, shared)


def test_who_cannot_show_the_key_is_sent_away() -> None:
    meeting, came = free_address("127.0.0.1"), threading.Event()

    def run(rank: int) -> object:
        if rank == 2:
            answer = _knock(meeting)
            came.set()
            return answer
        if rank == 1:
            assert came.wait(30)
        with SocketRing(rank, 2, meeting, "key") as ring:
            return ring.collect(rank)

    assert in_threads(3, run) == [[0, 1], [0, 1], "sent away"]


def _knock(meeting: str) -> str:
    """What becomes of somebody who does not know the key."""
    place = urlsplit(meeting)
    while True:
        try:
            Client((str(place.hostname), int(place.port or 0)), "AF_INET", authkey=b"another")
        except ConnectionRefusedError:
            continue
        except AuthenticationError:
            return "sent away"


def test_a_member_that_is_gone_is_noticed() -> None:
    meeting = free_address("127.0.0.1")

    def run(rank: int) -> str:
        with SocketRing(rank, 3, meeting, "key") as ring:
            if rank == 1:
                return "gone"
            with pytest.raises(ConnectionError):
                _talk(ring)
            return "noticed"

    assert in_threads(3, run) == ["noticed", "gone", "noticed"]


def _talk(ring: Ring) -> None:
    while True:
        ring.collect(bytes(2**20))


TORCH = """
import sys, numpy as np
from tests.unit.test_ring import conversation
from tim3d.models.conduction.ring import TorchRing
rank, meeting = int(sys.argv[1]), sys.argv[2]
with TorchRing(rank, 2, meeting) as ring:
    found = conversation(ring)
np.save(sys.argv[3], np.array(found, dtype=object), allow_pickle=True)
"""


@pytest.mark.long
def test_torch_carries_the_same(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    meeting = free_address("127.0.0.1")
    files = [f"{tmp_path}/{rank}.npy" for rank in range(2)]
    runs = [
        subprocess.Popen([sys.executable, "-c", TORCH, str(r), meeting, files[r]]) for r in range(2)
    ]
    assert [run.wait(120) for run in runs] == [0, 0]
    for file, shared in zip(files, on_ranks(2, conversation), strict=True):
        np.testing.assert_equal(list(np.load(file, allow_pickle=True)), shared)


def test_a_ring_that_cannot_be_made_leaves_the_way_free(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = pytest.importorskip("tim3d.models.conduction.ring")

    def fails(*_: object, **__: object) -> None:
        raise OSError("nobody there")

    with monkeypatch.context() as patched:
        patched.setattr(ring.dist, "init_process_group", fails)
        with pytest.raises(OSError, match="nobody there"):
            ring.TorchRing(0, 1, free_address("127.0.0.1"))
    with ring.TorchRing(0, 1, free_address("127.0.0.1")) as made:
        assert made.collect("all") == ["all"]
