"""Surface, mean curvature and Euler number from one histogram; surface by smoothed gradients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial as bind
from itertools import combinations

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.grid import Box
from tim3d.kernels.morphology import gradient_area, voxel_configurations
from tim3d.kernels.morphology.surface import (
    Weights,
    crofton_weights,
    density,
    euler_weights,
    face_weights,
    marching_cubes_weights,
    mean_curvature_weights,
)
from tim3d.phases import Phases

_MIRROR = "volume mirrored at its border, no faces of the sample box"
_CROFTON = "doi:10.5566/ias.v26.p83-92"
_OHSER = "doi:10.5566/ias.v28.p77-92"
_LEWINER = "doi:10.1080/10867651.2003.10487582"
_BOOK = "doi:10.1002/9783527628308"
_FEDERER = "doi:10.2307/1993504"


def region_sets(phases: Phases) -> tuple[tuple[int, ...], ...]:
    """Regions whose histograms are counted: each phase, and the unions of two for interfaces.

    A union is left out where it, or the rest of the material, is a region already: up to three
    phases need no union.

    >>> region_sets(Phases(a=0, b=1, c=2))
    ((0,), (1,), (2,))
    >>> region_sets(Phases(a=0, b=1, c=2, d=3))[4:]
    ((0, 1), (0, 2), (0, 3))
    """
    sets: list[tuple[int, ...]] = [(code,) for code in phases.codes]
    for pair in combinations(phases.codes, 2):
        rest = tuple(code for code in phases.codes if code not in pair)
        if rest and rest not in sets:
            sets.append(pair)
    return tuple(sets)


def _configuration_sizes(material: Material) -> tuple[int, ...]:
    return (len(region_sets(material.phases)), 256)


def _count_configurations(labels: Labels, core: Box, material: Material) -> Counts:
    sets = region_sets(material.phases)
    return np.stack([voxel_configurations.octant_histogram(labels, codes, core) for codes in sets])


def _phase_count(material: Material) -> tuple[int, ...]:
    return (len(material.phases),)


def _sum_gradients(labels: Labels, core: Box, material: Material) -> Counts:
    codes = material.phases.codes
    # Two phases share one interface, and their gradients differ only in sign, to the last bit.
    apart = codes[:1] if len(codes) == 2 else codes
    areas = [gradient_area.gradient_area(labels, [code], core, material.spacing) for code in apart]
    return np.array(areas * (len(codes) // len(apart)), np.int64)


#: Octants of each region of `region_sets` by the configuration of their corner.
CONFIGURATIONS = Partial(
    "configurations",
    voxel_configurations.HALO,
    ("region", "configuration"),
    _configuration_sizes,
    _count_configurations,
)
#: Quanta of gradient area of each phase.
GRADIENT = Partial("gradient_area", gradient_area.HALO, ("phase",), _phase_count, _sum_gradients)


def _densities(
    totals: Mapping[str, Counts], material: Material, weights: Mapping[str, Weights]
) -> dict[str, Values]:
    phases = totals["configurations"][: len(material.phases)]
    return {name: density(phases, w, material.spacing) for name, w in weights.items()}


def _surfaces(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    spacing = material.spacing
    weights = {
        "specific_surface": crofton_weights(spacing),
        "specific_surface_marching_cubes": marching_cubes_weights(spacing),
        "specific_surface_faces": face_weights(spacing),
    }
    return _densities(totals, material, weights)


def _curvatures(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    weights = {"mean_curvature_integral": mean_curvature_weights(material.spacing)}
    return _densities(totals, material, weights)


def _eulers(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    weights = {"euler_density": euler_weights(26), "euler_density_6": euler_weights(6)}
    return _densities(totals, material, weights)


def _gradients(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    # The octants of any one region are eight times the voxels.
    voxels = totals["configurations"][0].sum() / 8
    quantum = gradient_area.gradient_quantum(material.spacing) / material.voxel_volume
    return {"specific_surface_gradient": totals["gradient_area"] * quantum / voxels}


_phase_variable = bind(Variable, dims=("phase",))

SPECIFIC_SURFACE = Descriptor(
    "specific_surface",
    (CONFIGURATIONS,),
    (
        _phase_variable(
            name="specific_surface",
            power=-1,
            long_name="surface area of each phase per volume",
            method=f"Crofton formula, 13 directions; {_MIRROR}",
            reference=_CROFTON,
        ),
        _phase_variable(
            name="specific_surface_marching_cubes",
            power=-1,
            long_name="surface area of each phase per volume, binary marching cubes",
            method=f"mesh at level 1/2 of the binary volume, 9 % too large on smooth surfaces; {_MIRROR}",
            reference=_LEWINER,
        ),
        _phase_variable(
            name="specific_surface_faces",
            power=-1,
            long_name="area of the voxel faces of each phase per volume",
            method=f"face count, 50 % too large on smooth isotropic surfaces; {_MIRROR}",
            reference=_BOOK,
        ),
    ),
    _surfaces,
    needs_volume=True,
)

MEAN_CURVATURE = Descriptor(
    "mean_curvature_integral",
    (CONFIGURATIONS,),
    (
        _phase_variable(
            name="mean_curvature_integral",
            power=-2,
            long_name="integral of the mean curvature of each phase per volume, positive where convex",
            method=f"Crofton formula on lattice planes of 13 normals; {_MIRROR}",
            reference=_OHSER,
        ),
    ),
    _curvatures,
    needs_volume=True,
)

EULER = Descriptor(
    "euler_density",
    (CONFIGURATIONS,),
    tuple(
        _phase_variable(
            name=name,
            power=-3,
            long_name=f"Euler number of each phase per volume, {connectivity}-connected",
            method=f"configurations of 2x2x2 voxels, connectivity {connectivity}; {_MIRROR}",
            reference=_OHSER,
        )
        for name, connectivity in (("euler_density", 26), ("euler_density_6", 6))
    ),
    _eulers,
    needs_volume=True,
)

SPECIFIC_SURFACE_GRADIENT = Descriptor(
    "specific_surface_gradient",
    (CONFIGURATIONS, GRADIENT),
    (
        _phase_variable(
            name="specific_surface_gradient",
            power=-1,
            long_name="surface area of each phase per volume, smoothed gradient",
            method="integral of the gradient after a Gaussian of 1 voxel per axis; border voxels repeated",
            reference=_FEDERER,
        ),
    ),
    _gradients,
    needs_volume=True,
)
