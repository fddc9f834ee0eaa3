"""Volumes of labels against labelled micrographs, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Pass
from tim3d.kernels.statistics import comparison as law
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.kernels.statistics.integral_range import mean_interval
from tim3d.lazy import xarray as xr
from tim3d.stages.comparison.base import Arrays, Case, Counted, Measures, Row, Seen
from tim3d.stages.comparison.line_counts import line_partials, lines_in, lines_of
from tim3d.stages.comparison.slice_tortuosity import Slices, added, slices_pass, tortuosities, ways
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.stored_results import answers
from tim3d.storage.schema import AXES, Field

TORQUATO = "doi:10.1007/978-1-4757-6355-3"

ROWS = {
    "phase_fraction": Row(("phase",), ("phase",), "1", "share of the voxels"),
    "two_point": Row(
        ("axis", "phase", "lag"), ("line", "phase", "lag"), "1", "S2 along lines", TORQUATO
    ),
    "lineal_path": Row(
        ("axis", "phase", "lag"), ("line", "phase", "lag"), "1", "L along lines", TORQUATO
    ),
    "surface": Row(
        ("axis", "phase"), ("line", "phase"), "nm-1", "2 P_L, twice the crossings per length"
    ),
    "slice_tortuosity": Row(
        ("slices", "line", "phase"),
        ("line", "phase"),
        "1",
        "geodesic over straight length in slices, mean over the last quarter of the way",
    ),
    "slice_reached": Row(
        ("slices", "line", "phase"), ("line", "phase"), "1", "share of the phase that ways reach"
    ),
}


@dataclass(frozen=True)
class LabelCase(Case):
    """A comparison of labels, phase by phase."""

    @property
    def measures(self) -> Measures:
        """Phase fraction, two-point correlation, lineal path, surface, tortuosity in slices."""
        return Measures(
            law.GOALS,
            law.MEANING,
            law.deviations,
            ROWS,
            "share of voxel pairs of two phases",
            "phase fraction",
        )

    def codes(self, number: int) -> tuple[int, ...]:
        """Codes of the phases in a volume, in the order of the micrograph's phases."""
        phases = self.fields[number].phases
        assert phases is not None
        return tuple(phases[name] for name in self.names)

    def picture(self, image: Any) -> np.ndarray:
        """Index of the phase of each pixel (rows, columns)."""
        return ranks_of(image.labels, tuple(image.phases[name] for name in self.names))

    def ranks(self, normal: int) -> np.ndarray:
        """Image of the slices across an axis as a volume of one slice, by index of the phase."""
        return np.expand_dims(self.picture(self.images[normal % len(self.images)]), normal)

    def window(self, normal: int) -> tuple[int, int]:
        """Rows and columns that fit into the image and into the slices of every volume."""
        image = self.images[normal % len(self.images)].shape
        rows, columns = (
            min(edge, *(f.shape[axis] for f in self.fields))
            for edge, axis in zip(image, law.PLANES[normal], strict=True)
        )
        return (rows, columns)

    @property
    def windows(self) -> list[list[int]]:
        """Rows and columns of the windows in slices across z, y, x in which paths are computed."""
        return [list(self.window(n)) for n in range(3)]

    def slices_of(self, number: int) -> list[Slices]:
        """Slices across z, y, x in which paths are computed; empty if none were requested."""
        shape = self.fields[number].shape
        return (
            [Slices(shape, a, min(self.slices, shape[a]), self.window(a)) for a in range(3)]
            if self.slices
            else []
        )

    def counted(self, number: int) -> Counted:
        """Counts along lines."""
        codes = self.codes(number)
        return Counted(
            line_partials(codes, self.lags), "lines", {"codes": codes, "lags": self.lags}
        )

    def passes(self, number: int, options: Options) -> list[Pass]:
        """Passes for counts along lines, and for paths in slices across each axis."""
        url, labels, codes = self.urls[number], self.fields[number], self.codes(number)
        every = [slices_pass(url, labels, one, codes, options) for one in self.slices_of(number)]
        return [*super().passes(number, options), *every]

    def seen(self, number: int, passes: Sequence[Pass]) -> Seen:
        """Values of a volume, once all its passes are complete."""
        url, labels = self.urls[number], self.fields[number]
        lines = lines_in(self.kept(number), self.lags, labels.shape, labels.spacing_nm)
        records = [[record for _, record in one.records()] for one in passes[1:]]
        found = [tortuosities(added(r), axis, labels.spacing_nm) for axis, r in enumerate(records)]
        nothing = np.full((3, 2, len(self.names)), np.nan)
        values = {
            "phase_fraction": lines.fraction,
            "two_point": lines.two_point,
            "lineal_path": lines.lineal_path,
            "surface": lines.surface,
            "slice_tortuosity": np.array([f[0] for f in found]) if found else nothing,
            "slice_reached": np.array([f[1] for f in found]) if found else nothing,
        }
        return Seen(values, lines.planes, lines.changes, _known(url, labels))

    def of_images(self) -> Arrays:
        """Values of the images of the slices across z, y, x."""
        lines = [
            lines_of(self.ranks(n), len(self.names), self.lags, self.spacing) for n in range(3)
        ]
        ways_found = [self._ways_in_image(n) for n in range(3)]
        return {
            "phase_fraction": np.array([one.fraction for one in lines]),
            "phase_fraction_interval": np.array([self._intervals(n) for n in range(3)]),
            **{
                name: np.array(
                    [
                        getattr(one, name)[list(plane)]
                        for one, plane in zip(lines, law.PLANES, strict=True)
                    ]
                )
                for name in ("two_point", "lineal_path", "surface")
            },
            "slice_tortuosity": np.array([one[0] for one in ways_found]),
            "slice_reached": np.array([one[1] for one in ways_found]),
        }

    def _intervals(self, normal: int) -> list[float]:
        ranks = self.ranks(normal).squeeze(normal)
        return [mean_interval(ranks == phase) for phase in range(len(self.names))]

    def _ways_in_image(self, normal: int) -> tuple[np.ndarray, np.ndarray]:
        """Tortuosity and share reached, in windows of the same size centred in the image."""
        if not self.slices:
            return (np.full((2, len(self.names)), np.nan),) * 2
        ranks, window = self.ranks(normal), self.window(normal)
        image = ranks.squeeze(normal)
        counts = [n // w for n, w in zip(image.shape, window, strict=True)]
        first = [(n - c * w) // 2 for n, c, w in zip(image.shape, counts, window, strict=True)]
        records = []
        for row, column in np.ndindex(*counts):
            y, x = first[0] + row * window[0], first[1] + column * window[1]
            piece = np.expand_dims(image[y : y + window[0], x : x + window[1]], normal)
            records.append(ways(piece, len(self.names), normal, self.spacing))
        return tortuosities(added(records), normal, self.spacing)


def _known(url: str, labels: Field) -> dict[str, float]:
    """Results of `solve`, `geodesic` and `label` that a sample holds, by name and coordinates.

    Results by plane or by component are left out.
    """
    if labels.phases is None:
        return {}
    found = {}
    for results in answers(url, labels, labels.phases, None):
        for name, values in results.data_vars.items():
            if (
                values.dtype.kind in "fiub"
                and not set(values.dims) & {*AXES, "component"}
                and values.size <= 64
            ):
                found.update(_flat(str(name), values))
    return found


def _flat(name: str, values: xr.DataArray) -> dict[str, float]:
    labels = [
        [str(v) for v in values[d].values] if d in values.coords else range(values.sizes[d])
        for d in values.dims
    ]
    out = {}
    for place, value in np.ndenumerate(values.values):
        where = ", ".join(f"{label[i]}" for label, i in zip(labels, place, strict=True))
        out[f"{name} ({where})" if where else name] = float(value)
    return out
