"""Volumes of grey values against grey micrographs: distribution, correlation and step of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Pass
from tim3d.kernels.statistics import comparison as law
from tim3d.kernels.statistics.grey_statistics import correlation, mean, variance
from tim3d.kernels.statistics.integral_range import mean_interval
from tim3d.stages.comparison.base import Arrays, Case, Counted, Measures, Row, Seen
from tim3d.stages.comparison.grey_counts import Greys, grey_partials, greys_in, greys_of

VALLENDER, MATHERON = "doi:10.1137/1118101", "doi:10.2113/gsecongeo.58.8.1246"

ROWS = {
    "shares": Row(("grey",), ("grey",), "1", "share of the voxels of each grey value", VALLENDER),
    "mean": Row((), (), "1", "mean grey value"),
    "correlation": Row(
        ("axis", "lag"),
        ("line", "lag"),
        "1",
        "rho along lines, 1 - variogram over variance",
        MATHERON,
    ),
    "step": Row(
        ("axis",), ("line",), "nm-1", "mean step between neighbours, in grey values per length"
    ),
}


@dataclass(frozen=True)
class GreyCase(Case):
    """A comparison of grey values; the dimension ``phase`` has the single entry ``grey``."""

    @property
    def measures(self) -> Measures:
        """Distribution of the grey values, correlation, step between neighbours."""
        return Measures(
            law.GREY_GOALS,
            law.GREY_MEANING,
            law.grey_deviations,
            ROWS,
            "mean step of grey values",
            "mean grey over 255",
        )

    def picture(self, image: Any) -> np.ndarray:
        """Grey values of an image (rows, columns)."""
        grey: np.ndarray = image.values[0]
        return grey

    def counted(self, number: int) -> Counted:
        """Counts of grey values and sums of their differences."""
        return Counted(grey_partials(self.lags), "greys", {"greys": self.lags})

    def seen(self, number: int, passes: Sequence[Pass]) -> Seen:
        """Values of a volume, once all its passes are complete."""
        field = self.fields[number]
        found = greys_in(self.kept(number), self.lags, field.shape, field.spacing_nm)
        return Seen(_told(_values(found)), found.planes, found.changes, {})

    def of_images(self) -> Arrays:
        """Values of the images of the slices across z, y, x."""
        pictures = [self.picture(self.images[n % len(self.images)]) for n in range(3)]
        found = [
            greys_of(np.expand_dims(p, n), self.lags, self.spacing) for n, p in enumerate(pictures)
        ]
        each = [
            _told(
                _values(one) | {"squares": one.squares[list(plane)], "step": one.step[list(plane)]}
            )
            for one, plane in zip(found, law.PLANES, strict=True)
        ]
        intervals = {"mean_interval": np.array([[mean_interval(p)] for p in pictures])}
        return {name: np.array([one[name] for one in each]) for name in each[0]} | intervals


def _values(found: Greys) -> Arrays:
    return {"shares": found.shares, "squares": found.squares, "step": found.step}


def _told(values: Arrays) -> Arrays:
    """Add mean and correlation, which follow from the other values."""
    rho = correlation(values["squares"], variance(values["shares"])[..., None])
    return values | {"mean": mean(values["shares"]), "correlation": rho}
