"""Settings of torch that determine the bits of a training, restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

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


def threads_used(count: int) -> int:
    """Number of threads that `cpu_threads(count)` sets: `count`, or the default of torch for 0."""
    return count or torch.get_num_threads()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Set the CPU threads of torch for each operation inside; 0 keeps its default."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
