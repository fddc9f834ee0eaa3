"""Processes that train together, each on its own device, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tim3d.models.common.device import choose_device, named_device

Precision = Literal["float32", "bfloat16", "float16"]


def is_first() -> bool:
    """Whether this process is the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, slots=True)
class Place:
    """Device of a process, its rank, and the number of processes that train together.

    Parameters
    ----------
    device : torch.device
        Device of modules and tensors.
    rank, size : int
        Rank of this process, and number of processes that train together.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    def cast(self, precision: Precision) -> AbstractContextManager[Any]:
        """Context of mixed precision, on CUDA only: a CPU computes in float32."""
        enabled = self.device.type == "cuda" and precision != "float32"
        return torch.autocast(
            self.device.type, dtype=getattr(torch, precision) if enabled else None, enabled=enabled
        )

    def scaler(self, precision: Precision) -> torch.amp.GradScaler:
        """Scaler of losses against vanishing float16 gradients; no effect in other precisions."""
        return torch.amp.GradScaler(
            self.device.type, enabled=self.device.type == "cuda" and precision == "float16"
        )

    def shared(self, module: nn.Module, *, has_unused: bool = False) -> nn.Module:
        """Wrap a module so that its gradients are means over all processes.

        A process that trains alone gets the module itself.

        Parameters
        ----------
        module : torch.nn.Module
            The module whose forward pass computes the loss.
        has_unused : bool
            Whether the loss does not depend on some of its parameters.
        """
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=has_unused
        )

    def agreed(self, mine: bool) -> bool:
        """Return the value of the first process in all processes."""
        if self.size == 1:
            return mine
        word = torch.tensor([int(mine)], device=self.device)
        dist.broadcast(word, 0)
        return bool(word.item())


ALONE = Place(torch.device("cpu"))


@contextmanager
def processes(device: str) -> Iterator[Place]:
    """Join the processes that torchrun started, and yield the place of this one.

    Without torchrun the process trains alone.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "cuda:1"; each of several processes takes the CUDA device with
        the number of its rank.

    Raises
    ------
    DeviceError
        If the device is not available.
    """
    size, name = int(os.environ.get("WORLD_SIZE", "1")), choose_device(device)
    if size > 1 and name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = named_device(name)
    if size == 1:
        yield Place(chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Place(chosen, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
