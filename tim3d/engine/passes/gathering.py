"""Memory of what one process makes of the records of all blocks: planned, and refused if it does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tim3d.engine.clusters.cluster import current_cluster
from tim3d.engine.clusters.memory import resident_memory
from tim3d.engine.passes.plan import Outline, size_text
from tim3d.engine.passes.run import BASE_BYTES
from tim3d.errors import MemoryPlanError


@dataclass(frozen=True)
class Gathering(Outline):
    """Plan of a step in the process that started the run.

    Parameters
    ----------
    data_bytes : int or None
        Bound on what it holds beside the interpreter and libraries; None if the blocks find that.
    each : tuple of (int, str)
        Bytes of one of what it holds, and what that is: struts are made of voxels of a skeleton.
    base_bytes : int
        What the process holds before: interpreter and libraries.
    limit_bytes : int
        Memory that it may use, as the cluster says on which the step is planned.
    """

    data_bytes: int | None
    each: tuple[int, str]
    base_bytes: int = field(default_factory=lambda: max(BASE_BYTES, resident_memory()))
    limit_bytes: int = field(default_factory=lambda: current_cluster().memory_bytes)

    def of(self, data_bytes: int) -> Gathering:
        """The same step when it is known, or known better, what it holds."""
        return replace(self, data_bytes=data_bytes)

    @property
    def room(self) -> int:
        """How many fit."""
        return max(0, self.limit_bytes - self.base_bytes) // self.each[0]

    def check(self) -> None:
        """Refuse what does not fit.

        Raises
        ------
        MemoryPlanError
            With what there is room for.
        """
        if self.data_bytes is not None and self.base_bytes + self.data_bytes > self.limit_bytes:
            raise MemoryPlanError(
                f"{self.name} needs {size_text(self.base_bytes + self.data_bytes)} in one process, which may use "
                f"{size_text(self.limit_bytes)}, room for {self.room} {self.each[1]}: give it more memory: --memory, "
                "or take a part of the volume"
            )

    def __str__(self) -> str:
        limit = size_text(self.limit_bytes)
        if self.data_bytes is None:
            need = f"room for {self.room} {self.each[1]} in {limit}; more are refused once they are counted"
        else:
            need = f"peak {size_text(self.base_bytes + self.data_bytes)} of {limit}"
        return f"{self.name}: {self.does}, in one process; {need}"
