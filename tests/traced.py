"""How many bytes a piece of work holds at its peak, as Python and NumPy allocate them."""

import gc
import tracemalloc
from collections.abc import Callable

# Objects of Python that are traced beside the arrays, and those that other threads of the process
# make meanwhile (a cluster that later tests go on with). A plan counts arrays.
OBJECTS = 2**17


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
