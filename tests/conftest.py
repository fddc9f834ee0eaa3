"""Shared fixtures: where the real data is, and quiet single-threaded libraries."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import shutil
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import dask
import pytest

import tests.examples  # noqa: F401 - the profile of hypothesis
from tests.servers import empty_bucket, s3_server, speak_to
from tests.slurm import private_slurm

ROOT = Path(__file__).parents[1]
METHOD = "distributed.worker.multiprocessing-method"
# Workers that a test starts are forked from one process that has imported all of this: each is
# there at once, and not after seconds of imports. Commands of the shell start theirs as ever.
IMPORTED = ["distributed", "numba", "scipy.ndimage", "tests.works", "tim3d.engine.passes.run"]

# What tests hold at a time, with much to spare.
ROOM = 8 * 2**30

# Parameters of glibc's mallopt, see its manual.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: to get a large array's pages anew takes longer than to fill them."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(TRIM_THRESHOLD, 2**30)
        library.mallopt(MMAP_THRESHOLD, 2**30)


keep_freed_memory()


def write_to_memory() -> None:
    """Keep the folders of tests in memory where there is room for them.

    The kernel looks through all files that an ext4 disk lost in the last seconds before it creates
    one: where tests make and remove thousands, that took a fifth of their time.
    """
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free >= ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


write_to_memory()


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of garbage collection: it was looked through again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def level_of_messages() -> None:
    """Begin each test with the default level of messages.

    A command that is called in this process sets the level, and so does one that a fixture of a
    whole module calls: what was there before a test need not be the default.
    """
    logging.getLogger("tim3d").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def forked_workers() -> Iterator[None]:
    """Fork workers instead of starting an interpreter for each; they have the environment of the first."""
    from distributed.utils import get_mp_context

    with dask.config.set({METHOD: "forkserver"}):
        get_mp_context().set_forkserver_preload(IMPORTED)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("TIM3D_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set TIM3D_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """One S3 server for all tests of a process: clients remember the address that they were made with."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket, which this process and those that it starts find by their environment."""
    speak_to(s3_endpoint, monkeypatch)
    with dask.config.set({METHOD: "spawn"}):  # forked workers have another environment
        yield empty_bucket(s3_endpoint)


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A private Slurm with two nodes, for the tests of one module."""
    with private_slurm():
        yield


@pytest.fixture(scope="session")
def two_workers(forked_workers: None) -> Iterator[str]:
    """The address of a scheduler with two workers, for tests that only need some; not for those that kill some.

    It is started once in each process of tests: a start costs seconds. Workers keep the environment
    of that moment.
    """
    from distributed.utils import get_mp_context

    context = get_mp_context()
    here, there = context.Pipe()
    process = context.Process(target=serve_two_workers, args=(there,))
    process.start()
    there.close()
    yield here.recv()
    here.close()
    process.join(60)


def serve_two_workers(asked: Connection) -> None:
    """Tell the address of a scheduler with two workers, and serve until the other end is closed.

    A scheduler in the process of the tests takes time from all that follow, and its messages are
    traced with the memory of other tests: 256 KiB are set aside for each of them.
    """
    from distributed import LocalCluster

    with (
        dask.config.set({METHOD: "forkserver"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="4GiB",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as made,
    ):
        asked.send(made.scheduler_address)
        asked.poll(None)
