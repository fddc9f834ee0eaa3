"""Grey values of a field and their differences along the axes, block by block, and the values that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d.engine import Pass
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.statistics.correlation import pairs_at
from tim3d.kernels.statistics.grey_statistics import LARGEST, LEVELS, differences, histogram
from tim3d.stages.comparison.line_counts import Lags
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.reduction import inner, reduction_pass
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field, Spacing

# Sums along an axis; the last two plane by plane.
SUMS = ("squares", "values", "steps")


@dataclass(frozen=True)
class GreysKernel:
    """Histogram of a core, and sums of differences along all three axes."""

    lags: Lags

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Integers, those of an axis by its name."""
        (grey,), core = fields, inner(block)
        found = {
            axis: differences(grey, lags, a, core) for a, (axis, lags) in enumerate(zip(AXES, self.lags, strict=True))
        }
        sums = {axis: {name: getattr(one, name).tolist() for name in SUMS} for axis, one in found.items()}
        return {"histogram": histogram(grey[core.slices]).tolist(), **sums}


def greys_node(field: Field) -> str:
    """Name of the node that keeps the sums of a field."""
    return f"{field.name}_greys"


def greys_pass(sample: str, field: Field, lags: Lags, options: Options) -> Pass:
    """The pass that adds up grey values and their differences."""
    source = store.fingerprint_of(sample, field.name)
    return reduction_pass(
        sample,
        (field,),
        GreysKernel(lags),
        name=greys_node(field),
        fingerprint=schema.fingerprint(verb="fidelity", field=source, greys=lags),
        options=options,
        halo=triple(one[-1] for one in lags),
        kernel_bytes=2,
    )


@dataclass(frozen=True, eq=False)
class Greys:
    """What the grey values of a volume, or an image, say.

    Attributes
    ----------
    shares : (256,)
        Distribution.
    squares : (3, lags)
        Mean squared difference along z, y, x; nan along an axis without pairs.
    step : (3,)
        Mean step between neighbours along z, y, x, in grey values per nm.
    planes : three arrays (planes, 1)
        Mean grey value over 255 of the planes across z, y, x.
    changes : three arrays (planes - 1,)
        Mean step between two planes, in grey values.
    """

    shares: np.ndarray
    squares: np.ndarray
    step: np.ndarray
    planes: tuple[np.ndarray, ...]
    changes: tuple[np.ndarray, ...]


def gathered(counting: Pass, lags: Lags) -> xr.Dataset:
    """Sums over all blocks of a finished pass, as kept in the node ``FIELD_greys``."""
    shape = counting.grid.shape
    counts = np.zeros(LEVELS, np.int64)
    totals = [_empty(len(one), n) for one, n in zip(lags, shape, strict=True)]
    for block, record in counting.records():
        counts += np.asarray(record["histogram"])
        for axis, total in enumerate(totals):
            for name, values in record[AXES[axis]].items():
                total[name][... if name == "squares" else block.core.slices[axis]] += np.asarray(values)
    sums = {
        f"{name}_{axis}": ("lag" if name == "squares" else axis, values)
        for axis, total in zip(AXES, totals, strict=True)
        for name, values in total.items()
    }
    return xr.Dataset({"histogram": ("grey", counts), **sums})


def greys_in(kept: xr.Dataset, lags: Lags, shape: Triple, spacing: Spacing) -> Greys:
    """What the kept sums of a volume say."""
    totals = [{name: np.asarray(kept[f"{name}_{axis}"].values) for name in SUMS} for axis in AXES]
    return _values(np.asarray(kept["histogram"].values), totals, lags, shape, spacing)


def greys_of(grey: np.ndarray, lags: Lags, spacing: Spacing) -> Greys:
    """The same of an array; an image is one slice."""
    totals = [vars(differences(grey, lags[axis], axis)) for axis in range(3)]
    return _values(histogram(grey), totals, lags, triple(grey.shape), spacing)


def _empty(lags: int, planes: int) -> dict[str, np.ndarray]:
    return {name: np.zeros(lags if name == "squares" else planes, np.int64) for name in SUMS}


def _values(
    counts: np.ndarray, totals: Sequence[dict[str, np.ndarray]], lags: Lags, shape: Triple, spacing: Spacing
) -> Greys:
    across = [math.prod(shape) // n for n in shape]
    squares = [_means(total["squares"], shape, lags[a], a) for a, total in enumerate(totals)]
    steps = [_means(total["steps"].sum(keepdims=True), shape, (1,), a)[0] for a, total in enumerate(totals)]
    return Greys(
        shares=counts / math.prod(shape),
        squares=np.array(squares),
        step=np.array(steps) / np.array(spacing),
        planes=tuple(total["values"][:, None] / (n * LARGEST) for total, n in zip(totals, across, strict=True)),
        changes=tuple(total["steps"][:-1] / n for total, n in zip(totals, across, strict=True)),
    )


def _means(sums: np.ndarray, shape: Triple, lags: Sequence[int], axis: int) -> np.ndarray:
    every = pairs_at(shape, lags, axis)
    return np.asarray(sums / np.where(every > 0, every, np.nan))
