"""Area of the interface between two phases as it is seen along each axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import AXES, Box, triple


def count_faces(labels: Labels, core: Box, material: Material) -> Counts:
    """Voxel faces between each pair of phases across each axis; in the last row all voxels.

    A face belongs to the voxel that lies before it.

    Returns
    -------
    (4, phases, phases) int64
        The first phase lies before the face, the second behind it.
    """
    codes = material.phases.codes
    found = np.zeros((len(AXES) + 1, len(codes), len(codes)), np.int64)
    whole = Box.whole(triple(labels.shape))
    for axis in range(len(AXES)):
        step = triple(int(a == axis) for a in range(len(AXES)))
        behind = labels[core.shift(step).clip(whole).slices]
        before = labels[core.slices][tuple(slice(0, n) for n in behind.shape)]
        for i, j in np.ndindex(len(codes), len(codes)):
            if i != j:
                found[axis, i, j] = np.count_nonzero((before == codes[i]) & (behind == codes[j]))
    found[-1] = core.size
    return found


def _areas(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    counts = totals["projected_faces"]
    both = (counts + counts.transpose(0, 2, 1))[:-1] / counts[-1]
    along = both / np.array(material.spacing)[:, None, None]
    along[:, np.eye(len(material.phases), dtype=bool)] = np.nan
    return {"projected_interface": np.moveaxis(along, 0, -1)}


@dataclass(frozen=True)
class ProjectedInterface(Parametric):
    """Area of the interface between two phases, projected along each axis, per volume.

    Times the thickness of a layer it is the share of its cross-section in which two phases touch.
    """

    kind: ClassVar[str] = "projected_interface"

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these phases."""
        n = len(material.phases)
        counting = Partial(
            "projected_faces",
            (1, 1, 1),
            ("face_axis", "phase_before", "phase_behind"),
            (len(AXES) + 1, n, n),
            count_faces,
            voxel_bytes=3.0,
        )
        variable = Variable(
            "projected_interface",
            ("phase", "phase_other", "axis"),
            -1,
            "area of the interface between two phases, projected along an axis, per volume",
            "voxel faces across the axis; a column that crosses the interface twice counts twice",
            "doi:10.1002/9783527628308",
        )
        coordinates = {"axis": ("axis", np.array(AXES, dtype=object))}
        return Descriptor(self.name, (counting,), (variable,), _areas, coordinates=coordinates)
