"""Histogram of a whole field, summed over blocks.

Thresholds and normalisation made from it must not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tim3d.engine import Pass, Plan
from tim3d.errors import ArgumentError
from tim3d.grid import Block
from tim3d.kernels.image.threshold import BLURS, binned_counts, blurred, grey_counts
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.reduction import inner, reduction_pass
from tim3d.stages.shared.results import is_there, run_passes
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

FLOAT_BINS = 4096


def check_blur(blur: str, field: Field) -> None:
    """Refuse an unknown blur, or the integer blur on float voxels.

    Raises
    ------
    ArgumentError
        With the available blurs.
    """
    if blur not in BLURS:
        raise ArgumentError(f"no blur {blur!r}; use {' or '.join(BLURS)}")
    if blur == "binomial" and field.dtype == "float32":
        raise ArgumentError(
            "the binomial blur is exact for integers only; this field is float32. Use --blur none"
        )


def check_thresholds(thresholds: Iterable[float], field: Field) -> None:
    """Refuse thresholds that are not ascending, or outside the grey values of the field.

    Raises
    ------
    ArgumentError
        With the range of grey values.
    """
    values = list(thresholds)
    if any(b <= a for a, b in pairwise(values)):
        raise ArgumentError(
            f"thresholds {values} are not ascending: write them in ascending order, each once"
        )
    low, high = (-np.inf, np.inf) if field.dtype == "float32" else (0, np.iinfo(field.dtype).max)
    for value in values:
        if not (low <= value <= high and np.isfinite(value)):
            raise ArgumentError(
                f"threshold {value:g} cuts nothing: field {field.name!r} is {field.dtype}, whose grey values are "
                + (f"{low} to {high}" if field.dtype != "float32" else "finite numbers")
            )


def histogram_node(field: Field, blur: str) -> str:
    """Name of the node that holds a histogram."""
    return f"{field.name}_histogram" + ("" if blur == "none" else f"_{blur}")


@dataclass(frozen=True)
class Histogram:
    """Counts of the grey values of a whole field, computed once and stored in the sample.

    Parameters
    ----------
    sample, field, blur
        Sample and field to be counted, and the blur applied before.
    options : Options
        How it runs; `block` is ignored, as the pass chooses its blocks.
    """

    sample: str
    field: Field
    blur: str
    options: Options

    @property
    def node(self) -> str:
        """Name of the node that stores the histogram."""
        return histogram_node(self.field, self.blur)

    def is_there(self) -> bool:
        """Whether a current histogram is stored and need not be counted again."""
        return not self.options.overwrite and is_there(self.sample, self.node, self._fingerprint)

    def plans(self) -> list[Plan]:
        """Plan of the pass if it must run; its grid does not depend on the grey values."""
        return (
            []
            if self.is_there()
            else [self._counting(0.0, 1.0).plan(afresh=self.options.overwrite)]
        )

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts and bin centres, from the sample.

        Returns
        -------
        counts : (bins,) int64
        centres : (bins,) float64
        """
        stored = store.open_dataset(self.sample, self.node)
        return np.asarray(stored["voxels"].values), np.asarray(stored["grey"].values)

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts and bin centres, counted first unless stored; the sample must be locked."""
        if not self.is_there():
            low, high = _range(self.sample, self.field)
            counting = self._counting(low, high)
            run_passes([counting], self.options)
            dataset = _dataset(_sum_records(counting), _centres(self.field, low, high))
            store.write_dataset(self.sample, self.node, dataset, self._record())
        return self.read()

    @property
    def _source(self) -> str:
        return store.fingerprint_of(self.sample, self.field.name)

    @property
    def _fingerprint(self) -> str:
        return schema.fingerprint(
            verb="histogram", field=self._source, blur=self.blur, bins=FLOAT_BINS
        )

    def _record(self) -> dict[str, Any]:
        made = store.provenance(
            self._fingerprint, {"blur": self.blur}, {self.field.name: self._source}
        )
        return made | {"verb": "histogram"}

    def _counting(self, low: float, high: float) -> Pass:
        return reduction_pass(
            self.sample,
            (self.field,),
            CountKernel(self.blur, low, high),
            name=self.node,
            fingerprint=self._fingerprint,
            options=replace(self.options, block=None),
            halo=BLURS[self.blur],
            kernel_bytes=1,
        )


def _range(sample: str, field: Field) -> tuple[float, float]:
    if field.dtype != "float32":
        return 0.0, float(np.iinfo(field.dtype).max)
    slices = store.open_dataset(sample, f"{field.name}_slices")
    low, high = float(slices["grey_min"].min()), float(slices["grey_max"].max())
    return low, high if high > low else low + 1.0


def _centres(field: Field, low: float, high: float) -> np.ndarray:
    if field.dtype != "float32":
        return np.arange(int(high) + 1, dtype=np.float64)
    edges = np.linspace(low, high, FLOAT_BINS + 1)
    return np.asarray((edges[:-1] + edges[1:]) / 2)


def _sum_records(counting: Pass) -> np.ndarray:
    """Sum of the counts; a record contains only filled bins."""
    records = [record for _, record in counting.records()]
    bins = max(record["bins"] for record in records)
    total = np.zeros(bins, dtype=np.int64)
    for record in records:
        np.add.at(total, record["filled"], record["counts"])
    return total


def _dataset(counts: np.ndarray, centres: np.ndarray) -> xr.Dataset:
    grey = ("grey", centres, {"long_name": "grey value at the centre of the bin", "units": "1"})
    voxels = ("grey", counts, {"long_name": "number of voxels", "units": "1"})
    return xr.Dataset({"voxels": voxels}, {"grey": grey})


@dataclass(frozen=True)
class CountKernel:
    """Counts of the grey values of a core."""

    blur: str
    low: float
    high: float

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Count the grey values; return the filled bins and their counts."""
        core = inner(block).slices
        # Slice by slice: counting needs eight bytes for every voxel that it gets at once.
        counts = np.sum(
            [self._count(blurred(grey, self.blur)[core[1:]]) for grey in fields[0][core[0]]], axis=0
        )
        filled = np.flatnonzero(counts)
        return {"bins": len(counts), "filled": filled.tolist(), "counts": counts[filled].tolist()}

    def _count(self, grey: np.ndarray) -> np.ndarray:
        floats = grey.dtype.kind == "f"
        return (
            binned_counts(grey, self.low, self.high, FLOAT_BINS)[0] if floats else grey_counts(grey)
        )
