"""Who works on the planes of a volume: threads, for kernels that release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import Any, Protocol

import numba as nb
import numpy as np

from tim3d.kernels.conduction import stencil

# Fewer voxels than this are done sooner by one thread than shared out.
SERIAL = 2**15


def default_threads() -> int:
    """As many as numba would use: all cores, unless NUMBA_NUM_THREADS says otherwise."""
    return int(nb.get_num_threads())


class Workers(Protocol):
    """Those who run kernels on planes: threads with numba's kernels, or a device with its own."""

    @property
    def kernels(self) -> Any:
        """The functions of `tim3d.kernels.conduction.stencil`, or others that do the same."""

    def run(self, kernel: Callable[..., None], planes: range, voxels: int, *arguments: Any) -> None:
        """Call the kernel on all planes of a volume of so many voxels."""

    def zeros(self, shape: Sequence[int], dtype: Any) -> Any:
        """A new array of the kernels' kind; `dtype` is numpy's."""

    def from_numpy(self, array: np.ndarray) -> Any:
        """As an array of the kernels' kind."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """As an array of numpy."""


class Team:
    """Threads that call a kernel on ranges of planes; to be used in a ``with``.

    A kernel is called as ``kernel(start, stop, *arguments)`` and must not care how the planes are shared. Waiting
    threads sleep: on a busy machine the spinning ones of OpenMP made the flux solver five times slower.

    Parameters
    ----------
    threads : int, optional
        Default: `default_threads`.
    """

    kernels = stencil

    def __init__(self, threads: int | None = None) -> None:
        self.threads = max(1, threads or default_threads())
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def zeros(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """A new array."""
        return np.zeros(tuple(shape), dtype)

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        """The same array."""
        return array

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        """The same array."""
        return array

    def run(self, kernel: Callable[..., None], planes: range, voxels: int, *arguments: Any) -> None:
        """Call the kernel on all planes of a volume of so many voxels."""
        if self._pool is None or voxels < SERIAL:
            kernel(planes.start, planes.stop, *arguments)
            return
        cuts = [planes.start + len(planes) * n // self.threads for n in range(self.threads + 1)]
        others = [self._pool.submit(kernel, a, b, *arguments) for a, b in pairwise(cuts[1:])]
        kernel(cuts[0], cuts[1], *arguments)
        for other in others:
            other.result()
