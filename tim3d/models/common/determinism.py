"""Settings of torch that determine the bits of a training, restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from tim3d.errors import ArgumentError

CPU = torch.device("cpu")


def generator(seed: int, number: int, rank: int = 0) -> np.random.Generator:
    """Random numbers determined by a seed, a step number and the rank of a process alone.

    >>> bool(generator(3, 7).random() == generator(3, 7, 0).random() != generator(3, 7, 1).random())
    True
    """
    return np.random.default_rng([seed, number, rank])


@contextmanager
def seeded(seed: int, number: int, rank: int = 0, device: torch.device = CPU) -> Iterator[None]:
    """Seed the generators of torch, of the CPU and a device, and restore their state on exit."""
    value = int(np.random.SeedSequence([seed, number, rank]).generate_state(1)[0])
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(value)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(value)
        yield


@dataclass
class _Threads:
    """Number of threads that tim3d has set, and the one that it replaced."""

    own: int | None = None
    replaced: int = 0


_threads = _Threads()


def set_threads(count: int) -> None:
    """Set the CPU threads of torch for what follows in this process, but for trainings (`threads_used`)."""
    now = torch.get_num_threads()
    if now == count:
        return
    if now != _threads.own:
        _threads.replaced = now
    torch.set_num_threads(count)
    _threads.own = count


def threads_used(count: int) -> int:
    """Number of threads that `cpu_threads(count)` sets: `count`, or the default of torch for 0.

    That is the number before segmentation or generation set theirs in this process.

    >>> with cpu_threads(3):
    ...     set_threads(1)
    ...     torch.get_num_threads(), threads_used(0)
    (1, 3)
    """
    if count < 0:
        raise ArgumentError(f"--threads {count}: a number of threads, or 0 for that of torch")
    now = torch.get_num_threads()
    return count or (_threads.replaced if now == _threads.own else now)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Set the CPU threads of torch for each operation inside; 0 takes its default."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_used(count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
