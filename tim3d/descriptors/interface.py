"""Area of the interface between each pair of phases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Material, Values, Variable
from tim3d.descriptors.surface import CONFIGURATIONS, region_sets
from tim3d.kernels.morphology.surface import Weights, crofton_weights, density, face_weights
from tim3d.kernels.morphology.voxel_configurations import complement


def pair_histogram(histograms: Counts, material: Material, first: int, second: int) -> Counts:
    """Histogram of the union of two phases, given by index, from the `CONFIGURATIONS` partial.

    The union is a counted region, the complement of one, or, with two phases, the whole volume (all
    octants full).
    """
    codes = material.phases.codes
    sets = region_sets(material.phases)
    pair = (codes[first], codes[second])
    if pair in sets:
        return np.asarray(histograms[sets.index(pair)])
    rest = tuple(code for code in codes if code not in pair)
    if rest:
        return complement(histograms[sets.index(rest)])
    whole = np.zeros(256, np.int64)
    whole[255] = histograms[0].sum()
    return whole


def _areas(histograms: Counts, material: Material, weights: Weights) -> Values:
    n = len(material.phases)
    single = density(histograms[:n], weights, material.spacing)
    out = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1, n):
            union = density(pair_histogram(histograms, material, i, j), weights, material.spacing)
            out[i, j] = out[j, i] = (single[i] + single[j] - union) / 2
    return out


def _interfaces(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    histograms, spacing = totals["configurations"], material.spacing
    return {
        "interface_area": _areas(histograms, material, crofton_weights(spacing)),
        "interface_area_faces": _areas(histograms, material, face_weights(spacing)),
    }


_METHOD = (
    "(S_i + S_j - S_ij) / 2 with the surface of the union S_ij, {}; volume mirrored at its border"
)

#: S_ij per volume; NaN on the diagonal.
INTERFACE_AREA = Descriptor(
    "interface_area",
    (CONFIGURATIONS,),
    (
        Variable(
            "interface_area",
            ("phase", "phase_other"),
            -1,
            "area of the interface between two phases per volume",
            _METHOD.format("Crofton formula, 13 directions"),
            "doi:10.5566/ias.v26.p83-92",
        ),
        Variable(
            "interface_area_faces",
            ("phase", "phase_other"),
            -1,
            "area of the voxel faces between two phases per volume",
            _METHOD.format("face count"),
            "doi:10.1002/9783527628308",
        ),
    ),
    _interfaces,
    needs_volume=True,
)
