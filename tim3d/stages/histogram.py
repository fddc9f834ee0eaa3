"""The histogram of a whole field, from sums over blocks: thresholds and normalisation must not depend on the blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from tim3d import schema, store
from tim3d.engine import run
from tim3d.engine.run import Pass
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.threshold import binned_counts, binomial_blur, grey_counts
from tim3d.schema import Field
from tim3d.stages.field import Options
from tim3d.stages.reduction import inner, reduction_pass

FLOAT_BINS = 4096
BLURS: dict[str, Triple] = {"none": (0, 0, 0), "binomial": (0, 2, 2)}


def check_blur(blur: str, field: Field) -> None:
    """Refuse an unknown blur, or the integer blur on float voxels.

    Raises
    ------
    ArgumentError
        With the blurs there are.
    """
    if blur not in BLURS:
        raise ArgumentError(f"no blur {blur!r}; use {' or '.join(BLURS)}")
    if blur == "binomial" and field.dtype == "float32":
        raise ArgumentError("the binomial blur is exact for integers only; this field is float32. Use --blur none")


def check_thresholds(thresholds: Iterable[float], field: Field) -> None:
    """Refuse thresholds that do not rise, or that no grey value of the field can reach.

    Raises
    ------
    ArgumentError
        With the range of grey values.
    """
    values = list(thresholds)
    if any(b <= a for a, b in pairwise(values)):
        raise ArgumentError(f"thresholds {values} do not rise: write them in ascending order, each once")
    low, high = (-np.inf, np.inf) if field.dtype == "float32" else (0, np.iinfo(field.dtype).max)
    for value in values:
        if not (low <= value <= high and np.isfinite(value)):
            raise ArgumentError(
                f"threshold {value:g} cuts nothing: field {field.name!r} is {field.dtype}, whose grey values are "
                + (f"{low} to {high}" if field.dtype != "float32" else "finite numbers")
            )


def blurred(voxels: np.ndarray, blur: str) -> np.ndarray:
    """Grey values after the blur that a threshold is applied to."""
    return binomial_blur(voxels) if blur == "binomial" else voxels


def histogram_node(field: Field, blur: str) -> str:
    """Name of the node that holds a histogram."""
    return f"{field.name}_histogram" + ("" if blur == "none" else f"_{blur}")


def histogram_pass(sample: str, field: Field, blur: str, options: Options) -> Pass:
    """The pass that counts grey values."""
    low, high = _range(sample, field)
    source = store.fingerprint_of(sample, field.name)
    return reduction_pass(
        sample,
        (field,),
        CountKernel(blur, low, high),
        name=histogram_node(field, blur),
        fingerprint=schema.fingerprint(verb="histogram", field=source, blur=blur, bins=FLOAT_BINS),
        options=Options(durable=options.durable, time_limit=options.time_limit),
        halo=BLURS[blur],
        kernel_bytes=1,
    )


def histogram(sample: str, field: Field, blur: str, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Counts and bin centres of the grey values of a whole field; kept in the sample, so counted once.

    Returns
    -------
    counts : (bins,) int64
    centres : (bins,) float64
    """
    counting = histogram_pass(sample, field, blur, options)
    node = histogram_node(field, blur)
    if store.fingerprint_of(sample, node) != counting.ledger.fingerprint:
        run(counting, progress=options.progress)
        counts = _sum_records(counting)
        low, high = _range(sample, field)
        centres = _centres(field, low, high)
        store.write_dataset(
            sample, node, _dataset(counts, centres), store.provenance(counting.ledger.fingerprint, {"blur": blur}, {})
        )
    stored = store.open_dataset(sample, node)
    return np.asarray(stored["voxels"].values), np.asarray(stored["grey"].values)


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
    """Sum of the counts; the records hold filled bins only."""
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
        """The filled bins and their counts."""
        core = inner(block).slices
        # Slice by slice: counting needs eight bytes for every voxel that it is given at once.
        counts = np.sum([self._count(blurred(grey, self.blur)[core[1:]]) for grey in fields[0][core[0]]], axis=0)
        filled = np.flatnonzero(counts)
        return {"bins": len(counts), "filled": filled.tolist(), "counts": counts[filled].tolist()}

    def _count(self, grey: np.ndarray) -> np.ndarray:
        floats = grey.dtype.kind == "f"
        return binned_counts(grey, self.low, self.high, FLOAT_BINS)[0] if floats else grey_counts(grey)
