"""Thread pool for plane-parallel numba kernels, which release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import Any, Protocol

import numba as nb
import numpy as np

from tim3d.kernels.conduction import stencil

# Below this many voxels one thread is faster than several.
SERIAL = 2**15


def default_threads() -> int:
    """Number of threads that numba would use: all cores, unless NUMBA_NUM_THREADS is set.

    Not `numba.get_num_threads`, which starts threads of OpenMP and changes their number for torch too:
    a training after a solution would not have the threads of one before it.
    """
    return int(nb.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


class Workers(Protocol):
    """Executor of kernels on planes: threads with numba's kernels, or a device with its own."""

    @property
    def kernels(self) -> Any:
        """Functions of `tim3d.kernels.conduction.stencil`, or equivalent ones."""

    def run(self, kernel: Callable[..., None], planes: range, voxels: int, *arguments: Any) -> None:
        """Call the kernel on planes.

        Parameters
        ----------
        kernel : callable
            Called as ``kernel(start, stop, *arguments)`` on ranges of planes.
        planes : range
            All planes to work on.
        voxels : int
            Number of voxels, by which small work is not divided.
        *arguments
            Further arguments of the kernel.
        """

    def zeros(self, shape: Sequence[int], dtype: Any) -> Any:
        """Create an array of the kernels' array type; `dtype` is numpy's."""

    def from_numpy(self, array: np.ndarray) -> Any:
        """Convert to the kernels' array type."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """Convert to a numpy array."""


class Team:
    """Threads that call a kernel on ranges of planes; to be used as a context manager.

    A kernel is called as ``kernel(start, stop, *arguments)``, and its result must not depend on how
    the planes are divided. Waiting threads sleep: on a busy machine the busy-waiting threads of
    OpenMP made the flux solver five times slower.

    Parameters
    ----------
    threads : int, optional
        Number of threads; the default is `default_threads()`.
    """

    kernels = stencil

    def __init__(self, threads: int | None = None) -> None:
        self.threads = max(1, threads or default_threads())
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def zeros(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """Create a numpy array of zeros."""
        return np.zeros(tuple(shape), dtype)

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        """Return the array itself."""
        return array

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        """Return the array itself."""
        return array

    def run(self, kernel: Callable[..., None], planes: range, voxels: int, *arguments: Any) -> None:
        """Call the kernel on `planes`, in one thread if the volume has few `voxels`."""
        if self._pool is None or voxels < SERIAL:
            kernel(planes.start, planes.stop, *arguments)
            return
        cuts = [planes.start + len(planes) * n // self.threads for n in range(self.threads + 1)]
        others = [self._pool.submit(kernel, a, b, *arguments) for a, b in pairwise(cuts[1:])]
        kernel(cuts[0], cuts[1], *arguments)
        for other in others:
            other.result()
