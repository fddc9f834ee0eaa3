"""How the worker processes of this machine end. Imported late: dask takes its time."""

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
    """Let the workers of a client, also those that are started again, end quickly and without a word."""
    logging.getLogger("distributed.nanny").addFilter(_is_worth_showing)
    client.register_plugin(QuickEnd())


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start processes in the ``with`` that Ctrl-C does not reach: it goes to all processes of a terminal at once.

    The client answers it and ends its workers; else each of them would show a traceback. They inherit the mask of the
    thread that starts them. What the client itself is sent meanwhile reaches it at the end of the ``with``.
    """
    resource_tracker.ensure_running()  # multiprocessing takes the mask away from the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class QuickEnd(WorkerPlugin):
    """Let worker processes end without taking the interpreter apart.

    With numba's and zarr's modules that takes 1 s, and on a busy machine longer than the 4 s after which a nanny kills
    its worker and says so. Nothing is lost: what a block writes is in the store before the block counts as done.
    """

    name = "tim3d-quick-end"

    def setup(self, worker: Any) -> None:
        """Have the process leave once threads are joined and streams are flushed."""
        if worker.nanny is not None:
            atexit.register(os._exit, 0)
            logging.getLogger("distributed.worker.state_machine").addFilter(_is_worth_showing)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Whether a message of dask is worth showing: not how a worker or its task was ended."""
    return not any(words in record.getMessage() for words in ("still alive after", "Async instruction for"))
