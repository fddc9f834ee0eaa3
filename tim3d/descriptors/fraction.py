"""Phase fraction and relative density, with profiles along each axis: voxel counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.grid import AXES, Box
from tim3d.kernels.morphology.phase_mask import plane_counts

_POINT_COUNT = "doi:10.1002/9783527628308"


def _phase_count(material: Material) -> tuple[int, ...]:
    return (len(material.phases),)


def _count_planes(labels: Labels, core: Box, material: Material, axis: int) -> Counts:
    return np.stack(
        [plane_counts(labels, [code], axis, core) for code in material.phases.codes], axis=1
    )


def _count_z(labels: Labels, core: Box, material: Material) -> Counts:
    return _count_planes(labels, core, material, 0)


def _count_y(labels: Labels, core: Box, material: Material) -> Counts:
    return _count_planes(labels, core, material, 1)


def _count_x(labels: Labels, core: Box, material: Material) -> Counts:
    return _count_planes(labels, core, material, 2)


#: Voxels of each phase in every plane along z, y and x: dims (axis, phase).
PLANES = tuple(
    Partial(f"phase_planes_{axis}", (0, 0, 0), (axis, "phase"), _phase_count, count, plane=axis)
    for axis, count in zip(AXES, (_count_z, _count_y, _count_x), strict=True)
)


def _fractions(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    values = {f"phase_fraction_{axis}": _share(totals[f"phase_planes_{axis}"]).T for axis in AXES}
    values["phase_fraction"] = _share(totals["phase_planes_z"].sum(axis=0))
    if "pore" in material.phases:
        values["relative_density"] = np.asarray(
            1.0 - values["phase_fraction"][material.phases.names.index("pore")]
        )
    return values


def _share(counts: Counts) -> Values:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


#: Share of the volume that each phase fills; with `relative_density` if a phase is named "pore".
PHASE_FRACTION = Descriptor(
    "phase_fraction",
    PLANES,
    (
        Variable(
            "phase_fraction",
            ("phase",),
            0,
            "volume fraction of each phase",
            "voxel count",
            _POINT_COUNT,
        ),
        Variable(
            "relative_density",
            (),
            0,
            "volume fraction of all that is not pore",
            "voxel count",
            _POINT_COUNT,
        ),
        *(
            Variable(
                f"phase_fraction_{axis}",
                ("phase", axis),
                0,
                f"area fraction of each phase in every plane along {axis}",
                "voxel count",
                _POINT_COUNT,
            )
            for axis in AXES
        ),
    ),
    _fractions,
)
