"""Descriptors of volumes in memory, without a sample."""

from __future__ import annotations

from collections.abc import Sequence

from tim3d.descriptors.base import (
    Descriptor,
    Labels,
    Material,
    Voxels,
    add_blocks,
    evaluate,
    largest_halo,
    partials_of,
)
from tim3d.descriptors.inputs import LABELS
from tim3d.grid import Grid, Triple, triple
from tim3d.lazy import xarray as xr


def describe_array(
    labels: Labels,
    descriptors: Sequence[Descriptor],
    material: Material,
    block: Triple | None = None,
    others: Voxels | None = None,
) -> xr.Dataset:
    """Results of a volume in memory, block by block.

    Parameters
    ----------
    labels : (Z, Y, X) uint8
        Phase code of each voxel.
    descriptors : sequence of Descriptor
        For example ``list(tim3d.descriptors.builtin.BUILTIN.values())``.
    material : Material
        Phases and spacing.
    block : (z, y, x), optional
        Edge of a block in voxels; by default the whole volume. It does not change any result.
    others : mapping of Input to array, optional
        The other fields that the descriptors read.

    Returns
    -------
    xarray.Dataset
        The variables of all descriptors.

    Examples
    --------
    >>> import numpy as np
    >>> from tim3d.descriptors.fraction import PHASE_FRACTION
    >>> from tim3d.phases import Phases
    >>> labels = np.zeros((4, 4, 4), np.uint8)
    >>> labels[:, :, 1:] = 1
    >>> describe_array(labels, [PHASE_FRACTION], Material(Phases(pore=0, solid=1))).phase_fraction.values.tolist()
    [0.25, 0.75]
    """
    partials = partials_of(descriptors)
    grid = Grid(triple(labels.shape), block or triple(labels.shape), largest_halo(partials))
    voxels = {LABELS: labels, **(others or {})}
    pieces = (
        (
            b,
            evaluate(
                partials,
                {i: v[b.read.slices] for i, v in voxels.items()},
                b.core.within(b.read),
                material,
            ),
        )
        for b in grid
    )
    totals = add_blocks(partials, grid.shape, pieces, material)
    return xr.merge(
        [d.finalize(totals, material) for d in descriptors], join="exact", compat="no_conflicts"
    )
