"""Geodesic tortuosity: length of the shortest path through a phase over the straight length.

Distances are counted from the centres of the first layer of voxels, and so is the straight length:
plane k lies k voxels from the start. The tortuosity of a plane is the mean distance of its reached
voxels over the straight length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.base import Counts, Labels, Material, Partial
from tim3d.descriptors.inputs import Input
from tim3d.grid import AXES, Box
from tim3d.kernels.conduction.bounds import richardson
from tim3d.kernels.geodesic.geodesic import UNIT, plane_sums, tortuosity
from tim3d.lazy import xarray as xr

DIRECTIONS = ("+z", "-z", "+y", "-y", "+x", "-x")
REFERENCE = "doi:10.1038/s43246-024-00493-5"
METHODS = {
    "eikonal": "shortest way through the voxels of the phase, |grad d| = 1, upwind of second order",
    "graph26": "shortest way from voxel centre to voxel centre over faces, edges and corners",
}
# Bounds of the order of convergence with the voxel size.
ORDERS = (0.8, 1.6)
_CONNECTIVITY = {"eikonal": 6, "graph26": 26}
Integers = NDArray[np.int64]
_ABOUT = {
    "geodesic_tortuosity": "geodesic tortuosity, mean over the last quarter of the planes",
    "geodesic_tortuosity_last_plane": "geodesic tortuosity of the last plane",
    "geodesic_tortuosity_all_planes": "geodesic tortuosity, mean over all planes but the first",
    "geodesic_reached_share": "share of the phase's voxels that a path reaches from the first plane",
    "geodesic_unreached_voxels": "voxels of the phase that no path reaches from the first plane",
    "geodesic_percolates": "1 if a path leads from the first plane to the last",
}
_MEAN = "geodesic tortuosity, mean over the directions that percolate"
_SPREAD = "geodesic tortuosity, largest less smallest of the directions that percolate"


#: The phase, and the distances of its voxels in parts of 2^-16 of the shortest voxel edge.
REGION, DISTANCES = Input("labels", "region"), Input("numbers", "distances")


@dataclass(frozen=True)
class SumPlanes:
    """Sums by plane of a block across an axis."""

    axis: int

    def __call__(
        self, region: Labels, distances: NDArray[np.uint32], core: Box, material: Material
    ) -> dict[str, Counts]:
        """Return voxels of the phase, voxels reached and the sum of their distances, by plane."""
        box = core.slices
        total, reached, inside = plane_sums(distances[box], region[box], self.axis)
        return {"inside": inside, "reached": reached, "total": total}

    def partials(self) -> tuple[Partial, ...]:
        """Partials whose sums make up `Planes`."""
        plane = AXES[self.axis]
        return tuple(
            Partial(
                part,
                (0, 0, 0),
                (plane,),
                (),
                self,
                plane=plane,
                reads=(REGION, DISTANCES),
                part=part,
            )
            for part in ("inside", "reached", "total")
        )


@dataclass(frozen=True)
class Planes:
    """Sums by plane across an axis, from the lowest: voxels, voxels reached, their distances.

    `total` is the sum of distances in parts of 2^-16 of the shortest voxel edge; `rises` is true if
    the front starts at the lowest plane. Numbers of voxels and sums add up over blocks.
    """

    inside: Integers
    reached: Integers
    total: Integers
    spacing: tuple[float, float, float]
    axis: int
    rises: bool = True

    def numbers(self) -> tuple[dict[str, float], NDArray[np.float64]]:
        """Results of one direction by name, and the tortuosity of every plane from the lowest."""
        order = slice(None, None, 1 if self.rises else -1)
        found = tortuosity(
            self.total[order], self.reached[order], self.inside[order], self.spacing, self.axis
        )
        rows = {
            "geodesic_tortuosity": found.last_quarter,
            "geodesic_tortuosity_last_plane": found.last_plane,
            "geodesic_tortuosity_all_planes": found.all_planes,
            "geodesic_reached_share": found.reached,
            "geodesic_unreached_voxels": self.unreached,
            "geodesic_percolates": int(self.reached[order][-1] > 0),
        }
        return rows, found.profile[order]

    @property
    def unreached(self) -> int:
        """Voxels of the phase that no path reaches."""
        return int(self.inside.sum() - self.reached.sum())

    @property
    def share(self) -> float:
        """Share of the phase's voxels that are reached, nan if there are none."""
        return int(self.reached.sum()) / n if (n := int(self.inside.sum())) else float("nan")

    @property
    def mean(self) -> float:
        """Mean distance of the reached voxels in units of length, nan if there are none."""
        n = int(self.reached.sum())
        return int(self.total.sum()) * (min(self.spacing) / UNIT) / n if n else float("nan")


def geodesic_results(
    found: Mapping[tuple[str, str], Planes], spacing_nm: tuple[float, float, float], metric: str
) -> xr.Dataset:
    """Geodesic tortuosity of each phase and direction, dimensionless, with profiles and means.

    Parameters
    ----------
    found : mapping
        Sums by plane, by name of the phase and direction.
    spacing_nm : (z, y, x)
        Edges of a voxel.
    metric : {"eikonal", "graph26"}
        Metric of the distances, recorded with the values.

    Returns
    -------
    xarray.Dataset
        By phase and direction: ``geodesic_tortuosity`` and its like, nan where the phase does not
        lead from the first plane to the last; by phase: mean and spread over the directions; by
        phase and plane: the profile of each direction.
    """
    phases, directions = (list(dict.fromkeys(key[n] for key in found)) for n in (0, 1))
    rows = {key: planes.numbers() for key, planes in found.items()}
    numbers = {key: row for key, (row, _) in rows.items()}
    profiles = {key: profile for key, (_, profile) in rows.items()}
    dims = ("phase", "direction")
    variables: dict[str, Any] = {
        name: (
            dims,
            np.array([[numbers[p, d][name] for d in directions] for p in phases]),
            _attributes(text, metric),
        )
        for name, text in _ABOUT.items()
    }
    values = variables["geodesic_tortuosity"][1]
    for name, text, reduce in (("mean", _MEAN, _mean), ("spread", _SPREAD, _spread)):
        row = np.array([reduce(v[np.isfinite(v)]) for v in values])
        variables[f"geodesic_tortuosity_{name}"] = (("phase",), row, _attributes(text, metric))
    coordinates: dict[str, Any] = {
        "phase": np.array(phases, object),
        "direction": np.array(directions, object),
    }
    for d in directions:
        profile = np.array([profiles[p, d] for p in phases])
        text = f"geodesic tortuosity of planes on the way along {d}"
        variables[f"plane_geodesic_tortuosity_{way(d)}"] = (
            ("phase", d[1]),
            profile,
            _attributes(text, metric),
        )
        centres = (np.arange(profile.shape[1]) + 0.5) * spacing_nm[AXES.index(d[1])]
        coordinates[d[1]] = (
            (d[1],),
            centres,
            {"units": "nm", "long_name": f"centre of the plane along {d[1]}"},
        )
    return xr.Dataset(variables, coordinates, _about(metric, spacing_nm))


def seeds_results(found: Mapping[str, Planes], seeds: tuple[str, str], metric: str) -> xr.Dataset:
    """Counts of each phase, and the mean length of the paths from a source, in nm.

    Parameters
    ----------
    found : mapping
        Sums by plane, by name of the phase.
    seeds : (field, phase)
        The source.
    metric : {"eikonal", "graph26"}
        Metric of the distances, recorded with the values.

    Returns
    -------
    xarray.Dataset
        By phase: ``geodesic_reached_share``, ``geodesic_unreached_voxels``,
        ``geodesic_mean_distance`` in nm, nan where nothing is reached.
    """
    planes = list(found.values())
    rows = {
        "geodesic_reached_share": (
            "share of the phase's voxels that a path reaches",
            [p.share for p in planes],
        ),
        "geodesic_unreached_voxels": (
            "voxels of the phase that no path reaches",
            [p.unreached for p in planes],
        ),
        "geodesic_mean_distance": (
            "mean distance of the voxels that a path reaches",
            [p.mean for p in planes],
        ),
    }
    variables: dict[str, Any] = {
        name: (("phase",), np.array(values), _attributes(f"{text} from the seeds", metric))
        for name, (text, values) in rows.items()
    }
    variables["geodesic_mean_distance"][2]["units"] = "nm"
    about = {
        "method": METHODS[metric],
        "metric": metric,
        "connectivity": _CONNECTIVITY[metric],
        "distance": "from the centres of the seeds, which count as 0, to voxel centres",
        "unreached": "left out of the mean; their share is given",
        "seeds": list(seeds),
        "reference": REFERENCE,
    }
    return xr.Dataset(variables, {"phase": np.array(list(found), object)}, about)


def with_limit(fine: xr.Dataset, coarse: xr.Dataset, metric: str) -> xr.Dataset:
    """Add results of every second voxel, the value at vanishing voxel size and its uncertainty.

    The value is ``2 t(h) - t(2h)``; the uncertainty covers orders of convergence from 0.8 to 1.6
    (observed on smooth pores: 1.3 to 1.5). Over 26 neighbours it is the limit of that metric, which
    is not the length in free space.
    """
    found = fine.copy()
    for name in ("geodesic_tortuosity", "geodesic_tortuosity_mean"):
        pair = np.nditer([fine[name].values, coarse[name].values])
        values = np.array([richardson(float(a), float(b), ORDERS) for a, b in pair]).reshape(
            *fine[name].shape, 2
        )
        text = fine[name].attrs["long_name"]
        for suffix, table, more in (
            ("coarse", coarse[name].values, "of every second voxel"),
            ("limit", values[..., 0], "at vanishing voxel size"),
            ("limit_uncertainty", values[..., 1], "at vanishing voxel size: half width"),
        ):
            found[f"{name}_{suffix}"] = (
                fine[name].dims,
                table,
                _attributes(f"{text}, {more}", metric),
            )
    return found


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.max() - values.min()) if values.size else float("nan")


def way(direction: str) -> str:
    """A direction as it is written in names.

    >>> way("+z"), way("-x")
    ('z_up', 'x_down')
    """
    return f"{direction[1]}_{'up' if direction[0] == '+' else 'down'}"


def _attributes(long_name: str, metric: str) -> dict[str, str]:
    return {"units": "1", "long_name": long_name, "method": METHODS[metric], "reference": REFERENCE}


def _about(metric: str, spacing_nm: Sequence[float]) -> dict[str, Any]:
    return {
        "method": METHODS[metric],
        "metric": metric,
        "connectivity": _CONNECTIVITY[metric],
        "averaging_region": "last quarter of the planes, each plane with equal weight",
        "distance": "from the centres of the first layer, which count as 0, to voxel centres",
        "straight_way": "plane k lies k voxels from the first",
        "unreached": "left out of the means; their share is given",
        "direction": "+z is the way from the lowest plane of the volume towards larger z",
        "spacing_nm": list(spacing_nm),
        "reference": REFERENCE,
    }
