"""Particles: a row for each, a row for each contact, and distributions corrected for the border."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.base import Counts, Values
from tim3d.descriptors.lengths import QUANTILES
from tim3d.descriptors.percolation import SIDES
from tim3d.grid import AXES, Triple
from tim3d.kernels.morphology import particle_shapes as shapes
from tim3d.kernels.morphology.instances import (
    FACES,
    NECK,
    PAIRS,
    PRODUCTS,
    RADIUS,
    START,
    STOP,
    SUMS,
    UNIT,
    VOXELS,
    Tallies,
)
from tim3d.kernels.morphology.surface import Spacing, pair_areas
from tim3d.lazy import xarray as xr

RANKS = ("major", "middle", "minor")
CROFTON = "doi:10.5566/ias.v26.p83-92"
BORDER = "Miles 1974; Lantuéjoul 1980"
_BY_NUMBER = "by number, each particle that keeps clear of the border weighted by the inverse of its chance to"
_ROW, _PAIR = ("particle",), ("contact",)
Named = dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]


@dataclass(frozen=True)
class Measured:
    """Whole numbers of all particles of a volume, and what turns them into lengths.

    Parameters
    ----------
    tallies : Tallies
        Whole numbers of all particles and pairs.
    shape, spacing : (z, y, x)
        Voxels of the volume, and the edges of one in nm.
    has_radii : bool
        Whether there are radii: of the largest ball in each particle, and of necks.
    substrate : str
        Face of the volume that distances are measured from: z where z begins, z-high where it ends; or none.
    phase : str
        Name of the phase, empty if it is not known.
    """

    tallies: Tallies
    shape: Triple
    spacing: Spacing
    has_radii: bool
    substrate: str = "none"
    phase: str = ""

    @property
    def axes(self) -> list[int]:
        """Axes along which the volume has several voxels: two of a plane, whose particles are sections."""
        return [axis for axis, n in enumerate(self.shape) if n > 1] or [0, 1, 2]

    @property
    def is_volume(self) -> bool:
        """Whether all axes have several voxels."""
        return len(self.axes) == 3

    def by_content(self, ball: str) -> str:
        """The text of a ball of the same volume, or of what it is in a plane."""
        plane = {2: "diameter of the disc of the same area, in a plane", 1: "length"}
        return ball if self.is_volume else plane[len(self.axes)]


def particles(of: Measured) -> xr.Dataset:
    """Results of all particles.

    Parameters
    ----------
    of : Measured
        Whole numbers of all particles, in the order of their numbers.

    Returns
    -------
    xarray.Dataset
        Rows over `particle`, rows over `contact`, and numbers of the whole; see docs/particles.md.
    """
    rows = _particles(of)
    contacts = _contacts(of)
    rows |= _of_contacts(of, rows, contacts)
    if of.substrate != "none":
        rows |= _from_substrate(of, rows["particle_centroid"][1])
    summary = _summary(of, rows, contacts)
    coordinates = {
        "particle": of.tallies.ids.astype(np.uint32),
        "axis": np.array(AXES, dtype=object),
        "side": np.array(SIDES, dtype=object),
        "rank": np.array(RANKS, dtype=object),
        "quantile": ("quantile", np.array(QUANTILES), {"units": "1", "long_name": "share below"}),
    }
    if of.phase:
        coordinates["phase"] = np.array([of.phase], dtype=object)
    return xr.Dataset({**summary, **rows, **contacts}, coordinates)


def _about(text: str, units: str = "1", method: str = "", reference: str = "") -> dict[str, str]:
    found = {"units": units, "long_name": text, "method": method, "reference": reference}
    return {key: value for key, value in found.items() if value}


def _particles(of: Measured) -> Named:
    sizes, border = _sizes(of), _at_border(of)
    surfaces = _surfaces(of, sizes["particle_volume"][1], border["particle_weight"][1])
    return sizes | _places(of) | surfaces | border


def _sizes(of: Measured) -> Named:
    voxels = of.tallies.rows[:, VOXELS]
    volume = voxels.astype(np.float64) * math.prod(of.spacing)
    content = voxels.astype(np.float64) * math.prod(of.spacing[axis] for axis in of.axes)
    diameter = shapes.diameters(content, len(of.axes))
    text = of.by_content("diameter of the ball of the same volume")
    found: Named = {
        "particle_voxels": (_ROW, voxels, _about("voxels of the particle")),
        "particle_volume": (_ROW, volume, _about("volume of the particle", "nm3")),
        "particle_diameter": (_ROW, diameter, _about(text, "nm")),
    }
    if of.has_radii:
        ball = _radii(of.tallies.rows[:, RADIUS])
        text = "radius of the largest ball in the phase with its centre in the particle"
        found["particle_inscribed_radius"] = (_ROW, ball, _about(text, "nm"))
    return found


def _places(of: Measured) -> Named:
    """Centroids, axes of the ellipsoids, and neighbours."""
    rows = of.tallies.rows
    places, moments = shapes.central_moments(
        rows[:, VOXELS], rows[:, SUMS:PRODUCTS], rows[:, PRODUCTS:START]
    )
    centroid = (places + 0.5) * np.array(of.spacing)
    lengths, directions = _ellipsoids(of, moments)
    gap, other = shapes.nearest(centroid)
    return {
        "particle_centroid": (
            (*_ROW, "axis"), centroid, _about("centroid, from the outer face of the volume", "nm")
        ),
        "particle_axis_length": (
            (*_ROW, "rank"), lengths,
            _about(
                "whole axes of the ellipsoid with the same second moments; of the ellipse in a plane, nan across it",
                "nm",
            ),
        ),
        "particle_axis_direction": (
            (*_ROW, "rank", "axis"), directions,
            _about("unit vector along each axis of the ellipsoid; its largest component is positive"),
        ),
        "particle_neighbour": (
            _ROW, np.where(other < 0, 0, of.tallies.ids[other]),
            _about("number of the particle with the nearest centroid, 0 for none"),
        ),
        "particle_neighbour_distance": (
            _ROW, gap, _about("distance between its centroid and this one", "nm")
        ),
    }  # fmt: skip


def _ellipsoids(of: Measured, moments: Values) -> tuple[Values, Values]:
    """Axes of ellipsoids and their directions (z, y, x); in a plane of ellipses, and nan across it."""
    count, axes = len(moments), of.axes
    lengths, directions = np.full((count, 3), np.nan), np.full((count, 3, 3), np.nan)
    inner = moments[:, axes][:, :, axes]
    lengths[:, : len(axes)], found = shapes.ellipsoid(inner, [of.spacing[axis] for axis in axes])
    directions[:, : len(axes)] = 0.0
    directions[:, : len(axes), axes] = found
    return lengths, directions


def _at_border(of: Measured) -> Named:
    start, stop = of.tallies.rows[:, START:STOP], of.tallies.rows[:, STOP:RADIUS]
    touches = np.stack([start == 0, stop == np.array(of.shape)], axis=-1)
    return {
        "particle_touches": (
            (*_ROW, "axis", "side"), touches, _about("whether the particle touches an outer face")
        ),
        "particle_weight": (
            _ROW, shapes.border_weights(start, stop, of.shape),
            _about(
                "inverse of the chance to lie clear of the border; 0 for a particle on the border",
                method="bounding box", reference=BORDER,
            ),
        ),
    }  # fmt: skip


def _surfaces(of: Measured, volume: Values, weight: Values) -> Named:
    surface: Values = of.tallies.rows[:, PAIRS:] / UNIT @ pair_areas(of.spacing)
    is_whole = (weight > 0) & of.is_volume  # of a section the surface is not known
    sphericity = np.where(is_whole, shapes.sphericities(volume, surface), np.nan)
    return {
        "particle_surface": (
            _ROW, surface,
            _about(
                "surface of the particle within the volume, contacts included", "nm2",
                "Crofton formula, 13 directions", CROFTON,
            ),
        ),
        "particle_sphericity": (
            _ROW, sphericity,
            _about(
                "surface of the ball of the same volume over the surface; nan on the border, and in a plane"
            ),
        ),
    }  # fmt: skip


def _radii(bits: Counts) -> Values:
    return bits.astype(np.int32).view(np.float32).astype(np.float64)


def _contacts(of: Measured) -> Named:
    """Pairs of particles that share a face of a voxel."""
    shared = of.tallies.contacts[:, :3].any(axis=1)
    rows, edges = of.tallies.contacts[shared], np.array(of.spacing)
    faces = rows[:, FACES:NECK] / UNIT * (math.prod(of.spacing) / edges)
    found: Named = {
        "contact_first": (_PAIR, of.tallies.first[shared], _about("number of the one particle")),
        "contact_second": (_PAIR, of.tallies.second[shared], _about("number of the other particle")),
        "contact_area": (
            _PAIR, np.linalg.norm(faces, axis=1),
            _about("area of the contact, that of a flat one with its rim", "nm2", "sum of faces as vectors"),
        ),
        "contact_surface": (
            _PAIR, rows[:, :FACES] / UNIT @ pair_areas(of.spacing),
            _about("part of both surfaces that is the contact", "nm2", "Crofton formula, 13 directions", CROFTON),
        ),
    }  # fmt: skip
    if of.has_radii:
        text = "radius of the largest ball that passes from one particle to the other"
        found["contact_neck_radius"] = (_PAIR, _radii(rows[:, NECK]), _about(text, "nm"))
    return found


def _of_contacts(of: Measured, rows: Named, contacts: Named) -> Named:
    """Number and area of the contacts of each particle, and the surface without them."""
    ids = of.tallies.ids
    ends = [np.searchsorted(ids, contacts[f"contact_{end}"][1]) for end in ("first", "second")]
    both = np.concatenate(ends)
    area, surface = (
        np.bincount(both, np.tile(contacts[f"contact_{what}"][1], 2), len(ids))
        for what in ("area", "surface")
    )
    number = np.bincount(both, minlength=len(ids))
    free = rows["particle_surface"][1] - surface
    return {
        "particle_coordination": (
            _ROW, number, _about("number of particles that share a face of a voxel with it")
        ),
        "particle_contact_area": (_ROW, area, _about("area of all contacts", "nm2")),
        "particle_free_surface": (
            _ROW, free, _about("surface without that of the contacts", "nm2", "Crofton formula, 13 directions", CROFTON)
        ),
    }  # fmt: skip


def _from_substrate(of: Measured, centroid: Values) -> Named:
    axis, high = AXES.index(of.substrate[0]), of.substrate.endswith("high")
    rows, edge, length = of.tallies.rows, of.spacing[axis], of.shape[axis]
    gap = length - rows[:, STOP + axis] if high else rows[:, START + axis]
    middle = length * edge - centroid[:, axis] if high else centroid[:, axis]
    face = f"the {SIDES[high]} face of the volume across {AXES[axis]}"
    return {
        "particle_substrate_gap": (_ROW, gap * edge, _about(f"distance from its nearest voxel to {face}", "nm")),
        "particle_substrate_distance": (_ROW, middle, _about(f"distance from its centroid to {face}", "nm")),
    }  # fmt: skip


def _summary(of: Measured, rows: Named, contacts: Named) -> Named:
    weight, diameter = rows["particle_weight"][1], rows["particle_diameter"][1]
    whole, volume = weight > 0, rows["particle_volume"][1]
    total = math.prod(of.shape) * math.prod(of.spacing)
    levels = np.array(QUANTILES)
    by_number = shapes.weighted_quantiles(diameter, weight, levels)
    by_volume = shapes.weighted_quantiles(diameter, weight * volume, levels)
    corrected = {"method": _BY_NUMBER, "reference": BORDER}
    values: Mapping[str, tuple[Any, dict[str, str]]] = {
        "particle_count": (len(weight), _about("particles in the volume")),
        "particle_count_inside": (int(whole.sum()), _about("particles that keep clear of the border")),
        "particle_number_density": (
            weight.sum() / total if whole.any() and of.is_volume else np.nan,
            _about("particles per volume; nan in a plane", "nm-3", **corrected),
        ),
        "particle_diameter_mean": (_mean(diameter, weight), _about("mean diameter", "nm", **corrected)),
        "particle_diameter_median": (
            by_number[QUANTILES.index(0.5)], _about("median diameter", "nm", **corrected)
        ),
        "particle_diameter_quantile": (
            by_number, _about("quantiles of the diameter", "nm", **corrected)
        ),
        "particle_diameter_mean_uncorrected": (
            diameter.mean(),
            _about("mean diameter of all particles, those that the border cuts as they are", "nm"),
        ),
        "particle_diameter_volume_mean": (
            _mean(diameter, weight * volume), _about("mean diameter by volume", "nm", **corrected)
        ),
        "particle_diameter_volume_median": (
            by_volume[QUANTILES.index(0.5)], _about("median diameter by volume", "nm", **corrected)
        ),
        "particle_sphericity_mean": (
            _mean(rows["particle_sphericity"][1], weight), _about("mean sphericity", **corrected)
        ),
        "particle_coordination_mean": (
            _mean(rows["particle_coordination"][1], weight),
            _about("mean number of contacts of a particle", **corrected),
        ),
        "contact_count": (len(contacts["contact_first"][1]), _about("pairs of particles in contact")),
    }  # fmt: skip
    if of.has_radii:
        text = "mean radius of the necks of all contacts"
        necks = contacts["contact_neck_radius"][1]
        values = {
            **values,
            "contact_neck_radius_mean": (
                necks.mean() if len(necks) else np.nan,
                _about(text, "nm"),
            ),
        }
    return {name: _placed(of, value, about) for name, (value, about) in values.items()}


def _mean(values: Values, weights: Values) -> float:
    used = weights > 0
    return float(np.average(values[used], weights=weights[used])) if used.any() else np.nan


def _placed(of: Measured, value: Any, about: dict[str, str]) -> tuple[Any, ...]:
    """A number or quantiles, of the phase if it is known."""
    dims = ("quantile",) if np.ndim(value) else ()
    return (("phase", *dims), np.asarray(value)[None], about) if of.phase else (dims, value, about)
