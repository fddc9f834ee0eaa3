"""Tables of the dissipation in single particles and contacts, on the way from the solver to its result.

They may have millions of rows: they are arrays beside the fields of a solution, not part of its record.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tim3d.grid import Triple
from tim3d.kernels.conduction.particle_losses import ParticleLosses
from tim3d.storage import scratch

# Rows in a chunk.
ROWS = 2**16
NAMES = ("particles", "contacts")


def write_tables(
    sample: str, paths: Mapping[str, str], found: ParticleLosses, order: Triple
) -> None:
    """Write both tables.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    paths : mapping of str to str
        Where the table of each of `NAMES` belongs.
    found : ParticleLosses
        What the solver found.
    order : three ints
        Index in (z, y, x) of each axis of the solver's arrays.
    """
    places = found.places[:, np.argsort(order)]
    columns = {
        "particles": (np.r_[0, found.numbers], np.r_[found.missing, found.particles]),
        "contacts": (found.pairs, found.areas, found.contacts, places),
    }
    for name, parts in columns.items():
        table = np.column_stack(parts).astype(np.float64)
        chunk = (1, min(ROWS, max(1, len(table))), table.shape[1])
        scratch.create(sample, paths[name], (1, *table.shape), chunk, 0, "float64")
        scratch.array(sample, paths[name])[0] = table


def read_tables(sample: str, paths: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read both tables.

    Number and dissipation of particles, 0 for voxels in none; of contacts both numbers, area,
    dissipation, and the voxel along z, y, x.
    """
    return {name: np.asarray(scratch.array(sample, paths[name], "r")[0]) for name in NAMES}
