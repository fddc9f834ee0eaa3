"""Quick and quiet end of worker processes; imported late, as importing dask takes long."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

from distributed import Client, WorkerPlugin


def quiet_and_quick(client: Client) -> None:
    """Make the workers of a client, also restarted ones, end quickly and without log messages."""
    logging.getLogger("distributed.nanny").addFilter(_is_worth_showing)
    client.register_plugin(QuickEnd())


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Make processes started in the ``with`` ignore Ctrl-C, which a terminal sends to all of them.

    The client handles it and ends its workers; otherwise each of them would print a traceback. They
    inherit the signal mask of the thread that starts them. An interrupt of the client itself is
    delivered at the end of the ``with``.
    """
    resource_tracker.ensure_running()  # its start would reset the mask of this thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class QuickEnd(WorkerPlugin):
    """Plugin that lets worker processes end without the interpreter's shutdown.

    With numba's and zarr's modules the shutdown takes 1 s, and on a busy machine longer than the 4
    s after which a nanny kills its worker and logs it. Nothing is lost: the output of a block is in
    the store before the block counts as done.
    """

    name = "tim3d-quick-end"

    def setup(self, worker: Any) -> None:
        """Exit the process as soon as threads are joined and streams are flushed."""
        if worker.nanny is not None:
            atexit.register(os._exit, 0)
            logging.getLogger("distributed.worker.state_machine").addFilter(_is_worth_showing)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Whether a message of dask is worth showing.

    It is false for messages about how a worker or task ended.
    """
    return not any(
        words in record.getMessage() for words in ("still alive after", "Async instruction for")
    )
