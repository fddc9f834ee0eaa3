"""Lineal path and chord lengths of phases along the axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.descriptors.base import Counts, Descriptor, Labels, Material, Partial, Values, Variable
from tim3d.descriptors.lags import DEFAULT_LAGS, Coordinates, dimension, displacements, refuse_long
from tim3d.descriptors.parametric import Parametric
from tim3d.grid import AXES, Box, Triple, triple
from tim3d.kernels.statistics.correlation import LineCounts, line_counts, ranks_of
from tim3d.kernels.statistics.pair_counts import pairs_within

AXIS_STEPS: tuple[Triple, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_TORQUATO = "doi:10.1007/978-1-4757-6355-3"
_BOOK = "doi:10.1002/9783527628308"
PARTS = ("segments", "chords", "changes")


@dataclass(frozen=True)
class CountChords:
    """Segments, chords and changes of a core along the axes."""

    lags: int

    def __call__(self, labels: Labels, core: Box, material: Material) -> dict[str, Counts]:
        """Return counts by name; the last row of the segments counts all of them."""
        codes, lags = material.phases.codes, list(range(1, self.lags + 1))
        ranks = ranks_of(labels, codes)
        lines = [line_counts(ranks, len(codes), lags, axis, core) for axis in range(3)]
        steps = displacements(range(self.lags + 1), AXIS_STEPS)
        every = pairs_within(triple(labels.shape), steps, core)
        segments = np.array([_segments(one) for one in lines])
        both = np.concatenate([segments, every.reshape(3, 1, -1)], axis=1)
        return {
            "segments": both,
            "chords": np.array([one.chords[:, :, 1:] for one in lines]),
            "changes": np.array([one.changes.sum(axis=0) for one in lines]),
        }


def _segments(one: LineCounts) -> Counts:
    """Segments of lags from 0 on: voxels first."""
    return np.concatenate([one.voxels.sum(axis=0)[:, None], one.segments], axis=1)


def _results(
    segments: Counts, chords: Counts, changes: Counts, material: Material
) -> dict[str, Values]:
    every = segments[:, -1:]
    shares = segments[:, :-1] / np.where(every > 0, every, np.nan)
    steps = np.array(material.spacing)[:, None]
    borders = every[:, 0, 1:2]
    per_length = changes / np.where(borders > 0, borders, np.nan) / steps
    inside, cut = chords[:, :, 0, :-1], chords[:, :, 1, :-1]
    number = chords.sum(axis=(2, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "lineal_path": _by_phase(shares),
            "chord_length_count": _by_phase(inside),
            "chord_length_count_cut": _by_phase(cut),
            "chord_cut_share": _by_phase(cut.sum(axis=2) / np.where(number > 0, number, np.nan)),
            "chord_longer_share": _by_phase(
                chords[:, :, 0, -1] / np.where(number > 0, number, np.nan)
            ),
            "mean_chord_length": _by_phase(2 * shares[..., 0] / per_length),
        }


def _by_phase(values: Values | Counts) -> Values:
    """Phases first, axes second."""
    return np.asarray(np.swapaxes(values, 0, 1), np.float64)


@dataclass(frozen=True)
class ChordLength(Parametric):
    """Lineal path and chord lengths of each phase along z, y and x.

    Parameters
    ----------
    lags : int
        Longest segment and chord, in voxels.
    """

    kind: ClassVar[str] = "chord_length"

    lags: int = DEFAULT_LAGS

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if no axis of the volume is longer than the lags."""
        refuse_long(str(self), self.lags, shape)

    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""
        end, lag = self.suffix, dimension("lag", self.lags)
        length, n = dimension("chord_voxels", self.lags), len(material.phases)
        compute, halo = CountChords(self.lags), (self.lags,) * 3
        shapes: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
            "segments": (("axis", "segment_region", lag), (3, n + 1, self.lags + 1)),
            "chords": (
                ("axis", "phase", "chord_end", f"{length}_counted"),
                (3, n, 2, self.lags + 1),
            ),
            "changes": (("axis", "phase"), (3, n)),
        }
        partials = tuple(
            Partial(f"chord_{part}{end}", halo, *shapes[part], compute, part=part, voxel_bytes=4.0)
            for part in PARTS
        )

        def formula(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
            segments, chords, changes = (totals[p.name] for p in partials)
            found = _results(segments, chords, changes, material)
            return {name + end: values for name, values in found.items()}

        variables = tuple(
            Variable(name + end, dims, power, text, method, reference)
            for name, dims, power, text, method, reference in _variables(lag, length)
        )
        return Descriptor(
            self.name,
            partials,
            variables,
            formula,
            coordinates=self._coordinates(material, lag, length),
        )

    def _coordinates(self, material: Material, lag: str, length: str) -> Coordinates:
        steps = np.array(material.spacing)[:, None]
        lags, voxels = np.arange(self.lags + 1.0), np.arange(1.0, self.lags + 1)
        about = {"units": material.units}
        return {
            "axis": ("axis", np.array(AXES, dtype=object)),
            lag: (lag, lags, {"long_name": "steps from voxel to voxel", "units": "1"}),
            length: (length, voxels, {"long_name": "length of the chord in voxels", "units": "1"}),
            f"{length}_length": (
                ("axis", length),
                steps * voxels,
                about | {"long_name": "length of the chord"},
            ),
            f"axis_{lag}_length": (
                ("axis", lag),
                steps * lags,
                about | {"long_name": "length of the lag"},
            ),
        }


def _variables(
    lag: str, length: str
) -> tuple[tuple[str, tuple[str, ...], int, str, str, str], ...]:
    each = ("phase", "axis")
    return (
        (
            "lineal_path",
            (*each, lag),
            0,
            "probability that a line lies in one phase from end to end",
            "segments of voxels inside the volume",
            _TORQUATO,
        ),
        (
            "chord_length_count",
            (*each, length),
            0,
            "chords of each phase by their length, both ends inside the volume",
            "runs of voxels along lines",
            _TORQUATO,
        ),
        (
            "chord_length_count_cut",
            (*each, length),
            0,
            "the same, of chords that the border of the volume cuts",
            "runs of voxels along lines",
            _TORQUATO,
        ),
        (
            "chord_cut_share",
            each,
            0,
            "share of the chords that the border of the volume cuts, among those up to the lags",
            "runs of voxels along lines",
            _TORQUATO,
        ),
        (
            "chord_longer_share",
            each,
            0,
            "share of the chords that are longer than the lags",
            "runs of voxels along lines",
            _TORQUATO,
        ),
        (
            "mean_chord_length",
            each,
            1,
            "mean length of chords of any length, cut or not",
            "2 phi / P_L, with the borders of the phase per length of line P_L",
            _BOOK,
        ),
    )
