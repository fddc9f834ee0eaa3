"""Ranks of a solver as threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from tim3d.kernels.halo import Ring

T = TypeVar("T")


class ThreadRing:
    """Everybody writes on a board, waits, and reads."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(board)
        self._board, self._barrier = board, barrier

    def collect(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._barrier.wait(60)
        found = list(self._board)
        self._barrier.wait(60)
        return found

    def swap(self, array: Any, wrap: bool) -> None:
        ends = self.collect((np.array(array[1]), np.array(array[-2])))
        if self.rank > 0 or wrap:
            array[0] = ends[self.rank - 1][1]
        if self.rank < self.size - 1 or wrap:
            array[-1] = ends[(self.rank + 1) % self.size][0]


def on_ranks(size: int, work: Callable[[Ring], T]) -> list[T]:
    """What each rank returns; if one fails, all do."""
    board: list[Any] = [None] * size
    barrier = threading.Barrier(size)

    def run(rank: int) -> T:
        try:
            return work(ThreadRing(rank, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
