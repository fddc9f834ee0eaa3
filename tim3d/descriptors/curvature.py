"""Curvature and orientation of the interfaces of phases, from smoothed labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.lags import Coordinates
from tim3d.descriptors.parametric import Parametric
from tim3d.descriptors.surface import CONFIGURATIONS
from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Box, Triple
from tim3d.kernels.morphology.interface_geometry import (
    POWERS,
    QUANTA,
    SUMS,
    interface_sums,
    reach,
)
from tim3d.kernels.morphology.surface import density, euler_weights, mean_curvature_weights

DEFAULT_SIGMA, DEFAULT_BINS = 2.0, 64
QUADRANTS = (
    "convex (M > 0, G > 0)",
    "concave (M < 0, G > 0)",
    "saddle, inwards (M < 0, G < 0)",
    "saddle, outwards (M > 0, G < 0)",
)
CERTIFICATES = ("mean curvature against Crofton", "Gaussian curvature against Euler number")
_GOLDMAN = "doi:10.1016/j.cagd.2005.06.005"
_OHSER = "doi:10.5566/ias.v28.p77-92"
_FABRIC = "doi:10.1016/0020-7225(84)90090-9"
_WHERE = {name: place for place, name in enumerate(SUMS)}
# Radius in sigma down to which a ball's mean curvature is right within 5 %, and the scatter of M
# over a large smooth surface in voxels squared / sigma cubed (docs/curvature.md).
SMALLEST_RADIUS, SCATTER = 5.0, 0.06


@dataclass(frozen=True)
class SumInterface:
    """Sums over the interface of each phase, and its area by curvatures."""

    sigma: float
    bins: int

    def __call__(self, labels: Labels, core: Box, material: Material) -> dict[str, Counts]:
        """Return `sums` (phases, 2, 15) and `areas` (phases, bins, bins)."""
        length = width(self.sigma, material)
        found = [
            interface_sums(labels, [code], length, material.spacing, self.bins, 0.5 / length, core)
            for code in material.phases.codes
        ]
        return {"sums": np.stack([s for s, _ in found]), "areas": np.stack([a for _, a in found])}


def width(sigma: float, material: Material) -> float:
    """Standard deviation of the Gaussian in units of length, from one in longest edges."""
    return sigma * max(material.spacing)


def partials_of_interface(sigma: float, bins: int, material: Material) -> tuple[Partial, Partial]:
    """Partials of sums and of areas by curvature, named after what is not a default."""
    end = "" if sigma == DEFAULT_SIGMA else f"_sigma_{sigma:g}"
    both = f"{end}_bins_{bins}"
    halo, compute, n = (
        reach(width(sigma, material), material.spacing),
        SumInterface(sigma, bins),
        len(material.phases),
    )
    how = {"halo": halo, "compute": compute, "voxel_bytes": 16.0}
    sums = Partial(
        f"interface_sums{both}",
        dims=("phase", "interface_part", "interface_sum"),
        sizes=(n, 2, len(SUMS)),
        part="sums",
        **how,  # type: ignore[arg-type]
    )
    areas = Partial(
        f"interface_areas{both}",
        dims=("phase", f"mean_bin_{bins}_counted", f"gauss_bin_{bins}_counted"),
        sizes=(n, bins, bins),
        part="areas",
        **how,  # type: ignore[arg-type]
    )
    return sums, areas


def lengths(sums: Counts, material: Material) -> Values:
    """Sums over the interface in units of length, (phases, 2, 15), of half the levels: doubled."""
    shortest = min(material.spacing)
    return np.asarray(2 * sums / QUANTA * shortest ** POWERS.astype(float) * material.voxel_volume)


def check_sigma(name: str, sigma: float, shape: Triple, material: Material) -> None:
    """Raise `ArgumentError` if a sigma is too small, or too large for the volume."""
    if not 1 <= sigma < math.inf:
        raise ArgumentError(
            f"{name}: sigma={sigma:g}; give at least 1, in longest edges of a voxel"
        )
    halo = reach(width(sigma, material), material.spacing)
    short = [a for a, n, h in zip(AXES, shape, halo, strict=True) if 1 < n <= 2 * h]
    if short:
        edges = " x ".join(map(str, shape))
        raise ArgumentError(
            f"{name}: normals and curvatures are taken {' x '.join(map(str, halo))} voxels from the border, and a "
            f"volume of {edges} voxels has none there along {', '.join(short)}: give a smaller sigma or a larger volume"
        )


@dataclass(frozen=True)
class Curvature(Parametric):
    """Mean and Gaussian curvature of the interface of each phase, and their joint distribution.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian that smooths the labels, in longest edges of a voxel.
    bins : int
        Bins of each curvature.
    """

    kind: ClassVar[str] = "curvature"

    sigma: float = DEFAULT_SIGMA
    bins: int = DEFAULT_BINS

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if the parameters do not fit the volume."""
        if not 4 <= self.bins <= 512:
            raise ArgumentError(f"{self}: bins={self.bins}; give 4 to 512")
        check_sigma(str(self), self.sigma, shape, material)

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        sums, areas = partials_of_interface(self.sigma, self.bins, material)
        end, bins = self.suffix, self._bins()

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            found = _curvatures(lengths(totals[sums.name], material), material, self.sigma)
            found |= _certified(
                lengths(totals[sums.name], material)[:, 0], totals["configurations"], material
            )
            share = totals[areas.name].sum(axis=(1, 2), keepdims=True)
            found["curvature_area"] = totals[areas.name] / np.where(share > 0, share, np.nan)
            return {name + end: values for name, values in found.items()}

        return Descriptor(
            self.name,
            (CONFIGURATIONS, sums, areas),
            tuple(
                Variable(name + end, dims, power, text, method, reference)
                for name, dims, power, text, method, reference in _variables(
                    bins, width(self.sigma, material), material
                )
            ),
            formula,
            needs_volume=True,
            coordinates=self._coordinates(material, *bins),
        )

    def _bins(self) -> tuple[str, str]:
        return f"mean_curvature{self.suffix}_bin", f"gauss_curvature{self.suffix}_bin"

    def _coordinates(self, material: Material, mean: str, gauss: str) -> Coordinates:
        """Middles of the bins; those of G are even in its signed root."""
        length = width(self.sigma, material)
        middles = (2 * (np.arange(self.bins) + 0.5) / self.bins - 1) * 0.5 / length
        texts = ("mean curvature", "Gaussian curvature, in even steps of its signed root")
        units = (material.unit(-1), material.unit(-2))
        values = (middles, middles * np.abs(middles))
        found: Coordinates = {
            dim: (dim, v, {"units": u, "long_name": t})
            for dim, v, u, t in zip((mean, gauss), values, units, texts, strict=True)
        }
        found["quadrant"] = ("quadrant", np.array(QUADRANTS, dtype=object))
        found["certificate"] = ("certificate", np.array(CERTIFICATES, dtype=object))
        return found


def _curvatures(sums: Values, material: Material, sigma: float) -> dict[str, Values]:
    """Means over the area away from the border."""
    inner = np.where(sums[:, 1, :1] > 0, sums[:, 1], np.nan)
    mean, gauss, square = (
        inner[:, _WHERE[name]] / inner[:, 0] for name in ("mean", "gauss", "mean_square")
    )
    quadrants = [_WHERE[name] for name in ("convex", "concave", "saddle_in", "saddle_out")]
    edge, length = max(material.spacing), width(sigma, material)
    return {
        "mean_curvature_mean": mean,
        "mean_curvature_deviation": np.sqrt(np.maximum(square - mean**2, 0.0)),
        "gauss_curvature_mean": gauss,
        "gauss_curvature_size_mean": inner[:, _WHERE["gauss_size"]] / inner[:, 0],
        "curvature_quadrant": inner[:, quadrants] / inner[:, :1],
        "curvature_smallest_radius": np.array(SMALLEST_RADIUS * length),
        "curvature_scatter": np.array(SCATTER * edge**2 / length**3),
    }


def _certified(sums: Values, configurations: Counts, material: Material) -> dict[str, Values]:
    """Integrals of M and G over all interface, and their ratios to what is known otherwise."""
    n = len(material.phases)
    histograms = configurations[:n]
    volume = histograms[0].sum() / 8 * material.voxel_volume
    mean, gauss = (
        sums[:, _WHERE["mean"]] / volume,
        sums[:, _WHERE["gauss"]] / volume / (4 * math.pi),
    )
    crofton = density(histograms, mean_curvature_weights(material.spacing), material.spacing)
    euler = [density(histograms, euler_weights(c), material.spacing) for c in (6, 26)]
    known = np.stack([crofton, np.mean(euler, axis=0)], axis=1)
    return {
        "mean_curvature_integral_smoothed": mean,
        "euler_density_smoothed": gauss,
        "curvature_certificate": np.stack([mean, gauss], axis=1)
        / np.where(known != 0, known, np.nan),
    }


def _variables(
    bins: tuple[str, str], length: float, material: Material
) -> tuple[tuple[str, tuple[str, ...], int, str, str, str], ...]:
    smooth = f"labels smoothed by a Gaussian of {length:g} {material.units}, levels 1/4 to 3/4"
    inside = f"{smooth}; mean by area, without the border of the volume"
    each, binned = ("phase",), f"{inside}; outer bins hold what is beyond"
    whole = f"{smooth}; volume mirrored at its border"
    limit = "5 sigma: there a ball has M 5 % too large, scattering by 12 %"
    scatter = "0.06 voxels squared / sigma cubed, measured on balls of 30 voxels"
    ratio = "1 where both agree: Crofton's formula; mean of the Euler numbers 6 and 26"
    rows = (
        ("mean_curvature_mean", each, -1, "mean curvature M, positive where convex", inside),
        ("mean_curvature_deviation", each, -1, "standard deviation of M over the interface", inside),
        ("gauss_curvature_mean", each, -2, "Gaussian curvature G", inside),
        ("gauss_curvature_size_mean", each, -2, "size of the Gaussian curvature, |G|", inside),
        ("curvature_quadrant", (*each, "quadrant"), 0, "share of the interface by signs of M and G", inside),
        ("curvature_area", (*each, *bins), 0, "share of the interface by M and G", binned),
        ("curvature_smallest_radius", (), 1, "radius below which curvature is smoothed away", limit),
        ("curvature_scatter", (), -1, "standard deviation of M over a large smooth ball", scatter),
        ("mean_curvature_integral_smoothed", each, -2, "integral of M of each phase per volume", whole),
        ("euler_density_smoothed", each, -3, "integral of G per volume over 4 pi, an Euler number", whole),
        ("curvature_certificate", (*each, "certificate"), 0, "integrals, smoothed over voxels", ratio),
    )  # fmt: skip
    return tuple((*row, _OHSER if row[0] == "curvature_certificate" else _GOLDMAN) for row in rows)


@dataclass(frozen=True)
class InterfaceOrientation(Parametric):
    """Fabric tensor of the normals of each phase's interface, and how far it is from isotropic.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian that smooths the labels, in longest edges of a voxel.
    """

    kind: ClassVar[str] = "interface_orientation"

    sigma: float = DEFAULT_SIGMA

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if the parameters do not fit the volume."""
        check_sigma(str(self), self.sigma, shape, material)

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        sums, _ = partials_of_interface(self.sigma, DEFAULT_BINS, material)
        end = self.suffix
        method = f"labels smoothed by a Gaussian of {width(self.sigma, material):g} {material.units}; mean by area"

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            found = _orientations(lengths(totals[sums.name], material)[:, 1])
            return {name + end: values for name, values in found.items()}

        texts = {
            "interface_fabric": (("phase", "axis", "axis_other"), "mean of n n over the interface, trace 1"),
            "interface_anisotropy": (("phase",), "1 - smallest / largest eigenvalue of the fabric tensor"),
            "interface_eigenvalue": (("phase", "principal"), "eigenvalues of the fabric tensor, falling"),
            "interface_direction": (("phase", "principal", "axis"), "eigenvectors of the fabric tensor"),
        }  # fmt: skip
        variables = tuple(
            Variable(name + end, dims, 0, text, method, _FABRIC)
            for name, (dims, text) in texts.items()
        )
        names = np.array(AXES, dtype=object)
        coordinates = {
            "axis": ("axis", names),
            "axis_other": ("axis_other", names),
            "principal": ("principal", np.array(["first", "second", "third"], dtype=object)),
        }
        return Descriptor(
            self.name, (sums,), variables, formula, needs_volume=True, coordinates=coordinates
        )


def _orientations(sums: Values) -> dict[str, Values]:
    tensors = _tensors(sums)
    known = np.isfinite(tensors).all(axis=(1, 2))
    values, vectors = np.full(tensors.shape[:2], np.nan), np.full(tensors.shape, np.nan)
    values[known], vectors[known] = np.linalg.eigh(tensors[known])
    falling = values[:, ::-1]
    return {
        "interface_fabric": tensors,
        "interface_anisotropy": 1 - falling[:, 2] / falling[:, 0],
        "interface_eigenvalue": falling,
        "interface_direction": _upright(np.swapaxes(vectors[:, :, ::-1], 1, 2)),
    }


def _upright(vectors: Values) -> Values:
    """Vectors, rows, whose largest part is positive."""
    largest = np.nan_to_num(np.abs(vectors)).argmax(axis=2)
    sign = np.sign(np.take_along_axis(vectors, largest[..., None], axis=2))
    return np.asarray(vectors * sign)


def _tensors(sums: Values) -> Values:
    """Fabric tensor of each phase; nan without interface."""
    pairs = {"zz": (0, 0), "yy": (1, 1), "xx": (2, 2), "zy": (0, 1), "zx": (0, 2), "yx": (1, 2)}
    tensors = np.zeros((len(sums), 3, 3))
    for name, (i, j) in pairs.items():
        tensors[:, i, j] = tensors[:, j, i] = sums[:, _WHERE[name]]
    trace = np.einsum("pii->p", tensors)
    return np.asarray(tensors / np.where(trace > 0, trace, np.nan)[:, None, None])
