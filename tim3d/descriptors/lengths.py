"""Distributions by volume of a length that a field holds: thickness, distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.descriptors.lags import in_voxels
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import Box
from tim3d.kernels.statistics.exact_sums import FixedPoint

# Bins double in this many steps, from half the shortest edge of a voxel on.
STEPS, OCTAVES = 64, 15
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Lengths and their squares, in shortest edges: fine enough for a voxel, coarse enough for 10^11.
FINE, COARSE = FixedPoint(16), FixedPoint(8)


def bin_edges(material: Material) -> Values:
    """Edges of the bins in nm; the first begins at 0 and the last has no end.

    >>> from tim3d.phases import Phases
    >>> edges = bin_edges(Material(Phases(a=0), (20.0, 10.0, 10.0)))
    >>> float(edges[0]), float(edges[64]), len(edges)
    (5.0, 10.0, 960)
    """
    return np.asarray(min(material.spacing) / 2 * 2 ** (np.arange(STEPS * OCTAVES) / STEPS))


@dataclass(frozen=True)
class ByPhase:
    """Lengths of the dimensions of a partial: the phases, and a number."""

    number: int

    def __call__(self, material: Material) -> tuple[int, int]:
        """Return both lengths."""
        return len(material.phases), self.number


@dataclass(frozen=True)
class CountLengths:
    """Lengths of a core by phase: voxels by bin, and their number, sum and sum of squares."""

    bins: str
    moments: str

    def __call__(
        self, labels: Labels, lengths: NDArray[np.float32], core: Box, material: Material
    ) -> dict[str, Counts]:
        """Count the voxels of each phase that have a length."""
        edges, codes = bin_edges(material), material.phases.codes
        bins = np.zeros((len(codes), len(edges) + 1), np.int64)
        moments = np.zeros((len(codes), 3), np.int64)
        for plane, own in zip(lengths[core.slices], labels[core.slices], strict=True):
            for rank, code in enumerate(codes):
                values = plane[(own == code) & (plane > 0)]
                places = np.searchsorted(edges, values, side="right")
                bins[rank] += np.bincount(places, minlength=bins.shape[1])
                moments[rank] += self._moments(values.astype(np.float64) / min(material.spacing))
        return {self.bins: bins, self.moments: moments}

    @staticmethod
    def _moments(values: Values) -> list[int]:
        return [len(values), int(FINE.total(values)), int(COARSE.total(values * values))]


@dataclass(frozen=True)
class LengthDistribution(Parametric):
    """Distribution of the lengths in a field over the voxels of each phase.

    Attributes
    ----------
    quantity, method, reference : str
        What the length is, how it is found and where that is described.
    command : str
        Command that makes the field.
    """

    kind: ClassVar[str] = ""
    quantity: ClassVar[str] = ""
    method: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    command: ClassVar[str] = ""

    lengths: str = ""

    @property
    def reads(self) -> tuple[Input, ...]:  # type: ignore[override]
        """Labels, and lengths."""
        name = self.lengths or f"{{field}}_{self.kind}"
        return (LABELS, Input("values", name, self.command, of_two_phases=True))

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        return Descriptor(
            self.name,
            self._partials(),
            self._variables(),
            self._formula,
            coordinates=self._coordinates(material),
        )

    def _partials(self) -> tuple[Partial, ...]:
        names = f"{self.kind}_bins{self.suffix}", f"{self.kind}_moments{self.suffix}"
        compute, bins = CountLengths(*names), STEPS * OCTAVES + 1
        sizes = ((self._bin, bins), (f"{self.kind}_moment", 3))
        return tuple(
            Partial(
                name,
                (0, 0, 0),
                ("phase", dim),
                ByPhase(n),
                compute,
                reads=self.reads,
                part=name,
            )
            for name, (dim, n) in zip(names, sizes, strict=True)
        )

    @property
    def _bin(self) -> str:
        return f"{self.kind}_bin"

    def _variables(self) -> tuple[Variable, ...]:
        rows: list[tuple[str, tuple[str, ...], int, str]] = [
            ("mean", ("phase",), 1, f"mean {self.quantity}"),
            ("std", ("phase",), 1, f"standard deviation of the {self.quantity}"),
            ("median", ("phase",), 1, f"median {self.quantity}"),
            ("quantile", ("phase", "quantile"), 1, f"quantiles of the {self.quantity}"),
            ("share", ("phase", self._bin), 0, f"share of the phase by {self.quantity}"),
        ]
        return tuple(
            Variable(
                f"{self.kind}_{name}{self.suffix}",
                dims,
                power,
                f"{text}, by volume",
                self.method,
                self.reference,
            )
            for name, dims, power, text in rows
        )

    def _formula(self, totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
        bins, moments = (totals[p.name] for p in self._partials())
        edge, (voxels, total, squares) = min(material.spacing), moments.T
        number = np.where(voxels > 0, voxels, np.nan)
        mean = total * FINE.quantum / number
        spread = np.sqrt(np.maximum(squares * COARSE.quantum / number - mean**2, 0))
        found = np.array([quantiles(row, bin_edges(material)) for row in bins])
        median = found[:, QUANTILES.index(0.5)]
        values = (mean * edge, spread * edge, median, found, bins / number[:, None])
        return {v.name: one for v, one in zip(self._variables(), values, strict=True)}

    def _coordinates(self, material: Material) -> dict[str, Any]:
        edges = np.concatenate([[0.0], bin_edges(material)])
        about = {"long_name": f"{self.quantity}, lower edge of the bin", "units": material.units}
        levels = {"long_name": "share of the volume below", "units": "1"}
        return {
            self._bin: (self._bin, edges, about),
            **in_voxels(self._bin, edges, min(material.spacing)),
            "quantile": ("quantile", np.array(QUANTILES), levels),
        }


def quantiles(counts: Counts, edges: Values) -> Values:
    """Lengths below which shares of the voxels lie, straight within a bin; nan without voxels.

    >>> quantiles(np.array([0, 4, 0]), np.array([1.0, 2.0]))[3]
    np.float64(1.5)
    """
    if not counts.sum():
        return np.full(len(QUANTILES), np.nan)
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    ends = np.concatenate([[0.0], edges, edges[-1:]])
    filled = np.flatnonzero(counts)
    # Between the bins that hold voxels the share stands still.
    places = np.unique(np.concatenate([filled, filled + 1]))
    return np.asarray(np.interp(QUANTILES, below[places], ends[places]))


@dataclass(frozen=True)
class Thickness(LengthDistribution):
    """Distribution by volume of the local thickness, from the field that `thickness` makes.

    Parameters
    ----------
    lengths : str
        The field (default: FIELD_thickness).
    """

    kind: ClassVar[str] = "thickness"
    quantity: ClassVar[str] = "local thickness"
    method: ClassVar[str] = "diameter of the largest ball in the phase that covers a voxel"
    reference: ClassVar[str] = "doi:10.1046/j.1365-2818.1997.1340694.x"
    command: ClassVar[str] = (
        "tim3d distance {sample}{on_field}; tim3d thickness {sample} --distance {field}_distance"
    )


@dataclass(frozen=True)
class DistanceDistribution(LengthDistribution):
    """Distribution by volume of the distance to the nearest other phase, from the field of `distance`.

    Parameters
    ----------
    lengths : str
        The field (default: FIELD_distance).
    """

    kind: ClassVar[str] = "distance"
    quantity: ClassVar[str] = "distance to the nearest other phase"
    method: ClassVar[str] = "exact Euclidean distance between voxel centres"
    reference: ClassVar[str] = "doi:10.1007/0-306-47025-X_36"
    command: ClassVar[str] = "tim3d distance {sample}{on_field}"
