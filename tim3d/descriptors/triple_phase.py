"""Length of the lines at which three phases meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.descriptors.parametric import Parametric
from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Triple, triple
from tim3d.kernels.morphology.triple_edges import AROUND, triple_edges, triples_of
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.kernels.statistics.pair_counts import pairs_within

#: Length of edges over length of the line, mean over all directions of |u_z| + |u_y| + |u_x|.
STAIRCASE = 1.5
_REFERENCE = "doi:10.1002/9783527628308"


@dataclass(frozen=True)
class CountEdges:
    """Edges of a core at which three phases meet, and all edges."""

    def __call__(self, labels: Labels, *given: Any) -> Counts:
        """Return (5, 3, triples + 1): edges, those through along z, y, x, and in the last row all."""
        *through, core, material = given
        codes = material.phases.codes
        found = triple_edges(ranks_of(labels, codes), len(codes), core, *through)
        every = pairs_within(triple(labels.shape), np.array([a[2] for a in AROUND]), core)
        last = np.broadcast_to(every[:, None], found.shape[1:])
        return np.concatenate([found, last[None]])


@dataclass(frozen=True)
class TriplePhaseBoundary(Parametric):
    """Length per volume of the lines at which three phases meet, and of those that are active.

    Parameters
    ----------
    components : str
        Field of the numbers of components that says what percolates (default: none, no active
        length).
    """

    kind: ClassVar[str] = "triple_phase_boundary"

    components: str = ""

    @property
    def reads(self) -> tuple[Input, ...]:  # type: ignore[override]
        """Labels, and which components percolate."""
        return (LABELS, Input("through", self.components)) if self.components else (LABELS,)

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if there are less than three phases."""
        if len(material.phases) < 3:
            raise ArgumentError(
                f"{self} needs three phases, and there are {', '.join(material.phases)}"
            )

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        names = list(material.phases)
        triples = ["+".join(names[r] for r in t) for t in triples_of(len(names))]
        end = self.suffix
        counting = Partial(
            f"triple_edges{end}",
            (1, 1, 1),
            ("edge_count", "axis", "triple"),
            (5, 3, len(triples) + 1),
            CountEdges(),
            reads=self.reads,
            voxel_bytes=2.0,
        )

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            found = _lengths(totals[counting.name], material, active=bool(self.components))
            return {name + end: values for name, values in found.items()}

        coordinates = {
            "axis": ("axis", np.array(AXES, dtype=object)),
            "triple": ("triple", np.array([*triples, "four phases"], dtype=object)),
        }
        return Descriptor(
            self.name,
            (counting,),
            tuple(
                Variable(name + end, dims, -2, text, method, _REFERENCE)
                for name, dims, text, method in _VARIABLES
            ),
            formula,
            needs_volume=True,
            coordinates=coordinates,
        )


def _lengths(counts: Counts, material: Material, *, active: bool) -> dict[str, Values]:
    """Lengths per volume: every edge stands for its own length and a voxel's cross-section."""
    every = np.where(counts[-1] > 0, counts[-1], np.nan)
    edges = np.array(material.spacing)[:, None] / material.voxel_volume
    along = counts[:-1] / every * edges
    total = along.sum(axis=1)
    found = {
        "triple_phase_boundary": total[0] / STAIRCASE,
        "triple_phase_boundary_edges": total[0],
        "triple_phase_boundary_along": along[0].T,
    }
    return found | ({"triple_phase_boundary_active": total[1:].T / STAIRCASE} if active else {})


_VARIABLES = (
    (
        "triple_phase_boundary",
        ("triple",),
        "length per volume of the lines at which three phases meet",
        "edges of voxels / 1.5, the staircase of lines in all directions",
    ),
    (
        "triple_phase_boundary_edges",
        ("triple",),
        "length per volume of the edges of voxels around which three phases lie",
        "edges of voxels inside the volume",
    ),
    (
        "triple_phase_boundary_along",
        ("triple", "axis"),
        "the same, of edges along each axis: the lines' projections",
        "edges of voxels inside the volume",
    ),
    (
        "triple_phase_boundary_active",
        ("triple", "axis"),
        "length per volume of the lines whose phases all percolate along the axis",
        "edges of voxels / 1.5 whose four voxels lie in components from face to face",
    ),
)
