"""Processes that train together, each on its own device, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from tim3d.models.common.device import choose_device, named_device


def is_first() -> bool:
    """Whether this process is alone, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def processes(device: str) -> Iterator[tuple[int, int, torch.device]]:
    """Rank, number of processes and device of this one; alone if torchrun started none.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "cuda:1"; of several processes each takes the CUDA device of its own number.

    Raises
    ------
    DeviceError
        If the device is not there.
    """
    size, name = int(os.environ.get("WORLD_SIZE", "1")), choose_device(device)
    if size > 1 and name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = named_device(name)
    if size == 1:
        yield 0, 1, chosen
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), size, chosen
    finally:
        dist.destroy_process_group()
