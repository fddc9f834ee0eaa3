"""How many bytes a piece of work holds at its peak, as Python and NumPy allocate them."""

import gc
import tracemalloc
from collections.abc import Callable

# Traced beside the arrays, which are what a plan counts: objects of Python, buffers in which NumPy
# casts (64 KiB), and what other threads make meanwhile (a scheduler of dask in this process sets
# 256 KiB aside for each message). Volumes are so large that a byte a voxel is more.
OBJECTS = 2**19


def traced_peak(work: Callable[[], object], times: int = 1) -> int:
    """Most bytes that Python and NumPy held at once for some work, in all threads.

    The least of several times, where what other threads make meanwhile would count.
    """
    return min(_traced(work) for _ in range(times))


def _traced(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
