"""Mercury intrusion in a phase: radii of the ball that passes, and of the ball that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.descriptors.base import Counts, Values
from tim3d.descriptors.lags import in_voxels
from tim3d.lazy import xarray as xr

REFERENCE = "doi:10.1111/j.1551-2916.2008.02736.x"
CONSTRICTION = "doi:10.1007/s10853-012-6968-z"


@dataclass(frozen=True)
class ByRadius:
    """Voxels of a phase by the radius of the largest ball over them, ascending; 0 where none is.

    Examples
    --------
    >>> found = ByRadius(np.array([0.0, 2.0, 5.0]), np.array([1, 4, 5]))
    >>> found.share_from(np.array([2.0, 5.0])).tolist(), found.half
    ([0.9, 0.5], 5.0)
    """

    radius: Values
    voxels: Counts

    @classmethod
    def added(cls, parts: Sequence[tuple[Values, Counts]]) -> ByRadius:
        """Sum of the counts of blocks."""
        every = np.concatenate([radius for radius, _ in parts])
        radius, places = np.unique(every, return_inverse=True)
        voxels = np.zeros(len(radius), np.int64)
        np.add.at(voxels, places, np.concatenate([counts for _, counts in parts]))
        return cls(radius.astype(np.float64), voxels)

    def share_from(self, radii: Values) -> Values:
        """Share of the phase that balls of at least these radii fill."""
        above = np.concatenate([np.cumsum(self.voxels[::-1])[::-1], [0]])
        return np.asarray(above[np.searchsorted(self.radius, radii)] / self.voxels.sum())

    @property
    def half(self) -> float:
        """Largest radius whose balls fill half of the phase or more; nan if none do."""
        enough = self.radius[(self.share_from(self.radius) >= 0.5) & (self.radius > 0)]
        return float(enough.max()) if len(enough) else float("nan")


def porosimetry(
    every: ByRadius,
    entered: Mapping[str, ByRadius],
    left: Mapping[str, float],
    edge: float,
    units: str,
) -> xr.Dataset:
    """Results of a phase by direction of intrusion.

    Parameters
    ----------
    every : ByRadius
        Voxels by the largest ball over them.
    entered : mapping of str to ByRadius
        The same of the balls that come from the inlet, by direction.
    left : mapping of str to float
        Radius of the largest ball that reaches the outlet, 0 for none.
    edge : float
        Shortest edge of a voxel.
    units : str
        Unit of the radii and the edge.

    Returns
    -------
    xarray.Dataset
        `r_max`, `r_min` (direction), `constriction`, `percolation_radius`, their means over the
        directions, and the shares of the phase by radius.
    """
    radii = every.radius[every.radius > 0]
    r_min = np.array([one.half for one in entered.values()])
    beta = (r_min / every.half) ** 2
    about = {"method": "balls by descending radius", "reference": REFERENCE}

    def made(dims: tuple[str, ...], values: object, unit: str, text: str, **more: str) -> tuple:  # type: ignore[type-arg]
        return dims, values, {"units": unit, "long_name": text} | about | more

    ratio = {"reference": CONSTRICTION}
    shares = np.array([one.share_from(radii) for one in entered.values()])
    return xr.Dataset(
        {
            "r_max": made((), every.half, units, "radius whose balls fill half of the phase"),
            "r_min": made(
                ("direction",), r_min, units, "radius whose balls fill half of the phase from the inlet"
            ),
            "r_min_mean": made((), r_min.mean(), units, "mean of r_min over the directions"),
            "constriction": made(("direction",), beta, "1", "(r_min / r_max)²", **ratio),
            "constriction_mean": made((), beta.mean(), "1", "mean over the directions", **ratio),
            "percolation_radius": made(
                ("direction",), np.array(list(left.values())), units,
                "radius of the largest ball that passes from face to face; 0 if none does",
            ),
            "granulometry_share": made(
                ("radius",), every.share_from(radii), "1", "share of the phase that balls of at least a radius fill"
            ),
            "intruded_share": made(
                ("direction", "radius"), shares, "1",
                "share of the phase that balls of at least a radius fill from the inlet",
            ),
        },
        {
            "direction": np.array(list(entered), dtype=object),
            "radius": ("radius", radii, {"units": units, "long_name": "radius of the ball"}),
            **in_voxels("radius", radii, edge),
        },
    )  # fmt: skip
