"""Two-point cluster function: pairs of voxels in one connected component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.descriptors.lags import (
    ALONG,
    DEFAULT_LAGS,
    dimension,
    displacements,
    lag_coordinates,
    refuse_long,
)
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology.surface import DIRECTIONS
from tim3d.kernels.statistics.cluster_pairs import cluster_pairs
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.kernels.statistics.pair_counts import pairs_within


@dataclass(frozen=True)
class CountClusters:
    """Pairs of a core in one component by phase, and all pairs, in 13 directions."""

    lags: int

    def __call__(
        self, labels: Labels, numbers: NDArray[np.uint32], core: Box, material: Material
    ) -> Counts:
        """Return (phases + 1, directions, lags + 1) pairs; lag 0 counts voxels of components."""
        codes, steps = material.phases.codes, displacements(range(self.lags + 1))
        found = cluster_pairs(numbers, ranks_of(labels, codes), len(codes), steps, core)
        every = pairs_within(triple(labels.shape), steps, core)
        return np.concatenate([found, every[None]]).reshape(-1, len(DIRECTIONS), self.lags + 1)


@dataclass(frozen=True)
class ClusterCorrelation(Parametric):
    """Probability that two voxels lie in one component, of a field that `label` keeps.

    Parameters
    ----------
    lags : int
        Lags in steps from voxel to voxel, up to this one.
    components : str
        Field of the numbers of components.
    """

    kind: ClassVar[str] = "cluster_correlation"

    lags: int = DEFAULT_LAGS
    components: str = "component"

    @property
    def reads(self) -> tuple[Input, ...]:  # type: ignore[override]
        """Labels, and numbers of components."""
        return (LABELS, Input("numbers", self.components))

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if no axis of the volume is longer than the lags."""
        refuse_long(str(self), self.lags, shape)

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        name, lag = f"cluster_pairs{self.suffix}", dimension("lag", self.lags)
        sizes = (len(material.phases) + 1, len(DIRECTIONS), self.lags + 1)
        counting = Partial(
            name,
            (self.lags,) * 3,
            ("cluster_region", ALONG, lag),
            sizes,
            CountClusters(self.lags),
            reads=self.reads,
            voxel_bytes=2.0,
        )
        variable = Variable(
            f"two_point_cluster{self.suffix}",
            ("phase", ALONG, lag),
            0,
            "probability that the ends of a line lie in one connected component of the phase",
            f"pairs of voxels of one number in the field {self.components}",
            "doi:10.1007/978-1-4757-6355-3",
        )

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            every = totals[name][-1]
            return {variable.name: totals[name][:-1] / np.where(every > 0, every, np.nan)}

        coordinates = lag_coordinates(material, self.lags)
        return Descriptor(self.name, (counting,), (variable,), formula, coordinates=coordinates)
