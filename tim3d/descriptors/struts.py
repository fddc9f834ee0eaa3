"""Struts of a phase: numbers, lengths, meetings and diameters of the branches of its skeleton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.base import Values
from tim3d.grid import AXES
from tim3d.kernels.morphology.strut_graph import (
    NO_NODE,
    Branches,
    Network,
    branches,
    whole_paths,
)
from tim3d.kernels.statistics.log_normal import LogNormal
from tim3d.lazy import xarray as xr

REFERENCE = "doi:10.1006/cviu.1998.0680"
COX = "doi:10.1080/10691898.2005.11910638"
# Where diameters are taken, and what their variables are called.
TAKEN = {"along": "strut_diameter", "middle": "strut_middle_diameter"}
WHERE = {"along": "at every voxel of the struts", "middle": "half way along each strut"}
# Nodes where this many struts or more meet are counted together.
MOST_MEETING = 12

Row: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class Struts:
    """Struts of one phase, and what is measured on them."""

    network: Network
    measured: Branches

    @classmethod
    def of(cls, network: Network) -> Struts:
        """Measure a network."""
        return cls(network, branches(network))

    @property
    def is_cut(self) -> NDArray[np.bool_]:
        """Whether each node is an end whose ball is cut by the border of the volume."""
        found = self.network
        cut = found.curves.is_cut[found.centre] & (found.coordination == 1)
        return np.asarray(cut)

    def diameters(self, taken: str) -> Values:
        """Diameters in nm: at all voxels of the struts, or half way along each."""
        if taken == "middle":
            return 2 * self.measured.middle
        radius = self.network.curves.radius
        return 2 * np.concatenate([np.zeros(0), *(radius[path] for path in self.network.paths)])

    def numbers(self) -> Row:
        """Counts, densities, lengths and meetings."""
        found, length = self.network, self.measured.length
        meeting = found.coordination[found.coordination > 2]
        ends = found.coordination == 1
        volume = float(np.prod(found.curves.shape) * np.prod(found.curves.spacing))
        return {
            "strut_count": len(length),
            "strut_node_count": len(meeting),
            "strut_end_count": int((ends & ~self.is_cut).sum()),
            "strut_cut_count": int(self.is_cut.sum()),
            "strut_ring_count": int((found.ends[:, 0] == NO_NODE).sum()),
            "strut_node_density": len(meeting) / volume,
            "strut_length_density": float(length.sum()) / volume,
            "strut_coordination_mean": _mean(meeting),
            "strut_length_mean": _mean(length),
            "strut_length_median": float(np.median(length)) if len(length) else np.nan,
            "strut_straightness": _mean(self.measured.chord[length > 0] / length[length > 0]),
        }

    def spread(self, taken: str) -> Row:
        """Distribution of the diameters, with its log-normal fit, by the end of the variable's name."""
        values = self.diameters(taken)
        fit = LogNormal.of(values)
        low, high = fit.interval
        mean_low, mean_high = fit.mean_interval(len(self.network.paths))
        return {
            "mean": _mean(values),
            "std": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
            "median": float(np.median(values)) if len(values) else np.nan,
            "fit_mean": fit.mean,
            "fit_low": low,
            "fit_high": high,
            "fit_mean_low": mean_low,
            "fit_mean_high": mean_high,
            "fit_mu": fit.mu,
            "fit_sigma": fit.sigma,
            "fit_distance": fit.distance(values) if len(values) else np.nan,
        }

    def meetings(self) -> Values:
        """Share of the nodes by the number of struts that meet there, from 3 on."""
        found = np.clip(self.network.coordination, 0, MOST_MEETING)
        counts = np.bincount(found[found > 2], minlength=MOST_MEETING + 1)[3:]
        return np.asarray(counts / counts.sum() if counts.any() else np.full(len(counts), np.nan))


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


# Unit (as a power of nm) and meaning of each number.
NUMBERS: dict[str, tuple[int, str]] = {
    "strut_count": (0, "number of struts, rings among them"),
    "strut_node_count": (0, "number of nodes where three struts or more meet"),
    "strut_end_count": (0, "number of struts' ends within the phase"),
    "strut_cut_count": (0, "number of struts' ends that the border of the volume cuts"),
    "strut_ring_count": (0, "number of rings without a node"),
    "strut_node_density": (-3, "nodes where three struts or more meet, per volume"),
    "strut_length_density": (-2, "length of all struts per volume"),
    "strut_coordination_mean": (0, "mean number of struts that meet at a node, three or more"),
    "strut_length_mean": (1, "mean length of a strut, from node to node"),
    "strut_length_median": (1, "median length of a strut, from node to node"),
    "strut_straightness": (0, "mean of the distance between the nodes of a strut over its length"),
}
DIAMETERS: dict[str, tuple[int, str]] = {
    "mean": (1, "mean diameter"),
    "std": (1, "standard deviation of the diameter"),
    "median": (1, "median diameter"),
    "fit_mean": (1, "mean of the log-normal fit"),
    "fit_low": (1, "95 % of the log-normal fit lie between this diameter and the high one"),
    "fit_high": (1, "95 % of the log-normal fit lie between the low diameter and this one"),
    "fit_mean_low": (1, "95 % confidence interval of the mean of the fit, low end"),
    "fit_mean_high": (1, "95 % confidence interval of the mean of the fit, high end"),
    "fit_mu": (0, "mean of the logarithm of the diameter in nm"),
    "fit_sigma": (0, "standard deviation of the logarithm of the diameter"),
    "fit_distance": (0, "largest difference between the shares of diameters below and the fit's"),
}  # fmt: skip


def strut_results(found: Mapping[str, Struts], units: str) -> xr.Dataset:
    """Results of some phases, and their graphs as tables.

    Parameters
    ----------
    found : mapping of str to Struts
        Struts by the name of the phase.
    units : str
        Unit of lengths.

    Returns
    -------
    xarray.Dataset
        Numbers and diameters (phase), shares of the nodes (phase, meeting), and the
        tables `node_*` (node), `branch_*` (branch) and `point_*` (point).
    """
    every = list(found.values())
    about = {
        "method": "distance-ordered thinning to curves, its graph without spurs",
        "reference": REFERENCE,
    }
    counted = [one.numbers() for one in every]
    spread = {taken: [one.spread(taken) for one in every] for taken in TAKEN}
    numbers = {
        name: (
            ("phase",),
            [row[name] for row in counted],
            _named(power, text, units) | about,
        )
        for name, (power, text) in NUMBERS.items()
    }
    diameters = {
        f"{beginning}_{name}": (
            ("phase",),
            [row[name] for row in spread[taken]],
            _named(power, f"{text}, {WHERE[taken]}", units)
            | about
            | ({"reference": COX} if name.startswith("fit_mean_") else {}),
        )
        for taken, beginning in TAKEN.items()
        for name, (power, text) in DIAMETERS.items()
    }
    meetings = {
        "strut_node_share": (
            ("phase", "meeting"),
            np.array([one.meetings() for one in every]),
            {"units": "1", "long_name": "share of the nodes where a number of struts meet"} | about,
        )
    }
    coordinates: dict[str, Any] = {
        "phase": np.array(list(found), dtype=object),
        "meeting": (
            "meeting",
            np.arange(3, MOST_MEETING + 1),
            {"long_name": f"struts that meet, {MOST_MEETING} or more together", "units": "1"},
        ),
    }
    tables = dict(_tables(found, units))
    return xr.Dataset(numbers | diameters | meetings | tables, coordinates)


# Other measures of the diameter: name, variable (its beginning), and name of the ratio.
OTHERS = {
    "local thickness, by volume": ("thickness_mean", "strut_diameter_per_thickness"),
    "mean chord": ("mean_chord_length", "strut_diameter_per_chord"),
}


def agreement(
    found: xr.Dataset, measured: xr.Dataset
) -> dict[str, tuple[str, xr.DataArray, xr.DataArray]]:
    """Mean strut diameters over other measures of the same, as far as they are measured.

    Parameters
    ----------
    found : Dataset
        With `strut_diameter_mean` (phase).
    measured : Dataset
        With a mean local thickness, a mean chord, or neither.

    Returns
    -------
    dict
        By the name of the measure: name of the ratio, the measure (phase), its mean over axes, and
        the ratio.
    """
    made = {}
    for name, (beginning, ratio) in OTHERS.items():
        there = [str(n) for n in measured.data_vars if str(n).startswith(beginning)]
        if "strut_diameter_mean" not in found or not there:
            continue
        whole = measured[there[0]]
        mean = whole.mean([dim for dim in whole.dims if dim != "phase"], skipna=False)
        about = {
            "units": "1",
            "long_name": f"mean diameter of the struts over the {name}",
            "method": f"strut_diameter_mean / {there[0]}",
        }
        share = (found["strut_diameter_mean"] / mean).assign_attrs(about)
        made[name] = (ratio, mean, share)
    return made


def _named(power: int, text: str, units: str) -> dict[str, str]:
    return {"units": {0: "1", 1: units}.get(power, f"{units}{power}"), "long_name": text}


def _tables(found: Mapping[str, Struts], units: str) -> Iterator[tuple[str, Any]]:
    """Columns of the tables of all phases, one after the other; all is numbered through."""
    nodes = branches_before = 0
    parts = []
    for rank, one in enumerate(found.values()):
        parts.append(_columns(rank, nodes, branches_before, one))
        nodes += len(one.network.centre)
        branches_before += len(one.network.paths)
    for name, (unit, text) in COLUMNS.items():
        values = np.concatenate([part[name] for part in parts])
        about = {"units": units if unit == "nm" else unit, "long_name": text}
        yield name, (name.split("_", 1)[0], values, about)


def _columns(rank: int, nodes: int, before: int, one: Struts) -> dict[str, Any]:
    """Columns of one phase, after the nodes and branches of others."""
    found, measured = one.network, one.measured
    rows, starts = whole_paths(found)
    ends = np.where(found.ends == NO_NODE, NO_NODE, found.ends + nodes)
    return (
        {"node_phase": np.full(len(found.centre), rank, np.uint8)}
        | _places("node", found, found.centre)
        | {
            "node_diameter": 2 * found.radius,
            "node_coordination": found.coordination,
            "node_cut": one.is_cut.astype(np.uint8),
            "branch_phase": np.full(len(ends), rank, np.uint8),
            "branch_from": ends[:, 0],
            "branch_to": ends[:, 1],
            "branch_length": measured.length,
            "branch_chord": measured.chord,
            "branch_mean": 2 * measured.mean,
            "branch_middle": 2 * measured.middle,
            "branch_least": 2 * measured.least,
            "point_branch": np.repeat(np.arange(len(ends)) + before, np.diff(starts)),
        }
        | {name: v.astype(np.float32) for name, v in _places("point", found, rows).items()}
        | {"point_diameter": (2 * found.curves.radius[rows]).astype(np.float32)}
    )


def _places(table: str, found: Network, rows: NDArray[np.int64]) -> dict[str, Values]:
    """Centres of voxels in nm, by the name of the column."""
    spacing = found.curves.spacing
    places = (found.curves.places_of(rows) + 0.5) * np.array(spacing)
    return {f"{table}_{axis}": places[:, a] for a, axis in enumerate(AXES)}


# Columns of the tables: unit and meaning. The first word is the table.
COLUMNS = {
    "node_phase": ("1", "number of the phase in the list of phases, from 0"),
    "node_z": ("nm", "centre of the node"),
    "node_y": ("nm", "centre of the node"),
    "node_x": ("nm", "centre of the node"),
    "node_diameter": ("nm", "diameter of the ball at the node"),
    "node_coordination": ("1", "ends of struts at the node"),
    "node_cut": ("1", "1 for an end that the border of the volume cuts"),
    "branch_phase": ("1", "number of the phase in the list of phases, from 0"),
    "branch_from": ("1", "node where the strut begins, from 0; -1 for a ring"),
    "branch_to": ("1", "node where the strut ends; -1 for a ring"),
    "branch_length": ("nm", "length along the strut, from node to node"),
    "branch_chord": ("nm", "distance between the nodes"),
    "branch_mean": ("nm", "mean diameter over the voxels of the strut"),
    "branch_middle": ("nm", "diameter half way along the strut"),
    "branch_least": ("nm", "diameter of the neck, the narrowest voxel"),
    "point_branch": ("1", "strut that the voxel is on, from 0; in order along it"),
    "point_z": ("nm", "centre of the voxel"),
    "point_y": ("nm", "centre of the voxel"),
    "point_x": ("nm", "centre of the voxel"),
    "point_diameter": ("nm", "diameter of the ball around the voxel"),
}
