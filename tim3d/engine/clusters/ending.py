"""How the worker processes of this machine end. Imported late: dask takes its time."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any

from distributed import Client, WorkerPlugin


def quiet_and_quick(client: Client) -> None:
    """Let the workers of a client, also those that are started again, end quickly and without a word."""
    logging.getLogger("distributed.nanny").addFilter(_is_worth_showing)
    client.register_plugin(QuickEnd())


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


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Whether a message of a nanny is worth showing: not that a worker of a finished run had to be killed."""
    return "still alive after" not in record.getMessage()
