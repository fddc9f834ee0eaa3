"""Estimated cost of a pass, before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tim3d.engine.passes.cost import Cost
from tim3d.errors import MemoryPlanError
from tim3d.grid import Triple

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """Blocks, bytes and memory of one pass.

    Attributes
    ----------
    peak_bytes : int
        Estimated peak memory of a worker process: interpreter, libraries, and one block's buffers
        per thread.
        Memory that a worker process may use.
    cost : Cost, optional
        Cost by a pilot run, if there is one; see `tim3d.engine.costing`.
    """

    name: str
    blocks: int
    left: int
    block: Triple
    halo: Triple
    read_bytes: int
    write_bytes: int
    peak_bytes: int
    limit_bytes: int
    workers: int
    threads: int
    cure: str = ""
    cost: Cost | None = None

    def check(self) -> None:
        """Refuse a pass that does not fit.

        Raises
        ------
        MemoryPlanError
            With a block that would fit.
        """
        if self.peak_bytes > self.limit_bytes:
            raise MemoryPlanError(
                f"{self.name} needs {size_text(self.peak_bytes)} per worker (block {_edges(self.block)} + halo "
                f"{_edges(self.halo)}, {self.threads} thread(s)); a worker has {size_text(self.limit_bytes)}. "
                f"{self.cure}"
            )

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.left} of {self.blocks} blocks left, "
            f"each {_edges(self.block)} + halo {_edges(self.halo)}; "
            f"reads {size_text(self.read_bytes)}, writes {size_text(self.write_bytes)} before compression; "
            f"peak {size_text(self.peak_bytes)} of {size_text(self.limit_bytes)} per worker, "
            f"{self.workers} worker(s) x {self.threads} thread(s)"
            + (f"; {self.cost}" if self.cost else "")
        )


@dataclass(frozen=True)
class Outline:
    """One-line plan of a step that is not a pass over blocks: it trains, or writes a file.

    `refusal` is why it would not run, if it does not fit into memory.
    """

    name: str
    does: str
    refusal: str = field(default="", kw_only=True)

    def check(self) -> None:
        """Raise `MemoryPlanError` if the step would be refused for its memory."""
        if self.refusal:
            raise MemoryPlanError(self.refusal)

    def __str__(self) -> str:
        return f"{self.name}: {self.does}"


def smaller_block(block: Triple, shard: Triple, fits: Callable[[Triple], bool]) -> Triple | None:
    """The largest block that fits, made by halving the longest edge but never below one shard; None if none does.

    >>> smaller_block((512, 512, 512), (64, 64, 64), lambda b: b[0] * b[1] * b[2] <= 2**25)
    (256, 256, 512)
    """
    while not fits(block):
        axis = max(range(3), key=lambda a: (block[a] > shard[a], block[a]))
        if block[axis] <= shard[axis]:
            return None
        edge = max(1, block[axis] // 2 // shard[axis]) * shard[axis]
        block = block[:axis] + (edge,) + block[axis + 1 :]  # type: ignore[assignment]
    return block


def size_text(n: int) -> str:
    """Number of bytes in MiB or GiB.

    >>> size_text(3 * 2**20), size_text(2**31)
    ('3.0 MiB', '2.00 GiB')
    """
    if n >= GIB / 10:
        return f"{n / GIB:.2f} GiB"
    return f"{n / MIB:.1f} MiB"


def _edges(edges: Triple) -> str:
    return "x".join(map(str, edges))
