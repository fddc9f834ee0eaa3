"""Arguments of an export, checked, and its region in voxels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.formats.base import (
    UNITS,
    ElementFormat,
    FigureFormat,
    Format,
    Layer,
    LineFormat,
    SurfaceFormat,
    TableFormat,
    Volume,
    VolumeFormat,
)
from tim3d.grid import Box, triple
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.region import box_of, rulers_of
from tim3d.storage import store
from tim3d.storage.schema import Field

REGION = ("z", "y", "x")
# Arguments that each kind of format takes; what else differs from its default is refused.
TAKES: dict[type[Format], tuple[str, ...]] = {
    VolumeFormat: (*REGION, "unit", "vectors"),
    SurfaceFormat: (*REGION, "unit", "phases", "smoothing", "keep"),
    ElementFormat: (*REGION, "unit", "phases", "cells"),
    LineFormat: ("unit", "phases"),
    TableFormat: (*REGION, "regions", "rows"),
    FigureFormat: ("drawing",),
}
DEFAULT: dict[str, Any] = {
    **{axis: slice(None) for axis in REGION},
    "unit": "nm",
    "vectors": False,
    "phases": (),
    "smoothing": 0,
    "keep": 1.0,
    "cells": "hexahedra",
    "drawing": "",
    "regions": False,
    "rows": "",
}
CHOICES = {"unit": tuple(UNITS), "cells": ("hexahedra", "tetrahedra")}
_WHAT = {
    VolumeFormat: "voxels",
    SurfaceFormat: "surfaces",
    ElementFormat: "finite elements",
    LineFormat: "lines",
    TableFormat: "tables",
    FigureFormat: "figures",
}


@dataclass(frozen=True)
class Asked:
    """Arguments of an export.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    names : tuple of str
        The field or result, and further fields.
    target : Path
        File or folder to write.
    format : Format
        What it becomes.
    given : dict
        All other arguments by name, see `DEFAULT`.
    options : Options
        How it runs.
    """

    sample: str
    names: tuple[str, ...]
    target: Path
    format: Format
    given: dict[str, Any]
    options: Options

    @property
    def kind(self) -> type[Format]:
        """Kind of the format: one of those in `TAKES`."""
        return next(kind for kind in TAKES if isinstance(self.format, kind))

    @property
    def description(self) -> dict[str, Any]:
        """Name, version and parameters of the format and all other arguments, as JSON."""
        about = {"name": self.format.name, "version": self.format.version}
        about |= {key: repr(value) for key, value in vars(self.format).items()}
        plain = {
            key: [v.start, v.stop] if isinstance(v, slice) else v for key, v in self.given.items()
        }
        return {"format": about, **plain}

    def refuse_unused(self) -> None:
        """Raise `ArgumentError` if an argument is given that this kind of format does not take."""
        for key, listed in CHOICES.items():
            if self.given[key] not in listed:
                raise ArgumentError(f"--{key} {self.given[key]}: there are {', '.join(listed)}")
        for key, value in self.given.items():
            if value == DEFAULT[key] or key in TAKES[self.kind]:
                continue
            fitting = [_WHAT[kind] for kind, takes in TAKES.items() if key in takes]
            raise ArgumentError(
                f"--{key} is for {', '.join(fitting)}, and {self.target} holds {_WHAT[self.kind]}: "
                "leave it out"
            )

    def fields(self) -> list[Field]:
        """Descriptions of the fields, which must be complete and lie on one grid."""
        found = [store.complete_field(self.sample, name, "export") for name in self.names]
        first = found[0]
        for one in found[1:]:
            if (one.shape, one.spacing_nm) != (first.shape, first.spacing_nm):
                raise ArgumentError(
                    f"{one.name!r} is {one.shape} voxels of {one.spacing_nm} nm and {first.name!r} "
                    f"{first.shape} of {first.spacing_nm}; one file holds fields of one grid"
                )
        return found

    def box(self, field: Field) -> Box:
        """The region in voxels.

        Raises
        ------
        ArgumentError
            If a face of the region cuts voxels or lies outside of the volume.
        """
        return box_of([self.given[axis] for axis in REGION], rulers_of(field))

    def region_text(self) -> str:
        """The region in words, in the unit of the file."""
        unit = self.given["unit"]
        cut = {axis: self.given[axis] for axis in REGION if self.given[axis] != slice(None)}
        ends = {
            axis: (_end(one.start, "0", unit), _end(one.stop, "", unit))
            for axis, one in cut.items()
        }
        return ", ".join(f"{a} {low}:{high} {unit}" for a, (low, high) in ends.items()) or "whole"

    def note(self, names: tuple[str, ...] = ()) -> str:
        """Line on what a file holds."""
        listed = ", ".join(names or self.names)
        return f"{Path(self.sample.rstrip('/')).name}: {listed}, {self.region_text()}"


def _end(value: float | None, missing: str, unit: str) -> str:
    return missing if value is None else f"{value * UNITS[unit]:g}"


def region_of(asked: Asked, fields: list[Field], thick: int) -> Volume:
    """The region of some fields as a format takes it; slabs have at most `thick` slices."""
    box, factor = asked.box(fields[0]), UNITS[asked.given["unit"]]
    spacing = fields[0].spacing_nm
    dz, dy, dx = (s * factor for s in spacing)
    z, y, x = (start * s * factor for start, s in zip(box.start, spacing, strict=True))
    return Volume(
        shape=box.shape,
        spacing=(dz, dy, dx),
        corner=(z, y, x),
        unit=asked.given["unit"],
        layers=tuple(_layer(asked.sample, field, box) for field in fields),
        cuts=cuts(box.start[0], box.stop[0], thick),
        mark="",
        note=asked.note(),
    )


def cuts(start: int, stop: int, thick: int) -> tuple[int, ...]:
    """Slices of the region at which slabs begin: at multiples of `thick` in the volume.

    >>> cuts(5, 20, 8)
    (0, 3, 11, 15)
    """
    inner = range((start // thick + 1) * thick, stop, thick)
    return (0, *(z - start for z in inner), stop - start)


def _layer(sample: str, field: Field, box: Box) -> Layer:
    attributes = _attributes(sample, field.name)
    return Layer(
        name=field.name,
        dtype=np.dtype(field.dtype),
        read=partial(_read, sample, field.name, box),
        units=str(attributes.get("units", "1")),
        long_name=field.long_name,
        phases=field.phases,
    )


def _attributes(sample: str, name: str) -> dict[str, Any]:
    return dict(store.field_array(sample, name).attrs) if store.is_sample(sample) else {}


def _read(sample: str, name: str, box: Box, z0: int, z1: int) -> Any:
    start = box.start[0]
    part = Box(triple((start + z0, *box.start[1:])), triple((start + z1, *box.stop[1:])))
    return store.read_box(store.field_array(sample, name), part)
