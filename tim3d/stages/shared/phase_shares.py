"""Volume fraction of each phase in new labels, from the records of the blocks.

An empty phase usually is a mistake in thresholds, polarity or names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from tim3d.engine import Ledger
from tim3d.grid import Grid
from tim3d.stages.shared.field import Making, Options, whole_shards

log = logging.getLogger(__name__)


def telling_shares(
    making: Making, options: Options, may_lack: Collection[str] = ()
) -> Callable[[Ledger], None]:
    """Make a `finish` of `produce` that logs the fraction of every phase and warns of empty ones.

    Parameters
    ----------
    making : Making
        Description of a label field whose blocks record ``voxels``: the count of each code.
    options : Options
        How the field is made; its blocks are those whose records are read.
    may_lack : collection of str
        Phases that may be empty.
    """
    grid = Grid(making.field.shape, whole_shards(options.block or making.block, making.field))

    def finish(ledger: Ledger) -> None:
        phases = dict(making.field.phases or {})
        found = [record["voxels"] for record in ledger.records(grid.indices())]
        _log_shares(
            making.field.name,
            {n: sum(int(v[str(code)]) for v in found) for n, code in phases.items()},
            may_lack,
        )

    return finish


def _log_shares(field: str, voxels: Mapping[str, int], may_lack: Collection[str]) -> None:
    total = sum(voxels.values())
    log.info("%s: %s", field, ", ".join(f"{name} {n / total:.4f}" for name, n in voxels.items()))
    if empty := [name for name, n in voxels.items() if n == 0 and name not in may_lack]:
        log.warning(
            "no voxel of %r is %s: look at the grey values (tim3d report), and at thresholds, polarity and names",
            field,
            " or ".join(empty),
        )
