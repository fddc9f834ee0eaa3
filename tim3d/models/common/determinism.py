"""Settings of torch that decide the bits of a training, held for its time only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, number: int) -> Iterator[None]:
    """Seed torch's own generators inside, and leave them as they were outside."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
        yield


def threads_used(count: int) -> int:
    """Threads of an operation in `cpu_threads`: as many, and for 0 those that torch has itself."""
    return count or torch.get_num_threads()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """As many threads for an operation inside; 0 leaves torch its own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
