"""The struts of a sample as lines, with their diameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.exporting.job import Export
from tim3d.formats.base import UNITS, LineFormat, Lines
from tim3d.lazy import xarray as xr
from tim3d.storage import store

# Numbers of each strut that go into the file, in the unit of its lengths.
OF_STRUTS = ("length", "mean", "middle", "least")


@dataclass(frozen=True)
class LineExport(Export):
    """A result of `tim3d struts` as lines along its struts."""

    @cached_property
    def name(self) -> str:
        """The result."""
        if len(self.asked.names) > 1:
            raise ArgumentError(
                f"lines are of one result, got {' and '.join(self.asked.names)}: leave out --beside"
            )
        return self.asked.names[0]

    def inputs(self) -> dict[str, str]:
        """Fingerprint of the result."""
        sample, name = self.asked.sample, self.name
        record = store.node_attributes(sample, name)
        if record.get("verb") != "struts":
            raise ArgumentError(
                f"{name!r} of {sample} holds no struts, which become lines: make them with  tim3d struts {sample}"
            )
        store.refuse_outdated(sample, name)
        return {name: store.fingerprint_of(sample, name)}

    def steps(self) -> list[Outline]:
        """One line: no voxel is read."""
        return [Outline(f"export {self.asked.format.name}", f"writes the struts of {self.name}")]

    def write(self, path: Path) -> None:
        """Write all struts, or those of some phases."""
        assert isinstance(self.asked.format, LineFormat)
        found = store.open_dataset(self.asked.sample, self.name)
        self.asked.format.write(self._lines(found), path)

    def _lines(self, found: xr.Dataset) -> Lines:
        unit = self.asked.given["unit"]
        names = [str(name) for name in found["phase"].values]
        own = np.isin(found["branch_phase"].values, self._ranks(names))
        branch = found["point_branch"].values
        points = own[branch]
        counts = np.bincount(branch, minlength=len(own))[own]
        xyz = np.stack([found[f"point_{a}"].values[points] for a in "xyz"], axis=1)
        scale = UNITS[unit]
        return Lines(
            points=xyz.astype(np.float64) * scale,
            ends=np.cumsum(counts),
            of_points={
                "diameter": found["point_diameter"].values[points].astype(np.float64) * scale
            },
            of_lines={
                **{one: found[f"branch_{one}"].values[own] * scale for one in OF_STRUTS},
                "phase": found["branch_phase"].values[own],
            },
            unit=unit,
            mark=self.mark,
            note=f"struts of {self.name}; phases by number: {', '.join(names)}",
        )

    def _ranks(self, names: list[str]) -> list[int]:
        """Numbers of the phases that are wanted."""
        wanted = self.asked.given["phases"] or names
        if unknown := [one for one in wanted if one not in names]:
            raise ArgumentError(
                f"{self.name!r} has no struts of {', '.join(unknown)}; it has {', '.join(names)}"
            )
        return [names.index(one) for one in wanted]
