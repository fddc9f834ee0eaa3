"""Base of the comparison of volumes with micrographs, for labels and grey values alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.base import Partial, inputs_of
from tim3d.engine import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.lazy import xarray as xr
from tim3d.sources.image import Image
from tim3d.stages.comparison.line_counts import Lags
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.partials import counting_pass, material_of
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """A compared value: dimensions in a volume and in an image, unit, description, source."""

    volume: tuple[str, ...]
    image: tuple[str, ...]
    units: str
    text: str
    reference: str = ""


@dataclass(frozen=True)
class Measures:
    """Compared quantities: goal and meaning of each, the deviations, and how values are reported.

    `changed` names what changes between two voxels, `level` the value of a plane; both are used in
    the texts on seams and imprint.
    """

    goals: Mapping[str, float]
    meaning: Mapping[str, str]
    deviations: Callable[..., Mapping[str, np.ndarray]]
    rows: Mapping[str, Row]
    changed: str
    level: str


@dataclass(frozen=True)
class Seen:
    """Values of one volume.

    Attributes
    ----------
    values : mapping
        Arrays from which the deviations are computed.
    planes : three arrays (planes, names)
        Phase fractions, or mean grey value over 255, of the planes across z, y, x.
    changes : three arrays (planes - 1,)
        Change between neighbouring planes, for each pair of voxels.
    known : mapping
        3-D results of the sample, by name.
    """

    values: Mapping[str, np.ndarray]
    planes: tuple[np.ndarray, ...]
    changes: tuple[np.ndarray, ...]
    known: Mapping[str, float]


@dataclass(frozen=True)
class Counted:
    """Counts of a volume: partials, ending of their node, parameters that decide the numbers."""

    partials: tuple[Partial, ...]
    ending: str
    decides: Mapping[str, Any]


@dataclass(frozen=True)
class Case(ABC):
    """A comparison of volumes with images: all that decides its numbers, and not how it runs."""

    urls: Sequence[str]
    fields: Sequence[Field]
    images: tuple[Image, ...]
    names: tuple[str, ...]
    lags: Lags
    slices: int
    period: int | None
    seam: Triple
    seed: int

    @property
    def isotropic(self) -> bool:
        """Whether one image stands for all directions."""
        return len(self.images) == 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edges of a voxel of the volumes along z, y, x, in nm."""
        return self.fields[0].spacing_nm

    @property
    def sources(self) -> list[str]:
        """Fingerprints of the fields."""
        pairs = zip(self.urls, self.fields, strict=True)
        return [store.fingerprint_of(url, f.name) for url, f in pairs]

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters that are recorded with the result."""
        lags = {axis: list(lags) for axis, lags in zip(AXES, self.lags, strict=True)}
        same = {
            "slices": self.slices,
            "period": self.period,
            "seam": list(self.seam),
            "seed": self.seed,
        }
        return {"lags": lags, **same}

    def check(self, given_period: int | None) -> None:
        """Raise `ArgumentError` if a parameter is out of range, before anything is read."""
        for name, value in (("slices", self.slices), ("seed", self.seed)):
            if value < 0:
                raise ArgumentError(f"--{name} is {value}; it must be 0 or more")
        if min(self.seam) < 1:
            raise ArgumentError(f"--seam is {self.seam}; it must be 1 voxel or more")
        shortest = min(min(f.shape) for f in self.fields)
        if given_period is not None and not 2 <= given_period <= shortest // 2:
            raise ArgumentError(
                f"--period is {given_period}; it must be 2 to {shortest // 2}, half the shortest edge"
            )

    @property
    @abstractmethod
    def measures(self) -> Measures:
        """Compared quantities, with their goals and texts."""

    @abstractmethod
    def counted(self, number: int) -> Counted:
        """Counts of a volume whose sums are kept in a node."""

    def passes(self, number: int, options: Options) -> list[Pass]:
        """Passes over a volume; the sums of the first are kept in a node named as its ledger."""
        url, field, counted = self.urls[number], self.fields[number], self.counted(number)
        source, (reads,) = store.fingerprint_of(url, field.name), inputs_of(counted.partials)
        mark = schema.fingerprint(verb="fidelity", field=source, **counted.decides)
        counting = counting_pass(
            url, field, {reads: field}, counted.partials, material_of(field, (reads,)),
            name=f"{field.name}_{counted.ending}", fingerprint=mark, options=options,
        )  # fmt: skip
        return [counting]

    def kept(self, number: int) -> xr.Dataset:
        """Stored sums of the counts of a volume."""
        return store.open_dataset(
            self.urls[number], f"{self.fields[number].name}_{self.counted(number).ending}"
        )

    @abstractmethod
    def seen(self, number: int, passes: Sequence[Pass]) -> Seen:
        """Values of a volume, once all its passes are complete."""

    @abstractmethod
    def of_images(self) -> Arrays:
        """Values of the images of the slices across z, y, x."""

    @abstractmethod
    def picture(self, image: Any) -> np.ndarray:
        """Image as compared (rows, columns): indices of the phases, or grey values."""

    @property
    def windows(self) -> list[list[int]]:
        """Rows and columns of the windows in slices across z, y, x in which paths are computed."""
        return []
