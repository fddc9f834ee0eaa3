"""Job of a study: everything that decides its numbers, and the pass over the windows of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tim3d.engine import Ledger, Pass
from tim3d.stages.representative.quantities import Quantity, WindowKernel
from tim3d.stages.representative.windows import Windows, WindowWork
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.results import (
    result_name,
)
from tim3d.storage import schema, store
from tim3d.storage.schema import Field


@dataclass(frozen=True)
class Job:
    """Everything that decides the numbers of a study; independent of how it runs."""

    sample: str
    labels: Field
    name: str
    quantity: Quantity
    windows: tuple[Windows, ...]
    tolerance: float
    out: str

    @property
    def node(self) -> str:
        """Name of the result node."""
        edges = [one.edge_nm for one in self.windows]
        asked = {"quantity": (self.name, None), **self.quantity.asked, "windows_nm": (edges, None)}
        return self.out or result_name(
            f"{self.labels.name}_study", **asked, tolerance=(self.tolerance, 0.1)
        )

    @property
    def source(self) -> str:
        """Fingerprint of the labels."""
        return store.fingerprint_of(self.sample, self.labels.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        edges = [one.edge_nm for one in self.windows]
        return {
            "quantity": self.name,
            **self.quantity.parameters,
            "windows_nm": edges,
            "tolerance": self.tolerance,
        }

    def work_pass(self, windows: Windows, options: Options) -> Pass:
        """Pass over the windows of one size; windows of another study are reused."""
        phases = self.labels.phases
        assert phases is not None
        fingerprint = schema.fingerprint(
            verb="study",
            field=self.source,
            quantity=self.name,
            parameters=self.quantity.parameters,
            shape=windows.shape,
            offset=windows.offset,
        )
        kernel = WindowKernel(self.quantity, phases)
        halo = self.quantity.halo
        read = math.prod(w + 2 * h for w, h in zip(windows.shape, halo, strict=True))
        return Pass(
            work=WindowWork(
                self.sample, self.labels.name, windows, halo, kernel, self.quantity.nbytes
            ),
            grid=windows.grid,
            ledger=Ledger(
                self.sample,
                f"{self.labels.name}_study/{self.name}/{'x'.join(map(str, windows.shape))}",
                fingerprint,
            ),
            shard=(1, 1, 1),
            read_bytes=read / math.prod(windows.shape),
            write_bytes=0,
            durable=options.durable,
            time_limit=options.time_limit,
        )
