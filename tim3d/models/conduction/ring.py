"""Ranks that exchange planes through torch.distributed: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import contextlib
import datetime
import threading
from types import TracebackType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

# A silent rank counts as dead after this time. One that dies closes its connections and is noticed
# at once.
PATIENCE = datetime.timedelta(minutes=30)
# torch allows one process group at a time.
_one_group = threading.Lock()


class TorchRing:
    """Context of a ring of processes, as `tim3d.kernels.conduction.ghost_layers.Ring` describes.

    Parameters
    ----------
    rank, size : int
        Rank of this process, and number of processes.
    meeting : str
        Address of rank 0, where all ranks connect: ``tcp://HOST:PORT``.
    """

    def __init__(self, rank: int, size: int, meeting: str) -> None:
        self.rank, self.size = rank, size
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with contextlib.ExitStack() as held:
            held.enter_context(_one_group)
            dist.init_process_group(
                backend, init_method=meeting, rank=rank, world_size=size, timeout=PATIENCE
            )
            held.callback(dist.destroy_process_group)
            self._held = held.pop_all()

    def __enter__(self) -> TorchRing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def collect(self, value: Any) -> list[Any]:
        """Values of all ranks, by rank."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def swap(self, array: Any, wrap: bool) -> None:
        """Replace planes 0 and -1 by the neighbours' planes -2 and 1."""
        planes = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        below, above = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        exchanges = []
        # Two ranks that wrap are neighbours on both sides: all send upwards first, then downwards.
        if wrap or self.rank < self.size - 1:
            exchanges.append(dist.P2POp(dist.isend, planes[-2], above, tag=0))
        if wrap or self.rank > 0:
            exchanges.append(dist.P2POp(dist.irecv, planes[0], below, tag=0))
            exchanges.append(dist.P2POp(dist.isend, planes[1], below, tag=1))
        if wrap or self.rank < self.size - 1:
            exchanges.append(dist.P2POp(dist.irecv, planes[-1], above, tag=1))
        for request in dist.batch_isend_irecv(exchanges) if exchanges else ():
            request.wait()
